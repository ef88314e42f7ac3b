"""What runs statements: SQLAlchemy's async connection, or for SQLite a synchronous one without a thread between."""

import asyncio
import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from sqlalchemy import ClauseElement, Connection, Dialect, Executable, Row
from sqlalchemy.sql.compiler import SQLCompiler

T = TypeVar("T")
Rows = Sequence[Sequence[Any]]
# statements of which each follows from what the one before found; gives them, takes their rows, and returns the result
Steps = Generator[tuple[Executable, Mapping[str, Any]], Rows, T]

_SLICE = 64  # decrypting one row takes some 20 us


class OwnTransactionNeededError(Exception):
    """The transaction will run again, alone; nobody outside sees this."""


class Result(Protocol):
    """The part of sqlalchemy.CursorResult that the barrier uses; rows are typed where they are taken apart."""

    @property
    def rowcount(self) -> int:
        """How many rows a statement changed."""
        ...

    def all(self) -> Sequence[Any]:
        """Every row."""
        ...

    def first(self) -> Any:
        """The first row, or None."""
        ...

    def scalar(self) -> Any:
        """The first column of the first row, or None."""
        ...


class Statements(Protocol):
    """The part of sqlalchemy.ext.asyncio.AsyncConnection that the barrier uses."""

    @property
    def dialect(self) -> Dialect:
        """Which engine it is."""
        ...

    async def execute(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Result:
        """Run it and fetch the result. A statement that is run often is made once: SQLite keeps it prepared."""
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


async def scan_steps(connection: Statements, steps: Steps[T]) -> T:
    """Run the statements as `scan` does, for SQLite in one stay in the thread."""
    if isinstance(connection, InlineStatements):
        return await connection.scan_steps(steps)
    try:
        statement, parameters = next(steps)
        while True:
            statement, parameters = steps.send((await connection.execute(statement, parameters)).all())
    except StopIteration as end:
        return cast("T", end.value)


async def in_slices(rows: Sequence[Row[Any]], convert: Callable[[Row[Any]], T]) -> list[T]:
    """`convert` each; between slices the event loop sees to others."""
    converted: list[T] = []
    for start in range(0, len(rows), _SLICE):
        if start:
            await asyncio.sleep(0)
        converted += map(convert, rows[start : start + _SLICE])
    return converted


class FetchedResult(NamedTuple):
    """Implements Result for few rows."""

    rows: Sequence[tuple[Any, ...]]
    rowcount: int

    def all(self) -> Sequence[tuple[Any, ...]]:
        """Every row."""
        return self.rows

    def first(self) -> tuple[Any, ...] | None:
        """The first row."""
        return self.rows[0] if self.rows else None

    def scalar(self) -> Any:
        """The first column of the first row."""
        return self.rows[0][0] if self.rows else None


class _Prepared(NamedTuple):
    text: str
    names: Sequence[str]  # of the parameters, in the order of their places
    constants: Mapping[str, Any]  # those that the statement brings along


@lru_cache(maxsize=256)
def _prepared(statement: ClauseElement, given: tuple[str, ...], dialect: Dialect) -> _Prepared:
    """As SQLite takes it. Our types need no conversion: it is given and gives text, numbers and bytes."""
    compiled = statement.compile(dialect=dialect, column_keys=list(given))
    if not isinstance(compiled, SQLCompiler):
        raise TypeError("only a statement with parameters can be prepared")
    constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
    return _Prepared(compiled.string, compiled.positiontup or (), constants)


def driver_connection(connection: Connection) -> sqlite3.Connection:
    """The driver's own."""
    return cast("sqlite3.Connection", connection.connection.driver_connection)


class InlineStatements:
    """Runs on the event loop's thread what waits for nobody: reads in WAL mode, and writes once the lock is held.

    A look-up takes 10 us, a thread hop and back 100 us, and aiosqlite makes four of them a statement: docs/adr/0002.
    """

    def __init__(self, connection: Connection, *, in_company: bool = False, seen: set[str] | None = None) -> None:
        """`in_company`: others of the same transaction have done their part, and wait for this one.

        `seen` are paths of entries that this transaction has found, and not removed since.
        """
        self._connection = connection
        self._driver = driver_connection(connection)
        self._dialect = connection.dialect
        self.in_company = in_company
        self.seen: set[str] = set() if seen is None else seen
        self.needs_own_transaction = False
        self.has_scanned = False
        self.has_written = False  # that anything was changed

    @property
    def dialect(self) -> Dialect:
        """SQLite."""
        return self._dialect

    async def execute(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Result:
        """Run it, past SQLAlchemy, which takes a tenth of a millisecond for what SQLite does in ten microseconds."""
        return self._execute(statement, parameters or {})

    def _execute(self, statement: Executable, given: Mapping[str, Any]) -> FetchedResult:
        prepared = _prepared(statement, tuple(given), self._dialect)
        constants = prepared.constants
        if constants:
            values = [given[name] if name in given else constants[name] for name in prepared.names]
        else:
            values = [given[name] for name in prepared.names]
        cursor = self._driver.execute(prepared.text, values)
        rows = cursor.fetchall()
        changed = cursor.rowcount  # -1 of what only reads
        if changed > 0:
            self.has_written = True
        return FetchedResult(rows, changed)

    def execute_many(self, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> int:
        """Run it for each of these, all of which give the same parameters; how many rows that changed."""
        prepared = _prepared(statement, tuple(rows[0]), self._dialect)
        names = prepared.names
        cursor = self._driver.executemany(prepared.text, [[row[name] for name in names] for row in rows])
        if cursor.rowcount > 0:
            self.has_written = True
        return cursor.rowcount

    async def scan(self, statement: Executable, parameters: Mapping[str, Any]) -> Sequence[Row[Any]]:
        """Every row, fetched in a thread. Whoever waits for it must not be cancelled: the connection is in use.

        Raises OwnTransactionNeededError in company, before anything is fetched.
        """
        self._begin_scan()
        return await asyncio.to_thread(lambda: self._connection.execute(statement, parameters).all())

    async def scan_steps(self, steps: Steps[T]) -> T:
        """As `scan`, of one statement after the other."""
        self._begin_scan()
        return await asyncio.to_thread(self._run_steps, steps)

    def _begin_scan(self) -> None:
        if self.in_company:
            self.needs_own_transaction = True
            raise OwnTransactionNeededError
        self.has_scanned = self.has_written = True  # it may be a DELETE

    def _run_steps(self, steps: Steps[T]) -> T:
        try:
            statement, parameters = next(steps)
            while True:
                statement, parameters = steps.send(self._execute(statement, parameters).rows)
        except StopIteration as end:  # raising it through a future is not allowed
            return cast("T", end.value)
