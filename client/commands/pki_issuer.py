"""`mimir pki issuer …`: the CAs of a mount."""

from typing import TYPE_CHECKING

import click

from client.commands.pki_intermediate import imported
from client.errors import AbsentError
from client.framework import group
from client.output import show
from client.pages import detailed_rows
from client.pki_ca import table_and_pem
from client.pki_options import (
    body_of,
    file_text,
    members_argument,
    mount_option,
    name_part,
    pem_lines,
    pki_command,
    pki_path,
)
from client.session import Session, pass_session
from client.table import columns, key_values, sorted_items
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer

_HERE = "client.commands.pki_issuer"
issuer = group(
    "issuer",
    summary="List, read, change, import, revoke and delete the CAs of a mount, and choose the default one.",
    lazy={"list": f"{_HERE}:list_", "import": f"{_HERE}:import_"}
    | {name: f"{_HERE}:{name}" for name in ("read", "write", "default", "revoke", "delete")},
    examples=(
        "mimir pki issuer list",
        "mimir pki issuer read root --pem > root.pem",
        "mimir pki issuer write root usage=read-only,crl-signing,ocsp-signing",
    ),
)


@pki_command("list", examples=("mimir pki issuer list", "mimir pki issuer list -mount=pki-int -o json"))
@mount_option
@pass_session
def list_(session: Session, mount: str) -> None:
    """List the issuers with their names, and which one is the default."""
    path = pki_path(mount, "issuers")
    try:
        answer = session.client().list(path)
    except AbsentError as exc:
        if "no handler" in str(exc) or "No engine" in str(exc):
            raise
        raise AbsentError(f"{path}: there is no issuer yet: run `mimir pki init` or `mimir pki root generate`") from exc
    show(session, answer, _table)


def _table(answer: "Answer") -> str:
    rows = []
    for issuer_id, found in detailed_rows(answer):
        rows.append((found.get("issuer_name") or None, issuer_id, found.get("is_default"), found.get("serial_number")))
    return columns(("Name", "Issuer id", "Default", "Serial number"), rows)


@pki_command("read", examples=("mimir pki issuer read default", "mimir pki issuer read root --pem > root.pem"))
@click.argument("ref", metavar="REF", default="default")
@click.option("--pem", is_flag=True, help="Print the certificate alone.")
@click.option("--chain", is_flag=True, help="Print the certificates from it up to the root.")
@mount_option
@pass_session
def read(session: Session, *, ref: str, pem: bool, chain: bool, mount: str) -> None:
    """Show an issuer (name, id or default): its settings and its certificate. `mimir pki show REF` explains it."""
    if pem and chain:
        raise click.UsageError("--pem and --chain contradict each other")
    answer = session.client().read(pki_path(mount, "issuer", name_part(ref, "issuer")))
    if pem or chain:
        show(session, answer, lambda found: pem_lines(found, "ca_chain" if chain else "certificate"))
    else:
        show(session, answer, lambda found: table_and_pem(found, ("certificate",)))


@pki_command(
    "write",
    examples=(
        "mimir pki issuer write root issuer_name=root-2026",
        "mimir pki issuer write root usage=read-only,crl-signing,ocsp-signing",
        "mimir pki issuer write default leaf_not_after_behavior=truncate",
    ),
)
@click.argument("ref", metavar="REF")
@members_argument
@mount_option
@pass_session
def write(session: Session, ref: str, members: tuple[str, ...], mount: str) -> None:
    """Change an issuer; what is not named stays."""
    body = body_of(session, members)
    if not body:
        raise click.UsageError("say what to change, as issuer_name=root-2026")
    answer = session.client().merge(pki_path(mount, "issuer", name_part(ref, "issuer")), body)
    show(session, answer, lambda found: key_values(_short(found)) if found.data else "Success! The issuer is changed.")


def _short(answer: "Answer") -> list[tuple[str, object]]:
    return [(name, value) for name, value in sorted_items(answer.data) if "-----BEGIN" not in str(value)]


@pki_command("default", examples=("mimir pki issuer default", "mimir pki issuer default intermediate"))
@click.argument("ref", metavar="[REF]", required=False)
@mount_option
@pass_session
def default(session: Session, ref: str | None, mount: str) -> None:
    """Show which issuer signs when none is named, or make it REF."""
    path = pki_path(mount, "config", "issuers")
    if ref is None:
        show(session, session.client().read(path), lambda found: key_values(sorted_items(found.data)))
        return
    answer = session.client().request("POST", path, body={"default": name_part(ref, "issuer")})
    show(session, answer, lambda _: f"Success! {printable(ref)} is the default issuer.")


@pki_command(
    "import", examples=("mimir pki issuer import old-ca.pem", "mimir pki issuer import - < bundle-with-key.pem")
)
@click.argument("file", metavar="FILE|-")
@mount_option
@pass_session
def import_(session: Session, file: str, mount: str) -> None:
    """Take in CAs from PEM: certificates, and their keys, if the file holds them. Nothing of it is printed."""
    body = {"pem_bundle": file_text(session, file, what="certificate")}
    answer = session.client().request("POST", pki_path(mount, "issuers", "import", "bundle"), body=body)
    show(session, answer, imported)


@pki_command("revoke", examples=("mimir pki issuer revoke old-intermediate",))
@click.argument("ref", metavar="REF")
@mount_option
@pass_session
def revoke(session: Session, ref: str, mount: str) -> None:
    """Revoke a CA. It signs nothing more but its CRL; if its own issuer is here, that one's CRL lists it."""
    answer = session.client().request("POST", pki_path(mount, "issuer", name_part(ref, "issuer"), "revoke"), body={})
    show(session, answer, lambda _: f"Success! The issuer {printable(ref)} is revoked.")


@pki_command("delete", examples=("mimir pki issuer delete old-root",))
@click.argument("ref", metavar="REF")
@mount_option
@pass_session
def delete(session: Session, ref: str, mount: str) -> None:
    """Forget an issuer. Its key stays: see `mimir pki key list`."""
    answer = session.client().delete(pki_path(mount, "issuer", name_part(ref, "issuer")))
    show(session, answer, lambda _: f"Success! The issuer {printable(ref)} is deleted, if it existed.")
