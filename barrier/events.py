"""Rows of the table `events`: the log of what was announced, in the order of the commits.

A body is sealed with the random id of its row, which is known before the number is. So a body in another row, and one
that was edited, do not open. That rows were removed or renumbered outside Mimir nobody can tell: what reads the log is
told of changes, and is not their proof.

Readers go on behind the last number that they saw, so no lower one may appear after it. SQLite has one writer at a
time, and its AUTOINCREMENT does it. On PostgreSQL transactions overlap: there the number is that of the transaction,
times 2^20, and the place within it; a reader stops below the oldest transaction that has not ended
(pg_snapshot_xmin), whose events may still come. Of two transactions that touch one entry the later one has the higher
number, since it is SERIALIZABLE.
"""

import os
from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy import cast as sql_cast

from barrier.connection import Statements, in_slices, scan
from barrier.keyring import Keyring, UnknownTermError
from barrier.tables import EVENT_BASE, event_floor, events
from core.errors import IntegrityError, InvalidRequestError
from core.protocols import StoredEvent

log = structlog.get_logger("mimir.barrier")

RING_NAME = "\0events"  # what the change ring calls the log; no entry's path begins with NUL
MAX_IN_TRANSACTION = 1 << 20  # 2^43 transactions are left in 63 bits: 280 years of a thousand a second

_DOMAIN = b"mimir event 1\0"
_ID = 16

_C = events.c
_BASE = f"(SELECT last_value FROM {EVENT_BASE})"  # noqa: S608 - a constant of ours
_OWN: ColumnElement[int] = literal_column(
    f"(({_BASE} + CAST(CAST(pg_current_xact_id() AS text) AS bigint)) * {MAX_IN_TRANSACTION})"
)
_UNSETTLED: ColumnElement[int] = literal_column(
    f"(({_BASE} + CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)) * {MAX_IN_TRANSACTION})"
)
_ROW = (_C.number, sql_cast(_C.event_id, LargeBinary), sql_cast(_C.sealed, LargeBinary))
_INSERT = insert(events)
_VALUES: dict[str, ColumnElement[Any]] = {
    "event_id": bindparam("event_id"),
    "term": bindparam("term"),
    "sealed": bindparam("sealed"),
}
_INSERT_POSTGRES = insert(events).values(number=_OWN + bindparam("place_", type_=_C.number.type), **_VALUES)
_AFTER = select(*_ROW).where(_C.number > bindparam("after_")).order_by(_C.number).limit(bindparam("limit_"))
_NEWEST = select(_C.number).order_by(_C.number.desc()).limit(1)
_NTH_NEWEST = select(_C.number).order_by(_C.number.desc()).limit(1).offset(bindparam("count_"))
_FLOOR = select(event_floor.c.dropped)
_COUNTED = select(
    func.greatest(
        select(func.max(_C.number)).scalar_subquery(), select(func.max(event_floor.c.dropped)).scalar_subquery()
    ),
    literal_column(_BASE),
    literal_column("CAST(CAST(pg_current_xact_id() AS text) AS bigint)"),
)
_LAST_BEFORE = select(func.max(_C.number)).where(_C.number < bindparam("before_"))
_DELETE = delete(events).where(_C.number < bindparam("before_"))
_RAISE_FLOOR = (
    update(event_floor)
    .where(event_floor.c.dropped < bindparam("dropped_"))
    .values(dropped=bindparam("dropped_", type_=event_floor.c.dropped.type))
)


def _is_postgres(connection: Statements) -> bool:
    return connection.dialect.name == "postgresql"


async def append(connection: Statements, keyring: Keyring, body: bytes, *, place: int) -> None:
    """Add one; `place` is how many of this transaction come before it."""
    if place >= MAX_IN_TRANSACTION:
        raise InvalidRequestError(f"one transaction can announce {MAX_IN_TRANSACTION} changes; make smaller ones")
    event_id = os.urandom(_ID)
    row = {"event_id": event_id, "term": keyring.term, "sealed": keyring.encrypt(body, _DOMAIN + event_id)}
    if _is_postgres(connection):
        await connection.execute(_INSERT_POSTGRES, {**row, "place_": place})
    else:
        await connection.execute(_INSERT, row)


async def load_after(
    connection: Statements, keyring: Keyring, number: int, *, limit: int, is_newest: bool = False
) -> list[StoredEvent]:
    """The next ones behind that number; one that does not open comes with an empty body, so that readers get past.

    Raises UnknownTermError, unless there is no newer keyring (`is_newest`): then the row was edited.
    """
    statement = _AFTER.where(_C.number < _UNSETTLED) if _is_postgres(connection) else _AFTER
    rows = (await connection.execute(statement, {"after_": number, "limit_": limit})).all()
    return await in_slices(rows, lambda row: _open(keyring, row, is_newest=is_newest))


def _open(keyring: Keyring, row: Any, *, is_newest: bool) -> StoredEvent:
    """SQLAlchemy rows are untyped; the order is _ROW's."""
    number, event_id, sealed = row
    name = f"event {number}"
    try:
        return StoredEvent(number, keyring.decrypt(bytes(sealed), _DOMAIN + bytes(event_id), name))
    except IntegrityError as exc:
        if isinstance(exc, UnknownTermError) and not is_newest:
            raise  # the keyring of another process may be newer
        log.warning("an event is skipped", reason=exc.sentence)
        return StoredEvent(number, b"")


async def bounds(connection: Statements) -> tuple[int, int]:
    """From which number on nothing was removed, and the newest that can be read; (0, 0) when there never was one."""
    dropped = int((await connection.execute(_FLOOR)).scalar() or 0)
    statement = _NEWEST.where(_C.number < _UNSETTLED) if _is_postgres(connection) else _NEWEST
    newest = int((await connection.execute(statement)).scalar() or dropped)
    return (dropped + 1 if newest else 0), newest


async def nth_newest(connection: Statements, count: int) -> int:
    """The number of the event that `count` others are newer than; 0 when there are not so many."""
    rows = await scan(connection, _NTH_NEWEST, {"count_": count})
    return int(rows[0][0]) if rows else 0


async def drop(connection: Statements, *, before: int) -> int:
    """Remove those with a lower number; how many."""
    last = (await connection.execute(_LAST_BEFORE, {"before_": before})).scalar()
    if last is None:
        return 0
    await connection.execute(_RAISE_FLOOR, {"dropped_": int(last)})
    return (await connection.execute(_DELETE, {"before_": before})).rowcount


def settle_base(connection: Connection) -> None:
    """PostgreSQL, at start: count from so high that no number comes again.

    The transactions of a server into which the database was restored are counted from the beginning. Nobody writes
    meanwhile but nodes that have gone on all the time, and for those nothing changes.
    """
    found: Sequence[Any] = connection.execute(_COUNTED).one()
    highest, base, transaction = (int(value or 0) for value in found)
    taken = highest // MAX_IN_TRANSACTION
    if base + transaction <= taken:
        connection.execute(text(f"SELECT setval('{EVENT_BASE}', {taken - transaction + 1})"))
