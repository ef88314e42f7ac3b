"""The subscribers of one worker, and the one reader that fetches for all of them what is new in the log.

While there are subscribers it looks every 20 ms at a word in memory, and asks the database only when a commit of this
node has touched the log. On PostgreSQL other nodes commit, too, and nothing tells of that: there the log itself is
asked every second.
"""

import asyncio
from collections import Counter

import structlog

from appliance.events.access import Gate, SubscriberAccess
from appliance.events.record import load_record
from appliance.events.selection import Selection
from appliance.events.subscription import Subscription
from appliance.events.window import HeldEvent, Window
from appliance.logging import log_internal_error
from core.errors import MimirError, QuotaExceededError, SealedError
from core.protocols import CoreStorage, StoredEvent

log = structlog.get_logger("mimir.events")

MAX_SUBSCRIBERS = 1000  # of a worker: looking after them once a second takes some 10 ms
MAX_OF_TOKEN = 32
PERIOD = 0.02  # seconds between two looks at the word
_POLL = 1.0  # seconds between two questions to a database that other nodes write to
# Seconds; after a commit of this node, since an older transaction that had not ended may hold its events up.
_POLL_SOON = 0.05
_SWEEP = 1.0
_PAGE = 256
_PAUSE = 1.0  # after trouble with the store


class EventHub:
    """`open` after unsealing, `close` at seal: that ends every subscription."""

    def __init__(self, storage: CoreStorage, gate: Gate, *, is_shared: bool) -> None:
        """`is_shared`: other nodes may write to the same store."""
        self._storage = storage
        self._gate = gate
        self._is_shared = is_shared
        self._subscribers: dict[Subscription, str] = {}
        self._of_token: Counter[str] = Counter()
        self._reader: asyncio.Task[None] | None = None
        self._is_open = False
        self._loading = asyncio.Lock()
        self.window = Window(0)

    async def open(self) -> None:
        """Subscribers may come."""
        self._is_open = True

    async def close(self) -> None:
        """At seal, and when the process stops."""
        self._is_open = False
        self.end_all("the appliance was sealed")
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    def end_all(self, reason: str) -> None:
        """Every subscriber is told; the reader ends for want of them."""
        for subscriber in list(self._subscribers):
            subscriber.end(reason)

    @property
    def count(self) -> int:
        """How many subscribers there are."""
        return len(self._subscribers)

    async def subscribe(
        self, selection: Selection, access: SubscriberAccess, *, token: str, after: int | None
    ) -> Subscription:
        """A new one, behind the event `after`, or behind all that there are. Raises QuotaExceededError."""
        self._check_room(token)
        _, newest = await self.bounds()
        self._check_room(token)
        if not self._is_open:
            raise SealedError("Vault is sealed")
        subscriber = Subscription(
            self,
            selection,
            access,
            position=newest if after is None else after,
            is_ahead=after is not None and after > newest,
            now=self._gate.now,
            left=self._forget,
        )
        self._subscribers[subscriber] = token
        self._of_token[token] += 1
        if self._reader is None or self._reader.done():
            self.window = Window(newest)
            self._reader = asyncio.get_running_loop().create_task(self._read())
        return subscriber

    def _check_room(self, token: str) -> None:
        if len(self._subscribers) >= MAX_SUBSCRIBERS:
            raise QuotaExceededError(
                f"this worker has {MAX_SUBSCRIBERS} subscribers of events, which is all it takes", retry_after=10
            )
        if self._of_token[token] >= MAX_OF_TOKEN:
            raise QuotaExceededError(
                f"this token has {MAX_OF_TOKEN} subscriptions at this worker; close one, or ask for more in one",
                retry_after=10,
            )

    def _forget(self, subscriber: Subscription) -> None:
        token = self._subscribers.pop(subscriber)
        self._of_token[token] -= 1
        if not self._of_token[token]:
            del self._of_token[token]

    # --- what subscribers read beyond the window ------------------------------------------------------------------

    async def bounds(self) -> tuple[int, int]:
        """As CoreStorage.event_bounds."""
        return await self._storage.event_bounds()

    async def load(self, number: int, *, limit: int) -> tuple[list[HeldEvent], int]:
        """The next ones behind that number, and the number of the last row that was read.

        One page at a time, and between two of them the requests get their turn: SQLite answers without a wait, and
        many that read the log from its beginning would be served together, for a second, before anybody else.
        """
        async with self._loading:
            await asyncio.sleep(0)
            rows = await self._storage.events_after(number, limit=limit)
        return [held for row in rows if (held := _held(row)) is not None], rows[-1].number if rows else number

    # --- the reader -----------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """While there are subscribers."""
        loop = asyncio.get_running_loop()
        heard, poll_at, soon_until, sweep_at = -1, 0.0, 0.0, loop.time() + _SWEEP
        while self._subscribers:
            try:
                self._gate.sync()
                now, was = loop.time(), heard
                heard = self._storage.events_heard
                if heard != was:
                    soon_until = now + _POLL
                if heard != was or (self._is_shared and now >= poll_at):
                    await self._fetch()
                    poll_at = now + (_POLL_SOON if now < soon_until else _POLL)
                if now >= sweep_at:
                    sweep_at = now + _SWEEP
                    self._look_after()
                await asyncio.sleep(PERIOD)
            except SealedError:
                self.end_all("the appliance was sealed")
            except Exception as exc:  # noqa: BLE001 - the outermost frame of a task that others wait for
                heard = -1
                _log_trouble(exc)
                await asyncio.sleep(_PAUSE)

    async def _fetch(self) -> None:
        """All that is new, in pages; between them subscribers get their turn."""
        while True:
            rows = await self._storage.events_after(self.window.position, limit=_PAGE)
            for row in rows:
                held = _held(row)
                if held is None:
                    self.window.skip_to(row.number)
                else:
                    self.window.add(held)
            if rows:
                for subscriber in self._subscribers:
                    subscriber.wake()
            if len(rows) < _PAGE:
                return
            await asyncio.sleep(0)

    def _look_after(self) -> None:
        for subscriber in list(self._subscribers):
            subscriber.look_after()


def _log_trouble(error: Exception) -> None:
    if isinstance(error, MimirError):
        log.warning("events cannot be read; trying again", reason=error.sentence)
    else:
        log_internal_error(log, error)


def _held(row: StoredEvent) -> HeldEvent | None:
    record = load_record(row)
    return None if record is None else HeldEvent(row.number, record, len(row.body))
