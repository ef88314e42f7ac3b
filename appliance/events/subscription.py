"""One subscriber: a cursor over the log of events, which moves as fast as the client reads.

Nothing waits in here for a client but the page it is reading: what is new is in the worker's window, which all share.
One that begins further back than the window, or is slower than it, reads the log itself until it is there. One that
the window has left behind and that has asked for nothing for a while is dropped, and told from where to go on.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from appliance.events.access import SubscriberAccess, SubscriptionEndedError
from appliance.events.record import GAP, gap_event
from appliance.events.selection import Selection
from appliance.events.window import HeldEvent, Window
from appliance.wire import StreamMessage
from core.errors import MimirError

_PAGE = 32  # events that a subscriber holds while it reads the log
STALLED = 5.0  # seconds; who reads asks for the next event a moment after it got one
UNBEGUN = 30.0  # seconds; the connection asks at once unless it went away before the answer
_TURN = 256  # events that are passed over before others get their turn


class EventLog(Protocol):
    """Where a subscriber reads what the window no longer has."""

    @property
    def window(self) -> Window:
        """The newest events."""
        ...

    async def load(self, number: int, *, limit: int) -> tuple[list[HeldEvent], int]:
        """The next ones behind that number, and the number of the last row that was read."""
        ...

    async def bounds(self) -> tuple[int, int]:
        """As CoreStorage.event_bounds."""
        ...


class Subscription:
    """Implements appliance.wire.MessageStream."""

    def __init__(
        self,
        log: EventLog,
        selection: Selection,
        access: SubscriberAccess,
        *,
        position: int,
        is_ahead: bool,
        now: Callable[[], float],
        left: Callable[["Subscription"], None],
    ) -> None:
        """`position`: behind which event it begins, `is_ahead`: of the whole log, so something is amiss.

        `left` is called once, when it has ended.
        """
        self._log = log
        self._selection = selection
        self._access = access
        self._now = now
        self._left = left
        self.begins_behind = position
        self._position = position  # the last event that was looked at
        self._page: deque[HeldEvent] = deque()
        self._page_end = position  # up to where the page was read
        self._is_ahead = is_ahead
        self._asked = now()  # when the client last wanted something
        self._is_asking = False
        self._is_over = False
        self._reason = ""
        self._bell = asyncio.Event()
        self._has_begun = False

    @property
    def end_reason(self) -> str:
        """Why it ended."""
        return self._reason

    def close(self) -> None:
        """The client is gone."""
        self.end("")

    def end(self, reason: str) -> None:
        """Nothing more is told."""
        if self._is_over:
            return
        self._is_over, self._reason = True, reason
        self._page.clear()
        self._bell.set()
        self._left(self)

    def wake(self) -> None:
        """There may be something new, or something to be looked at again."""
        self._bell.set()

    def look_after(self) -> None:
        """Called now and then: end it when nobody reads, and have its access looked at when that is due."""
        idle = 0.0 if self._is_asking else self._now() - self._asked
        if not self._has_begun and idle > UNBEGUN:
            self.end("nobody read")
        elif idle > STALLED and not self._log.window.reaches(self._position):
            self.end(f"you read too slowly, and are no longer waited for; {self._resume()}")
        elif self._access.is_due():
            self.wake()

    def _resume(self) -> str:
        return f"go on with Last-Event-ID or after={self._position}"

    async def receive(self) -> StreamMessage | None:
        """The next event that was asked for and may be seen. A call that is cancelled loses nothing."""
        self._has_begun = self._is_asking = True
        try:
            return await self._receive()
        except SubscriptionEndedError as exc:
            self.end(exc.sentence)
        except MimirError as exc:
            self.end(f"the events could not be read ({exc.sentence}); {self._resume()}")
        finally:
            self._is_asking, self._asked = False, self._now()
        return None

    async def _receive(self) -> StreamMessage | None:
        passed = 0
        while await self._goes_on():
            if self._is_ahead:
                return self._gap(*await self._log.bounds())
            while (event := self._next()) is not None:
                passed += 1
                if passed % _TURN == 0:
                    await asyncio.sleep(0)
                    break  # and look at the access again
                if self._selection.takes(event.record) and self._access.shows(event.record):
                    self._advance(event)
                    return event.message
                self._advance(event)
            else:
                gap = await self._read_on()
                if gap is not None:
                    return gap
        return None

    async def _goes_on(self) -> bool:
        """Whether it has not ended; looks at its access again where that is due."""
        if not self._is_over:
            self._bell.clear()  # first: what is new meanwhile sets it again
            await self._access.refresh()
        return not self._is_over

    def _next(self) -> HeldEvent | None:
        if self._page:
            return self._page[0]
        self._position = max(self._position, self._page_end)  # the rest of the page was nothing that could be read
        window = self._log.window
        if not window.reaches(self._position):
            return None
        found = window.after(self._position, limit=1)
        if not found:
            self._position = self._page_end = max(self._position, window.position)
            return None
        return found[0]

    def _advance(self, event: HeldEvent) -> None:
        self._position = max(self._position, event.number)
        self._page_end = max(self._page_end, self._position)
        if self._page and self._page[0] is event:
            self._page.popleft()

    async def _read_on(self) -> StreamMessage | None:
        """Wait for what is new, or fetch a page of the log; a message where the log no longer has what comes next."""
        if self._log.window.reaches(self._position):
            await self._bell.wait()
            return None
        oldest, newest = await self._log.bounds()
        if self._position + 1 < oldest:
            return self._gap(oldest, newest)
        page, end = await self._log.load(self._position, limit=_PAGE)
        self._page.extend(page)
        self._page_end = max(end, self._position)
        return None

    def _gap(self, oldest: int, newest: int) -> StreamMessage:
        after, self._position = self._position, newest if self._is_ahead else max(oldest - 1, 0)
        self._page_end, self._is_ahead = self._position, False
        data = gap_event(after=after, oldest=oldest, newest=newest, now=self._now())
        return StreamMessage(data, message_id=str(self._position), kind=GAP)
