"""`mimir token role …`: what the tokens made with `mimir token create --role` are like."""

from typing import TYPE_CHECKING

import click

from client.commands.generic import keys_table
from client.framework import command, group
from client.output import show
from client.session import Session, pass_session
from client.table import duration, key_values, sorted_items

if TYPE_CHECKING:
    from client.api import Answer

role = group(
    "role",
    summary="Write, read, list and delete token roles.",
    lazy={"write": "client.commands.token_role:write", "read": "client.commands.token_role:read"}
    | {"list": "client.commands.token_role:list_", "delete": "client.commands.token_role:delete"},
    examples=("mimir token role write orders-api allowed_policies=orders-api orphan=true", "mimir token role list"),
)
_ROOT = "auth/token/roles"
_SECONDS = {"period", "token_period", "explicit_max_ttl", "token_explicit_max_ttl"}


@command(
    "write",
    examples=(
        "mimir token role write orders-api allowed_policies=orders-api,default token_period=24h",
        "mimir token role write batch-jobs token_type=batch orphan=true renewable=false allowed_policies=jobs",
        "mimir token role write orders-api - < role.json",
    ),
)
@click.argument("name")
@click.argument("data", nargs=-1, metavar="[KEY=VALUE|KEY=@FILE|KEY=-|@FILE|-]...")
@pass_session
def write(session: Session, name: str, data: tuple[str, ...]) -> None:
    """Create a role, or change what is given of one."""
    answer = session.client().request("POST", f"{_ROOT}/{name}", body=session.inputs.pairs(data))
    show(session, answer, lambda _: f"Success! Token role {name} is written.")


@command("read", examples=("mimir token role read orders-api",))
@click.argument("name")
@pass_session
def read(session: Session, name: str) -> None:
    """Show a role."""
    show(session, session.client().read(f"{_ROOT}/{name}"), _table)


@command("list", examples=("mimir token role list",))
@pass_session
def list_(session: Session) -> None:
    """List the names of all roles."""
    show(session, session.client().list(_ROOT), keys_table)


@command("delete", examples=("mimir token role delete orders-api",))
@click.argument("name")
@pass_session
def delete(session: Session, name: str) -> None:
    """Delete a role. Its tokens live on, and are not renewed any more."""
    answer = session.client().delete(f"{_ROOT}/{name}")
    show(session, answer, lambda _: f"Success! Token role {name} is deleted, if it existed.")


def _table(answer: "Answer") -> str:
    """With durations as people write them."""
    rows = [(name, duration(value) if name in _SECONDS else value) for name, value in sorted_items(answer.data)]
    return key_values(rows)
