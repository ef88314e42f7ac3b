"""`mimir token capabilities|accessors|tidy|rotate-batch-key`: looking at all tokens, and seeing to them."""

from typing import TYPE_CHECKING

import click

from client.commands.generic import keys_table
from client.framework import command
from client.output import show
from client.session import Session, pass_session

if TYPE_CHECKING:
    from client.api import Answer, JsonObject


@command(
    "capabilities",
    examples=(
        "mimir token capabilities transit/encrypt/orders",
        "mimir token capabilities - transit/encrypt/orders < token.txt",
        "mimir token capabilities --accessor 8609694a-cdbc-db9b transit/encrypt/orders",
    ),
)
@click.argument("arguments", nargs=-1, required=True, metavar="[TOKEN|-] PATH")
@click.option("--accessor", metavar="ACCESSOR", help="Name the token by its accessor.")
@pass_session
def capabilities(session: Session, arguments: tuple[str, ...], accessor: str | None) -> None:
    """Show what a token may do at PATH: the one in use, or another."""
    *target, path = arguments
    if len(target) > 1 or (target and accessor):
        raise click.UsageError("give at most one of TOKEN, - for standard input and --accessor, then one PATH")
    body: JsonObject = {"paths": [path]}
    where = "sys/capabilities-self"
    if accessor:
        where, body = "sys/capabilities-accessor", body | {"accessor": accessor}
    elif target:
        where, body = "sys/capabilities", body | {"token": session.inputs.text(target[0], what="token")}
    show(session, session.client().request("POST", where, body=body), _capabilities)


def _capabilities(answer: "Answer") -> str:
    found = answer.data.get("capabilities")
    return ", ".join(str(name) for name in found) if isinstance(found, list) else "-"


@command("accessors", examples=("mimir token accessors", "mimir token accessors -o json"))
@pass_session
def accessors(session: Session) -> None:
    """List the accessors of all tokens, of this namespace and below."""
    show(session, session.client().list("auth/token/accessors"), keys_table)


@command("tidy", examples=("mimir token tidy",))
@pass_session
def tidy(session: Session) -> None:
    """Clear away what lost tokens left behind; runs in the background."""
    answer = session.client().request("POST", "auth/token/tidy", body={})
    show(session, answer, lambda _: "Success! What it finds is in the appliance's log.")


@command("rotate-batch-key", examples=("mimir token rotate-batch-key", "mimir token rotate-batch-key --end-all"))
@click.option("--end-all", is_flag=True, help="Refuse every batch token that exists.")
@pass_session
def rotate_batch_key(session: Session, end_all: bool) -> None:
    """Seal batch tokens under a new key from now on.

    A single batch token cannot be revoked: --end-all is the answer to a stolen one.
    """
    answer = session.client().request("POST", "auth/token/batch-key/rotate", body={"end_all": end_all})
    done = "Success! Batch tokens have a new key"
    show(session, answer, lambda _: f"{done}, and those from before are refused." if end_all else f"{done}.")
