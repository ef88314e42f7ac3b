"""Rows of the table `records`: sealed bodies with columns to search by.

The columns are authenticated together with the body: whoever edits an expiry or a parent makes the record unreadable.
"""

from typing import Any, cast

from sqlalchemy import LargeBinary, Select, bindparam, delete, insert, select, update
from sqlalchemy import cast as sql_cast

from barrier.connection import Statements, in_slices, scan
from barrier.database import WriteConflictError
from barrier.keyring import Keyring
from barrier.paths import check_name
from barrier.tables import records
from core.errors import CasMismatchError
from core.protocols import Record

_DOMAIN = b"mimir record 1\0"

_C = records.c
# the cast: SQLite gives what was put there, which a stranger may have made text
_SEALED = sql_cast(_C.sealed, LargeBinary)
_ROW = (_C.kind, _C.record_id, _C.expires_at, _C.parent, _C.alias, _C.revision, _SEALED)
_OF_KIND = select(*_ROW).where(_C.kind == bindparam("kind_"))
_BY_ID = _OF_KIND.where(_C.record_id == bindparam("id_"))
_BY_ALIAS = _OF_KIND.where(_C.alias == bindparam("alias_"), _C.alias != "")
_CHILDREN = _OF_KIND.where(_C.parent == bindparam("parent_")).order_by(_C.record_id)
_EXPIRED = _OF_KIND.where(_C.expires_at <= bindparam("before_")).order_by(_C.expires_at).limit(bindparam("limit_"))
_AFTER = _OF_KIND.where(_C.record_id > bindparam("after_")).order_by(_C.record_id)
_HEAD = select(_C.revision).where(_C.kind == bindparam("kind_"), _C.record_id == bindparam("id_"))
_ALIAS_OWNER = select(_C.record_id).where(_C.kind == bindparam("kind_"), _C.alias == bindparam("alias_"))
_DELETE = delete(records).where(_C.kind == bindparam("kind_"), _C.record_id == bindparam("id_"))
_INSERT = insert(records)
_NEW = ("expires_at", "parent", "alias", "revision", "term", "sealed")
_UPDATE = (
    update(records)
    .where(_C.kind == bindparam("kind_"), _C.record_id == bindparam("id_"), _C.revision == bindparam("revision_"))
    .values({name: bindparam(f"new_{name}") for name in _NEW})
)


def _context(kind: str, record: Record, revision: int) -> bytes:
    """Every column, each with its length before it, so that no two rows have the same context."""
    expiry = "" if record.expires_at is None else str(record.expires_at)
    fields = (kind, record.record_id, expiry, record.parent, record.alias, str(revision))
    parts = [field.encode() for field in fields]
    return _DOMAIN + b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _open(keyring: Keyring, row: Any) -> Record:  # SQLAlchemy rows are untyped; the order is _ROW's
    kind, record_id, expires_at, parent, alias, revision, sealed = row
    columns = Record(
        record_id=record_id, body=b"", expires_at=expires_at, parent=parent, alias=alias, revision=revision
    )
    # a record's id may name a token: the error does not repeat it
    body = keyring.decrypt(bytes(sealed), _context(kind, columns, revision), f"{kind} record {record_id[:12]!r}…")
    return Record(record_id=record_id, body=body, expires_at=expires_at, parent=parent, alias=alias, revision=revision)


async def _load_one(
    connection: Statements, keyring: Keyring, statement: Select[Any], values: dict[str, str | int]
) -> Record | None:
    row = (await connection.execute(statement, values)).first()
    return None if row is None else _open(keyring, row)


async def _load(
    connection: Statements, keyring: Keyring, statement: Select[Any], values: dict[str, str | int]
) -> list[Record]:
    return await in_slices(await scan(connection, statement, values), lambda row: _open(keyring, row))


async def load_record(connection: Statements, keyring: Keyring, kind: str, record_id: str) -> Record | None:
    """The record. Raises IntegrityError."""
    return await _load_one(connection, keyring, _BY_ID, {"kind_": kind, "id_": record_id})


async def load_by_alias(connection: Statements, keyring: Keyring, kind: str, alias: str) -> Record | None:
    """The record of that alias."""
    return await _load_one(connection, keyring, _BY_ALIAS, {"kind_": kind, "alias_": alias})


async def load_children(connection: Statements, keyring: Keyring, kind: str, parent: str) -> list[Record]:
    """Every record with that parent, by record_id."""
    return await _load(connection, keyring, _CHILDREN, {"kind_": kind, "parent_": parent})


async def load_expired(connection: Statements, keyring: Keyring, kind: str, *, before: int, limit: int) -> list[Record]:
    """Records with expires_at <= before, the oldest first."""
    return await _load(connection, keyring, _EXPIRED, {"kind_": kind, "before_": before, "limit_": limit})


async def load_records(connection: Statements, keyring: Keyring, kind: str, *, after: str, limit: int) -> list[Record]:
    """Records by record_id, behind `after`."""
    statement = _AFTER.limit(bindparam("limit_")) if limit else _AFTER
    values: dict[str, str | int] = {"kind_": kind, "after_": after}
    return await _load(connection, keyring, statement, values | ({"limit_": limit} if limit else {}))


async def store_record(connection: Statements, keyring: Keyring, kind: str, record: Record, *, cas: int | None) -> int:
    """Write one record; its new revision. Raises CasMismatchError, also for an alias that another record has."""
    _check_columns(kind, record)
    key = {"kind_": kind, "id_": record.record_id}
    present = cast("int", (await connection.execute(_HEAD, key)).scalar() or 0)
    if cas is not None and cas != present:
        raise CasMismatchError(f"the record is at revision {present}, not at {cas}")
    await _check_alias(connection, kind, record)
    revision = present + 1
    values = {
        "expires_at": record.expires_at,
        "parent": record.parent,
        "alias": record.alias,
        "revision": revision,
        "term": keyring.term,
        "sealed": keyring.encrypt(record.body, _context(kind, record, revision)),
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
    for what, value in (("parent", record.parent), ("alias", record.alias)):
        if value:
            check_name(value, what=f"record's {what}")


async def _check_alias(connection: Statements, kind: str, record: Record) -> None:
    if not record.alias:
        return
    owner = (await connection.execute(_ALIAS_OWNER, {"kind_": kind, "alias_": record.alias})).scalar()
    if owner not in {None, record.record_id}:
        raise CasMismatchError(f"another {kind} has that alias")


async def remove_record(connection: Statements, kind: str, record_id: str) -> bool:
    """Delete one record; whether there was one."""
    return (await connection.execute(_DELETE, {"kind_": kind, "id_": record_id})).rowcount > 0
