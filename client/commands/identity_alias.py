"""`mimir identity alias …`: the names by which login methods know entities, and external groups."""

from typing import TYPE_CHECKING

import click

from client.commands.identity import described, known_items, pairs, replaced
from client.errors import LocalError
from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.table import columns, key_values

if TYPE_CHECKING:
    from client.api import Answer, Client, JsonObject

alias = group(
    "alias",
    summary="See and change aliases: the names by which login methods know entities and groups.",
    lazy={name: f"client.commands.identity_alias:{name}" for name in ("create", "read", "update", "delete")}
    | {"list": "client.commands.identity_alias:list_"},
    examples=(
        "mimir identity alias create bob --entity orders-api --mount userpass",
        "mimir identity alias create cn=ops --group operators --mount ldap",
        "mimir identity alias list",
    ),
)
_MEMBERS: tuple[str, ...] = (
    "id",
    "name",
    "canonical_id",
    "mount_path",
    "mount_accessor",
    "creation_time",
    "last_update_time",
)
_KIND = click.option("--group", "of_group", is_flag=True, help="An alias of a group, not of an entity.")


@command(
    "create",
    examples=(
        "mimir identity alias create bob --entity orders-api --mount userpass",
        "mimir identity alias create cn=ops --group operators --mount ldap",
        "mimir identity alias create bob --accessor auth_userpass_1a2b3c4d --metadata team=core",
    ),
)
@click.argument("name")
@click.option("--entity", metavar="NAME|ID", help="Whose alias it is; without it an entity is made.")
@click.option("--group", "group_name", metavar="NAME|ID", help="The external group that it is for.")
@click.option("--mount", metavar="PATH", help="The login method, as `auth list` names it.")
@click.option("--accessor", metavar="ACCESSOR", help="The login method by its accessor.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="Custom metadata of an entity's alias.")
@pass_session
def create(
    session: Session,
    *,
    name: str,
    entity: str | None,
    group_name: str | None,
    mount: str | None,
    accessor: str | None,
    metadata: tuple[str, ...],
) -> None:
    """Tell that a login method's NAME stands for an entity, or for an external group."""
    if bool(mount) == bool(accessor):
        raise click.UsageError("say which login method: --mount or --accessor")
    if group_name and (entity or metadata):
        raise click.UsageError("--group takes neither --entity nor --metadata")
    client = session.client()
    body: JsonObject = {"name": name, "mount_accessor": accessor or _accessor(client, mount or "")}
    if metadata:
        body["custom_metadata"] = pairs(metadata, what="metadata")
    kind = "group" if group_name else "entity"
    if owner := group_name or entity:
        body["canonical_id"] = _id_of(client, kind, owner)
    answer = client.request("POST", f"identity/{kind}-alias", body=body)
    show(session, answer, lambda given: _made(given, name))


def _made(answer: "Answer", name: str) -> str:
    if not answer.data:
        return f"Success! The alias {name} was so already."
    return key_values([("id", answer.data.get("id")), ("canonical_id", answer.data.get("canonical_id"))])


def _accessor(client: "Client", mount: str) -> str:
    path = mount.strip("/").removeprefix("auth/") + "/"
    known = client.read("sys/auth").data
    if not isinstance(known.get(path), dict):
        raise LocalError(f"there is no login method at {path}: `mimir auth list` shows them")
    return str(known[path].get("accessor"))


def _id_of(client: "Client", kind: str, owner: str) -> str:
    from client.commands.identity import is_id, item_path

    return owner if is_id(owner) else str(client.read(item_path(kind, owner)).data.get("id"))


@command(
    "read",
    examples=(
        "mimir identity alias read 3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "mimir identity alias read --group 3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    ),
)
@click.argument("alias_id", metavar="ID")
@_KIND
@pass_session
def read(session: Session, alias_id: str, of_group: bool) -> None:
    """Show an alias."""
    show(session, session.client().read(_path(alias_id, of_group)), lambda given: described(given.data, _MEMBERS))


@command("list", examples=("mimir identity alias list", "mimir identity alias list --group"))
@_KIND
@pass_session
def list_(session: Session, of_group: bool) -> None:
    """List all aliases, of entities or of groups."""
    show(session, session.client().list(_path("", of_group)), _aliases)


def _aliases(answer: "Answer") -> str:
    rows = [
        (about.get("name"), about.get("mount_path") or about.get("mount_accessor"), alias_id, about.get("canonical_id"))
        for alias_id, about in known_items(answer)
    ]
    return columns(("Name", "Login method", "ID", "Entity or group"), rows)


@command(
    "update",
    examples=("mimir identity alias update 3f2504e0-4f89-41d3-9a0c-0305e82c3301 --metadata team=core",),
)
@click.argument("alias_id", metavar="ID")
@click.option("--name", metavar="NAME", help="Its name at the login method.")
@click.option("--entity", metavar="ID", help="Give it to another entity.")
@click.option("--metadata", multiple=True, metavar="KEY=VALUE", help="All its custom metadata from now on.")
@click.option("--no-metadata", is_flag=True, help="Take all custom metadata from it.")
@pass_session
def update(
    session: Session,
    *,
    alias_id: str,
    name: str | None,
    entity: str | None,
    metadata: tuple[str, ...],
    no_metadata: bool,
) -> None:
    """Change an entity's alias. What is not given stays."""
    named = replaced(metadata, no_metadata, flag="metadata")
    body: JsonObject = {member: value for member, value in (("name", name), ("canonical_id", entity)) if value}
    if named is not None:
        body["custom_metadata"] = pairs(tuple(named), what="metadata")
    if not body:
        raise click.UsageError("there is nothing to change: give an option")
    answer = session.client().request("POST", _path(alias_id, of_group=False), body=body)
    show(session, answer, lambda _: f"Success! The alias {alias_id} is changed.")


@command("delete", examples=("mimir identity alias delete 3f2504e0-4f89-41d3-9a0c-0305e82c3301",))
@click.argument("alias_id", metavar="ID")
@_KIND
@pass_session
def delete(session: Session, alias_id: str, of_group: bool) -> None:
    """Delete an alias. The next login by that name makes an entity of its own."""
    answer = session.client().delete(_path(alias_id, of_group))
    show(session, answer, lambda _: f"Success! The alias {alias_id} is deleted, if it existed.")


def _path(alias_id: str, of_group: bool) -> str:
    kind = "group-alias" if of_group else "entity-alias"
    return f"identity/{kind}/id/{alias_id}".rstrip("/")
