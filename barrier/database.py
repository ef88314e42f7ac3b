"""One database, of either engine: connections, transactions that retry, and errors as sentences."""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from barrier.connection import InlineStatements, OwnTransaction, Statements
from barrier.group_commit import GroupCommit, Work
from barrier.schema_version import SCHEMA
from barrier.store_errors import (
    CANNOT_OPEN,
    DRIVER_ERRORS,
    is_conflict,
    is_disconnect,
    is_locked,
    is_unknown_outcome,
    store_error,
)
from barrier.tables import schema_version
from barrier.turn import Turn
from core.errors import ConfigError, MimirError, StoreUnavailableError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 30
POOL_SIZE = 5
# Seconds before a transaction runs again. Near each other in an index, many fail several times in a row on PostgreSQL
# (it watches pages, not rows): what they wait between is what callers wait, so it is about what a transaction takes.
LONGEST_PAUSE = 0.016

_ASYNCIO = "sqlalchemy.ext.asyncio"  # brings the whole ORM along, so it is imported by whom it serves


def _nothing() -> None:
    """Nobody needs to be told."""


class WriteConflictError(MimirError):
    """Another transaction changed what this one had read; it runs again and nobody outside sees this."""


class Database:
    """Reads and transactions. `patience` (seconds) bounds waiting for locks and running a transaction again.

    Connections are in autocommit mode; a transaction's BEGIN and COMMIT are ours. On SQLite it takes the write lock at
    once (BEGIN IMMEDIATE), on PostgreSQL it is SERIALIZABLE: either way what it has read still holds when it commits.
    """

    def __init__(self, url: str, *, patience: float = 10.0) -> None:
        parsed = parse_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self._patience = patience
        self._url = parsed
        self._engine = None if self.is_sqlite else make_engine(parsed, patience=patience)
        self._reader = make_inline_engine(parsed, patience=0) if self.is_sqlite else None
        self._kept: tuple[Connection, InlineStatements] | None = None  # SQLite's for look-ups, one after the other
        self._writer = make_group_commit(parsed, patience=patience) if self.is_sqlite else None
        self._places = asyncio.Semaphore(POOL_SIZE)  # who waits here is served in turn
        self._under_way: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Finish the transactions and scans under way and close every connection."""
        while self._under_way:
            await asyncio.wait(self._under_way)
        if self._writer is not None:
            await self._writer.close()
        if self._engine is not None:
            await self._engine.dispose()
        self._drop_kept()
        if self._reader is not None:
            self._reader.dispose()

    async def read(self, work: Work[T]) -> T:
        """Run `work`, look-ups of which each sees one consistent state. Raises StoreUnavailableError."""
        return await self._try_twice(work, self._look_up if self.is_sqlite else self._read)

    async def _try_twice(self, work: Work[T], run: Callable[[Work[T]], Awaitable[T]]) -> T:
        try:
            return await run(work)
        except DRIVER_ERRORS as exc:
            self._drop_kept()
            if not (is_disconnect(exc) or is_locked(exc)):
                raise store_error(exc) from exc
        try:
            # the pool held connections to a server that has restarted; or a lock must be waited for, in a thread
            return await self._read(work)
        except DRIVER_ERRORS as exc:
            raise store_error(exc) from exc

    async def scan(self, work: Work[T]) -> T:
        """As `read`, for `work` that fetches many rows in a thread.

        A caller that is cancelled does not stop it: its connection would go back to the pool while the thread uses it.
        """
        return await self._finish(self._try_twice(work, self._read_inline if self.is_sqlite else self._read))

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end, whatever becomes of the caller; `close` waits for it."""
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    async def _read(self, work: Work[T]) -> T:
        async with (await self._waiting_engine()).connect() as connection:
            return await work(connection)

    async def _waiting_engine(self) -> "AsyncEngine":
        """The engine that waits without holding up the event loop; on SQLite few processes ever need it."""
        if self._engine is None:
            await asyncio.to_thread(import_module, _ASYNCIO)  # takes a tenth of a second
        if self._engine is None:
            self._engine = make_engine(self._url, patience=self._patience)
        return self._engine

    async def _look_up(self, work: Work[T]) -> T:
        """On a connection that is kept: to take one out of the pool costs more than what is done with it.

        Nothing in it waits, so no two have it at once; in autocommit mode nothing is left open between them.
        """
        if self._kept is None:
            connection = self._inline().connect()
            self._kept = connection, InlineStatements(connection)
        return await work(self._kept[1])

    def _drop_kept(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            with contextlib.suppress(*DRIVER_ERRORS):
                kept[0].close()

    def _inline(self) -> Engine:
        if self._reader is None:
            raise RuntimeError("only SQLite is read inline")
        return self._reader

    async def _read_inline(self, work: Work[T]) -> T:
        with self._inline().connect() as connection:
            return await work(InlineStatements(connection))

    async def write(
        self,
        work: Work[T],
        *,
        committed: Callable[[], None] = _nothing,
        settled: Callable[[], None] = _nothing,
        may_share: bool = False,
    ) -> T:
        """Run `work` in one transaction; durable when this returns.

        `work` runs again after a serialisation failure. `committed` is called as soon as others may see the changes,
        also when a COMMIT failed and nobody knows. A caller that is cancelled does not stop it: a commit could happen
        that no cache hears of, and a connection could go back to the pool in the middle. `may_share` says that `work`
        waits for nothing but its own statements, so that it may be committed together with others; then `settled` is
        called once for all of them that give the same, when each `committed` has been.
        Raises StoreUnavailableError.
        """
        writer = self._writer
        if writer is not None:
            return await self._write(
                lambda: writer.run(work, committed=committed, settled=settled, may_share=may_share)
            )

        def told() -> None:
            committed()
            settled()

        return await self._finish(self._write(lambda: self._transact_alone(work, told)))

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # seen, also when its caller is gone

    async def _write(self, transact: Callable[[], Awaitable[T]]) -> T:
        """`transact`, again after what another try may mend."""
        deadline = time.monotonic() + self._patience
        pause = 0.001
        reconnects = 1
        while True:
            try:
                return await transact()
            except WriteConflictError as exc:
                failure: BaseException = exc
            except DRIVER_ERRORS as exc:
                if is_disconnect(exc) and reconnects:
                    reconnects -= 1
                elif not is_conflict(exc):
                    raise store_error(exc) from exc
                failure = exc
            if time.monotonic() + pause > deadline:
                raise StoreUnavailableError("too many writers contend for the same entries; try again") from failure
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads contenders, guards nothing
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _transact_alone(self, work: Work[T], committed: Callable[[], None]) -> T:
        async with self._places, (await self._waiting_engine()).connect() as connection:
            return await self._transact(connection, work, committed)

    async def _transact(self, connection: OwnTransaction, work: Work[T], committed: Callable[[], None]) -> T:
        await connection.exec_driver_sql("BEGIN ISOLATION LEVEL SERIALIZABLE")
        try:
            result = await work(connection)
        except BaseException:
            await self._roll_back(connection)
            raise
        await self._commit(connection, committed)
        return result

    async def _commit(self, connection: OwnTransaction, committed: Callable[[], None]) -> None:
        try:
            await connection.exec_driver_sql("COMMIT")
        except DRIVER_ERRORS as exc:
            await self._roll_back(connection)
            if is_conflict(exc):
                raise
            committed()  # it may have happened, and costs a few needless reloads if not
            if is_unknown_outcome(exc):
                raise StoreUnavailableError(
                    "the database went away during a commit, so the write may or may not have happened; read it back"
                ) from exc
            raise
        committed()

    async def _roll_back(self, connection: OwnTransaction) -> None:
        try:
            await connection.exec_driver_sql("ROLLBACK")
        except DRIVER_ERRORS:
            # the engine has rolled back by itself (disk full), or the connection is gone: never reuse it
            with contextlib.suppress(*DRIVER_ERRORS):
                await connection.invalidate()


def parse_url(url: str) -> URL:
    """`sqlite:///path` or `postgresql://…`, with the driver we use. Raises ConfigError that names no password."""
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise ConfigError("the storage URL is malformed; write sqlite:///path or postgresql://user@host/name") from exc
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(drivername="sqlite+aiosqlite")
    if backend in {"postgresql", "postgres"}:
        ssl = parsed.query.get("sslmode")
        parsed = parsed.difference_update_query(["sslmode"])
        return parsed.set(drivername="postgresql+asyncpg").update_query_dict({"ssl": ssl} if ssl else {})
    raise ConfigError("the storage URL must be sqlite:///path or postgresql://user@host/name")


def make_engine(url: URL, *, patience: float) -> "AsyncEngine":
    """An engine whose connections are in autocommit mode and whose errors hide parameters."""
    from sqlalchemy.ext.asyncio import create_async_engine

    options: dict[str, Any] = {
        "isolation_level": "AUTOCOMMIT",
        "hide_parameters": True,
        "pool_size": POOL_SIZE,
        "pool_reset_on_return": None,  # a transaction of ours has ended, or its connection is thrown away
    }
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(url, max_overflow=0, connect_args={"timeout": patience}, **options)
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        return engine
    arguments = {"timeout": CONNECT_SECONDS, "command_timeout": STATEMENT_SECONDS}
    return create_async_engine(url, max_overflow=POOL_SIZE, connect_args=arguments, **options)


def make_inline_engine(url: URL, *, patience: float) -> Engine:
    """For SQLite without a thread between: never waits for a connection, since that would hold up the event loop."""
    arguments = {"timeout": patience, "check_same_thread": False}
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "hide_parameters": True, "pool_reset_on_return": None}
    inline = url.set(drivername="sqlite+pysqlite")
    engine = create_engine(
        inline, poolclass=QueuePool, pool_size=POOL_SIZE, max_overflow=-1, connect_args=arguments, **options
    )
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def make_group_commit(url: URL, *, patience: float) -> GroupCommit:
    """SQLite's writer, whose statements never wait for a lock on the event loop's thread."""
    engine = make_inline_engine(url, patience=patience)
    event.listen(engine, "connect", lambda connection, _record: connection.execute("PRAGMA busy_timeout=0"))
    return GroupCommit(engine, Turn(url.database or ""), patience=patience)


