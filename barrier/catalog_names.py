"""Catalogs by their paths, and the end of those whose mount is gone.

A catalog's path is its view's prefix and its name; the number that stands for it in rows and indexes is given at the
first row and never again. Whoever needs the number looks it up in the statement or the transaction that uses it, so no
memory of it can be older than a removal.

A million rows are too many for the transaction that removes a mount: it takes the catalog its path away, which no
reader finds then, and `sweep` removes the rows later, some at a time.
"""

from typing import Any

from sqlalchemy import text

from barrier.connection import Statements
from barrier.paths import check_name, prefix_end

EVERYTHING = "\0everything"  # in place of the names of rows that went with their catalog: all caches are to be dropped

_FIND = text("SELECT catalog FROM catalogs WHERE path = :path")
_ADD = text("INSERT INTO catalogs (path) VALUES (:path) ON CONFLICT (path) DO NOTHING")
_BELOW = text("SELECT catalog, path FROM catalogs WHERE path >= :start AND path < :end")
_FROM = text("SELECT catalog, path FROM catalogs WHERE path >= :start")
_REMEMBER = text("INSERT INTO catalogs_dropped (catalog) VALUES (:catalog)")
_FORGET = text("DELETE FROM catalogs WHERE catalog = :catalog")

_DROPPED = text("SELECT catalog FROM catalogs_dropped ORDER BY catalog LIMIT 1")
_LAST_TERM = text(
    "SELECT term, due_at, number FROM catalog_terms WHERE catalog = :catalog"
    " ORDER BY term, due_at, number LIMIT 1 OFFSET :count"
)
_DELETE_TERMS = text(
    "DELETE FROM catalog_terms WHERE catalog = :catalog AND (term, due_at, number) < (:term, :due_at, :number)"
)
_DELETE_ALL_TERMS = text("DELETE FROM catalog_terms WHERE catalog = :catalog")
_DELETE_ROWS = text(
    "DELETE FROM catalog_rows WHERE number IN"
    " (SELECT number FROM catalog_rows WHERE catalog = :catalog ORDER BY number LIMIT :count)"
)
_SWEPT = text("DELETE FROM catalogs_dropped WHERE catalog = :catalog")


async def find_catalog(connection: Statements, path: str) -> int | None:
    """The number of a catalog that has had a row."""
    found = (await connection.execute(_FIND, {"path": path})).scalar()
    return None if found is None else int(found)


async def add_catalog(connection: Statements, path: str) -> None:
    """Give it a number, if it has none."""
    check_name(path, what="catalog's path")
    await connection.execute(_ADD, {"path": path})


async def drop_below(connection: Statements, prefix: str) -> bool:
    """Drop the catalogs of all views that `prefix` covers; whether there were any."""
    end = prefix_end(prefix)
    if end is None:
        rows: Any = (await connection.execute(_FROM, {"start": prefix})).all()
    else:
        rows = (await connection.execute(_BELOW, {"start": prefix, "end": end})).all()
    dropped = [catalog for catalog, path in rows if _view_of(path).startswith(prefix)]
    for catalog in dropped:
        await connection.execute(_REMEMBER, {"catalog": catalog})
        await connection.execute(_FORGET, {"catalog": catalog})
    return bool(dropped)


def _view_of(path: str) -> str:
    """The prefix of the view whose catalog it is: a name has no "/"."""
    return path[: path.rfind("/") + 1]


async def has_dropped(connection: Statements) -> bool:
    """Whether there is anything for `sweep`."""
    return (await connection.execute(_DROPPED)).scalar() is not None


async def sweep(connection: Statements, limit: int) -> bool:
    """Remove about `limit` terms or rows of a dropped catalog; whether there may be more."""
    catalog = (await connection.execute(_DROPPED)).scalar()
    if catalog is None:
        return False
    last: Any = (await connection.execute(_LAST_TERM, {"catalog": catalog, "count": limit})).first()
    if last is not None:
        term, due_at, number = last
        key = {"catalog": catalog, "term": term, "due_at": due_at, "number": number}
        await _delete(connection, _DELETE_TERMS, key)
        return True
    await _delete(connection, _DELETE_ALL_TERMS, {"catalog": catalog})
    if await _delete(connection, _DELETE_ROWS, {"catalog": catalog, "count": limit}) == 0:
        await connection.execute(_SWEPT, {"catalog": catalog})
    return True


async def _delete(connection: Statements, statement: Any, values: dict[str, Any]) -> int:
    return (await connection.execute(statement, values)).rowcount
