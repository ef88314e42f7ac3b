"""`mimir dynamic connections|roles`: all of a mount at a glance."""

from typing import TYPE_CHECKING

from client.database_options import below_mount, database_command, lifetimes, moment, mount_option
from client.errors import AbsentError
from client.output import show_value
from client.pages import names_in
from client.pki_options import plain_client
from client.progress import progress_in_items
from client.session import Session, pass_session
from client.table import columns, duration

if TYPE_CHECKING:
    from client.api import Client, JsonObject


@database_command("connections", examples=("mimir dynamic connections", "mimir dynamic connections -mount=team-db"))
@mount_option
@pass_session
def connections(session: Session, mount: str | None) -> None:
    """Show each connection: its plugin, who may use it, when its own password was changed, and what failed."""
    found = _all(plain_client(session, "connections"), mount, "config", names=None)
    rows = [_connection_row(one) for one in found]
    headings = ("Name", "Plugin", "Allowed roles", "Rotated every", "Last rotation", "Error")
    show_value(session, {"connections": found}, columns(headings, rows))


def _connection_row(one: "JsonObject") -> tuple[object, ...]:
    every = one.get("root_rotation_ttl")
    return (
        *(one.get("name"), one.get("plugin_name"), one.get("allowed_roles")),
        *(duration(every) if every else None, moment(one.get("last_root_rotation"))),
        one.get("root_rotation_error") or None,
    )


@database_command("roles", examples=("mimir dynamic roles", "mimir dynamic roles -o json"))
@mount_option
@pass_session
def roles(session: Session, mount: str | None) -> None:
    """Show each role and static role: its connection, and how long its passwords live."""
    client = plain_client(session, "roles")
    names, static_names = _names(client, mount, "roles"), _names(client, mount, "static-roles")
    if not names and not static_names:
        client.list(below_mount(mount, "roles"))  # says whether the mount is there
    dynamic = [one | {"kind": "dynamic"} for one in _all(client, mount, "roles", names=names)]
    static = [one | {"kind": "static"} for one in _all(client, mount, "static-roles", names=static_names)]
    rows = [_role_row(one) for one in dynamic + static]
    show_value(session, {"roles": dynamic + static}, columns(("Name", "Kind", "Connection", "Lifetime"), rows))


def _role_row(one: "JsonObject") -> tuple[object, ...]:
    lifetime = _schedule(one) if one["kind"] == "static" else _lifetime(one)
    return one.get("name"), one["kind"], one.get("db_name"), lifetime


def _lifetime(one: "JsonObject") -> str:
    lives = lifetimes(one)
    return f"{lives['default_ttl']}, at most {lives['max_ttl']}"


def _schedule(one: "JsonObject") -> str:
    if one.get("rotation_schedule"):
        return f"changed at {one['rotation_schedule']}"
    return f"changed every {duration(one.get('rotation_period'))}"


def _names(client: "Client", mount: str | None, kind: str) -> list[str]:
    """Those of a list, which the API says is not there when it is empty."""
    try:
        return names_in(client.list(below_mount(mount, kind)))
    except AbsentError:
        return []


def _all(client: "Client", mount: str | None, kind: str, *, names: list[str] | None) -> "list[JsonObject]":
    """Each item of a list with its name; one that went meanwhile is left out."""
    wanted = names_in(client.list(below_mount(mount, kind))) if names is None else names
    found: list[JsonObject] = []
    with progress_in_items("Reading", wanted=len(wanted) > 50, total=len(wanted)) as advance:
        for name in wanted:
            try:
                found.append({"name": name} | client.read(below_mount(mount, kind, name)).data)
            except AbsentError:
                continue
            finally:
                advance(1)
    return found
