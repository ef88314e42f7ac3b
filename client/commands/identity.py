"""`mimir identity …`: entities, their aliases, and groups; and what their commands share."""

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import click

from client.errors import LocalError, NoAnswerError
from client.framework import group
from client.table import columns, key_values
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, Client, JsonObject

identity = group(
    "identity",
    summary="See and change who stands behind logins: entities, their aliases, and groups.",
    lazy={
        "entity": "client.commands.identity_entity:entity",
        "alias": "client.commands.identity_alias:alias",
        "group": "client.commands.identity_group:group_",
    },
    examples=(
        "mimir identity entity create orders-api --policy orders --metadata environment=production",
        "mimir identity group create operators --policy operate --member orders-api",
    ),
)


def item_path(kind: str, wanted: str) -> str:
    """The path of an entity or group that is named by its id or its name."""
    if is_id(wanted):
        return f"identity/{kind}/id/{wanted}"
    if not wanted or "/" in wanted:
        raise LocalError(f"a name with a slash cannot stand in a path: give the ID of the {kind}, which `list` shows")
    return f"identity/{kind}/name/{wanted}"


def known_path(client: "Client", kind: str, wanted: str) -> str:
    """The path by id, for a change, as a write at an unknown name would make a new one. A name costs a request."""
    if is_id(wanted):
        return item_path(kind, wanted)
    return item_path(kind, str(client.read(item_path(kind, wanted)).data.get("id")))


def entity_id(client: "Client", wanted: str) -> str:
    """The ID of an entity that is named by ID or name. A name costs a request."""
    if is_id(wanted):
        return wanted
    found = replace(client, wrap_ttl="").read(item_path("entity", wanted)).data.get("id")
    if not isinstance(found, str) or not is_id(found):
        raise NoAnswerError(f"the answer does not say which ID the entity {printable(wanted)} has")
    return found


def is_id(text: str) -> bool:
    """Whether this is an id rather than a name."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def pairs(texts: tuple[str, ...], *, what: str) -> dict[str, str]:
    """What KEY=VALUE options say."""
    split = [text.partition("=") for text in texts]
    if not all(key and equals for key, equals, _ in split):
        raise click.UsageError(f"{what} is written as KEY=VALUE")
    return {key: value for key, _, value in split}


def replaced(given: tuple[str, ...], none: bool, *, flag: str) -> list[str] | None:
    """A list that options replace; None leaves it as it is."""
    if given and none:
        raise click.UsageError(f"--no-{flag} contradicts the values given")
    return list(given) if given or none else None


def described(data: "JsonObject", names: tuple[str, ...]) -> str:
    """Rows of the members, metadata under names of their own."""
    rows = [(name, data.get(name)) for name in names]
    for member in ("metadata", "custom_metadata"):
        values = data.get(member)
        rows += [(f"{member}_{key}", value) for key, value in sorted((values or {}).items())]
    return key_values(rows)


def alias_rows(aliases: object) -> str:
    """A table of aliases; "" for none."""
    rows = [
        (held.get("name"), held.get("mount_path") or held.get("mount_accessor"), held.get("id"))
        for held in (aliases if isinstance(aliases, list) else [])
    ]
    return columns(("Alias", "Login method", "ID"), rows) if rows else ""


def known_items(answer: "Answer") -> list[tuple[str, "JsonObject"]]:
    """Ids and what a list tells of each, by name."""
    info = answer.data.get("key_info")
    if not isinstance(info, dict):
        raise LocalError("the answer holds no list: `-o json` shows what it holds")
    return sorted(info.items(), key=lambda item: str(item[1].get("name")))
