"""Sessions that are kept open between calls, and how new ones are opened on the first host that serves."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pymysql

from dynamic.target import TargetAwayError
from dynamic.targets.mysql_errors import CONFUSED, is_lost, of_connecting
from dynamic.targets.mysql_session import Session, wait_closed
from dynamic.targets.mysql_url import Address, Host

T = TypeVar("T")

_CONNECT_TIMEOUT = 5.0  # seconds for one host
_ALL_HOSTS = 10.0  # seconds for all of them: less than the engine's limit of a call
_SHUN = 30.0  # seconds for which a host that was away is tried last
_IDLE = 300.0  # seconds until a session that nobody uses is closed


class Connector:
    """Opens sessions."""

    def __init__(self, name: str, address: Address) -> None:
        self._name = name
        self._address = address
        self._away: dict[Host, float] = {}  # when a host was away, monotonic
        self._limit = min(_CONNECT_TIMEOUT, _ALL_HOSTS / len(address.hosts))

    async def open(self, *, user: str, password: str, database: str = "") -> Session:
        """A session on the first host that serves, in the order of the URL.

        Of several hosts one that is read only does not serve. Raises the errors of `dynamic.target`.
        """
        reason: TargetAwayError | None = None
        for host in self._hosts():
            session = Session(host, self._address, user=user, password=password, database=database)
            try:
                await session.open(writable=len(self._address.hosts) > 1, timeout=self._limit)
            except (pymysql.Error, OSError, *CONFUSED) as exc:
                error = of_connecting(exc, self._name)
                if not isinstance(error, TargetAwayError):
                    raise error from None
                reason = reason or error
                self._away[host] = time.monotonic()
            else:
                self._away.pop(host, None)
                return session
        raise reason or TargetAwayError(f"the database {self._name} has no host")

    def _hosts(self) -> list[Host]:
        """Those that were away a moment ago come last."""
        since = time.monotonic() - _SHUN
        return sorted(self._address.hosts, key=lambda host: self._away.get(host, since) > since)


class Pool:
    """At most `most_open` sessions; `run` lends one."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Session]],
        *,
        most_open: int,
        most_idle: int,
        lifetime: float,
        moves: bool,
    ) -> None:
        self._connect = connect
        self._most_idle = most_idle
        self._lifetime = lifetime  # seconds; 0: without end
        self._moves = moves  # whether writes may be taken by another host than before
        self._room = asyncio.Semaphore(most_open)
        self._idle: list[Session] = []  # the one used last is the last
        self._used: set[Session] = set()
        self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """`work` with a session; once more, with a new one, when one that was kept turns out to be dead at once."""
        async with self._room:
            kept = self._kept()
            if kept is not None:
                try:
                    return await self._lend(kept, work)
                except (pymysql.Error, OSError) as exc:
                    if kept.answers or not is_lost(exc, moves=self._moves):
                        raise
                    self._clear()
            session = await self._connect()
            session.opened_at = time.monotonic()
            return await self._lend(session, work)

    async def close(self) -> None:
        """Close all sessions, also those in use."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for session in self._used:
            session.close()
        idle, self._idle = self._idle, []
        await wait_closed([session.leave() for session in idle])

    async def _lend(self, session: Session, work: Callable[[Session], Awaitable[T]]) -> T:
        session.answers = 0
        self._used.add(session)
        is_whole = False
        try:
            result = await work(session)
            is_whole = True
        except pymysql.Error as exc:
            is_whole = not is_lost(exc, moves=self._moves)  # a statement that was refused harms no session
            raise
        finally:  # who was cut off leaves a session in the middle of an answer
            self._used.discard(session)
            self._keep(session, is_whole=is_whole)
        return result

    def _keep(self, session: Session, *, is_whole: bool) -> None:
        is_full = len(self._idle) >= self._most_idle
        if not is_whole:
            session.close()
        elif is_full or session.is_spoilt or self._is_closed or self._is_old(session):
            session.leave()
        else:
            session.kept_at = time.monotonic()
            self._idle.append(session)
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(_IDLE, self._trim)

    def _kept(self) -> Session | None:
        while self._idle:
            session = self._idle.pop()
            if not session.is_dead and not self._is_old(session):
                return session
            session.leave()
        return None

    def _is_old(self, session: Session) -> bool:
        return bool(self._lifetime) and time.monotonic() - session.opened_at > self._lifetime

    def _trim(self) -> None:
        self._timer = None
        since = time.monotonic() - _IDLE
        while self._idle and self._idle[0].kept_at <= since:
            self._idle.pop(0).leave()
        if self._idle:
            wait = self._idle[0].kept_at - since
            self._timer = asyncio.get_running_loop().call_later(wait, self._trim)

    def _clear(self) -> None:
        while self._idle:
            self._idle.pop().leave()
