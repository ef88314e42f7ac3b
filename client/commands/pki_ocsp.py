"""`mimir pki ocsp check`: what the responder says about a certificate."""

import json
import os
from typing import TYPE_CHECKING

import click

from client.api import header_value
from client.errors import CliError, LocalError
from client.framework import group
from client.output import show_value
from client.pki_options import mount_option, pki_command, pki_path, plain_client
from client.session import Session, pass_session
from client.table import key_values

if TYPE_CHECKING:
    from client.transport import RawAnswer

ocsp = group(
    "ocsp",
    summary="Ask the OCSP responder of a mount.",
    lazy={"check": "client.commands.pki_ocsp:check"},
    examples=("mimir pki ocsp check /etc/app/tls/cert.pem",),
)


@pki_command(
    "check",
    examples=(
        "mimir pki ocsp check /etc/app/tls/cert.pem",
        "mimir pki ocsp check 39:dd:2e:90:b7:23:1f:8d:d3:7d:31:c5:1b:da:84:d0 -o json",
        "mimir pki ocsp check cert.pem --issuer-file ca.pem",
    ),
)
@click.argument("what", metavar="FILE|SERIAL|-")
@click.option("--issuer-file", metavar="FILE", help="The issuing CA; looked up at the mount, if not given.")
@mount_option
@pass_session
def check(session: Session, *, what: str, issuer_file: str | None, mount: str) -> None:
    """Ask whether a certificate is revoked, and verify the answer: its signature, its time, and that it is ours.

    Exits with 0 when it is good, and with 1 when it is revoked or not known.
    """
    from client.pki_certificate import certificates_in
    from client.pki_extensions import now_utc
    from client.pki_lookup import find_certificate, find_issuer
    from client.pki_ocsp import build_request, read_answer
    from client.pki_options import file_bytes
    from client.transport import exchange

    client = plain_client(session, "ocsp check")
    certificate = find_certificate(session, client, mount, what)
    if issuer_file is not None:
        issuer = certificates_in(file_bytes(session, issuer_file), what=issuer_file)[0]
    else:
        issuer = find_issuer(client, mount, certificate)
    nonce = os.urandom(16)
    headers = {"Content-Type": "application/ocsp-request", "Accept": "application/ocsp-response"}
    if client.namespace:
        headers["X-Vault-Namespace"] = header_value(client.namespace.strip("/"), what="namespace")
    raw = exchange(
        client.endpoint,
        client.tls,
        timeout=client.timeout,
        method="POST",
        target=client.endpoint.target(pki_path(mount, "ocsp"), {}),
        headers=headers,
        body=build_request(certificate, issuer, nonce),
    )
    if raw.headers.get_content_type() != "application/ocsp-response":
        raise _no_ocsp(raw, pki_path(mount, "ocsp"))
    found = read_answer(raw.body, certificate, issuer, nonce=nonce, now=now_utc())
    show_value(session, found, key_values(found.items()))
    if found["status"] != "good":
        raise click.exceptions.Exit(1)


def _no_ocsp(raw: "RawAnswer", path: str) -> CliError:
    """What an answer says that is no OCSP response."""
    from client.refusals import refusal

    if raw.status < 300:
        return LocalError(f"{path} answered with something that is no OCSP response: is this a pki engine?")
    try:
        body = json.loads(raw.body)
    except ValueError:
        body = {}
    request_id = raw.headers.get("X-Request-Id") or ""
    return refusal(raw.status, body, path=path, request_id=request_id, token_sent=True, location="")
