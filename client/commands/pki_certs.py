"""`mimir pki certs`: which certificates there are."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from client.errors import NoAnswerError
from client.output import show
from client.pki_options import mount_option, pki_command, pki_path, plain_client
from client.progress import progress_in_pages
from client.session import Session, pass_session
from client.table import columns

if TYPE_CHECKING:
    from client.api import Answer, Client, JsonObject

_PAGE = 1000  # the most that the appliance gives at once
_DEFAULT = 100
_STATES = ("valid", "expired", "revoked", "intended", "abandoned", "all")


@pki_command(
    "certs",
    examples=(
        "mimir pki certs --expiring 7d",
        "mimir pki certs --san 'web*' --role web",
        "mimir pki certs --state revoked --all -o json",
        "mimir pki certs --requester token-ci --issuer intermediate --limit 20",
    ),
)
@click.option("--expiring", metavar="TIME", help="That end within this time, as 7d.")
@click.option("--san", metavar="PATTERN", help="With such a name: web.example.internal, 'web*', '*.internal'.")
@click.option("--role", metavar="NAME", help="Issued under this role.")
@click.option("--issuer", metavar="REF", help="Signed by this issuer (name or id).")
@click.option("--requester", metavar="NAME", help="Asked for by this display name.")
@click.option("--state", type=click.Choice(_STATES), default="valid", show_default=True, help="In this state.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help=f"At most so many [{_DEFAULT}].")
@click.option("--all", "everything", is_flag=True, help="All of them, page by page.")
@click.option("--after", metavar="CURSOR", help="Go on behind a page: the `next` of it.")
@mount_option
@pass_session
def certs(
    session: Session, /, mount: str, limit: int | None, everything: bool, after: str | None, **sought: Any
) -> None:
    """Find certificates by name, role, issuer, requester, state and end. The first to end comes first."""
    if everything and limit is not None:
        raise click.UsageError("--all and --limit contradict each other")
    client = plain_client(session, "certs, which puts pages together")
    query = {name: str(value) for name, value in sought.items() if value is not None}
    wanted = None if everything else limit or _DEFAULT
    pages = _pages(client, pki_path(mount, "inventory"), query, after=after or "", limit=wanted)
    answer = _joined(pages, wanted=session.format == "table")
    show(session, answer, _table)
    if session.format == "table" and not session.field and answer.data.get("next"):
        click.echo("There may be more: give --all, or --limit, or narrow it down.", err=True)


def _pages(client: "Client", path: str, query: dict[str, str], *, after: str, limit: int | None) -> "Iterator[Answer]":
    """A page may be short, and even empty, and not the last."""
    left = limit
    while True:
        size = _PAGE if left is None else min(_PAGE, left)
        answer = client.read(path, query | {"limit": str(size)} | ({"after": after} if after else {}))
        rows = _rows(answer)
        yield answer
        left = None if left is None else left - len(rows)
        before, after = after, str(answer.data.get("next") or "")
        if not after or after == before or left == 0:
            return


def _rows(answer: "Answer") -> "list[JsonObject]":
    rows = answer.data.get("certificates")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise NoAnswerError("the answer holds no list of certificates: `-o json` shows what it holds")
    return rows


def _joined(pages: "Iterator[Answer]", *, wanted: bool) -> "Answer":
    rows: list[JsonObject] = []
    with progress_in_pages("Searching", wanted=wanted) as advance:
        for page in pages:
            rows += _rows(page)
            advance(len(_rows(page)))
    return replace(page, body=page.body | {"data": page.data | {"certificates": rows}})


def _table(answer: "Answer") -> str:
    rows = _rows(answer)
    if not rows:
        return "None."
    now = datetime.now(UTC)
    return columns(
        ("Serial number", "Names", "Role", "Issuer", "Requester", "State", "Ends"),
        [
            (
                row.get("serial_number"),
                _names(row),
                row.get("role") or None,
                row.get("issuer_name") or row.get("issuer_id") or None,
                row.get("requester") or None,
                row.get("state"),
                _end(row, now),
            )
            for row in rows
        ],
    )


def _names(row: "JsonObject") -> list[str] | None:
    """Without the kinds, the common name first; the rest of many is a number."""
    names = row.get("names")
    texts = [str(name).partition(":")[2] or str(name) for name in (names if isinstance(names, list) else [])]
    common = [str(row["common_name"])] if row.get("common_name") else []
    found = list(dict.fromkeys([*common, *texts]))
    return [*found[:2], f"and {len(found) - 2} more"] if len(found) > 3 else found or None


def _end(row: "JsonObject", now: datetime) -> object:
    from client.pki_certificate import distance

    end = row.get("expiration")
    if not isinstance(end, int):
        return row.get("not_after")
    return f"{row.get('not_after')} ({distance(datetime.fromtimestamp(end, UTC), now)})"
