"""What runs statements: SQLAlchemy's async connection, or for SQLite a synchronous one without a thread between."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, CursorResult, Dialect, Executable, Row

T = TypeVar("T")

_SLICE = 64  # decrypting one row takes some 20 us


class Statements(Protocol):
    """The part of sqlalchemy.ext.asyncio.AsyncConnection that the barrier uses."""

    @property
    def dialect(self) -> Dialect:
        """Which engine it is."""
        ...

    async def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> CursorResult[Any]:  # rows are typed where they are taken apart
        """Run it and fetch the result."""
        ...


class OwnTransaction(Statements, Protocol):
    """With the statements that begin and end a transaction, which may wait for locks and for the disk."""

    async def exec_driver_sql(self, statement: str) -> object:
        """Run it as it stands."""
        ...

    async def invalidate(self) -> None:
        """Throw the connection away instead of giving it back to the pool."""
        ...


async def scan(connection: Statements, statement: Executable, parameters: Mapping[str, Any]) -> Sequence[Row[Any]]:
    """Every row of a statement that may touch many; the event loop goes on meanwhile."""
    if isinstance(connection, InlineStatements):
        return await connection.scan(statement, parameters)
    return (await connection.execute(statement, parameters)).all()


async def in_slices(rows: Sequence[Row[Any]], convert: Callable[[Row[Any]], T]) -> list[T]:
    """`convert` each; between slices the event loop sees to others."""
    converted: list[T] = []
    for start in range(0, len(rows), _SLICE):
        if start:
            await asyncio.sleep(0)
        converted += map(convert, rows[start : start + _SLICE])
    return converted


class InlineStatements:
    """Runs on the event loop's thread what waits for nobody: reads in WAL mode, and writes once the lock is held.

    A look-up takes 10 us, a thread hop and back 100 us, and aiosqlite makes four of them a statement: docs/adr/0002.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def dialect(self) -> Dialect:
        """SQLite."""
        return self._connection.dialect

    async def execute(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> CursorResult[Any]:
        """Run it; the rows are fetched as the caller takes them."""
        return self._connection.execute(statement, parameters)

    async def scan(self, statement: Executable, parameters: Mapping[str, Any]) -> Sequence[Row[Any]]:
        """Every row, fetched in a thread. Whoever waits for it must not be cancelled: the connection is in use."""
        return await asyncio.to_thread(lambda: self._connection.execute(statement, parameters).all())

    async def exec_driver_sql(self, statement: str) -> object:
        """In a thread: BEGIN IMMEDIATE waits for other processes, COMMIT for the disk."""
        return await asyncio.to_thread(self._connection.exec_driver_sql, statement)

    async def invalidate(self) -> None:
        """Throw the connection away."""
        self._connection.invalidate()
