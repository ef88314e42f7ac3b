"""`mimir dynamic reconcile`: accounts on databases against the leases that they belong to."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from client.database_options import below_mount, confirm, database_command, mount_option, yes_option
from client.errors import CliError, ExitCode, NoAnswerError
from client.output import show_value
from client.pages import names_in
from client.pki_options import name_part, plain_client
from client.progress import progress_in_items
from client.session import Session, pass_session
from client.table import columns

if TYPE_CHECKING:
    from client.api import Client, JsonObject


@database_command(
    "reconcile",
    examples=(
        "mimir dynamic reconcile",
        "mimir dynamic reconcile orders-db --apply",
        "mimir dynamic reconcile orders-db --include-foreign -o json",
    ),
)
@click.argument("connection", required=False)
@click.option("--apply", "apply_", is_flag=True, help="Remove the orphans; without it they are only shown.")
@click.option(
    "--include-foreign",
    is_flag=True,
    help="Also accounts that another mount or another appliance has made: are they really nobody's?",
)
@mount_option
@yes_option
@pass_session
def reconcile(
    session: Session, *, connection: str | None, apply_: bool, include_foreign: bool, mount: str | None, yes: bool
) -> None:
    """Find accounts without a lease, and leases without an account: of CONNECTION, or of all of the mount.

    Exits with 1 when something is left to do: orphans without --apply, or what could not be removed or looked at.
    """
    client = plain_client(session, "reconcile")
    names = [name_part(connection, "connection")] if connection else names_in(client.list(below_mount(mount, "config")))
    if apply_ and include_foreign:
        confirm("Accounts of other mounts and appliances will be removed, too. Go on?", yes=yes)
    body = {"apply": apply_, "include_foreign": include_foreign}
    reports = []
    with progress_in_items("Comparing", wanted=True, total=len(names)) as advance:
        for name in names:
            where = below_mount(mount, "reconcile", name)
            reports.append(_report(client, where, name, body, alone=connection is not None))
            advance(1)
    left = sum(_left(report, applied=apply_, foreign=include_foreign) for report in reports)
    value = {"connections": reports, "left": left}
    show_value(session, value, _text(reports, left=left, applied=apply_))
    if left or _not_compared(reports):
        raise click.exceptions.Exit(ExitCode.FAILED)


def _report(client: "Client", where: str, name: str, body: "JsonObject", *, alone: bool) -> "JsonObject":
    """What the appliance found; of several connections one that cannot be looked at does not hold up the others."""
    try:
        return {"connection": name} | client.request("POST", where, body=body).data
    except NoAnswerError:
        raise
    except CliError as exc:
        if alone:
            raise
        return {"connection": name, "error": exc.sentence}


def _left(report: "JsonObject", *, applied: bool, foreign: bool) -> int:
    """How much is still to be done."""
    if applied:
        return len(_rows(report, "failures"))
    counted = ("orphan_accounts", "orphan_leases", *(("foreign_accounts",) if foreign else ()))
    return sum(len(_rows(report, name)) for name in counted) + len(_rows(report, "failures"))


def _not_compared(reports: "list[JsonObject]") -> int:
    return sum(1 for report in reports if report.get("error"))


def _rows(report: "JsonObject", name: str) -> list[Any]:
    found = report.get(name)
    return found if isinstance(found, list) else []


def _count(value: object) -> object:
    """A number, or how many there are."""
    return len(value) if isinstance(value, list) else value


_COUNTED = ("checked_accounts", "checked_leases", "orphan_accounts", "orphan_leases", "foreign_accounts")
_DONE = ("removed_accounts", "revoked_leases")


def _text(reports: "list[JsonObject]", *, left: int, applied: bool) -> str:
    members = _COUNTED + (_DONE if applied else ())
    headings = ["Connection", *(name.replace("_", " ").capitalize() for name in members)]
    table = columns(
        headings, [[report["connection"], *(_count(report.get(name)) for name in members)] for report in reports]
    )
    found = [row for report in reports for row in _findings(report)]
    details = columns(("Connection", "What", "Name", "Reason"), found) if found else ""
    conclusion = _conclusion(left, _not_compared(reports), applied=applied)
    return "\n\n".join(part for part in (table, details, conclusion) if part)


def _findings(report: "JsonObject") -> Iterator[tuple[object, ...]]:
    name = report["connection"]
    if report.get("error"):
        yield name, "not compared", None, report["error"]
    for member in ("orphan_accounts", "orphan_leases", "foreign_accounts"):
        for one in _rows(report, member):
            yield name, member.replace("_", " ").removesuffix("s"), one, None
    for failure in _rows(report, "failures"):
        about = failure if isinstance(failure, dict) else {"what": failure}
        yield name, "failed", about.get("what"), about.get("reason")


def _conclusion(left: int, not_compared: int, *, applied: bool) -> str:
    sentences = []
    if left and applied:
        sentences.append(f"{left} could not be mended; run it again when the reason is gone.")
    elif left:
        sentences.append(f"{left} to mend: `mimir dynamic reconcile --apply` removes orphans.")
    if not_compared:
        sentences.append(f"{not_compared} of the connections could not be compared.")
    return " ".join(sentences) or f"Success! {'Nothing is left to do' if applied else 'Accounts and leases agree'}."
