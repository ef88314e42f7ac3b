"""`mimir kv report` and `mimir kv search`: which secrets need someone, and where a secret is."""

from typing import TYPE_CHECKING

import click

from client.kv_options import kv_command
from client.kv_path import check_versioned, find_mount
from client.output import show
from client.pages import cursor_pages, joined_rows, rows_in
from client.session import Session, pass_session
from client.table import columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from client.api import Answer, JsonObject


@kv_command(
    "report",
    examples=(
        "mimir kv report secret",
        "mimir kv report secret --unread-for 90d --no-owner",
        "mimir kv report secret/teams/web --overdue --never-read -o json",
    ),
)
@click.argument("path")
@click.option("--unread-for", metavar="TIME", help="Those that nobody has read for so long: 90d.")
@click.option("--no-owner", is_flag=True, help="Those without an owner.")
@click.option("--never-read", is_flag=True, help="Those that nobody has ever read.")
@click.option("--overdue", is_flag=True, help="Those that are to be rotated, or have expired.")
@pass_session
def report(
    session: Session, *, path: str, unread_for: str | None, no_owner: bool, never_read: bool, overdue: bool
) -> None:
    """List secrets that need someone: of any of the kinds that are asked for; of all kinds, if none is."""
    query = {} if unread_for is None else {"unread_for": unread_for}
    flags = {"no_owner": no_owner, "never_read": never_read, "overdue": overdue}
    query |= {name: "true" for name, wanted in flags.items() if wanted}
    _show_rows(session, path, "report", query, _report_table)


@kv_command(
    "search",
    examples=(
        "mimir kv search secret database",
        "mimir kv search secret/teams --owner team-web",
        "mimir kv search secret --classification confidential -o json",
    ),
)
@click.argument("path")
@click.argument("text", required=False, default="")
@click.option("--owner", metavar="NAME", help="Those of this owner.")
@click.option("--classification", metavar="WORD", help="Those of this classification.")
@click.option("--custom-metadata", metavar="KEY=VALUE", help="Those with this pair noted.")
@pass_session
def search(
    session: Session,
    *,
    path: str,
    text: str,
    owner: str | None,
    classification: str | None,
    custom_metadata: str | None,
) -> None:
    """Find secrets below PATH by a part of their name or metadata; values are not looked at."""
    given = {"q": text or None, "owner": owner, "classification": classification, "custom_metadata": custom_metadata}
    query = {name: value for name, value in given.items() if value is not None}
    if not query:
        raise click.UsageError("say what to look for: a text, --owner, --classification or --custom-metadata")
    _show_rows(session, path, "search", query, _search_table)


def _show_rows(
    session: Session, path: str, part: str, query: dict[str, str], as_table: "Callable[[Answer], str]"
) -> None:
    client = session.client()
    if client.wrap_ttl:
        raise click.UsageError(
            f"--wrap-ttl (MIMIR_WRAP_TTL) does not go with {part}, which needs the answers themselves"
        )
    found = find_mount(client, path, None)
    check_versioned(found)
    if found.name:
        query["prefix"] = f"{found.name}/"
    pages = cursor_pages(client, f"{found.mount}{part}", query)
    answer = joined_rows(pages, label="Found", wanted=session.format == "table")
    show(session, answer, lambda given: as_table(given) if rows_in(given) else "None.")


def _report_table(answer: "Answer") -> str:
    headings = ("Path", "Owner", "Classification", "Last Reader", "Last Read", "Why")
    return columns(headings, [(*_whose(row), *_last_read(row), row.get("reasons")) for row in rows_in(answer)])


def _whose(row: "JsonObject") -> tuple[object, ...]:
    return row.get("name"), row.get("owner") or None, row.get("classification") or None


def _last_read(row: "JsonObject") -> tuple[object, object]:
    """By whom and when; two dashes for never."""
    last = row.get("last_read")
    if not isinstance(last, dict):
        return None, None
    return last.get("by") or last.get("entity_id") or None, last.get("at")


def _search_table(answer: "Answer") -> str:
    headings = ("Path", "Owner", "Classification", "Metadata", "Found In")
    rows = [(*_whose(row), row.get("custom_metadata") or None, row.get("matches")) for row in rows_in(answer)]
    return columns(headings, rows)
