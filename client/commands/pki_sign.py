"""`mimir pki sign|sign-verbatim`: certificates for CSRs that were made elsewhere."""

from typing import TYPE_CHECKING, Any

import click

from client.output import show
from client.output_file import PUBLIC, check_free, write_whole
from client.pki_options import (
    body_of,
    by_issuer,
    file_bytes,
    issuer_option,
    members_argument,
    mount_option,
    name_part,
    pem_lines,
    pki_command,
    pki_path,
    plain_client,
    ttl_option,
)
from client.session import Session, pass_session
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer

_csr_option = click.option("--csr", "csr", required=True, metavar="FILE|-", help="The CSR, in PEM or DER.")
_out_option = click.option("--out", metavar="FILE", help="Write the certificate and those above it to this file.")
_force_option = click.option("--force", is_flag=True, help="Replace the file of --out if it is there.")


@pki_command(
    "sign",
    examples=(
        "mimir pki sign web --csr app.csr",
        "mimir pki sign web --csr app.csr --ttl 12h --out app.pem",
        "openssl req -new -key app.key -subj /CN=app.example.internal | mimir pki sign web --csr -",
    ),
)
@click.argument("role")
@members_argument
@_csr_option
@click.option("--common-name", metavar="NAME", help="Where the role does not take the one of the CSR.")
@ttl_option
@issuer_option
@_out_option
@_force_option
@mount_option
@pass_session
def sign(session: Session, /, role: str, members: tuple[str, ...], mount: str, **options: Any) -> None:
    """Sign a CSR under ROLE, which decides what of the CSR goes into the certificate."""
    given = {"common_name": options["common_name"], "ttl": options["ttl"]}
    path = pki_path(mount, *by_issuer(options["issuer"], "sign", name_part(role, "role")))
    _sign(session, path, members, options, given)


@pki_command(
    "sign-verbatim",
    examples=(
        "mimir pki sign-verbatim --csr app.csr --ttl 24h",
        "mimir pki sign-verbatim --csr app.csr --role web ext_key_usage=ClientAuth",
    ),
)
@members_argument
@_csr_option
@click.option("--role", metavar="ROLE", help="Take TTLs and the like from this role.")
@ttl_option
@issuer_option
@_out_option
@_force_option
@mount_option
@pass_session
def sign_verbatim(session: Session, /, members: tuple[str, ...], mount: str, role: str | None, **options: Any) -> None:
    """Sign a CSR as it stands, with every name in it. For those who may say what is certified: no role limits it."""
    parts = ["sign-verbatim"] if role is None else ["sign-verbatim", name_part(role, "role")]
    path = pki_path(mount, *by_issuer(options["issuer"], *parts))
    _sign(session, path, members, options, {"ttl": options["ttl"]})


def csr_text(session: Session, name: str) -> str:
    """A CSR in PEM. LocalError if it is none, so that no half of a file is sent."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from client.errors import LocalError

    content = file_bytes(session, name)
    try:
        if b"-----BEGIN " in content:
            x509.load_pem_x509_csr(content)
            return content.decode("ascii", "replace")
        return x509.load_der_x509_csr(content).public_bytes(Encoding.PEM).decode("ascii")
    except ValueError as exc:
        raise LocalError(f"{'standard input' if name == '-' else name} holds no CSR (PKCS #10) in PEM or DER") from exc


def _sign(
    session: Session, path: str, members: tuple[str, ...], options: dict[str, Any], given: dict[str, Any]
) -> None:
    out, force = options["out"], options["force"]
    if force and out is None:
        raise click.UsageError("--force goes with --out")
    body = body_of(session, members, csr=csr_text(session, options["csr"]), **given)
    client = session.client() if out is None else plain_client(session, "--out")
    if out is not None:
        check_free(out, force=force)
    answer = client.request("POST", path, body=body)
    if out is None:
        show(session, answer, lambda found: pem_lines(found, "certificate", "ca_chain"))
        return
    text = pem_lines(answer, "certificate", "ca_chain")
    write_whole(check_free(out, force=force), f"{text}\n".encode(), force=force, mode=PUBLIC)
    show(session, answer, lambda found: _written(found, out))


def _written(answer: "Answer", out: str) -> str:
    serial = printable(str(answer.data.get("serial_number") or ""))
    return f"Success! The certificate {serial} and those above it are written to {printable(out)}."
