"""`mimir pki verify-sign`: whether one CA signed another certificate."""

from typing import TYPE_CHECKING

import click

from client.output import show_value
from client.pki_options import file_bytes, is_file, mount_option, name_part, pki_command, pki_path, plain_client
from client.session import Session, pass_session
from client.table import key_values

if TYPE_CHECKING:
    from cryptography import x509


@pki_command(
    "verify-sign",
    examples=("mimir pki verify-sign root intermediate", "mimir pki verify-sign ca.pem /etc/app/tls/cert.pem"),
)
@click.argument("possible_issuer", metavar="ISSUER|FILE")
@click.argument("possible_issued", metavar="ISSUED|SERIAL|FILE")
@mount_option
@pass_session
def verify_sign(session: Session, *, possible_issuer: str, possible_issued: str, mount: str) -> None:
    """Tell whether the first certificate's key signed the second one, and whether names and key ids match.

    Each is a file, an issuer of the mount or, the second one, a serial number. Exits with 1 when it did not.
    """
    above, below = (_found(session, what, mount) for what in (possible_issuer, possible_issued))
    value = _compared(below, above)
    show_value(session, value, key_values(value.items()))
    if not (value["signature_match"] and value["subject_match"]):
        raise click.exceptions.Exit(1)


def _found(session: Session, what: str, mount: str) -> "x509.Certificate":
    from client.pki_certificate import certificate_of, certificates_in, is_serial

    if is_file(what):
        return certificates_in(file_bytes(session, what), what=what)[0]
    client = plain_client(session, "verify-sign")
    path = pki_path(mount, "cert", what) if is_serial(what) else pki_path(mount, "issuer", name_part(what, "issuer"))
    return certificate_of(client.read(path).data.get("certificate"), what="certificate")


def _compared(below: "x509.Certificate", above: "x509.Certificate") -> dict[str, bool]:
    """Vault's names for what is compared."""
    from client.errors import LocalError
    from client.pki_verify import check_link, key_ids_match

    try:
        check_link(below, above)
        signed = True
    except LocalError:
        signed = False
    return {
        "subject_match": below.issuer == above.subject,
        "key_id_match": key_ids_match(below, above),
        "signature_match": signed,
    }
