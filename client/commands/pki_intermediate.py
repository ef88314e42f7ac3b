"""`mimir pki intermediate …`: CAs below a root, here or elsewhere."""

from typing import TYPE_CHECKING, Any

import click

from client.commands.pki_sign import csr_text
from client.framework import group
from client.output import show
from client.pki_ca import ask, ca_options, out_options, with_defaults
from client.pki_options import (
    body_of,
    file_text,
    issuer_option,
    members_argument,
    mount_option,
    name_part,
    pki_command,
    pki_path,
    ttl_option,
)
from client.session import Session, pass_session
from client.table import key_values

if TYPE_CHECKING:
    from client.api import Answer

_HERE = "client.commands.pki_intermediate"
intermediate = group(
    "intermediate",
    summary="Make CAs below a root: the key here, the CSR to whoever signs it, the certificate back.",
    lazy={name: f"{_HERE}:{name}" for name in ("generate", "sign")}
    | {"set-signed": f"{_HERE}:set_signed", "cross-sign": f"{_HERE}:cross_sign"},
    examples=(
        "mimir pki intermediate generate --common-name 'Example Issuing CA' --out ca.csr",
        "mimir pki intermediate sign --csr ca.csr --issuer root --ttl 26280h --max-path-length 0 --out ca.pem",
        "mimir pki intermediate set-signed ca.pem",
    ),
)


@pki_command(
    "generate",
    examples=(
        "mimir pki intermediate generate --common-name 'Example Issuing CA' --key-name issuing --out ca.csr",
        "mimir pki intermediate generate --common-name 'Example Issuing CA' --type existing --key-ref issuing",
    ),
)
@members_argument
@ca_options
@mount_option
@pass_session
def generate(session: Session, /, members: tuple[str, ...], mount: str, **options: Any) -> None:
    """Make a CA's key in the HSM, and print the CSR that a root is to sign."""
    where, out, force = options.pop("where"), options.pop("out"), options.pop("force")
    body = with_defaults(body_of(session, members, **options), where)
    path = pki_path(mount, "intermediate", "generate", where)
    ask(session, path, body, printed=("private_key", "csr"), out=out, force=force)


@pki_command(
    "cross-sign",
    examples=(
        "mimir pki intermediate cross-sign --key-ref issuing --common-name 'Example Issuing CA' --out cross.csr",
    ),
)
@members_argument
@click.option("--key-ref", metavar="REF", required=True, help="The key of a CA that is here (name or id).")
@click.option("--common-name", metavar="NAME", required=True, help="The CA's name, the same as in its certificate.")
@out_options
@mount_option
@pass_session
def cross_sign(
    session: Session,
    *,
    members: tuple[str, ...],
    key_ref: str,
    common_name: str,
    mount: str,
    out: str | None,
    force: bool,
) -> None:
    """Print a CSR for a CA that is here already, for another root to sign: both certificates then work."""
    body = body_of(session, members, key_ref=key_ref, common_name=common_name)
    ask(session, pki_path(mount, "intermediate", "cross-sign"), body, printed=("csr",), out=out, force=force)


@pki_command(
    "sign",
    examples=(
        "mimir pki intermediate sign --csr ca.csr --issuer root --ttl 26280h --max-path-length 0 --out ca.pem",
        "mimir pki intermediate sign --csr ca.csr --issuer root use_csr_values=true",
    ),
)
@members_argument
@click.option("--csr", "csr", required=True, metavar="FILE|-", help="The CSR of the CA, in PEM or DER.")
@click.option("--common-name", metavar="NAME", help="The CA's name, where it is not taken from the CSR.")
@click.option("--max-path-length", type=click.IntRange(min=-1), metavar="N", help="How many CAs there may be below it.")
@ttl_option
@issuer_option
@out_options
@mount_option
@pass_session
def sign(session: Session, /, members: tuple[str, ...], mount: str, **options: Any) -> None:
    """Sign the CSR of a CA by a root that is here, and print the certificate and those above it."""
    out, force, issuer = options.pop("out"), options.pop("force"), options.pop("issuer")
    csr = csr_text(session, options.pop("csr"))
    body = body_of(session, members, csr=csr, **options)
    if "common_name" not in body and "use_csr_values" not in body:
        body["use_csr_values"] = True
    where = ["root"] if issuer is None else ["issuer", name_part(issuer, "issuer")]
    path = pki_path(mount, *where, "sign-intermediate")
    ask(session, path, body, printed=("certificate", "ca_chain"), out=out, force=force)


@pki_command("set-signed", examples=("mimir pki intermediate set-signed ca.pem",))
@click.argument("file", metavar="FILE|-")
@mount_option
@pass_session
def set_signed(session: Session, file: str, mount: str) -> None:
    """Bring back the certificate for a CSR of `generate`, with those above it in the same file."""
    body = {"certificate": file_text(session, file, what="certificate")}
    answer = session.client().request("POST", pki_path(mount, "intermediate", "set-signed"), body=body)
    show(session, answer, imported)


def imported(answer: "Answer") -> str:
    """What an import has made, and what was there already."""
    names = ("imported_issuers", "imported_keys", "existing_issuers", "existing_keys", "mapping")
    return key_values([(name, answer.data[name]) for name in names if answer.data.get(name)])
