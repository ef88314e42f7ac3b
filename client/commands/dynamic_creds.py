"""`mimir dynamic creds|static-creds`: user name and password."""

from typing import TYPE_CHECKING

import click

from client.commands.generic import secret_table
from client.database_options import database_command, member_rows, mount_option, path_of
from client.output import show
from client.session import Session, pass_session
from client.table import key_values

if TYPE_CHECKING:
    from client.api import Answer


@database_command(
    "creds",
    examples=(
        "mimir dynamic creds orders-api",
        "mimir dynamic creds database/creds/orders-api -o json",
        "mimir dynamic creds orders-api --mount team-db --wrap-ttl 5m",
    ),
)
@click.argument("role", metavar="PATH|ROLE")
@mount_option
@pass_session
def creds(session: Session, role: str, mount: str | None) -> None:
    """Have an account made. It ends with its lease: `mimir lease renew` and `revoke` take the lease_id."""
    path, client = path_of(role, "creds", mount), session.client()
    show(session, client.request("GET", path, denied=_denied if client.load_token() else None), secret_table)


def _denied() -> str:
    return (
        "Either no policy of the token allows this (`mimir token lookup`), or the connection does not name the role in "
        "its allowed_roles (`mimir dynamic connections`)"
    )


@database_command(
    "static-creds",
    examples=("mimir dynamic static-creds orders-batch", "mimir dynamic static-creds orders-batch --field password"),
)
@click.argument("role", metavar="PATH|ROLE")
@mount_option
@pass_session
def static_creds(session: Session, role: str, mount: str | None) -> None:
    """Show the user and the current password of a static role, and how long it stays (ttl)."""
    show(session, session.client().read(path_of(role, "static-creds", mount)), _table)


def _table(answer: "Answer") -> str:
    return key_values(member_rows(answer.data))
