"""`mimir secrets role …`: which accounts are made on a database, and for how long."""

from typing import Any

import click

from client.commands.generic import keys_table
from client.database_options import (
    database_body,
    folder_path,
    item_path,
    lifetimes,
    member_rows,
    members_argument,
    policy_member,
    statements,
)
from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.table import key_values
from client.text import printable

_HERE = "client.commands.secrets_role"
role = group(
    "role",
    summary="Write, read, list and delete roles: which accounts are made on a database, and for how long.",
    lazy={"write": f"{_HERE}:write", "read": f"{_HERE}:read", "list": f"{_HERE}:list_", "delete": f"{_HERE}:delete"},
    examples=(
        (
            "mimir secrets role write database/roles/orders-api --db-name orders-db --creation-statements "
            "@orders-api.sql --default-ttl 1h --max-ttl 4h"
        ),
        "mimir secrets role read database/roles/orders-api",
    ),
)
_KIND = "roles"
_STATEMENTS = "TEXT|@FILE|-"


@command(
    "write",
    examples=(
        (
            "mimir secrets role write database/roles/orders-api --db-name orders-db --creation-statements "
            '\'CREATE ROLE "{{name}}" LOGIN; GRANT SELECT ON orders TO "{{name}}"\' --default-ttl 1h --max-ttl 4h'
        ),
        "mimir secrets role write database/roles/orders-api --creation-statements @orders-api.sql",
        "mimir secrets role write database/roles/orders-api --max-ttl 8h",
    ),
)
@click.argument("path")
@members_argument
@click.option("--db-name", metavar="CONNECTION", help="The connection, as `mimir secrets config` calls it.")
@click.option("--creation-statements", multiple=True, metavar=_STATEMENTS, help="Make an account; may repeat.")
@click.option("--revocation-statements", multiple=True, metavar=_STATEMENTS, help="Remove it; may repeat.")
@click.option("--renew-statements", multiple=True, metavar=_STATEMENTS, help="Let it live longer; may repeat.")
@click.option("--rollback-statements", multiple=True, metavar=_STATEMENTS, help="Undo half a creation; may repeat.")
@click.option(
    "--verify-statements",
    multiple=True,
    metavar=_STATEMENTS,
    help="What an account must be able to do, for `mimir dynamic verify`; may repeat.",
)
@click.option("--default-ttl", metavar="TIME", help="How long an account lives unless renewed; 1h, if not given.")
@click.option("--max-ttl", metavar="TIME", help="How long it lives at most; 24h, if not given.")
@click.option("--password-policy", metavar="NAME", help="The policy of the passwords, over the connection's.")
@pass_session
def write(session: Session, /, path: str, members: tuple[str, ...], **options: Any) -> None:
    """Make a role, or change what is given of one.

    {{name}}, {{password}} and {{expiration}} in statements are put in, quoted as the database wants it. Other members
    of the API are given as KEY=VALUE.
    """
    where = item_path(path, _KIND)
    given = {name: value for name, value in options.items() if not name.endswith("_statements")}
    given["credential_config"] = policy_member(given.pop("password_policy"))
    given |= {name: statements(session, value) for name, value in options.items() if name.endswith("_statements")}
    body = database_body(session, members, **given)
    if not body:
        raise click.UsageError("say what to write, as --db-name CONNECTION --creation-statements @FILE")
    answer = session.client().request("POST", where, body=body)
    show(session, answer, lambda _: f"Success! The role is written to {printable(where)}.")


@command("read", examples=("mimir secrets role read database/roles/orders-api",))
@click.argument("path")
@pass_session
def read(session: Session, path: str) -> None:
    """Show a role."""
    answer = session.client().read(item_path(path, _KIND))
    show(session, answer, lambda found: key_values(member_rows(found.data | lifetimes(found.data))))


@command("list", examples=("mimir secrets role list database/roles", "mimir secrets role list database"))
@click.argument("path")
@pass_session
def list_(session: Session, path: str) -> None:
    """List the names of the roles of a mount."""
    show(session, session.client().list(folder_path(path, _KIND)), keys_table)


@command("delete", examples=("mimir secrets role delete database/roles/orders-api",))
@click.argument("path")
@pass_session
def delete(session: Session, path: str) -> None:
    """Delete a role. Accounts that were made by it live on, to the end of their leases."""
    where = item_path(path, _KIND)
    answer = session.client().delete(where)
    show(session, answer, lambda _: f"Success! The role {printable(where)} is deleted, if it existed.")
