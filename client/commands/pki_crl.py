"""`mimir pki crl …`: the lists of what is revoked."""

from typing import TYPE_CHECKING

import click

from client.commands.pki_config import read_or_write
from client.errors import LocalError
from client.framework import group
from client.output import show
from client.pki_options import (
    members_argument,
    mount_option,
    name_part,
    pem_lines,
    pki_command,
    pki_path,
    plain_client,
)
from client.session import Session, pass_session
from client.table import columns, key_values

if TYPE_CHECKING:
    from cryptography import x509

    from client.api import Answer

_HERE = "client.commands.pki_crl"
crl = group(
    "crl",
    summary="Read, renew and configure the lists of revoked certificates.",
    lazy={name: f"{_HERE}:{name}" for name in ("read", "rotate", "config")},
    examples=("mimir pki crl read", "mimir pki crl rotate", "mimir pki crl config auto_rebuild=true expiry=72h"),
)
_LISTED = 50  # revoked certificates in a table; -o json has the CRL itself


@pki_command(
    "read",
    examples=("mimir pki crl read", "mimir pki crl read root --pem > root.crl", "mimir pki crl read --delta"),
)
@click.argument("issuer", metavar="ISSUER", default="default")
@click.option("--delta", is_flag=True, help="What was revoked since the last full one.")
@click.option("--pem", is_flag=True, help="Print the CRL itself.")
@mount_option
@pass_session
def read(session: Session, *, issuer: str, delta: bool, pem: bool, mount: str) -> None:
    """Show an issuer's CRL: its number, until when it counts, and what it lists."""
    parts = ["issuer", name_part(issuer, "issuer"), "crl", *(["delta"] if delta else [])]
    answer = plain_client(session, "crl read").read(pki_path(mount, *parts))
    show(session, answer, (lambda found: pem_lines(found, "crl")) if pem else _crl_text)


def _crl_text(answer: "Answer") -> str:
    from cryptography import x509

    from client.pki_certificate import distance, moment, subject_text
    from client.pki_extensions import now_utc

    try:
        found = x509.load_pem_x509_crl(str(answer.data.get("crl") or "").encode())
    except ValueError as exc:
        raise LocalError("the answer holds no CRL that can be read: `-o json` shows it") from exc
    now = now_utc()
    end = found.next_update_utc
    rows: list[tuple[str, object]] = [
        ("issuer", subject_text(found.issuer)),
        ("number", _number(found)),
        ("this_update", moment(found.last_update_utc)),
        ("next_update", f"{moment(end)} ({distance(end, now)})" if end is not None else None),
        ("revoked", len(found)),
    ]
    return "\n\n".join(part for part in (key_values(rows), _revoked_table(found)) if part)


def _number(crl: "x509.CertificateRevocationList") -> int | None:
    from cryptography import x509

    try:
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except (x509.ExtensionNotFound, ValueError):
        return None


def _revoked_table(crl: "x509.CertificateRevocationList") -> str:
    from client.pki_certificate import moment, serial_text

    rows: list[tuple[object, object, object]] = [
        (serial_text(entry.serial_number), moment(entry.revocation_date_utc), _reason(entry))
        for _, entry in zip(range(_LISTED), crl, strict=False)
    ]
    if len(crl) > _LISTED:
        rows.append((f"and {len(crl) - _LISTED} more", None, None))
    return columns(("Serial number", "Revoked", "Reason"), rows) if rows else ""


def _reason(entry: "x509.RevokedCertificate") -> str | None:
    from cryptography import x509

    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except (x509.ExtensionNotFound, ValueError):
        return None


@pki_command("rotate", examples=("mimir pki crl rotate", "mimir pki crl rotate --delta"))
@click.option("--delta", is_flag=True, help="The delta CRL alone.")
@mount_option
@pass_session
def rotate(session: Session, *, delta: bool, mount: str) -> None:
    """Have the CRLs of all issuers made anew now, without waiting for the time that is configured."""
    answer = session.client().read(pki_path(mount, "crl", "rotate-delta" if delta else "rotate"))
    show(session, answer, lambda _: f"Success! The {'delta CRLs' if delta else 'CRLs'} are made anew.")


@pki_command(
    "config",
    examples=("mimir pki crl config", "mimir pki crl config auto_rebuild=true expiry=72h enable_delta=true"),
)
@members_argument
@mount_option
@pass_session
def config(session: Session, members: tuple[str, ...], mount: str) -> None:
    """Show or change how CRLs are made, and whether OCSP answers."""
    read_or_write(session, mount, "crl", members)
