"""What stands between a request and a database that may be dead: time limits, a bound on waiting, a circuit breaker.

A database that cannot be reached makes its own requests fail at once, and nobody else's: a request holds no thread and
no lock while it waits, and how many may wait for one database is bounded.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import structlog

from dynamic.target import (
    NewAccount,
    PasswordChange,
    Removal,
    Renewal,
    Statements,
    Target,
    TargetAwayError,
    TargetLoginError,
    TargetRefusedError,
)

_log = structlog.get_logger("mimir.dynamic")

TIMEOUT = 15.0  # seconds for one call, waiting for a connection included
LISTING_TIMEOUT = 60.0  # of calls that read all accounts
BUDGET = 128  # calls of one process that are under way or wait
_FIRST_PAUSE = 0.5  # seconds after the first failure; doubled by each other one
_LONGEST_PAUSE = 15.0
_SLOW_BEFORE_OPEN = 3  # calls in a row that ran out of time: one alone may be a slow statement


class Breaker:
    """Counts failures to reach one database. Closed: calls go through. Open: they are refused; then one may try."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._failures = 0
        self._slow = 0
        self._until = 0.0
        self._since = 0.0
        self._trying = False
        self.reason = ""

    @property
    def is_open(self) -> bool:
        """Whether the database was away when it was last tried."""
        return self._failures > 0

    def admit(self, name: str) -> None:
        """Raise TargetAwayError while the database is given a rest, or while somebody else tries whether it is back."""
        if not self._failures:
            return
        now = self._monotonic()
        if now < self._until or self._trying:
            wait = max(1, round(self._until - now))
            raise TargetAwayError(
                f"the database {name} cannot be reached since {round(now - self._since)} s ({self.reason}); "
                f"it is tried again in {wait} s"
            )

    def begin(self) -> bool:
        """A call goes out; whether it is the one that tries a database that was away."""
        if self._failures and not self._trying:
            self._trying = True
            return True
        return False

    def end(self, *, tried: bool) -> None:
        """The call is over, however it ended."""
        if tried:
            self._trying = False

    def reached(self) -> bool:
        """The database answered; whether it had been away."""
        was_away = self._failures > 0
        self._failures = self._slow = 0
        return was_away

    def away(self, reason: str) -> bool:
        """It could not be reached; whether that is news."""
        now = self._monotonic()
        is_news = not self._failures
        if is_news:
            self._since = now
        self._failures += 1
        self.reason = reason
        self._until = now + min(_FIRST_PAUSE * 2 ** min(self._failures - 1, 10), _LONGEST_PAUSE)
        return is_news

    def slow(self) -> bool:
        """It did not answer in time; whether that makes it away."""
        self._slow += 1
        return self._slow >= _SLOW_BEFORE_OPEN or self._failures > 0


class Guarded:
    """A target behind its breaker. The same calls, none of which takes longer than its limit."""

    def __init__(
        self, name: str, target: Target, breaker: Breaker, *, budget: int = BUDGET, timeout: float = TIMEOUT
    ) -> None:
        self.name = name
        self._target = target
        self._breaker = breaker
        self._budget = budget
        self._timeout = timeout
        self._under_way = 0
        self.is_trial = False  # whoever tries hears of it, and the log need not

    def admit(self) -> None:
        """Raise TargetAwayError when a call would be refused without being made."""
        self._breaker.admit(self.name)
        if self._under_way >= self._budget:
            raise TargetAwayError(
                f"the database {self.name} has {self._under_way} requests waiting already: try again shortly"
            )

    async def create(self, account: NewAccount) -> None:
        """As Target.create."""
        async with self._call():
            await self._target.create(account)

    async def renew(self, renewal: Renewal) -> None:
        """As Target.renew."""
        async with self._call():
            await self._target.renew(renewal)

    async def set_password(self, change: PasswordChange) -> None:
        """As Target.set_password."""
        async with self._call():
            await self._target.set_password(change)

    async def drop(self, removal: Removal) -> None:
        """As Target.drop."""
        async with self._call():
            await self._target.drop(removal)

    async def check(self) -> None:
        """As Target.check."""
        async with self._call(is_check=True):
            await self._target.check()

    async def login(self, username: str, password: str) -> None:
        """As Target.login."""
        async with self._call():
            await self._target.login(username, password)

    async def run_as(self, username: str, password: str, statements: Statements) -> None:
        """As Target.run_as."""
        async with self._call():
            await self._target.run_as(username, password, statements)

    async def accounts(self, prefix: str) -> list[str]:
        """As Target.accounts."""
        async with self._call(LISTING_TIMEOUT):
            return await self._target.accounts(prefix)

    async def grants(self, username: str) -> list[str]:
        """As Target.grants."""
        async with self._call():
            return await self._target.grants(username)

    async def close(self) -> None:
        """Let go of connections."""
        await self._target.close()

    @contextlib.asynccontextmanager
    async def _call(self, limit: float | None = None, *, is_check: bool = False) -> AsyncIterator[None]:
        self.admit()
        tried = self._breaker.begin()
        self._under_way += 1
        try:
            if tried and not is_check and type(self._target).check is not Target.check:
                await self._probe()
                self._breaker.end(tried=True)
                tried = False
            async with self._noted(limit or self._timeout):
                yield
        finally:
            self._under_way -= 1
            self._breaker.end(tried=tried)

    async def _probe(self) -> None:
        """Whether the database is back, asked in few words: the call itself may be slow for reasons of its own."""
        with contextlib.suppress(TargetLoginError, TargetRefusedError):
            async with self._noted(self._timeout):
                await self._target.check()

    @contextlib.asynccontextmanager
    async def _noted(self, limit: float) -> AsyncIterator[None]:
        """One call to the database: what becomes of it is told to the breaker."""
        try:
            async with asyncio.timeout(limit):
                yield
        except TimeoutError:
            if self._breaker.slow():
                self._note_away("it does not answer in time")
            raise TargetAwayError(f"the database {self.name} did not answer within {limit:.0f} s") from None
        except TargetAwayError as exc:
            self._note_away(exc.sentence.removeprefix(f"the database {self.name} cannot be reached: "))
            raise
        except Exception:
            self._note_reached()  # it said no, which is an answer
            raise
        else:
            self._note_reached()

    def _note_away(self, reason: str) -> None:
        if self._breaker.away(reason) and not self.is_trial:
            _log.warning("database away", connection=self.name, reason=reason)

    def _note_reached(self) -> None:
        if self._breaker.reached():
            _log.info("database back", connection=self.name)
