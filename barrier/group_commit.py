"""SQLite's writer: transactions that wait together are committed together.

A COMMIT waits for the disk, some milliseconds, and SQLite has one writer at a time. So what comes meanwhile waits, and
runs one after the other inside one BEGIN IMMEDIATE … COMMIT: a later one sees what an earlier one wrote, and all are
answered when the COMMIT is on disk, or fail with it. One that fails has written nothing as a rule, since it looks
before it writes; if it has, all is undone and the others run again without it. That is rarer, and so cheaper, than a
savepoint for each.

The bodies run on the event loop's thread (docs/adr/0002) and so without a break; the COMMIT runs in a thread, and the
loop serves others and collects the next group. A group is closed after so many members or so much time, since other
processes wait for the lock. A transaction that waits for something else, a scan of many rows in a thread, would keep
the group waiting: it runs alone.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine

from barrier.connection import InlineStatements, Statements, driver_connection
from barrier.store_errors import DRIVER_ERRORS, is_locked, store_error
from barrier.turn import Turn

T = TypeVar("T")
P = TypeVar("P")
Work = Callable[[Statements], Awaitable[T]]

MAX_MEMBERS = 64
MAX_SECONDS = 0.01  # of bodies; the event loop stands still meanwhile


@dataclass(slots=True, eq=False)
class _Member:
    """One transaction and who waits for it."""

    work: Work[Any]
    committed: Callable[[], None]
    settled: Callable[[], None]
    may_share: bool
    answer: asyncio.Future[Any]
    result: Any = None

    def fail(self, failure: BaseException) -> None:
        """Tell the caller, unless it is gone."""
        if self.answer.done():
            return
        if isinstance(failure, asyncio.CancelledError):
            self.answer.cancel()
        else:
            self.answer.set_exception(failure)

    def succeed(self) -> None:
        """Tell the caller."""
        if not self.answer.done():
            self.answer.set_result(self.result)


class GroupCommit:
    """Runs transactions of one process in the order in which they came."""

    def __init__(self, engine: Engine, turn: Turn, *, patience: float) -> None:
        """`engine` is used by nobody else, so its pool holds one connection. `patience` bounds a wait for locks."""
        self._engine = engine
        self._turn = turn
        self._patience = patience
        self._waiting: deque[_Member] = deque()
        self._leader: asyncio.Task[None] | None = None
        # its own: the disk must not wait behind what else runs in threads
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-writer")

    async def run(
        self, work: Work[T], *, committed: Callable[[], None], settled: Callable[[], None], may_share: bool
    ) -> T:
        """Run `work` in a transaction; durable when this returns. It may run again from the start.

        `committed` is called for each, `settled` once for all of a group that have the same, before any is answered.

        A caller that is cancelled does not stop it. Raises what `work` does, or an error of the driver, or
        StoreUnavailableError when the whole group failed.
        """
        loop = asyncio.get_running_loop()
        member = _Member(work, committed, settled, may_share, loop.create_future())
        self._waiting.append(member)
        if self._leader is None or self._leader.done():
            self._leader = loop.create_task(self._lead())
        return cast("T", await member.answer)

    async def close(self) -> None:
        """Finish what waits."""
        while self._leader is not None and not self._leader.done():
            await asyncio.wait([self._leader])
        self._thread.shutdown()
        self._engine.dispose()
        self._turn.close()

    # --- groups ---------------------------------------------------------------------------------------------------

    async def _lead(self) -> None:
        while self._waiting:
            await self._run_group()

    async def _run_group(self) -> None:
        """One BEGIN … COMMIT. Everybody whom it concerns hears how it ended."""
        hopeful = len(self._waiting)  # when the lock cannot be had, for these the wait is over
        members: list[_Member] = []
        try:
            await self._transact(members)
        except DRIVER_ERRORS as exc:
            for member in members or [self._waiting.popleft() for _ in range(min(hopeful, len(self._waiting)))]:
                failure = store_error(exc)
                failure.__cause__ = exc
                member.fail(failure)
        except BaseException as exc:  # the loop ends, or a fault of ours: nobody may be left waiting
            for member in (*members, *self._waiting):
                member.fail(exc)
            self._waiting.clear()
            raise
        else:
            _announce(members)
            for member in members:
                member.succeed()

    async def _transact(self, members: list[_Member]) -> None:
        deadline = time.monotonic() + self._patience
        await self._turn.take(deadline)
        try:
            with self._engine.connect() as connection:
                await self._begin(driver_connection(connection), deadline)
                try:
                    await self._run_members(connection, members, deadline)
                    if members:
                        await self._commit(driver_connection(connection), members)
                    else:
                        await asyncio.sleep(0)  # all have failed; others than writers want to run, too
                finally:
                    _roll_back(connection)  # what has not been committed
        finally:
            self._turn.leave()

    async def _begin(self, driver: sqlite3.Connection, deadline: float) -> None:
        """Take the write lock: at once as a rule, and in a thread when somebody has it who takes no turns."""
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as exc:
            if not is_locked(exc):
                raise
        else:
            return
        milliseconds = max(0, int((deadline - time.monotonic()) * 1000))
        driver.execute(f"PRAGMA busy_timeout={milliseconds}")
        try:
            await self._in_thread(driver.execute, "BEGIN IMMEDIATE")
        finally:
            driver.execute("PRAGMA busy_timeout=0")

    async def _commit(self, driver: sqlite3.Connection, members: list[_Member]) -> None:
        try:
            await self._in_thread(self._commit_and_leave, driver)
        except DRIVER_ERRORS:
            _announce(members)  # it may have happened, and costs a few needless reloads if not
            raise

    def _commit_and_leave(self, driver: sqlite3.Connection) -> None:
        """In the thread: the next process need not wait until our event loop comes round to it."""
        driver.execute("COMMIT")
        self._turn.leave()

    async def _in_thread(self, call: Callable[[P], object], argument: P) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, call, argument)

    # --- members --------------------------------------------------------------------------------------------------

    async def _run_members(self, connection: Connection, members: list[_Member], deadline: float) -> None:
        """Run those that wait, until the group's bounds are reached; `members` are those that succeeded."""
        driver, closes = driver_connection(connection), time.monotonic() + MAX_SECONDS
        has_run, seen = False, set[str]()
        while self._waiting and len(members) < MAX_MEMBERS:
            if has_run and (time.monotonic() >= closes or (members and not self._waiting[0].may_share)):
                return
            has_run = True
            member = self._waiting.popleft()
            statements = InlineStatements(connection, in_company=bool(members), seen=seen)
            failure = await _run_member(member, statements)
            if failure is None and not statements.needs_own_transaction:
                members.append(member)
                if statements.has_scanned or not member.may_share:
                    return
                continue
            if statements.needs_own_transaction:  # whatever its body made of the refusal
                member.may_share = False
                self._waiting.appendleft(member)
            elif failure is not None:
                member.fail(failure)
            if driver.in_transaction and not statements.has_written:
                continue
            _undo(driver)  # what it wrote, with what the others wrote: they run again, in their turn
            self._waiting.extendleft(reversed(members))
            members.clear()
            seen.clear()
            if self._waiting:
                await self._begin(driver, deadline)


