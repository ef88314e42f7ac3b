"""`mimir kv metadata get|put|patch|delete`: what is known of a secret beside its values."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from client.errors import NoAnswerError, RefusedError
from client.framework import group
from client.kv_options import kv_command, mount_option
from client.kv_output import NOT_KV, section, sections
from client.kv_path import find_versioned
from client.kv_read import with_hint
from client.output import show
from client.session import Session, pass_session
from client.table import columns, key_values
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, JsonObject

metadata = group(
    "metadata",
    summary="Versions, owner, classification and settings of a secret.",
    lazy={name: f"client.commands.kv_metadata:{name}" for name in ("get", "put", "patch", "delete")},
    examples=("mimir kv metadata get secret/app", "mimir kv metadata patch secret/app --owner team-web"),
)
_OPTIONS = (
    click.option("--owner", metavar="NAME", help="Who answers for it."),
    click.option("--classification", metavar="WORD", help="How sensitive it is, in your own words: confidential."),
    click.option("--rotate-every", metavar="TIME", help="How old the current version may become: 90d."),
    click.option("--expires-at", metavar="TIME", help="When it ends, as 2027-01-31T00:00:00Z."),
    click.option("--custom-metadata", multiple=True, metavar="KEY=VALUE", help="Noted with it; may repeat."),
    click.option("--max-versions", type=click.IntRange(min=0), help="How many versions are kept; 0: as the mount."),
    click.option(
        "--cas-required/--no-cas-required", default=None, help="Whether each write must name the version it replaces."
    ),
    click.option(
        "--cas", "metadata_cas", type=click.IntRange(min=0), help="Only if it was written so often; 0: never."
    ),
    click.option(
        "--metadata-cas-required/--no-metadata-cas-required",
        default=None,
        help="Whether each write of metadata must give --cas.",
    ),
    click.option("--delete-version-after", metavar="TIME", help="How long versions live; 0s: as the mount."),
)


def _settings(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def _body(session: Session, options: "JsonObject") -> "JsonObject":
    """What was given, as the API names it."""
    body = {name: value for name, value in options.items() if value is not None and name != "custom_metadata"}
    if options["custom_metadata"]:
        body["custom_metadata"] = session.inputs.pairs(options["custom_metadata"])
    return body


@kv_command(
    "get", examples=("mimir kv metadata get secret/app", "mimir kv metadata get -mount=secret app --field owner")
)
@click.argument("path")
@mount_option
@pass_session
def get(session: Session, path: str, mount: str | None) -> None:
    """Show the settings of a secret, and of each version who made it, when, from where and why."""
    client = session.client()
    found = find_versioned(client, path, mount)
    try:
        answer = client.read(found.api("metadata"))
    except RefusedError as exc:
        raise with_hint(exc, found) from exc
    show(
        session,
        answer,
        lambda given: sections(section("Metadata Path", printable(found.api("metadata"))), metadata_text(given)),
    )


_VERSION = ("Version", "State", "Stages", "Created", "Deleted", "By", "From", "Reason")


def metadata_text(answer: "Answer") -> str:
    """The settings, then a line for each version, the newest first."""
    versions = answer.data.get("versions")
    if not isinstance(versions, dict):
        raise NoAnswerError(NOT_KV)
    settings = key_values((name, _or_dash(value)) for name, value in sorted(answer.data.items()) if name != "versions")
    listed = sorted(versions.items(), key=_place, reverse=True)
    rows = [_version_row(number, block) for number, block in listed if isinstance(block, dict)]
    return sections(section("Metadata", settings), section("Versions", columns(_VERSION, rows)))


def _or_dash(value: object) -> object:
    return None if value == "" else value


def _place(item: tuple[str, object]) -> int:
    return int(item[0]) if item[0].isascii() and item[0].isdigit() else 0


def _version_row(number: str, block: "JsonObject") -> list[object]:
    author = block.get("created_by")
    name = author.get("name") if isinstance(author, dict) else author
    state = block.get("state") or ("destroyed" if block.get("destroyed") else None)
    members = [block.get(member) or None for member in ("stages", "created_time", "deletion_time")]
    return [number, state, *members, name or None, block.get("created_from") or None, block.get("reason") or None]


@kv_command(
    "put",
    examples=(
        "mimir kv metadata put secret/app --owner team-web --classification confidential --rotate-every 90d",
        "mimir kv metadata put -mount=secret -max-versions=5 -delete-version-after=3h25m19s app",
        "mimir kv metadata put secret/app --custom-metadata ticket=CHG-1042 --cas-required",
    ),
)
@click.argument("path")
@mount_option
@_settings
@pass_session
def put(session: Session, /, path: str, mount: str | None, **options: Any) -> None:
    """Set metadata of a secret, which need not have a version yet. --custom-metadata replaces all that was noted."""
    body = _body(session, options)
    client = session.client()
    found = find_versioned(client, path, mount)
    answer = client.request("POST", found.api("metadata"), body=body)
    show(session, answer, lambda _: f"Success! Data written to: {printable(found.api('metadata'))}")


@kv_command(
    "patch",
    examples=(
        "mimir kv metadata patch secret/app --owner team-web",
        "mimir kv metadata patch secret/app --custom-metadata ticket=CHG-1042 --remove-custom-metadata old",
    ),
)
@click.argument("path")
@mount_option
@_settings
@click.option("--remove-custom-metadata", "removed", multiple=True, metavar="KEY", help="Take it away; may repeat.")
@pass_session
def patch(session: Session, /, path: str, mount: str | None, removed: tuple[str, ...], **options: Any) -> None:
    """Change metadata of a secret; what is not named stays."""
    body = _body(session, options)
    if removed:
        noted = body.get("custom_metadata", {})
        if twice := sorted(noted.keys() & set(removed)):
            raise click.UsageError(f"{', '.join(map(printable, twice))} cannot be both set and removed")
        body["custom_metadata"] = {**noted, **dict.fromkeys(removed)}
    if not body:
        raise click.UsageError("say what to change, as --owner team-web")
    client = session.client()
    found = find_versioned(client, path, mount)
    answer = client.merge(found.api("metadata"), body)
    show(session, answer, lambda _: f"Success! Data written to: {printable(found.api('metadata'))}")


@kv_command("delete", examples=("mimir kv metadata delete secret/app",))
@click.argument("path")
@mount_option
@pass_session
def delete(session: Session, path: str, mount: str | None) -> None:
    """Delete a secret with all its versions and metadata, for good."""
    client = session.client()
    found = find_versioned(client, path, mount)
    answer = client.delete(found.api("metadata"))
    show(session, answer, lambda _: f"Success! Data deleted (if it existed) at: {printable(found.api('metadata'))}")
