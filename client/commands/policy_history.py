"""`mimir policy versions|diff|rollback`: what a policy was before, and going back to it."""

from typing import TYPE_CHECKING, Any

import click

from client.commands.policy import ROOT, for_terminal
from client.errors import LocalError
from client.framework import command
from client.output import show
from client.session import Session, pass_session
from client.table import columns

if TYPE_CHECKING:
    from client.api import Answer, JsonObject


@command("versions", examples=("mimir policy versions orders-api", "mimir policy versions orders-api -o json"))
@click.argument("name")
@pass_session
def versions(session: Session, name: str) -> None:
    """List the versions of a policy that are kept, with author and time; also of a deleted one."""
    show(session, session.client().read(f"{ROOT}/{name}/versions"), versions_table)


def versions_table(answer: "Answer") -> str:
    """The newest first."""
    found = answer.data.get("versions")
    if not isinstance(found, list):
        raise LocalError("the answer holds no versions: `-o json` shows what it holds")
    rows = [(view.get("version"), _event(view), view.get("written_at"), _author(view)) for view in found]
    return columns(("Version", "Event", "Time", "Author"), rows)


def _event(view: "JsonObject") -> str:
    restored = view.get("restored")
    return f"{view.get('event')} to {restored}" if restored else str(view.get("event"))


def _author(view: "JsonObject") -> Any:
    author = view.get("author") or {}
    return author.get("display_name") or author.get("accessor") or None


@command("diff", examples=("mimir policy diff orders-api", "mimir policy diff orders-api --from 1 --to 4"))
@click.argument("name")
@click.option("--from", "from_", type=click.IntRange(min=1), help="The older version; by default the one before.")
@click.option("--to", type=click.IntRange(min=1), help="The newer version; by default the newest.")
@pass_session
def diff(session: Session, name: str, from_: int | None, to: int | None) -> None:
    """Show what changed between two versions of a policy."""
    query = {key: str(value) for key, value in (("from", from_), ("to", to)) if value is not None}
    answer = session.client().read(f"{ROOT}/{name}/diff", query)
    show(session, answer, lambda given: for_terminal(str(given.data.get("diff") or "")) or "No difference.")


@command("rollback", examples=("mimir policy rollback orders-api --to 3",))
@click.argument("name")
@click.option("--to", type=click.IntRange(min=1), required=True, help="The version whose text is wanted back.")
@click.option("--cas", type=click.IntRange(min=0), help="Only if this version is in force; 0: none.")
@pass_session
def rollback(session: Session, name: str, to: int, cas: int | None) -> None:
    """Put the text of an older version in force again, as a new version; also of a deleted policy."""
    body: JsonObject = {"version": to} if cas is None else {"version": to, "cas": cas}
    answer = session.client().request("POST", f"{ROOT}/{name}/rollback", body=body)
    show(
        session,
        answer,
        lambda given: (
            f"Success! Policy {name} has the text of version {to} again, as version {given.data.get('version')}."
        ),
    )
