"""`mimir identity entity …`."""

from typing import TYPE_CHECKING

import click

from client.commands.identity import alias_rows, described, is_id, item_path, known_items, known_path, pairs, replaced
from client.errors import RefusedError
from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.table import columns, key_values

if TYPE_CHECKING:
    from client.api import Answer, JsonObject

entity = group(
    "entity",
    summary="See and change entities: who stands behind logins.",
    lazy={
        name: f"client.commands.identity_entity:{name}"
        for name in ("create", "read", "update", "delete", "merge", "lookup")
    }
    | {"list": "client.commands.identity_entity:list_"},
    examples=("mimir identity entity create orders-api --policy orders", "mimir identity entity read orders-api"),
)
_MEMBERS: tuple[str, ...] = (
    "id",
    "name",
    "policies",
    "disabled",
    "direct_group_ids",
    "inherited_group_ids",
    "merged_entity_ids",
)
_MEMBERS += ("creation_time", "last_update_time")


@command(
    "create",
    examples=(
        "mimir identity entity create orders-api --policy orders --metadata environment=production",
        "mimir identity entity create orders-api --field id",
    ),
)
@click.argument("name")
@click.option("--policy", multiple=True, metavar="NAME", help="A policy for all its tokens; repeat for several.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="For templates and conditions of policies.")
@click.option("--disabled", is_flag=True, help="Refuse its tokens.")
@pass_session
def create(session: Session, *, name: str, policy: tuple[str, ...], metadata: tuple[str, ...], disabled: bool) -> None:
    """Make an entity; one of that NAME is changed."""
    body: JsonObject = {"name": name}
    if policy:
        body["policies"] = list(policy)
    if metadata:
        body["metadata"] = pairs(metadata, what="metadata")
    if disabled:
        body["disabled"] = True
    answer = session.client().request("POST", "identity/entity", body=body)
    show(session, answer, lambda given: _made(given, name))


def _made(answer: "Answer", name: str) -> str:
    if not answer.data:
        return f"Success! The entity {name} existed and is changed."
    return key_values([("id", answer.data.get("id")), ("name", answer.data.get("name"))])


@command("read", examples=("mimir identity entity read orders-api", "mimir identity entity read orders-api -o json"))
@click.argument("wanted", metavar="NAME|ID")
@pass_session
def read(session: Session, wanted: str) -> None:
    """Show an entity with its aliases and groups."""
    show(session, session.client().read(item_path("entity", wanted)), entity_table)


@command("list", examples=("mimir identity entity list",))
@pass_session
def list_(session: Session) -> None:
    """List all entities."""
    show(session, session.client().list("identity/entity/id"), _entities)


def _entities(answer: "Answer") -> str:
    rows = []
    for entity_id, about in known_items(answer):
        aliases = [str(held.get("name")) for held in about.get("aliases") or []]
        rows.append((about.get("name"), aliases, entity_id))
    return columns(("Name", "Aliases", "ID"), rows)


@command(
    "update",
    examples=(
        "mimir identity entity update orders-api --policy orders --policy reports",
        "mimir identity entity update orders-api --disabled",
    ),
)
@click.argument("wanted", metavar="NAME|ID")
@click.option("--rename", metavar="NAME", help="A new name; the entity must then be named by its ID.")
@click.option("--policy", multiple=True, metavar="NAME", help="Its policies from now on; repeat for several.")
@click.option("--no-policy", is_flag=True, help="Take all policies from it.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="All its metadata from now on.")
@click.option("--no-metadata", is_flag=True, help="Take all metadata from it.")
@click.option("--disabled/--enabled", default=None, help="Whether its tokens are refused.")
@pass_session
def update(
    session: Session,
    *,
    wanted: str,
    rename: str | None,
    policy: tuple[str, ...],
    no_policy: bool,
    metadata: tuple[str, ...],
    no_metadata: bool,
    disabled: bool | None,
) -> None:
    """Change an entity. What is not given stays; a list that is given replaces the old one."""
    if rename and not is_id(wanted):
        raise click.UsageError("--rename needs the ID of the entity, which `read` shows")
    lists = {"policies": replaced(policy, no_policy, flag="policy")}
    named = replaced(metadata, no_metadata, flag="metadata")
    body: JsonObject = {name: value for name, value in lists.items() if value is not None}
    if named is not None:
        body["metadata"] = pairs(tuple(named), what="metadata")
    if rename:
        body["name"] = rename
    if disabled is not None:
        body["disabled"] = disabled
    if not body:
        raise click.UsageError("there is nothing to change: give an option")
    client = session.client()
    answer = client.request("POST", known_path(client, "entity", wanted), body=body)
    show(session, answer, lambda _: f"Success! The entity {wanted} is changed.")


@command("delete", examples=("mimir identity entity delete orders-api",))
@click.argument("wanted", metavar="NAME|ID")
@pass_session
def delete(session: Session, wanted: str) -> None:
    """Delete an entity with its aliases. Its tokens are refused from then on."""
    answer = session.client().delete(item_path("entity", wanted))
    show(session, answer, lambda _: f"Success! The entity {wanted} is deleted, if it existed.")


@command(
    "merge",
    examples=(
        "mimir identity entity merge 3f2504e0-4f89-41d3-9a0c-0305e82c3301 --from 7d444840-9dc0-41d1-b245-5ffdce74fad2",
    ),
)
@click.argument("target", metavar="ID")
@click.option("--from", "sources", multiple=True, required=True, metavar="ID", help="What becomes part of it; repeat.")
@click.option("--keep-alias", multiple=True, metavar="ID", help="The alias that stays where both have one.")
@pass_session
def merge(session: Session, target: str, sources: tuple[str, ...], keep_alias: tuple[str, ...]) -> None:
    """Make other entities part of the one with this ID; their tokens are then its tokens."""
    body: JsonObject = {"to_entity_id": target, "from_entity_ids": list(sources)}
    if keep_alias:
        body["conflicting_alias_ids_to_keep"] = list(keep_alias)
    answer = session.client().request("POST", "identity/entity/merge", body=body)
    show(session, answer, lambda _: f"Success! {len(sources)} of them became part of {target}.")


@command(
    "lookup",
    examples=(
        "mimir identity entity lookup --alias bob --accessor auth_userpass_1a2b3c4d",
        "mimir identity entity lookup --name orders-api",
    ),
)
@click.option("--name", metavar="NAME", help="By its name.")
@click.option("--id", "entity_id", metavar="ID", help="By its ID.")
@click.option("--alias-id", metavar="ID", help="By the ID of an alias.")
@click.option("--alias", metavar="NAME", help="By the name of an alias, with --accessor.")
@click.option("--accessor", metavar="ACCESSOR", help="The login method of --alias.")
@pass_session
def lookup(
    session: Session,
    *,
    name: str | None,
    entity_id: str | None,
    alias_id: str | None,
    alias: str | None,
    accessor: str | None,
) -> None:
    """Find the entity behind a name, an alias or an ID."""
    body = lookup_body(name, entity_id, alias_id, alias, accessor)
    answer = session.client().request("POST", "identity/lookup/entity", body=body)
    if not answer.data:
        raise RefusedError("there is no such entity")
    show(session, answer, entity_table)


def lookup_body(
    name: str | None, item_id: str | None, alias_id: str | None, alias: str | None, accessor: str | None
) -> "JsonObject":
    """What a lookup sends."""
    body: JsonObject = {"name": name, "id": item_id, "alias_id": alias_id, "alias_name": alias}
    body["alias_mount_accessor"] = accessor
    body = {member: value for member, value in body.items() if value}
    if len(body.keys() - {"alias_mount_accessor"}) != 1 or bool(alias) != bool(accessor):
        raise click.UsageError("say which: --name, --id, --alias-id, or --alias with --accessor")
    return body


def entity_table(answer: "Answer") -> str:
    """An entity for people."""
    aliases = alias_rows(answer.data.get("aliases"))
    return described(answer.data, _MEMBERS) + (f"\n\n{aliases}" if aliases else "")
