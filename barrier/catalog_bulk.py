"""Rows of a catalog, many at once: as many statements as one row takes.

SQLite holds the write lock, so what it says about rows holds until the end: it is asked once which of them may be
written, and those are. PostgreSQL decides in the statement that writes.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import TextClause, text

from barrier.catalog_names import add_catalog, find_catalog
from barrier.catalog_rows import (
    check_row,
    joined,
    row_values,
    unique_terms,
    update_row,
)
from barrier.connection import InlineStatements, Statements
from barrier.database import WriteConflictError
from barrier.keyring import Keyring
from core.protocols import CatalogRow

_PRESENT = text(
    "SELECT row_id, number, revision, due_at FROM catalog_rows"
    " WHERE catalog = :catalog AND row_id IN (SELECT value FROM json_each(:row_ids))"
)
_NEW_ROW = text(
    "INSERT INTO catalog_rows (catalog, row_id, state, row_group, due_at, changed_at, revision, key_term, terms,"
    " sealed) VALUES (:catalog, :row_id, :state, :row_group, :due_at, :changed_at, 1, :key_term, :joined, :sealed)"
)
_NEW_TERM = text("INSERT INTO catalog_terms (catalog, term, due_at, number) VALUES (:catalog, :term, :due_at, :number)")
_CHANGED_ROW = text(
    "UPDATE catalog_rows SET state = :state, row_group = :row_group, changed_at = :changed_at, revision = revision + 1,"
    " key_term = :key_term, sealed = :sealed WHERE number = :number"
)
_NEW_ROWS = text(
    "WITH made AS ("
    "INSERT INTO catalog_rows (catalog, row_id, state, row_group, due_at, changed_at, revision, key_term, terms,"
    " sealed) SELECT catalogs.catalog, given.row_id, given.state, given.row_group, given.due_at, given.changed_at, 1,"
    " CAST(:key_term AS integer), given.joined, given.sealed"
    " FROM catalogs, unnest(CAST(:row_id AS text[]), CAST(:state AS smallint[]), CAST(:row_group AS text[]),"
    " CAST(:due_at AS bigint[]), CAST(:changed_at AS bigint[]), CAST(:joined AS text[]), CAST(:sealed AS bytea[]))"
    " WITH ORDINALITY AS given (row_id, state, row_group, due_at, changed_at, joined, sealed, place)"
    " WHERE catalogs.path = :path ORDER BY given.place"
    " ON CONFLICT (catalog, row_id) DO NOTHING RETURNING catalog, number, row_id, due_at"
    "), found_by AS ("
    "INSERT INTO catalog_terms (catalog, term, due_at, number)"
    " SELECT made.catalog, given.term, made.due_at, made.number FROM made"
    " JOIN unnest(CAST(:whose AS text[]), CAST(:term AS text[])) AS given (row_id, term) ON given.row_id = made.row_id"
    ") SELECT row_id FROM made"
)
_CHANGED_ROWS = text(
    "UPDATE catalog_rows SET state = given.state, row_group = given.row_group, changed_at = given.changed_at,"
    " revision = revision + 1, key_term = CAST(:key_term AS integer), sealed = given.sealed"
    " FROM unnest(CAST(:row_id AS text[]), CAST(:state AS smallint[]), CAST(:row_group AS text[]),"
    " CAST(:due_at AS bigint[]), CAST(:changed_at AS bigint[]), CAST(:sealed AS bytea[]))"
    " AS given (row_id, state, row_group, due_at, changed_at, sealed)"
    " WHERE catalog_rows.catalog = (SELECT catalog FROM catalogs WHERE path = :path)"
    " AND catalog_rows.row_id = given.row_id AND catalog_rows.revision = CAST(:revision AS bigint)"
    " AND catalog_rows.due_at = given.due_at RETURNING catalog_rows.row_id"
)


class _Present(NamedTuple):
    """What a row is like that is there."""

    number: int
    revision: int
    due_at: int


async def store_rows(
    connection: Statements, keyring: Keyring, path: str, rows: Sequence[CatalogRow], *, cas: int
) -> set[str]:
    """Write those that are at revision `cas` (0: absent); their ids. Raises InvalidRequestError before it writes."""
    for row in rows:
        check_row(row)
    if len({row.row_id for row in rows}) < len(rows):
        raise RuntimeError("a row is given twice")
    if not rows:
        return set()
    if cas == 0:
        return await _insert(connection, keyring, path, rows)
    usual = [row for row in rows if row.terms is None]
    written = await _update(connection, keyring, path, usual, cas) if usual else set()
    for row in rows:  # those whose terms do not stay where they are, of which there are few
        if row.row_id not in written and await update_row(connection, keyring, path, row, cas):
            written.add(row.row_id)
    return written


# --- new rows -----------------------------------------------------------------------------------------------------


async def _insert(connection: Statements, keyring: Keyring, path: str, rows: Sequence[CatalogRow]) -> set[str]:
    if isinstance(connection, InlineStatements):
        catalog = await find_catalog(connection, path) or await _added(connection, path)
        return await _insert_inline(connection, keyring, path, catalog, rows)
    parameters = _new_rows(keyring, path, rows)
    written = await _ids(connection, _NEW_ROWS, parameters)
    if not written and await find_catalog(connection, path) is None:
        await _added(connection, path)
        written = await _ids(connection, _NEW_ROWS, parameters)
    return written


async def _added(connection: Statements, path: str) -> int:
    await add_catalog(connection, path)
    catalog = await find_catalog(connection, path)
    if catalog is None:
        raise WriteConflictError
    return catalog


def _new_values(keyring: Keyring, path: str, row: CatalogRow) -> dict[str, Any]:
    return {**row_values(keyring, path, row, 1), "joined": joined(unique_terms(row.terms))}


def _new_rows(keyring: Keyring, path: str, rows: Sequence[CatalogRow]) -> dict[str, Any]:
    """The parameters of _NEW_ROWS."""
    found_by = [(row.row_id, term) for row in rows for term in unique_terms(row.terms)]
    return {
        **_turned([_new_values(keyring, path, row) for row in rows]),
        "path": path,
        "key_term": keyring.term,
        "whose": [row_id for row_id, _ in found_by],
        "term": [term for _, term in found_by],
    }


async def _insert_inline(
    connection: InlineStatements, keyring: Keyring, path: str, catalog: int, rows: Sequence[CatalogRow]
) -> set[str]:
    taken = await _present(connection, catalog, rows)
    rows = [row for row in rows if row.row_id not in taken]
    if not rows:
        return set()
    connection.execute_many(_NEW_ROW, [{**_new_values(keyring, path, row), "catalog": catalog} for row in rows])
    made = await _present(connection, catalog, rows)  # only the database knows their numbers
    terms = [
        {"catalog": catalog, "term": term, "due_at": row.due_at, "number": made[row.row_id].number}
        for row in rows
        for term in unique_terms(row.terms)
    ]
    if terms:
        connection.execute_many(_NEW_TERM, terms)
    return set(made)


async def _present(connection: InlineStatements, catalog: int, rows: Sequence[CatalogRow]) -> dict[str, _Present]:
    """Those that there are, by id."""
    row_ids = msgspec.json.encode([row.row_id for row in rows]).decode()
    found = (await connection.execute(_PRESENT, {"catalog": catalog, "row_ids": row_ids})).all()
    return {row_id: _Present(number, revision, due_at) for row_id, number, revision, due_at in found}


# --- rows that there are ------------------------------------------------------------------------------------------


async def _update(
    connection: Statements, keyring: Keyring, path: str, rows: Sequence[CatalogRow], cas: int
) -> set[str]:
    """Those that are due when they were, so that their terms may stay."""
    if isinstance(connection, InlineStatements):
        return await _update_inline(connection, keyring, path, rows, cas)
    parameters = {
        **_turned([row_values(keyring, path, row, cas + 1) for row in rows]),
        "path": path,
        "key_term": keyring.term,
        "revision": cas,
    }
    return await _ids(connection, _CHANGED_ROWS, parameters)


async def _update_inline(
    connection: InlineStatements, keyring: Keyring, path: str, rows: Sequence[CatalogRow], cas: int
) -> set[str]:
    catalog = await find_catalog(connection, path)
    present = {} if catalog is None else await _present(connection, catalog, rows)
    changed = [
        {**row_values(keyring, path, row, cas + 1), "number": found.number}
        for row in rows
        if (found := present.get(row.row_id)) and found.revision == cas and found.due_at == row.due_at
    ]
    if changed:
        connection.execute_many(_CHANGED_ROW, changed)
    return {values["row_id"] for values in changed}


# --- PostgreSQL's parameters and answers --------------------------------------------------------------------------


async def _ids(connection: Statements, statement: TextClause, parameters: dict[str, Any]) -> set[str]:
    return {str(row[0]) for row in (await connection.execute(statement, parameters)).all()}


def _turned(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Columns of rows as arrays."""
    return {name: [row[name] for row in rows] for name in rows[0]}
