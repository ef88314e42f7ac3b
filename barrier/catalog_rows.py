"""Rows of the table `catalog_rows`: sealed bodies with columns to search by, and their terms.

The columns are authenticated together with the body, all but `number`, which only orders, and the terms, which only
find. A row's terms stand twice: in `catalog_terms`, where they are found, and in the row, so that they can be removed
without a search.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import TextClause, text

from barrier.catalog_names import add_catalog, find_catalog
from barrier.connection import Result, Statements, in_slices, scan
from barrier.database import WriteConflictError
from barrier.keyring import Keyring
from barrier.paths import MAX_BYTES, check_name
from core.errors import CasMismatchError, InvalidRequestError
from core.protocols import CatalogRow

MAX_STATE = 32_767
_MAX_TIME = 2**63 - 1
_DOMAIN = b"mimir catalog row 1\0"
_DELETED_AT_ONCE = 500

# the cast: SQLite gives what was put there, which a stranger may have made text
_COLUMNS = "number, row_id, state, row_group, due_at, changed_at, revision, CAST(sealed AS {blob}) AS sealed"
_CATALOG = "(SELECT catalog FROM catalogs WHERE path = :path)"
# what differs; a list is given as JSON to SQLite, as an array to PostgreSQL
_DIALECTS = {
    "sqlite": {
        "blob": "BLOB",
        "given_terms": "(SELECT value AS term FROM json_each(:terms)) AS given",
        "given_ids": "(SELECT value FROM json_each(:row_ids))",
        "given_numbers": "(SELECT value FROM json_each(:numbers))",
    },
    "postgresql": {
        "blob": "bytea",
        "given_terms": "(SELECT unnest(CAST(:terms AS text[])) AS term) AS given",
        "given_ids": "(SELECT unnest(CAST(:row_ids AS text[])))",
        "given_numbers": "(SELECT unnest(CAST(:numbers AS bigint[])))",
    },
}


def _statement(template: str, **more: str) -> dict[str, TextClause]:
    """One for each dialect."""
    columns = _COLUMNS.format_map
    return {
        name: text(template.format(columns=columns(words), catalog=_CATALOG, **words, **more))
        for name, words in _DIALECTS.items()
    }


_LOAD = _statement("SELECT {columns} FROM catalog_rows WHERE catalog = {catalog} AND row_id = :row_id")
_NUMBERED = _statement("SELECT {columns} FROM catalog_rows WHERE number IN {given_numbers} AND catalog = :catalog")
_REVISION = _statement("SELECT revision FROM catalog_rows WHERE catalog = {catalog} AND row_id = :row_id")
_HEAD = _statement(
    "SELECT revision, due_at, terms, catalog, number FROM catalog_rows WHERE catalog = {catalog} AND row_id = :row_id"
)
_IDS = _statement(
    "SELECT row_id FROM catalog_rows WHERE catalog = {catalog} AND row_id > :after ORDER BY row_id LIMIT :count"
)
_NEW_ROW = (
    "INSERT INTO catalog_rows (catalog, row_id, state, row_group, due_at, changed_at, revision, key_term, terms,"
    " sealed) SELECT catalog, :row_id, :state, :row_group, :due_at, :changed_at, 1, :key_term, :joined, :sealed"
    " FROM catalogs WHERE path = :path ON CONFLICT (catalog, row_id) DO NOTHING"
)
# SQLite: without RETURNING, which doubles the time; and PostgreSQL: in one message
_INSERT = text(_NEW_ROW)
_NEW_TERMS = text(
    "INSERT INTO catalog_terms (catalog, term, due_at, number)"
    " SELECT catalogs.catalog, given.value, :due_at, last_insert_rowid() FROM catalogs, json_each(:terms) AS given"
    " WHERE catalogs.path = :path"
)
_NEW_BOTH = (
    "WITH made AS ({new_row} RETURNING catalog, number), found_by AS ("
    "INSERT INTO catalog_terms (catalog, term, due_at, number)"
    " SELECT made.catalog, given.term, CAST(:due_at AS bigint), made.number"
    " FROM made, unnest(CAST(:terms AS text[])) AS given (term)) SELECT count(*) FROM made"
)
_INSERT_BOTH = text(_NEW_BOTH.format(new_row=_NEW_ROW))
_UPDATE = (
    "UPDATE catalog_rows SET state = :state, row_group = :row_group, due_at = :due_at, changed_at = :changed_at,"
    " revision = revision + 1, key_term = :key_term, sealed = :sealed{terms}"
    " WHERE catalog = {catalog} AND row_id = :row_id AND revision = :revision{where}"
)
_UPDATE_BODY = _statement(_UPDATE, terms="", where=" AND due_at = :due_at")
_UPDATE_ALL = _statement(_UPDATE, terms=", terms = :joined", where="")
_REMOVE_ROWS = _statement(
    "DELETE FROM catalog_rows WHERE catalog = {catalog} AND row_id IN {given_ids}"
    " RETURNING catalog, number, row_id, due_at, terms"
)
_ADD_TERMS = _statement(
    "INSERT INTO catalog_terms (catalog, term, due_at, number)"
    " SELECT CAST(:catalog AS bigint), given.term, CAST(:due_at AS bigint), CAST(:number AS bigint) FROM {given_terms}"
)
_REMOVE_TERMS = _statement(
    "DELETE FROM catalog_terms WHERE catalog = :catalog AND due_at = :due_at AND number = :number"
    " AND term IN (SELECT given.term FROM {given_terms})"
)
_READ_AT_ONCE = {"sqlite": 64, "postgresql": 1000}  # on the event loop: opening one takes 20 us


async def _execute(connection: Statements, statement: dict[str, TextClause], values: Mapping[str, Any]) -> Result:
    return await connection.execute(statement[connection.dialect.name], values)


def _as_given(connection: Statements, items: Sequence[str] | Sequence[int]) -> Any:
    return list(items) if connection.dialect.name == "postgresql" else msgspec.json.encode(items).decode()


# --- sealing ------------------------------------------------------------------------------------------------------


def context(path: str, row: CatalogRow, revision: int) -> bytes:
    """Every column, with a NUL between two: more of those, wherever they stood, would make another context."""
    numbers = f"{row.state}\0{row.due_at}\0{row.changed_at}\0{revision}"
    return _DOMAIN + f"{path}\0{row.row_id}\0{row.group}\0{numbers}".encode()


def open_row(keyring: Keyring, path: str, row: Any) -> CatalogRow:  # rows are untyped; the order is _COLUMNS'
    """A row as it was read. Raises IntegrityError that names it."""
    number, row_id, state, group, due_at, changed_at, revision, sealed = row
    columns = CatalogRow(
        row_id=row_id,
        body=b"",
        state=state,
        group=group,
        due_at=due_at,
        changed_at=changed_at,
        number=number,
        revision=revision,
    )
    body = keyring.decrypt(bytes(sealed), context(path, columns, revision), f"row {row_id!r} of catalog {path!r}")
    return replace(columns, body=body)


# --- terms --------------------------------------------------------------------------------------------------------


def escaped(term: str) -> str:
    """Without a newline, so that those stand between terms."""
    return term.replace("\\", "\\\\").replace("\n", "\\n")


def joined(terms: Sequence[str]) -> str:
    """The terms of one row as the row has them: a newline before and after each."""
    return "".join(["\n", *(escaped(term) + "\n" for term in terms)]) if terms else ""


def _parted(terms: str) -> list[str]:
    """Undo `joined`."""
    return [_unescaped(term) for term in terms.split("\n")[1:-1]]


def _unescaped(term: str) -> str:
    return "\\".join(part.replace("\\n", "\n") for part in term.split("\\\\")) if "\\" in term else term


async def _add_terms(connection: Statements, row: dict[str, int], terms: Sequence[str]) -> None:
    if terms:
        await _execute(connection, _ADD_TERMS, {**row, "terms": _as_given(connection, terms)})


async def _remove_terms(connection: Statements, row: dict[str, int], terms: Sequence[str]) -> None:
    if terms:
        await _execute(connection, _REMOVE_TERMS, {**row, "terms": _as_given(connection, terms)})


# --- reading ------------------------------------------------------------------------------------------------------


async def load_row(connection: Statements, keyring: Keyring, path: str, row_id: str) -> CatalogRow | None:
    """The row. Raises IntegrityError."""
    if "\0" in row_id:
        return None
    found = (await _execute(connection, _LOAD, {"path": path, "row_id": row_id})).first()
    return None if found is None else open_row(keyring, path, found)


async def load_numbered(
    connection: Statements, keyring: Keyring, path: str, catalog: int, numbers: Sequence[int]
) -> list[CatalogRow]:
    """Those that still exist, in that order. Raises IntegrityError."""
    rows: dict[int, CatalogRow] = {}
    at_once = _READ_AT_ONCE[connection.dialect.name]
    for start in range(0, len(numbers), at_once):
        if start:
            await asyncio.sleep(0)
        values = {"catalog": catalog, "numbers": _as_given(connection, numbers[start : start + at_once])}
        found = (await _execute(connection, _NUMBERED, values)).all()
        rows |= {row.number: row for row in await in_slices(found, lambda row: open_row(keyring, path, row))}
    return [rows[number] for number in numbers if number in rows]


async def load_ids(connection: Statements, path: str, *, after: str, limit: int) -> list[str]:
    """Ids in order, behind `after`."""
    rows = await scan(
        connection, _IDS[connection.dialect.name], {"path": path, "after": after, "count": limit or _MAX_TIME}
    )
    return await in_slices(rows, lambda row: str(row[0]))


# --- writing ------------------------------------------------------------------------------------------------------


async def store_row(connection: Statements, keyring: Keyring, path: str, row: CatalogRow, *, cas: int | None) -> int:
    """Write one row; its new revision. Raises CasMismatchError.

    What the caller has read, or has seen to be absent, is not looked up first: a statement less.
    """
    check_row(row)
    present = await _revision(connection, path, row.row_id) if cas is None else cas
    if present == 0:
        written = await _insert(connection, keyring, path, row)
    else:
        written = await update_row(connection, keyring, path, row, present)
    if written:
        return present + 1
    found = await _revision(connection, path, row.row_id)
    if cas is None or found == cas:
        raise WriteConflictError
    raise CasMismatchError(f"the row is at revision {found}, not at {cas}")


def check_row(row: CatalogRow) -> None:
    """Raise InvalidRequestError for what one of the engines could not store."""
    check_name(row.row_id, what="row's id")
    if row.group:
        check_name(row.group, what="row's group")
    if row.terms and not _are_plain(row.terms):
        for term in row.terms:
            check_name(term, what="term")
    if not 0 <= row.state <= MAX_STATE:
        raise InvalidRequestError(f"a row's state must be 0 to {MAX_STATE}, and is {row.state}")
    if not (0 <= row.due_at <= _MAX_TIME and 0 <= row.changed_at <= _MAX_TIME):
        raise InvalidRequestError("a row's times must be 0 to 2^63 - 1")


def _are_plain(terms: Sequence[str]) -> bool:
    """Whether nothing can be wrong with them, at a glance."""
    together = "".join(terms)
    return all(terms) and len(together) <= MAX_BYTES and together.isascii() and "\0" not in together


async def _revision(connection: Statements, path: str, row_id: str) -> int:
    """0: there is no such row."""
    return int((await _execute(connection, _REVISION, {"path": path, "row_id": row_id})).scalar() or 0)


def row_values(keyring: Keyring, path: str, row: CatalogRow, revision: int) -> dict[str, Any]:
    """The columns of a row that is to be written, its body sealed; all but the catalog, the number and the terms."""
    return {
        "row_id": row.row_id,
        "state": row.state,
        "row_group": row.group,
        "due_at": row.due_at,
        "changed_at": row.changed_at,
        "key_term": keyring.term,
        "sealed": keyring.encrypt(row.body, context(path, row, revision)),
    }


async def _insert(connection: Statements, keyring: Keyring, path: str, row: CatalogRow) -> bool:
    """Whether there was no such row."""
    terms = unique_terms(row.terms)
    values = {**row_values(keyring, path, row, 1), "path": path, "joined": joined(terms)}
    if await _insert_both(connection, values, terms):
        return True
    if await find_catalog(connection, path) is not None:
        return False
    await add_catalog(connection, path)
    if await _insert_both(connection, values, terms):
        return True
    raise WriteConflictError


async def _insert_both(connection: Statements, values: dict[str, Any], terms: list[str]) -> bool:
    """The row and its terms; whether that was possible."""
    given = _as_given(connection, terms)
    if connection.dialect.name != "sqlite":
        return bool((await connection.execute(_INSERT_BOTH, {**values, "terms": given})).scalar())
    if (await connection.execute(_INSERT, values)).rowcount != 1:
        return False
    if terms:
        found_by = {"path": values["path"], "due_at": values["due_at"], "terms": given}
        await connection.execute(_NEW_TERMS, found_by)
    return True


def unique_terms(terms: Sequence[str] | None) -> list[str]:
    """Each once, in order."""
    return sorted(set(terms or ()))


async def update_row(connection: Statements, keyring: Keyring, path: str, row: CatalogRow, present: int) -> bool:
    """Whether the row was at that revision."""
    values = {**row_values(keyring, path, row, present + 1), "path": path, "revision": present}
    if row.terms is None and (await _execute(connection, _UPDATE_BODY, values)).rowcount == 1:
        return True  # due when it was, so the terms may stay
    key = {"path": path, "row_id": row.row_id}
    head: Any = (await _execute(connection, _HEAD, key)).first()
    if head is None or head[0] != present:
        return False
    _present, due_at, found, catalog, number = head
    before = _parted(found)
    terms = before if row.terms is None else unique_terms(row.terms)
    if (await _execute(connection, _UPDATE_ALL, {**values, "joined": joined(terms)})).rowcount != 1:
        return False
    is_moved = due_at != row.due_at
    gone = before if is_moved else sorted(set(before) - set(terms))
    new = terms if is_moved else sorted(set(terms) - set(before))
    await _remove_terms(connection, {"catalog": catalog, "due_at": due_at, "number": number}, gone)
    await _add_terms(connection, {"catalog": catalog, "due_at": row.due_at, "number": number}, new)
    return True


async def remove_rows(connection: Statements, path: str, row_ids: Sequence[str]) -> list[str]:
    """Delete those that exist; their ids."""
    removed: list[str] = []
    for start in range(0, len(row_ids), _DELETED_AT_ONCE):
        some = [row_id for row_id in row_ids[start : start + _DELETED_AT_ONCE] if "\0" not in row_id]
        gone = (await _execute(connection, _REMOVE_ROWS, {"path": path, "row_ids": _as_given(connection, some)})).all()
        for catalog, number, row_id, due_at, terms in gone:
            await _remove_terms(connection, {"catalog": catalog, "due_at": due_at, "number": number}, _parted(terms))
            removed.append(str(row_id))
    return removed
