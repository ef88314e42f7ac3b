"""`mimir policy test|explain`: what would be allowed, and why something was refused."""

from typing import TYPE_CHECKING, Any

import click

from client.framework import command
from client.output import show
from client.session import Session, pass_session
from client.table import columns
from client.text import printable

if TYPE_CHECKING:
    from client.api import Answer, JsonObject

ALLOWED = "✓ Allowed"
DENIED = "✗ Denied"


@command(
    "test",
    examples=(
        'mimir policy test --identity orders-api --path "database/creds/orders-api" --action read',
        "mimir policy test --identity anna --path secret/data/prod --action update --from 10.1.2.3 --explain",
        "mimir policy test --policy draft --path sys/mounts --action read --at 2026-11-28T03:00:00Z",
    ),
)
@click.option("--identity", metavar="NAME", help="An entity, an alias or a role; failing those, a policy.")
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="A policy instead; repeat for several.")
@click.option("--path", required=True, metavar="PATH", help="What would be used, as database/creds/orders-api.")
@click.option("--action", required=True, metavar="CAPABILITY", help="create, read, update, patch, delete, list, scan…")
@click.option("--at", metavar="TIME", help="When, as 2026-11-28T03:00:00Z; by default now.")
@click.option("--from", "from_", metavar="IP", help="From which address.")
@click.option("--reason", metavar="TEXT", help="The reason that the request would give.")
@click.option("--data", multiple=True, metavar="KEY=VALUE", help="A parameter of the request; repeat for several.")
@click.option("--explain", is_flag=True, help="Say which rule of which policy decided.")
@pass_session
def test(
    session: Session,
    /,
    *,
    identity: str | None,
    policies: tuple[str, ...],
    from_: str | None,
    data: tuple[str, ...],
    explain: bool,
    **given: str | None,
) -> None:
    """Say whether an identity may do something. The exit code is 0 when it may and 1 when it may not."""
    if bool(identity) == bool(policies):
        raise click.UsageError("say who: --identity or --policy")
    body: JsonObject = {name: value for name, value in given.items() if value is not None}
    body |= {"identity": identity} if identity else {"policies": list(policies)}
    if from_:
        body["from"] = from_
    if data:
        body["data"] = session.inputs.pairs(data)
    answer = session.client().request("POST", "sys/policies/test", body=body)
    show(session, answer, explanation if explain else verdict)
    if answer.data and answer.data.get("allowed") is not True:
        click.get_current_context().exit(1)


def verdict(answer: "Answer") -> str:
    """As the guide prints it."""
    return ALLOWED if answer.data.get("allowed") is True else DENIED


def explanation(answer: "Answer") -> str:
    """The verdict, and below it what decided."""
    data = answer.data
    who = data.get("identity") or {}
    rows = [("identity", f"{who.get('name')} ({who.get('kind')})" if who.get("name") else None)]
    rows += [("policies", who.get("policies")), ("rule", data.get("rule"))]
    rows += [("decided by", place(rule)) for rule in data.get("rules") or []]
    rows += [("condition", data.get("condition")), ("reason", data.get("reason"))]
    return f"{verdict(answer)}\n\n{pairs(rows)}"


def place(rule: "JsonObject") -> str:
    """Where a rule stands."""
    line = f", line {rule['line']}" if rule.get("line") else ""
    return f"policy {rule.get('policy')}, version {rule.get('version')}{line}"


def pairs(rows: list[tuple[str, Any]]) -> str:
    """Aligned names and values, without those that are not there."""
    kept = [(name, ", ".join(value) if isinstance(value, list) else str(value)) for name, value in rows if value]
    width = max((len(name) for name, _ in kept), default=0)
    return "\n".join(f"{name.ljust(width)}  {printable(value)}" for name, value in kept)


@command(
    "explain",
    examples=(
        "mimir policy explain 4f3a8e6c-8a52-4b1c-9d0e-2f6b7c1d5a90",
        "mimir policy explain 4f3a8e6c-8a52-4b1c-9d0e-2f6b7c1d5a90 -o json",
    ),
)
@click.argument("request_id", metavar="REQUEST_ID")
@pass_session
def explain(session: Session, request_id: str) -> None:
    """Say why a request was refused. Its id stands in the error that the caller got."""
    show(session, session.client().read(f"sys/policies/explain/{request_id}"), refusal_table)


def refusal_table(answer: "Answer") -> str:
    """Who wanted what, and what decided."""
    data = answer.data
    rows: list[tuple[str, Any]] = [("refused", data.get("at"))]
    rows += [(name, data.get(name)) for name in ("operation", "path", "namespace", "address")]
    rows += [("token", data.get("display_name")), ("accessor", data.get("accessor"))]
    rows += [("entity", data.get("entity_id")), ("policies", data.get("policies")), ("rule", data.get("rule"))]
    if data.get("policy"):
        rows += [("decided by", place(data))]
    rows += [("condition", data.get("condition")), ("reason", data.get("reason"))]
    return columns(("Key", "Value"), [(name, value) for name, value in rows if value])
