"""`mimir wrap` and `mimir unwrap`: hand a secret to somebody else, for one look."""

from typing import TYPE_CHECKING

import click

from client.commands.generic import secret_table
from client.framework import command
from client.output import show
from client.session import Session, pass_session
from client.table import duration, key_values

if TYPE_CHECKING:
    from client.api import Answer


@command(
    "unwrap",
    examples=(
        "mimir unwrap - < wrapping-token.txt",
        "mimir unwrap --field secret_id < wrapping-token.txt",
        "mimir unwrap --lookup - < wrapping-token.txt",
    ),
)
@click.argument("token", required=False, default="", metavar="[TOKEN|-]")
@click.option("--lookup", is_flag=True, help="Only tell when and for what path it was made; takes nothing.")
@pass_session
def unwrap(session: Session, token: str, lookup: bool) -> None:
    """Fetch what a wrapping token holds. It works once: who comes second finds nothing, and should raise an alarm.

    The wrapping token is the only permission that is needed. Without an argument it is asked for and not shown; -
    reads it from standard input.
    """
    given = session.inputs.text(token, what="token") if token else session.inputs.hidden("Token", what="token")
    client = session.client(token=given)
    if lookup:
        answer = client.request("POST", "sys/wrapping/lookup", body={"token": given}, authenticated=False)
        show(session, answer, _told)
        return
    show(session, client.write("sys/wrapping/unwrap"), secret_table)


def _told(answer: "Answer") -> str:
    rows = [(name, duration(value) if name == "creation_ttl" else value) for name, value in answer.data.items()]
    return key_values(rows)


@command(
    "wrap",
    examples=("mimir wrap password=@password.txt", "mimir wrap --wrap-ttl 1h user=app password=-"),
)
@click.argument("data", nargs=-1, required=True, metavar="KEY=VALUE|KEY=@FILE|KEY=-|@FILE|-...")
@pass_session
def wrap(session: Session, data: tuple[str, ...]) -> None:
    """Keep values under a token that shows them once, for --wrap-ttl (5 minutes without it).

    A value given as @FILE is read from the file and as - from standard input, which keeps secrets off the command line.
    """
    answer = session.client().write("sys/wrapping/wrap", session.inputs.pairs(data))
    show(session, answer, secret_table)
