"""`mimir dynamic static-role …`: accounts that exist already, whose password is changed on schedule."""

from typing import Any

import click

from client.commands.generic import keys_table
from client.database_options import (
    below_mount,
    database_body,
    database_command,
    member_rows,
    members_argument,
    mount_option,
    path_of,
    policy_member,
    statements,
)
from client.framework import group
from client.output import show
from client.session import Session, pass_session
from client.table import key_values
from client.text import printable

_HERE = "client.commands.dynamic_static_role"
static_role = group(
    "static-role",
    summary="Write, read, list and delete static roles: accounts whose password is changed on schedule.",
    lazy={"write": f"{_HERE}:write", "read": f"{_HERE}:read", "list": f"{_HERE}:list_", "delete": f"{_HERE}:delete"},
    examples=(
        "mimir dynamic static-role write orders-batch --db-name orders-db --username batch --rotation-period 24h",
        "mimir dynamic static-role list",
    ),
)
_KIND = "static-roles"


@database_command(
    "write",
    examples=(
        "mimir dynamic static-role write orders-batch --db-name orders-db --username batch --rotation-period 24h",
        (
            "mimir dynamic static-role write orders-batch --db-name orders-db --username batch "
            "--rotation-schedule '0 3 * * SUN' --rotation-window 1h"
        ),
        (
            "mimir dynamic static-role write orders-web --db-name orders-db --username web_a "
            "--alternate-username web_b --rotation-period 12h --kv-path secret/apps/orders"
        ),
    ),
)
@click.argument("role", metavar="PATH|ROLE")
@members_argument
@click.option("--db-name", metavar="CONNECTION", help="The connection, as `mimir secrets config` calls it.")
@click.option("--username", metavar="NAME", help="The account on the database; it must be there.")
@click.option("--alternate-username", metavar="NAME", help="A second one: each rotation changes the one not in use.")
@click.option("--rotation-period", metavar="TIME", help="Change the password that often, as 24h.")
@click.option("--rotation-schedule", metavar="CRON", help="Change it at these times (UTC), as '0 3 * * SUN'.")
@click.option("--rotation-window", metavar="TIME", help="How long after a scheduled time it may begin, as 1h.")
@click.option("--rotation-statements", multiple=True, metavar="TEXT|@FILE|-", help="How it is changed; may repeat.")
@click.option("--password-policy", metavar="NAME", help="The policy of the passwords, over the connection's.")
@click.option("--kv-path", metavar="PATH", help="Write each password there, too, as secret/apps/orders.")
@mount_option
@pass_session
def write(session: Session, /, role: str, members: tuple[str, ...], mount: str | None, **options: Any) -> None:
    """Make a static role, which changes the password of its account at once, or change what is given of one."""
    if options["rotation_period"] and options["rotation_schedule"]:
        raise click.UsageError("--rotation-period and --rotation-schedule exclude each other: give one")
    where = path_of(role, _KIND, mount)
    options["rotation_statements"] = statements(session, options["rotation_statements"])
    options["credential_config"] = policy_member(options.pop("password_policy"))
    body = database_body(session, members, **options)
    if not body:
        raise click.UsageError("say what to write, as --db-name CONNECTION --username NAME --rotation-period 24h")
    answer = session.client().request("POST", where, body=body)
    show(session, answer, lambda _: f"Success! The static role is written to {printable(where)}.")


@database_command("read", examples=("mimir dynamic static-role read orders-batch",))
@click.argument("role", metavar="PATH|ROLE")
@mount_option
@pass_session
def read(session: Session, role: str, mount: str | None) -> None:
    """Show a static role: its account, its schedule, how the last rotation went."""
    answer = session.client().read(path_of(role, _KIND, mount))
    show(session, answer, lambda found: key_values(member_rows(found.data)))


@database_command("list", examples=("mimir dynamic static-role list", "mimir dynamic static-role list -mount=team-db"))
@mount_option
@pass_session
def list_(session: Session, mount: str | None) -> None:
    """List the names of the static roles."""
    show(session, session.client().list(below_mount(mount, _KIND)), keys_table)


@database_command("delete", examples=("mimir dynamic static-role delete orders-batch",))
@click.argument("role", metavar="PATH|ROLE")
@mount_option
@pass_session
def delete(session: Session, role: str, mount: str | None) -> None:
    """Delete a static role. The account stays on the database, with a password that nobody knows any more."""
    where = path_of(role, _KIND, mount)
    answer = session.client().delete(where)
    show(session, answer, lambda _: f"Success! The static role {printable(where)} is deleted, if it existed.")
