"""`mimir kv list`: the names below a folder."""

from typing import TYPE_CHECKING

import click

from client.errors import RefusedError
from client.kv_options import kv_command, mount_option
from client.kv_path import check_versioned, find_mount
from client.kv_read import with_hint
from client.output import show
from client.pages import detailed_rows, joined, list_pages
from client.session import Session, pass_session
from client.table import columns

if TYPE_CHECKING:
    from client.api import Answer


@kv_command(
    "list",
    examples=(
        "mimir kv list secret/",
        "mimir kv list -r secret/teams",
        "mimir kv list --detailed secret/teams",
        "mimir kv list -mount=secret --after app-1000 --limit 100",
    ),
)
@click.argument("path", required=False, default="")
@mount_option
@click.option("-r", "--recursive", is_flag=True, help="With all that is in folders below.")
@click.option("--detailed", is_flag=True, help="With version, time and owner of each secret.")
@click.option("--after", metavar="NAME", default="", help="Begin behind this name.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many names; all, if not given.")
@pass_session
def list_(
    session: Session, *, path: str, mount: str | None, recursive: bool, detailed: bool, after: str, limit: int | None
) -> None:
    """List the names of secrets and folders below PATH; never a value. Long lists are fetched in pages."""
    client = session.client()
    if client.wrap_ttl:
        raise click.UsageError("--wrap-ttl (MIMIR_WRAP_TTL) does not go with list, which puts pages together")
    found = find_mount(client, path, mount)
    if detailed:
        check_versioned(found)
    where = found.below("detailed-metadata" if detailed else "metadata")
    query = {"scan": "true"} if recursive else {"list": "true"}
    try:
        pages = list_pages(client, where, query, after=after, limit=limit)
        answer = joined(pages, label="Listing", wanted=session.format == "table")
    except RefusedError as exc:
        raise with_hint(exc, found) from exc
    show(session, answer, _details if detailed else _names)


def _names(answer: "Answer") -> str:
    return columns(("Keys",), [(name,) for name in answer.data["keys"]])


_COLUMNS = {
    "current_version": "Version",
    "updated_time": "Updated",
    "owner": "Owner",
    "classification": "Classification",
    "custom_metadata": "Metadata",
}


def _details(answer: "Answer") -> str:
    rows = [(name, *(info.get(member) or None for member in _COLUMNS)) for name, info in detailed_rows(answer)]
    return columns(("Keys", *_COLUMNS.values()), rows)
