"""`mimir pki revoke`: a certificate that is to be trusted no more."""

from typing import TYPE_CHECKING

import click

from client.errors import LocalError
from client.output import show
from client.pki_options import REASONS, body_of, file_bytes, is_file, mount_option, pki_command, pki_path
from client.session import Session, pass_session
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, JsonObject


@pki_command(
    "revoke",
    examples=(
        "mimir pki revoke 39:dd:2e:90:b7:23:1f:8d:d3:7d:31:c5:1b:da:84:d0",
        "mimir pki revoke /etc/app/tls/cert.pem --reason key_compromise",
        "mimir pki revoke cert.pem --key key.pem",
    ),
)
@click.argument("what", metavar="SERIAL|FILE|-")
@click.option("--reason", type=click.Choice(REASONS), help="Why, as it will stand in the CRL.")
@click.option("--key", "key", metavar="FILE", help="Prove that it is yours with its private key, without other rights.")
@mount_option
@pass_session
def revoke(session: Session, *, what: str, reason: str | None, key: str | None, mount: str) -> None:
    """Revoke a certificate, by its serial number or by the file that holds it."""
    body = body_of(session, (), reason=reason) | _named(session, what, wants_file=key is not None)
    if key is not None:
        body["private_key"] = file_bytes(session, key).decode("ascii", "replace")
    path = pki_path(mount, "revoke" if key is None else "revoke-with-key")
    answer = session.client().request("POST", path, body=body)
    show(session, answer, _revoked)


def _named(session: Session, what: str, *, wants_file: bool) -> "JsonObject":
    from cryptography.hazmat.primitives.serialization import Encoding

    from client.pki_certificate import certificates_in, is_serial

    if is_file(what):
        first = certificates_in(file_bytes(session, what), what=what)[0]
        return {"certificate": first.public_bytes(Encoding.PEM).decode("ascii")}
    if not is_serial(what):
        raise LocalError(f"{what!r} is neither a file nor a serial number, which is written as 39:dd:2e:90:…")
    if wants_file:
        raise LocalError("--key goes with the certificate's file, so that key and certificate can be compared")
    return {"serial_number": what}


def _revoked(answer: "Answer") -> str:
    when = answer.data.get("revocation_time_rfc3339") or "now"
    return f"Success! The certificate is revoked ({printable(str(when))}); the next CRL and OCSP say so."
