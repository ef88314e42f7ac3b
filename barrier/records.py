"""Rows of the table `records`: sealed bodies with columns to search by.

The columns are authenticated together with the body: whoever edits an expiry or a parent makes the record unreadable.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Select,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    union_all,
    update,
)
from sqlalchemy import cast as sql_cast

from barrier.connection import Statements, in_slices, scan
from barrier.database import WriteConflictError
from barrier.keyring import Keyring
from barrier.paths import MAX_BYTES, check_name, path_after, prefix_end
from barrier.tables import records
from core.errors import CasMismatchError, InvalidRequestError
from core.protocols import Record

_DOMAIN = b"mimir record 1\0"  # of a record without a path, as schema 0001 wrote them all
_DOMAIN_WITH_PATH = b"mimir record 2\0"
_DELETED_AT_ONCE = 500  # ids a statement; SQLite takes 32,766 parameters

_C = records.c
_NOTHING: ColumnElement[str] = literal_column(
    "''"
)  # in the statement's text: a parameter would hide that a partial index serves
# the cast: SQLite gives what was put there, which a stranger may have made text
_SEALED = sql_cast(_C.sealed, LargeBinary)
_ROW = (_C.kind, _C.record_id, _C.expires_at, _C.parent, _C.alias, _C.revision, _SEALED, _C.path)
_OF_KIND = select(*_ROW).where(_C.kind == bindparam("kind_"))
_BY_ID = _OF_KIND.where(_C.record_id == bindparam("id_"))
_BY_ALIAS = _OF_KIND.where(_C.alias == bindparam("alias_"), _C.alias != _NOTHING)
_CHILDREN = _OF_KIND.where(_C.parent == bindparam("parent_"), _C.record_id > bindparam("after_")).order_by(_C.record_id)
# "path <> ''" as the partial index has it, or the engines do not see that it serves
_PLACED = _C.path != _NOTHING
_BELOW = _OF_KIND.where(_PLACED, _C.path >= bindparam("start_")).order_by(_C.path)
_COUNT = select(func.count()).select_from(records).where(_C.kind == bindparam("kind_"))
_COUNT_BELOW = _COUNT.where(_PLACED, _C.path >= bindparam("start_"))
_BEFORE_END = _C.path < bindparam("end_")
_EXPIRED = _OF_KIND.where(_C.expires_at <= bindparam("before_")).order_by(_C.expires_at).limit(bindparam("limit_"))
_AFTER = _OF_KIND.where(_C.record_id > bindparam("after_")).order_by(_C.record_id)
_HEAD = select(_C.revision, _C.alias, _C.path).where(_C.kind == bindparam("kind_"), _C.record_id == bindparam("id_"))
_OWNER = select(_C.record_id).where(_C.kind == bindparam("kind_"))
_OWNERS = union_all(
    _OWNER.where(_C.alias == bindparam("alias_"), _C.alias != _NOTHING),
    _OWNER.where(_C.path == bindparam("path_"), _PLACED),
)
_DELETE = delete(records).where(_C.kind == bindparam("kind_"), _C.record_id == bindparam("id_"))
_DELETE_MANY = (
    delete(records)
    .where(_C.kind == bindparam("kind_"), _C.record_id.in_(bindparam("ids_", expanding=True)))
    .returning(_C.record_id)
)
_INSERT = insert(records)
_NEW = ("expires_at", "parent", "alias", "revision", "term", "sealed", "path")
_UPDATE = (
    update(records)
    .where(_C.kind == bindparam("kind_"), _C.record_id == bindparam("id_"), _C.revision == bindparam("revision_"))
    .values({name: bindparam(f"new_{name}") for name in _NEW})
)


def _context(kind: str, record: Record, revision: int) -> bytes:
    """Every column, each with its length before it, so that no two rows have the same context."""
    expiry = "" if record.expires_at is None else str(record.expires_at)
    fields = [kind, record.record_id, expiry, record.parent, record.alias, str(revision)]
    domain = _DOMAIN
    if record.path:
        domain = _DOMAIN_WITH_PATH
        fields.append(record.path)
    parts = [field.encode() for field in fields]
    return domain + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _open(keyring: Keyring, row: Any) -> Record:  # SQLAlchemy rows are untyped; the order is _ROW's
    kind, record_id, expires_at, parent, alias, revision, sealed, path = row
    columns = Record(
        record_id=record_id, body=b"", expires_at=expires_at, parent=parent, alias=alias, path=path, revision=revision
    )
    # a record's id may name a token: the error does not repeat it
    body = keyring.decrypt(bytes(sealed), _context(kind, columns, revision), f"{kind} record {record_id[:12]!r}…")
    return replace(columns, body=body)


async def _load_one(
    connection: Statements, keyring: Keyring, statement: Select[Any], values: dict[str, str | int]
) -> Record | None:
    row = (await connection.execute(statement, values)).first()
    return None if row is None else _open(keyring, row)


async def _load(
    connection: Statements, keyring: Keyring, statement: Select[Any], values: dict[str, str | int]
) -> list[Record]:
    return await in_slices(await scan(connection, statement, values), lambda row: _open(keyring, row))


async def _load_page(
    connection: Statements, keyring: Keyring, statement: Select[Any], values: dict[str, str | int], limit: int
) -> list[Record]:
    if limit:
        statement = statement.limit(bindparam("limit_"))
        values = values | {"limit_": limit}
    return await _load(connection, keyring, statement, values)


async def load_record(connection: Statements, keyring: Keyring, kind: str, record_id: str) -> Record | None:
    """The record. Raises IntegrityError."""
    return await _load_one(connection, keyring, _BY_ID, {"kind_": kind, "id_": record_id})


async def load_by_alias(connection: Statements, keyring: Keyring, kind: str, alias: str) -> Record | None:
    """The record of that alias."""
    return await _load_one(connection, keyring, _BY_ALIAS, {"kind_": kind, "alias_": alias})


async def load_children(
    connection: Statements, keyring: Keyring, kind: str, parent: str, *, after: str, limit: int
) -> list[Record]:
    """Records with that parent, by record_id, behind `after`."""
    values: dict[str, str | int] = {"kind_": kind, "parent_": parent, "after_": after}
    return await _load_page(connection, keyring, _CHILDREN, values, limit)


async def load_below(
    connection: Statements, keyring: Keyring, kind: str, prefix: str, *, after: str, limit: int
) -> list[Record]:
    """Records whose path starts with `prefix`, by path, behind `after`."""
    start = max(prefix, path_after(after)) if after else prefix  # one lower bound: SQLite would seek to either
    statement, values = _bounded(_BELOW, kind, prefix, start=start)
    return await _load_page(connection, keyring, statement, values, limit)


async def count(connection: Statements, kind: str, prefix: str) -> int:
    """How many records have a path that starts with `prefix`; reads the index, some ten million rows a second."""
    statement, values = _bounded(_COUNT_BELOW, kind, prefix, start=prefix) if prefix else (_COUNT, {"kind_": kind})
    rows = await scan(connection, statement, values)
    return int(rows[0][0])


def _bounded(statement: Select[Any], kind: str, prefix: str, *, start: str) -> tuple[Select[Any], dict[str, str | int]]:
    """From `start` to the upper end of the prefix, if it has one."""
    values: dict[str, str | int] = {"kind_": kind, "start_": start}
    end = prefix_end(prefix)
    if end is None:
        return statement, values
    return statement.where(_BEFORE_END), values | {"end_": end}


async def load_expired(connection: Statements, keyring: Keyring, kind: str, *, before: int, limit: int) -> list[Record]:
    """Records with expires_at <= before, the oldest first."""
    return await _load(connection, keyring, _EXPIRED, {"kind_": kind, "before_": before, "limit_": limit})


async def load_records(connection: Statements, keyring: Keyring, kind: str, *, after: str, limit: int) -> list[Record]:
    """Records by record_id, behind `after`."""
    return await _load_page(connection, keyring, _AFTER, {"kind_": kind, "after_": after}, limit)


async def store_record(connection: Statements, keyring: Keyring, kind: str, record: Record, *, cas: int | None) -> int:
    """Write one record; its new revision. Raises CasMismatchError, also for an alias or path that another one has."""
    _check_columns(kind, record)
    key = {"kind_": kind, "id_": record.record_id}
    head: Any = (await connection.execute(_HEAD, key)).first()
    present, *names = head or (0, "", "")
    if cas is not None and cas != present:
        raise CasMismatchError(f"the record is at revision {present}, not at {cas}")
    if names != [record.alias, record.path]:
        await _check_owners(connection, kind, record)
    revision = present + 1
    values = {
        "expires_at": record.expires_at,
        "parent": record.parent,
        "alias": record.alias,
        "revision": revision,
        "term": keyring.term,
        "sealed": keyring.encrypt(record.body, _context(kind, record, revision)),
        "path": record.path,
    }
    if present == 0:
        await connection.execute(_INSERT, {"kind": kind, "record_id": record.record_id, **values})
        return revision
    new = {f"new_{name}": value for name, value in values.items()}
    if (await connection.execute(_UPDATE, {**key, "revision_": present, **new})).rowcount != 1:
        raise WriteConflictError
    return revision


def _check_columns(kind: str, record: Record) -> None:
    check_name(kind, what="record kind")
    check_name(record.record_id, what="record id")
    for what, value in (("parent", record.parent), ("alias", record.alias), ("path", record.path)):
        if value:
            check_name(value, what=f"record's {what}")
    if len(record.record_id.encode()) + len(record.parent.encode()) > MAX_BYTES:  # they share an index entry
        raise InvalidRequestError(f"the record's id and its parent's are longer than {MAX_BYTES} bytes together")


async def _check_owners(connection: Statements, kind: str, record: Record) -> None:
    owners = await connection.execute(_OWNERS, {"kind_": kind, "alias_": record.alias, "path_": record.path})
    if any(row[0] != record.record_id for row in owners.all()):
        raise CasMismatchError(f"another {kind} has that alias or path")


async def remove_record(connection: Statements, kind: str, record_id: str) -> bool:
    """Delete one record; whether there was one."""
    return (await connection.execute(_DELETE, {"kind_": kind, "id_": record_id})).rowcount > 0


async def remove_records(connection: Statements, kind: str, record_ids: Sequence[str]) -> list[str]:
    """Delete those that exist; their ids."""
    removed: list[str] = []
    for start in range(0, len(record_ids), _DELETED_AT_ONCE):
        values = {"kind_": kind, "ids_": record_ids[start : start + _DELETED_AT_ONCE]}
        removed += [str(row[0]) for row in await scan(connection, _DELETE_MANY, values)]
    return removed
