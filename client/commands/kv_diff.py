"""`mimir kv diff`: which values differ between two versions; the exit code tells, as of `diff`."""

from typing import TYPE_CHECKING, Any

import click

from client import exact_json
from client.errors import CliError, ExitCode, LocalError
from client.kv_options import kv_command, mount_option
from client.kv_output import shown_value
from client.kv_path import find_versioned
from client.kv_read import read_version, values_of
from client.output import show_value
from client.session import Session, pass_session
from client.table import columns
from client.text import printable

if TYPE_CHECKING:
    from client.api import JsonObject

_Leaves = dict[tuple[str, ...], Any]


@kv_command(
    "diff",
    examples=(
        "mimir kv diff secret/app",
        "mimir kv diff secret/app --from 1 --to 4",
        "mimir kv diff secret/app --to 4 --show-values",
    ),
)
@click.argument("path")
@mount_option
@click.option(
    "--from", "from_", type=click.IntRange(min=1), metavar="N", help="The older version; else the one before --to."
)
@click.option("--to", type=click.IntRange(min=1), metavar="N", help="The newer version; the current one, if not given.")
@click.option("--show-values", is_flag=True, help="With the values, not their names alone.")
@pass_session
def diff(
    session: Session, *, path: str, mount: str | None, from_: int | None, to: int | None, show_values: bool
) -> None:
    """Show which values were added, removed and changed between two versions of a secret.

    Exit codes of this command: 0 no difference; 1 there is one; 2 it could not be found out, as the question is
    wrong, or refused; 3 no answer; 4 the appliance cannot serve now.
    """
    try:
        differs = _diff(session, path, mount, from_=from_, to=to, show_values=show_values)
    except CliError as exc:
        if exc.exit_code == ExitCode.FAILED:  # which says "there is a difference" here
            exc.exit_code = ExitCode.USAGE
        raise
    if differs:
        raise click.exceptions.Exit(ExitCode.FAILED)


def _diff(
    session: Session, path: str, mount: str | None, *, from_: int | None, to: int | None, show_values: bool
) -> bool:
    client = session.client()
    if client.wrap_ttl:
        raise click.UsageError("--wrap-ttl (MIMIR_WRAP_TTL) does not go with diff, which needs the answers themselves")
    found = find_versioned(client, path, mount)
    newer = read_version(client, found, version=to)
    after = _leaves(values_of(newer, found))
    number = newer.data["metadata"]["version"]
    if from_ is None and number == 1:
        raise LocalError(f"{found.shown} has no version before 1 to compare with: give --from and --to")
    before = _leaves(values_of(read_version(client, found, version=from_ or number - 1), found))
    changes = _changes(before, after)
    value = {"from": from_ or number - 1, "to": number, **_for_programs(changes, show_values=show_values)}
    show_value(session, value, _table(changes, show_values=show_values))
    return bool(changes)


def _leaves(values: "JsonObject", front: tuple[str, ...] = ()) -> _Leaves:
    """What stands at each path; empty objects are leaves."""
    found: _Leaves = {}
    for name, value in values.items():
        if isinstance(value, dict) and value:
            found |= _leaves(value, (*front, name))
        else:
            found[*front, name] = value
    return found


_Changes = list[tuple[str, str, Any, Any]]  # word, name, before, after; None where there was or is nothing


def _changes(before: _Leaves, after: _Leaves) -> _Changes:
    """In the order of the names. Values are compared as they are written: 1.10 is not 1.1, and 1 is not true."""
    found: _Changes = []
    for path in sorted(before.keys() | after.keys()):
        name = ".".join(path)
        if path not in before:
            found.append(("added", name, None, after[path]))
        elif path not in after:
            found.append(("removed", name, before[path], None))
        elif exact_json.compact(before[path]) != exact_json.compact(after[path]):
            found.append(("changed", name, before[path], after[path]))
    return found


def _for_programs(changes: _Changes, *, show_values: bool) -> "JsonObject":
    shown: JsonObject = {"added": {}, "removed": {}, "changed": {}}
    for word, name, before, after in changes:
        values = {"from": before, "to": after}
        shown[word][name] = values if word == "changed" else after if word == "added" else before
    return shown if show_values else {word: list(names) for word, names in shown.items()}


def _table(changes: _Changes, *, show_values: bool) -> str:
    if not changes:
        return "No difference."
    if not show_values:
        return columns(("Change", "Key"), [(word, printable(name)) for word, name, _, _ in changes])
    rows = [
        (
            word,
            printable(name),
            None if word == "added" else shown_value(before),
            None if word == "removed" else shown_value(after),
        )
        for word, name, before, after in changes
    ]
    return columns(("Change", "Key", "From", "To"), rows)
