"""The databases that this process has open: one target for each connection, made anew when the connection changes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dynamic.connection import Connection, unknown_connection
from dynamic.guard import Breaker, Guarded
from dynamic.plugins import plugin_of
from dynamic.store import DynamicStore
from dynamic.target import TargetLoginError

T = TypeVar("T")


class _Opened:
    """A target with what it was opened for."""

    __slots__ = ("connection", "guarded", "is_stale", "users")

    def __init__(self, connection: Connection, guarded: Guarded) -> None:
        self.connection = connection
        self.guarded = guarded
        self.users = 0
        self.is_stale = False


class OpenTargets:
    """`run` calls with a target; what is replaced is closed behind its last user."""

    def __init__(self, store: DynamicStore, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._opened: dict[str, _Opened] = {}
        self._breakers: dict[str, tuple[int, Breaker]] = {}  # by connection, with its epoch
        self._opening: dict[str, asyncio.Lock] = {}

    async def run(self, name: str, work: Callable[[Guarded], Awaitable[T]]) -> T:
        """`work` with the connection's target.

        When the database refuses the connection's password, the other one is tried that a rotation may have set
        meanwhile; `work` may so be called twice. Raises InvalidRequestError when there is no such connection.
        """
        opened = await self._current(name)
        try:
            return await self._with(opened, work)
        except TargetLoginError:
            again = await self._after_refusal(name, opened)
            if again is None:
                raise
        return await self._with(again, work)

    async def admit(self, name: str) -> None:
        """Raise TargetAwayError when a call would be refused without being made."""
        (await self._current(name)).guarded.admit()

    def is_away(self, name: str) -> bool:
        """Whether this process could not reach it when it last tried."""
        return name in self._breakers and self._breakers[name][1].is_open

    async def open_with(self, connection: Connection, password: str) -> Guarded:
        """A target of its own, for a trial; the caller closes it."""
        target = plugin_of(connection.plugin_name).open(connection.details(password))
        guarded = Guarded(connection.name, target, Breaker(monotonic=self._monotonic))
        guarded.is_trial = True
        return guarded

    async def forget(self, name: str) -> None:
        """Close what is open for a connection that is gone."""
        self._breakers.pop(name, None)
        opened = self._opened.pop(name, None)
        if opened is not None:
            await self._retire(opened)

    async def close(self) -> None:
        """Close everything."""
        opened = list(self._opened.values())
        self._opened.clear()
        for one in opened:
            await self._retire(one)

    async def _current(self, name: str) -> _Opened:
        connection = await self._store.connection(name)
        if connection is None:
            await self.forget(name)
            raise unknown_connection(name)
        opened = self._opened.get(name)
        if opened is not None and (opened.connection is connection or _same(opened.connection, connection)):
            opened.connection = connection
            return opened
        return await self._replace(connection, connection.password)

    async def _replace(self, connection: Connection, password: str) -> _Opened:
        target = plugin_of(connection.plugin_name).open(connection.details(password))
        opened = _Opened(connection, Guarded(connection.name, target, self._breaker(connection)))
        former = self._opened.get(connection.name)
        self._opened[connection.name] = opened
        if former is not None:
            await self._retire(former)
        return opened

    def _breaker(self, connection: Connection) -> Breaker:
        """The same one as before, unless somebody has written the connection: then it may be mended."""
        known = self._breakers.get(connection.name)
        if known is None or known[0] != connection.epoch:
            known = self._breakers[connection.name] = (connection.epoch, Breaker(monotonic=self._monotonic))
        return known[1]

    async def _after_refusal(self, name: str, refused: _Opened) -> _Opened | None:
        """Another target than the one whose password was refused; None when there is none to try."""
        async with self._opening.setdefault(name, asyncio.Lock()):
            present = await self._current(name)
            if present is not refused:
                return present  # another request was faster, or the connection was changed
            connection = present.connection
            if not connection.pending_password:
                return None
            trial = await self.open_with(connection, connection.pending_password)
            try:
                await trial.check()
            except TargetLoginError:
                return None
            finally:
                await trial.close()
            return await self._replace(connection, connection.pending_password)

    async def _with(self, opened: _Opened, work: Callable[[Guarded], Awaitable[T]]) -> T:
        opened.users += 1
        try:
            return await work(opened.guarded)
        finally:
            opened.users -= 1
            if opened.is_stale and not opened.users:
                await opened.guarded.close()

    @staticmethod
    async def _retire(opened: _Opened) -> None:
        opened.is_stale = True
        if not opened.users:
            await opened.guarded.close()


def _same(one: Connection, other: Connection) -> bool:
    """Whether a target that was opened for the one serves the other.

    The epoch alone does not say so: that of a connection that was deleted and made anew begins anew.
    """
    fields = ("epoch", "password", "username", "plugin_name", "options")
    return all(getattr(one, field) == getattr(other, field) for field in fields)
