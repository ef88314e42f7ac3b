"""`mimir transit key csr|set-certificate`: certificates for keys that stay in the appliance."""

import click

from client.commands.transit_data import engine_path, force_option, given, mount_option, text_member
from client.commands.transit_key_output import checked_client, give_out
from client.errors import LocalError
from client.framework import command
from client.inputs import utf8
from client.output import show
from client.session import Session, pass_session

_version_option = click.option(
    "--version", type=click.IntRange(min=1), help="Of this version; of the latest, if not given."
)


@command(
    "csr",
    examples=(
        "mimir transit key csr releases --out releases.csr",
        "mimir transit key csr releases --csr template.csr --version 2",
    ),
)
@click.argument("name")
@click.option("--csr", "template", metavar="FILE|-", help="A CSR in PEM whose names and extensions are kept.")
@_version_option
@click.option("--out", metavar="FILE", help="Write it to this file.")
@force_option
@mount_option
@pass_session
def csr(
    session: Session, *, name: str, template: str | None, version: int | None, out: str | None, force: bool, mount: str
) -> None:
    """Print a certificate signing request for a key, signed by the key."""
    text = None if template is None else _pem(session, template, kind="CERTIFICATE REQUEST", what="CSR")
    client = checked_client(session, out, force=force)
    body = given(csr=text, version=version)
    answer = client.request("POST", engine_path(mount, "keys", name, "csr"), body=body)
    if answer.body.get("wrap_info"):
        show(session, answer, lambda _: "")
        return
    give_out(session, answer, text_member(answer, "csr"), out=out, force=force, what="CSR", secret=False)


@command(
    "set-certificate",
    examples=(
        "mimir transit key set-certificate releases --chain releases.pem",
        "mimir transit key set-certificate releases --chain - --version 2 < releases.pem",
    ),
)
@click.argument("name")
@click.option("--chain", required=True, metavar="FILE|-", help="Certificates in PEM, that of the key first.")
@_version_option
@mount_option
@pass_session
def set_certificate(session: Session, name: str, chain: str, version: int | None, mount: str) -> None:
    """Keep a certificate chain with a key; `mimir transit key read` shows it. It replaces the one before."""
    body = given(certificate_chain=_pem(session, chain, kind="CERTIFICATE", what="certificate chain"), version=version)
    answer = session.client().request("POST", engine_path(mount, "keys", name, "set-certificate"), body=body)
    show(session, answer, lambda _: f"Success! The certificate chain of {name} is set.")


def _pem(session: Session, name: str, *, kind: str, what: str) -> str:
    text = utf8(session.inputs.file(name), what=what)
    if "PRIVATE KEY-----" in text:
        raise LocalError(f"the {what} holds a private key, which is not sent: take it out of the file")
    if f"-----BEGIN {kind}-----" not in text:
        raise LocalError(f"the {what} is not PEM: it begins with -----BEGIN {kind}-----")
    return text
