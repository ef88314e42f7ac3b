"""Names below a prefix, found with one seek of an index per name: a folder's contents are skipped, not read."""

from functools import cache

from sqlalchemy import TextClause, text

from barrier.connection import Statements, in_slices, scan
from barrier.paths import list_start, name_below, path_after, prefix_end

# From each path the walk goes on behind the folder that the path is in. `rows` is a table and what holds for its rows.
_WALK = """
WITH RECURSIVE walk (path) AS (
  SELECT (SELECT path FROM {rows} AND path >= :start {bound} ORDER BY path LIMIT 1)
  UNION ALL
  SELECT (SELECT path FROM {rows}
          AND path >= CASE WHEN {slash} > 0
                      THEN substr(walk.path, 1, CAST(:length AS integer) + {slash} - 1) || '0'
                      ELSE walk.path || CAST(:next AS text) END {bound}
          ORDER BY path LIMIT 1)
  FROM walk WHERE walk.path IS NOT NULL
)
SELECT path FROM walk WHERE path IS NOT NULL {limit}
"""
_SLASH = {
    "sqlite": "instr(substr(walk.path, CAST(:length AS integer) + 1), '/')",
    "postgresql": "strpos(substr(walk.path, CAST(:length AS integer) + 1), '/')",
}

ENTRIES = "entries WHERE TRUE"
RECORDS = "records WHERE kind = CAST(:kind AS text) AND path <> ''"  # as the partial index says


@cache
def _walk(rows: str, dialect: str, *, bounded: bool, limited: bool) -> TextClause:
    bound = "AND path < :end" if bounded else ""
    limit = "LIMIT :limit" if limited else ""
    return text(_WALK.format(rows=rows, slash=_SLASH[dialect], bound=bound, limit=limit))


async def load_names(
    connection: Statements, rows: str, prefix: str, *, after: str, limit: int, kind: str = ""
) -> list[str]:
    """Names below `prefix`, in order, behind `after`; `rows` is ENTRIES, or RECORDS with their `kind`."""
    end = prefix_end(prefix)
    values: dict[str, str | int] = {"start": list_start(prefix, after), "length": len(prefix), "next": path_after("")}
    if end is not None:
        values["end"] = end
    if limit:
        values["limit"] = limit
    if kind:
        values["kind"] = kind
    statement = _walk(rows, connection.dialect.name, bounded=end is not None, limited=limit > 0)
    return await in_slices(await scan(connection, statement, values), lambda row: name_below(prefix, row[0]))
