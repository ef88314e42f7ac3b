"""`mimir kv config read|write` and `mimir kv enable-versioning`: what holds for a whole mount."""

from typing import TYPE_CHECKING

import click

from client.errors import LocalError
from client.framework import group
from client.kv_options import kv_command
from client.kv_path import KvPath, check_versioned, find_mount
from client.output import show
from client.session import Session, pass_session
from client.table import key_values, sorted_items
from client.text import printable

if TYPE_CHECKING:
    from client.api import Client, JsonObject

config = group(
    "config",
    summary="What holds for all secrets of a mount, unless their metadata says otherwise.",
    lazy={"read": "client.commands.kv_mount:read", "write": "client.commands.kv_mount:write"},
    examples=("mimir kv config read secret", "mimir kv config write secret --max-versions 5"),
)


def find_whole_mount(client: "Client", mount: str) -> KvPath:
    """A mount, and nothing below it."""
    found = find_mount(client, "", mount)
    check_versioned(found)
    return found


@kv_command("read", examples=("mimir kv config read secret", "mimir kv config read secret --field max_versions"))
@click.argument("mount")
@pass_session
def read(session: Session, mount: str) -> None:
    """Show the settings of a mount."""
    client = session.client()
    found = find_whole_mount(client, mount)
    show(session, client.read(found.api("config").rstrip("/")), lambda given: key_values(sorted_items(given.data)))


@kv_command(
    "write",
    examples=(
        "mimir kv config write secret --max-versions 5 --cas-required",
        "mimir kv config write secret --delete-version-after 720h",
    ),
)
@click.argument("mount")
@click.option("--max-versions", type=click.IntRange(min=0), help="How many versions of a secret are kept; 0: 10.")
@click.option(
    "--cas-required/--no-cas-required", default=None, help="Whether each write must name the version it replaces."
)
@click.option("--delete-version-after", metavar="TIME", help="How long versions live; 0s: for ever.")
@pass_session
def write(
    session: Session,
    *,
    mount: str,
    max_versions: int | None,
    cas_required: bool | None,
    delete_version_after: str | None,
) -> None:
    """Change the settings of a mount; what is not named stays."""
    given = {"max_versions": max_versions, "cas_required": cas_required, "delete_version_after": delete_version_after}
    body: JsonObject = {name: value for name, value in given.items() if value is not None}
    if not body:
        raise click.UsageError("say what to change, as --max-versions 5")
    client = session.client()
    found = find_whole_mount(client, mount)
    answer = client.request("POST", found.api("config").rstrip("/"), body=body)
    show(session, answer, lambda _: f"Success! Settings of {found.shown} are written.")


@kv_command("enable-versioning", examples=("mimir kv enable-versioning secret",))
@click.argument("mount")
@pass_session
def enable_versioning(session: Session, mount: str) -> None:
    """Turn a mount of version 1 into version 2, in place. There is no way back."""
    client = session.client()
    found = find_mount(client, "", mount)
    if found.version == 2:
        raise LocalError(f"{found.shown} keeps versions already")
    where = found.mount.rstrip("/")
    answer = client.request("POST", f"sys/mounts/{where}/tune", body={"options": {"version": "2"}})
    show(session, answer, lambda _: f"Success! {printable(found.mount)} keeps versions from now on.")
