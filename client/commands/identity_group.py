"""`mimir identity group …`."""

from typing import TYPE_CHECKING

import click

from client.commands.identity import described, is_id, item_path, known_items, known_path, pairs, replaced
from client.commands.identity_entity import lookup_body
from client.errors import RefusedError
from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.table import columns, key_values

if TYPE_CHECKING:
    from client.api import Answer, Client, JsonObject

group_ = group(
    "group",
    summary="See and change groups: entities that share policies.",
    lazy={name: f"client.commands.identity_group:{name}" for name in ("create", "read", "update", "delete", "lookup")}
    | {"list": "client.commands.identity_group:list_"},
    examples=(
        "mimir identity group create operators --policy operate --member orders-api",
        "mimir identity group read operators",
    ),
)
_MEMBERS: tuple[str, ...] = (
    "id",
    "name",
    "type",
    "policies",
    "member_entity_ids",
    "member_group_ids",
    "parent_group_ids",
)
_MEMBERS += ("creation_time", "last_update_time")


@command(
    "create",
    examples=(
        "mimir identity group create operators --policy operate --member orders-api --member billing-api",
        "mimir identity group create ldap-operators --external --policy operate",
    ),
)
@click.argument("name")
@click.option("--external", is_flag=True, help="A login method says who is in it; give it an alias.")
@click.option("--policy", multiple=True, metavar="NAME", help="A policy for its members; repeat for several.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="For templates of policies.")
@click.option("--member", multiple=True, metavar="NAME|ID", help="An entity that is in it; repeat for several.")
@click.option("--member-group", multiple=True, metavar="NAME|ID", help="A group that is in it; repeat for several.")
@pass_session
def create(
    session: Session,
    *,
    name: str,
    external: bool,
    policy: tuple[str, ...],
    metadata: tuple[str, ...],
    member: tuple[str, ...],
    member_group: tuple[str, ...],
) -> None:
    """Make a group; one of that NAME is changed."""
    client = session.client()
    body: JsonObject = {"name": name}
    if external:
        body["type"] = "external"
    if policy:
        body["policies"] = list(policy)
    if metadata:
        body["metadata"] = pairs(metadata, what="metadata")
    if member:
        body["member_entity_ids"] = _ids(client, "entity", member)
    if member_group:
        body["member_group_ids"] = _ids(client, "group", member_group)
    answer = client.request("POST", "identity/group", body=body)
    show(session, answer, lambda given: _made(given, name))


def _made(answer: "Answer", name: str) -> str:
    if not answer.data:
        return f"Success! The group {name} existed and is changed."
    return key_values([("id", answer.data.get("id")), ("name", answer.data.get("name"))])


def _ids(client: "Client", kind: str, wanted: tuple[str, ...]) -> list[str]:
    """Ids of what is named by ids or names; a name costs a request."""
    return [one if is_id(one) else str(client.read(item_path(kind, one)).data.get("id")) for one in wanted]


@command("read", examples=("mimir identity group read operators",))
@click.argument("wanted", metavar="NAME|ID")
@pass_session
def read(session: Session, wanted: str) -> None:
    """Show a group with its members."""
    show(session, session.client().read(item_path("group", wanted)), group_table)


@command("list", examples=("mimir identity group list",))
@pass_session
def list_(session: Session) -> None:
    """List all groups."""
    show(session, session.client().list("identity/group/id"), _groups)


def _groups(answer: "Answer") -> str:
    rows = [
        (about.get("name"), about.get("num_member_entities"), about.get("num_parent_groups"), group_id)
        for group_id, about in known_items(answer)
    ]
    return columns(("Name", "Entities", "Parents", "ID"), rows)


@command(
    "update",
    examples=(
        "mimir identity group update operators --member orders-api --member billing-api",
        "mimir identity group update operators --no-policy",
    ),
)
@click.argument("wanted", metavar="NAME|ID")
@click.option("--policy", multiple=True, metavar="NAME", help="Its policies from now on; repeat for several.")
@click.option("--no-policy", is_flag=True, help="Take all policies from it.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="All its metadata from now on.")
@click.option("--member", multiple=True, metavar="NAME|ID", help="The entities in it from now on; repeat.")
@click.option("--no-member", is_flag=True, help="Take all entities out of it.")
@click.option("--member-group", multiple=True, metavar="NAME|ID", help="The groups in it from now on; repeat.")
@click.option("--no-member-group", is_flag=True, help="Take all groups out of it.")
@pass_session
def update(
    session: Session,
    *,
    wanted: str,
    policy: tuple[str, ...],
    no_policy: bool,
    metadata: tuple[str, ...],
    member: tuple[str, ...],
    no_member: bool,
    member_group: tuple[str, ...],
    no_member_group: bool,
) -> None:
    """Change a group. What is not given stays; a list that is given replaces the old one."""
    policies = replaced(policy, no_policy, flag="policy")
    members = replaced(member, no_member, flag="member")
    groups = replaced(member_group, no_member_group, flag="member-group")
    client = session.client()
    body: JsonObject = {}
    if policies is not None:
        body["policies"] = policies
    if metadata:
        body["metadata"] = pairs(metadata, what="metadata")
    if members is not None:
        body["member_entity_ids"] = _ids(client, "entity", tuple(members))
    if groups is not None:
        body["member_group_ids"] = _ids(client, "group", tuple(groups))
    if not body:
        raise click.UsageError("there is nothing to change: give an option")
    answer = client.request("POST", known_path(client, "group", wanted), body=body)
    show(session, answer, lambda _: f"Success! The group {wanted} is changed.")


@command("delete", examples=("mimir identity group delete operators",))
@click.argument("wanted", metavar="NAME|ID")
@pass_session
def delete(session: Session, wanted: str) -> None:
    """Delete a group. Its members stay, without its policies."""
    answer = session.client().delete(item_path("group", wanted))
    show(session, answer, lambda _: f"Success! The group {wanted} is deleted, if it existed.")


@command(
    "lookup",
    examples=(
        "mimir identity group lookup --alias cn=ops --accessor auth_ldap_1a2b3c4d",
        "mimir identity group lookup --name operators",
    ),
)
@click.option("--name", metavar="NAME", help="By its name.")
@click.option("--id", "group_id", metavar="ID", help="By its ID.")
@click.option("--alias-id", metavar="ID", help="By the ID of its alias.")
@click.option("--alias", metavar="NAME", help="By the name of its alias, with --accessor.")
@click.option("--accessor", metavar="ACCESSOR", help="The login method of --alias.")
@pass_session
def lookup(
    session: Session,
    *,
    name: str | None,
    group_id: str | None,
    alias_id: str | None,
    alias: str | None,
    accessor: str | None,
) -> None:
    """Find the group behind a name, an alias or an ID."""
    body = lookup_body(name, group_id, alias_id, alias, accessor)
    answer = session.client().request("POST", "identity/lookup/group", body=body)
    if not answer.data:
        raise RefusedError("there is no such group")
    show(session, answer, group_table)


def group_table(answer: "Answer") -> str:
    """A group for people."""
    from client.commands.identity import alias_rows

    held = answer.data.get("alias")
    aliases = alias_rows([held]) if held else ""
    return described(answer.data, _MEMBERS) + (f"\n\n{aliases}" if aliases else "")
