"""`mimir transit key …`: the keys of a transit engine."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from client.commands.generic import keys_table
from client.commands.transit import mount_option
from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.table import columns, key_values, sorted_items

if TYPE_CHECKING:
    from client.api import Answer

key = group(
    "key",
    summary="Create, read, list, rotate, configure and delete keys.",
    lazy={"create": "client.commands.transit_key:create", "read": "client.commands.transit_key:read"}
    | {"list": "client.commands.transit_key:list_", "rotate": "client.commands.transit_key:rotate"}
    | {"config": "client.commands.transit_key:config", "delete": "client.commands.transit_key:delete"},
    examples=("mimir transit key create customer-data --type aes256-gcm96", "mimir transit key rotate customer-data"),
)


def _path(mount: str, name: str = "", action: str = "") -> str:
    return "/".join(part for part in (mount.strip("/"), "keys", name, action) if part)


@command(
    "create",
    examples=(
        "mimir transit key create customer-data --type aes256-gcm96",
        "mimir transit key create orders --mount payments",
    ),
)
@click.argument("name")
@click.option("--type", "type_", default="aes256-gcm96", show_default=True, metavar="TYPE", help="What kind of key.")
@mount_option
@pass_session
def create(session: Session, name: str, type_: str, mount: str) -> None:
    """Create a key. Its material is made inside the appliance's HSM and stays there."""
    answer = session.client().request("POST", _path(mount, name), body={"type": type_})
    show(session, answer, lambda given: _created(given, name, type_))


def _created(answer: "Answer", name: str, type_: str) -> str:
    if answer.body.get("warnings"):  # the key was there before
        return f"Key {name} is unchanged, type {answer.data.get('type', type_)}."
    return f"Success! Key {name} is created, type {type_}."


@command(
    "read",
    examples=("mimir transit key read customer-data", "mimir transit key read customer-data --field latest_version"),
)
@click.argument("name")
@mount_option
@pass_session
def read(session: Session, name: str, mount: str) -> None:
    """Show a key's configuration and its versions."""
    show(session, session.client().read(_path(mount, name)), key_text)


@command("list", examples=("mimir transit key list", "mimir transit key list --mount payments -o json"))
@mount_option
@pass_session
def list_(session: Session, mount: str) -> None:
    """List the names of all keys."""
    show(session, session.client().list(_path(mount)), keys_table)


@command("rotate", examples=("mimir transit key rotate customer-data",))
@click.argument("name")
@mount_option
@pass_session
def rotate(session: Session, name: str, mount: str) -> None:
    """Make a new version of a key. Old ciphertexts can still be decrypted."""
    answer = session.client().request("POST", _path(mount, name, "rotate"), body={})
    show(session, answer, lambda given: f"Success! Key {name} is rotated{_now_at(given)}.")


def _now_at(answer: "Answer") -> str:
    version = answer.data.get("latest_version")
    return f"; its latest version is {version}" if isinstance(version, int) else ""


@command(
    "config",
    examples=(
        "mimir transit key config customer-data --min-decryption-version 2",
        "mimir transit key config customer-data --deletion-allowed",
    ),
)
@click.argument("name")
@click.option("--min-decryption-version", type=click.IntRange(min=0), help="Refuse to decrypt under older versions.")
@click.option(
    "--min-encryption-version", type=click.IntRange(min=0), help="Refuse to encrypt under older ones; 0: the latest."
)
@click.option("--deletion-allowed/--no-deletion-allowed", default=None, help="Whether the key can be deleted.")
@mount_option
@pass_session
def config(session: Session, /, name: str, mount: str, **options: Any) -> None:
    """Change a key's configuration; what is not named stays as it is."""
    body = {option: value for option, value in options.items() if value is not None}
    if not body:
        raise click.UsageError("there is nothing to change: name at least one option")
    answer = session.client().request("POST", _path(mount, name, "config"), body=body)
    show(session, answer, lambda _: f"Success! Key {name} is configured.")


@command("delete", examples=("mimir transit key delete customer-data",))
@click.argument("name")
@mount_option
@pass_session
def delete(session: Session, name: str, mount: str) -> None:
    """Delete a key and with it the way to read what it encrypted.

    The key must allow it: `mimir transit key config NAME --deletion-allowed`.
    """
    answer = session.client().delete(_path(mount, name))
    show(session, answer, lambda _: f"Success! Key {name} is deleted.")


def key_text(answer: "Answer") -> str:
    """The key's properties, then its versions, the newest last."""
    versions = answer.data.get("keys")
    properties = key_values(row for row in sorted_items(answer.data) if row[0] != "keys")
    if not isinstance(versions, dict) or not versions:
        return properties
    rows = [(version, _details(versions[version])) for version in sorted(versions, key=_number)]
    return f"{properties}\n\n{columns(('Version', 'Created'), rows)}"


def _number(version: str) -> int:
    return int(version) if version.isdigit() and version.isascii() else 0


def _details(version: object) -> object:
    """The time a version was made, for symmetric keys a Unix time; of others, all that is said of them."""
    if isinstance(version, int) and 0 <= version < 253402300800:  # year 10000, where datetime ends
        return datetime.fromtimestamp(version, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return version