def _prepare_sqlite(connection: Any, _record: object) -> None:  # the driver's connection has no public type
    cursor = connection.cursor()
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000", "cache_size=-8192"):
            cursor.execute(f"PRAGMA {pragma}")
    finally:
        cursor.close()


def create_sqlite_file(url: URL) -> None:
    """Make the file, for its owner only; SQLite gives the log files beside it the same mode."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return
    try:
        os.close(os.open(url.database, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    except OSError as exc:
        raise StoreUnavailableError(CANNOT_OPEN) from exc


async def check_schema(connection: Statements) -> None:
    """Raise StoreUnavailableError unless the schema is the one that this code knows."""
    found = (await connection.execute(select(schema_version.c.version_num))).scalar()
    check_schema_version(found)


def check_schema_version(found: str | None) -> None:
    """Raise StoreUnavailableError for a schema that is missing, older or newer."""
    if found is None:
        raise StoreUnavailableError("the database has no schema of Mimir; start the server once, which makes it")
    if found > SCHEMA:
        raise StoreUnavailableError(
            f"the database has schema {found}, newer than {SCHEMA} of this program; install the newer Mimir again"
        )
    if found < SCHEMA:
        raise StoreUnavailableError(f"the database has schema {found}; restart the server, which upgrades to {SCHEMA}")
