"""`mimir dynamic verify`: whether the accounts of a role work, and end."""

from typing import TYPE_CHECKING

import click

from client.database_options import below_mount, database_command, mount_option
from client.output import show
from client.pki_options import name_part, plain_client
from client.session import Session, pass_session
from client.table import columns
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, JsonObject


@database_command("verify", examples=("mimir dynamic verify orders-api", "mimir dynamic verify orders-api -o json"))
@click.argument("role")
@mount_option
@pass_session
def verify(session: Session, role: str, mount: str | None) -> None:
    """Make an account of ROLE, log in with it, check what it may do, remove it, and prove that it is gone.

    Exits with 1 when a step fails.
    """
    where = below_mount(mount, "verify", name_part(role, "role"))
    answer = plain_client(session, "verify").request("POST", where)
    show(session, answer, verification_text)
    if answer.data.get("ok") is not True:
        raise click.exceptions.Exit(1)


def verification_text(answer: "Answer") -> str:
    """Verdict, steps, and what the account was allowed."""
    data = answer.data
    works = "works" if data.get("ok") is True else "does not work"
    verdict = f"{'✓' if data.get('ok') is True else '✗'} The role {_word(data, 'role')} {works}"
    tried = f"on {_word(data, 'connection')}, tried with the account {_word(data, 'username')}"
    steps = [step for step in data.get("steps") or [] if isinstance(step, dict)]
    table = columns(("Step", "Result", "Took", "Detail"), [_step_row(step) for step in steps])
    return "\n\n".join(filter(None, (f"{verdict} {tried}.", table, _grants(data.get("grants")))))


def _word(data: "JsonObject", name: str) -> str:
    return printable(str(data.get(name) or "-"))


def _step_row(step: "JsonObject") -> tuple[object, ...]:
    took = step.get("duration_ms")
    if step.get("skipped"):
        return step.get("step"), "- skipped", None, step.get("detail") or None
    result = "✓" if step.get("ok") is True else "✗ failed"
    return step.get("step"), result, None if took is None else f"{took} ms", step.get("detail") or None


def _grants(grants: object) -> str:
    lines = [f"  {printable(str(grant))}" for grant in grants] if isinstance(grants, list) else []
    return "\n".join(["What the account may do:", *lines]) if lines else ""
