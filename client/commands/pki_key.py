"""`mimir pki key …`: the keys of CAs."""

from typing import TYPE_CHECKING

import click

from client.framework import group
from client.output import show
from client.pages import detailed_rows
from client.pki_ca import KEY_TYPES, ask, out_options, with_defaults
from client.pki_options import body_of, file_text, mount_option, name_part, pki_command, pki_path
from client.session import Session, pass_session
from client.table import columns, key_values, sorted_items
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer

_HERE = "client.commands.pki_key"
key = group(
    "key",
    summary="List, read, make, import, rename and delete the keys of CAs.",
    lazy={"list": f"{_HERE}:list_", "import": f"{_HERE}:import_"}
    | {name: f"{_HERE}:{name}" for name in ("read", "generate", "rename", "delete")},
    examples=("mimir pki key list", "mimir pki key generate --name issuing --key-type ec --key-bits 384"),
)


@pki_command("list", examples=("mimir pki key list",))
@mount_option
@pass_session
def list_(session: Session, mount: str) -> None:
    """List the keys with their names, and which one is the default."""
    show(session, session.client().list(pki_path(mount, "keys")), _table)


def _table(answer: "Answer") -> str:
    rows = []
    for key_id, found in detailed_rows(answer):
        rows.append((found.get("key_name") or None, key_id, found.get("is_default")))
    return columns(("Name", "Key id", "Default"), rows)


@pki_command("read", examples=("mimir pki key read issuing",))
@click.argument("ref", metavar="REF", default="default")
@mount_option
@pass_session
def read(session: Session, ref: str, mount: str) -> None:
    """Show a key (name, id or default): its type, and where it lives. Never the key itself."""
    answer = session.client().read(pki_path(mount, "key", name_part(ref, "key")))
    show(session, answer, lambda found: key_values(sorted_items(found.data)))


@pki_command(
    "generate",
    examples=(
        "mimir pki key generate --name issuing",
        "mimir pki key generate --name issuing --key-type rsa --key-bits 3072",
        "mimir pki key generate --name backup --type exported --out key.pem",
    ),
)
@click.option("--name", "key_name", metavar="NAME", help="What it will be called.")
@click.option(
    "--type",
    "where",
    type=click.Choice(("internal", "exported", "kms")),
    default="internal",
    show_default=True,
    help="internal: made in the HSM; exported: shown once.",
)
@click.option("--key-type", type=click.Choice(KEY_TYPES), help="The kind of key [ec].")
@click.option("--key-bits", type=click.IntRange(min=1), metavar="N", help="256, 384, 521; 2048, 3072, 4096; 44, 65…")
@out_options
@mount_option
@pass_session
def generate(
    session: Session,
    *,
    key_name: str | None,
    where: str,
    key_type: str | None,
    key_bits: int | None,
    mount: str,
    out: str | None,
    force: bool,
) -> None:
    """Make a key for a CA to come: `mimir pki root generate --type existing --key-ref NAME`."""
    body = with_defaults(body_of(session, (), key_name=key_name, key_type=key_type, key_bits=key_bits), where)
    ask(session, pki_path(mount, "keys", "generate", where), body, printed=("private_key",), out=out, force=force)


@pki_command("import", examples=("mimir pki key import ca-key.pem --name old-ca",))
@click.argument("file", metavar="FILE|-")
@click.option("--name", "key_name", metavar="NAME", help="What it will be called.")
@mount_option
@pass_session
def import_(session: Session, file: str, key_name: str | None, mount: str) -> None:
    """Take in a private key in PEM. It was outside, so it counts as such: better make a new one in the HSM."""
    body = body_of(session, (), pem_bundle=file_text(session, file, what="private key"), key_name=key_name)
    answer = session.client().request("POST", pki_path(mount, "keys", "import"), body=body)
    show(session, answer, lambda found: key_values(sorted_items(found.data)))


@pki_command("rename", examples=("mimir pki key rename 5d7c… issuing-2026",))
@click.argument("ref", metavar="REF")
@click.argument("name")
@mount_option
@pass_session
def rename(session: Session, ref: str, name: str, mount: str) -> None:
    """Give a key another name."""
    answer = session.client().request("POST", pki_path(mount, "key", name_part(ref, "key")), body={"key_name": name})
    show(session, answer, lambda _: f"Success! The key is called {printable(name)}.")


@pki_command("delete", examples=("mimir pki key delete old-ca",))
@click.argument("ref", metavar="REF")
@mount_option
@pass_session
def delete(session: Session, ref: str, mount: str) -> None:
    """Destroy a key. Whatever needs it, CRLs too, is never signed again: there is no way back."""
    answer = session.client().delete(pki_path(mount, "key", name_part(ref, "key")))
    show(session, answer, lambda _: f"Success! The key {printable(ref)} is deleted, if it existed.")