def _announce(members: list[_Member]) -> None:
    """Announce what they changed. Who cannot hears of it, as if it had called it itself."""
    settled: dict[Callable[[], None], list[_Member]] = {}
    for member in members:
        try:
            member.committed()
        except Exception as exc:  # noqa: BLE001 - the caller's own
            member.fail(exc)
        settled.setdefault(member.settled, []).append(member)
    for settle, whose in settled.items():
        try:
            settle()
        except Exception as exc:  # noqa: BLE001 - as above
            for member in whose:
                member.fail(exc)


async def _run_member(member: _Member, statements: InlineStatements) -> BaseException | None:
    """What its body raised."""
    try:
        member.result = await member.work(statements)
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # it is us who are to end
            member.fail(exc)
            raise
        return exc
    except Exception as exc:  # noqa: BLE001 - its caller's
        return exc
    return None


def _undo(driver: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):  # then the next BEGIN says so
        if driver.in_transaction:  # a full disk has undone it already
            driver.execute("ROLLBACK")


def _roll_back(connection: Connection) -> None:
    driver = driver_connection(connection)
    try:
        if driver.in_transaction:
            driver.execute("ROLLBACK")
    except sqlite3.Error:
        with contextlib.suppress(*DRIVER_ERRORS):
            connection.invalidate()  # nobody knows what it is in the middle of
