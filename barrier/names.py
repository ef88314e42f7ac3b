"""Names below a prefix. A flat folder is one scan of an index; what stands below a folder is skipped by a seek.

Rows are read a chunk at a time, and a larger one after each that held a name in every other row at least. After one
that did not, the next names are found with one seek each, however much stands below them.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import TextClause, text

from barrier.connection import Statements, Steps, scan_steps
from barrier.paths import list_start, name_below, path_after, prefix_end

_FEW, _MANY = 32, 2048  # rows of the first chunk, and of the largest
_WALK = 128  # names found by seeks before it is seen whether a chunk would do better

# `rows` is a table and what holds for its rows.
_CHUNK = """
SELECT substr(path, CAST(:skip AS integer)) AS name FROM {rows} AND path >= :start {bound} ORDER BY path LIMIT :count
"""
# From each path the walk goes on behind the folder that the path is in.
_SEEKS = """
SELECT substr(path, CAST(:skip AS integer)) AS name FROM (
  WITH RECURSIVE walk (path) AS (
    SELECT (SELECT path FROM {rows} AND path >= :start {bound} ORDER BY path LIMIT 1)
    UNION ALL
    SELECT (SELECT path FROM {rows}
            AND path >= CASE WHEN {slash} > 0
                        THEN substr(walk.path, 1, CAST(:skip AS integer) + {slash} - 2) || '0'
                        ELSE walk.path || CAST(:next AS text) END {bound}
            ORDER BY path LIMIT 1)
    FROM walk WHERE walk.path IS NOT NULL
  )
  SELECT path FROM walk WHERE path IS NOT NULL LIMIT :count
) AS found
"""
_SLASH = {
    "sqlite": "instr(substr(walk.path, CAST(:skip AS integer)), '/')",
    "postgresql": "strpos(substr(walk.path, CAST(:skip AS integer)), '/')",
}
# SQLite's driver hands the interpreter's lock over for each row, and under load waits for it each time: so one row.
# No path holds a NUL.
_AS_ONE_ROW = "SELECT group_concat(name, char(0)) FROM ({names})"

ENTRIES = "entries WHERE TRUE"
RECORDS = "records WHERE kind = CAST(:kind AS text) AND path <> ''"  # as the partial index says


@cache
def _statement(template: str, rows: str, dialect: str, *, bounded: bool) -> TextClause:
    bound = "AND path < :end" if bounded else ""
    names = template.format(rows=rows, slash=_SLASH[dialect], bound=bound)
    return text(_AS_ONE_ROW.format(names=names) if dialect == "sqlite" else names)


async def load_names(
    connection: Statements, rows: str, prefix: str, *, after: str, limit: int, kind: str = ""
) -> list[str]:
    """Names below `prefix`, in order, behind `after`; `rows` is ENTRIES, or RECORDS with their `kind`.

    What is there from its beginning to its end is listed; what comes or goes meanwhile may be.
    """
    dialect, end = connection.dialect.name, prefix_end(prefix)
    values: dict[str, str | int] = {"skip": len(prefix) + 1}
    if end is not None:
        values["end"] = end
    if kind:
        values["kind"] = kind
    chunk = _statement(_CHUNK, rows, dialect, bounded=end is not None)
    seeks = _statement(_SEEKS, rows, dialect, bounded=end is not None)
    return await scan_steps(connection, _steps(chunk, seeks, values, prefix, after=after, limit=limit))


def _steps(
    chunk: TextClause, seeks: TextClause, values: Mapping[str, str | int], prefix: str, *, after: str, limit: int
) -> Steps[list[str]]:
    """The statements one after the other, as it follows from what each has found; the names."""
    found: list[str] = []
    start, count, by_seeks = list_start(prefix, after), _FEW, False
    while True:
        wanted = _WALK if by_seeks else count
        if limit:
            wanted = min(wanted, limit - len(found))
        given = {**values, "start": start, "count": wanted}
        below = _paths((yield seeks, given | {"next": path_after("")}) if by_seeks else (yield chunk, given))
        names = _folded(below)
        found += names
        if len(below) < wanted or len(found) == limit:
            return found
        start = list_start(prefix, found[-1])
        is_dense = 2 * len(names) >= wanted
        count = min(2 * count, _MANY) if is_dense and not by_seeks else _FEW
        by_seeks = not (by_seeks or is_dense)


def _paths(rows: Sequence[Sequence[Any]]) -> list[str]:
    """What follows the prefix in each row that a statement found, whichever engine ran it."""
    if len(rows) == 1:
        joined = rows[0][0]
        return [] if joined is None else str(joined).split("\0")
    return [str(row[0]) for row in rows]


def _folded(paths: list[str]) -> list[str]:
    """The first segments, once each; a folder keeps its "/"."""
    if not any("/" in path for path in paths):
        return paths
    return list(dict.fromkeys(name_below("", path) for path in paths))
