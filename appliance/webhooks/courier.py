"""Delivers one webhook's events in the order of the log, each until the receiver has it.

The progress is saved behind the delivery, a second later at most. What was delivered since is delivered once more after
a crash: at least once, and the event's id tells the receiver.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from appliance.events.record import EventRecord, cloud_event, load_record
from appliance.logging import log_internal_error
from appliance.webhooks.backoff import LIMIT, pause_after
from appliance.webhooks.webhook import Progress, Webhook
from core.clock import Clock
from core.errors import CasMismatchError, MimirError
from core.protocols import StoredEvent

log = structlog.get_logger("mimir.webhooks")

_PAGE = 64  # events that are held while they are delivered
_SAVE_AFTER = 1.0  # seconds after a delivery
_SAVE_PASSED_AFTER = 30.0  # seconds after events of which the receiver wants none
_SAVE_EVERY = 64  # deliveries
_PAUSE = 2.0  # seconds, after trouble with the store
_ALARM = 24 * 3600.0  # seconds of failing


class EventLog(Protocol):
    """The log, as a courier reads it."""

    async def events_after(self, number: int, *, limit: int) -> list[StoredEvent]:
        """As CoreStorage."""
        ...

    async def event_bounds(self) -> tuple[int, int]:
        """As CoreStorage."""
        ...


class ProgressStore(Protocol):
    """Where the progress is kept."""

    async def progress(self, webhook: Webhook) -> tuple[Progress, int]:
        """As WebhookStore."""
        ...

    async def save(self, webhook: Webhook, progress: Progress, *, revision: int) -> int:
        """As WebhookStore."""
        ...


class SendOutcome(Protocol):
    """What became of an attempt."""

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has it."""
        ...

    @property
    def error(self) -> str:
        """Why not."""
        ...

    @property
    def retry_after(self) -> float:
        """Seconds that the receiver asked for."""
        ...


class EventSender(Protocol):
    """The client; `appliance.webhooks.sender` has it."""

    async def send(self, message_id: str, body: bytes) -> SendOutcome:
        """One attempt."""
        ...

    async def close(self) -> None:
        """Give up its connection."""
        ...


class Courier:
    """`run` until cancelled, then `stop`; `wake` when the log may have something new."""

    def __init__(
        self,
        webhook: Webhook,
        events: EventLog,
        store: ProgressStore,
        sender: EventSender,
        clock: Clock,
        *,
        jitter: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._webhook = webhook
        self._events = events
        self._store = store
        self._sender = sender
        self._clock = clock
        self._jitter = jitter
        self._sleep = sleep
        self._progress: Progress | None = None
        self._revision = 0
        self._save_at: float | None = None  # by the loop's clock; None: it is saved
        self._unsaved = 0  # deliveries
        self._alarm_at = 0.0
        self._bell = asyncio.Event()

    def wake(self) -> None:
        """Look at the log."""
        self._bell.set()

    def position(self) -> int:
        """Up to where it has come."""
        return self._progress.cursor if self._progress else -1

    async def run(self) -> None:
        """Until cancelled; passing trouble is waited for."""
        while True:
            try:
                await self._deliver_all()
            except CasMismatchError:
                self._progress = None  # another process has moved it: go on from where that one left it
            except MimirError as exc:
                log.warning("a webhook waits", webhook=self._webhook.name, reason=exc.sentence)
            except Exception as exc:  # noqa: BLE001 - the outermost frame of a task, which must not end
                log_internal_error(log.bind(webhook=self._webhook.name), exc)
            await self._sleep(_PAUSE)

    async def stop(self) -> None:
        """Save what was delivered, where the store still lets us, and close the connection."""
        with contextlib.suppress(MimirError):
            if self._save_at is not None:
                await self._save()
        await self._sender.close()

    async def _deliver_all(self) -> None:
        if self._progress is None:
            self._progress, self._revision = await self._store.progress(self._webhook)
            self._save_at, self._unsaved = None, 0
        while True:
            self._bell.clear()
            page = await self._page(self._progress)
            for stored in page:
                await self._handle(stored)
            if not page:
                await self._wait()

    async def _page(self, progress: Progress) -> list[StoredEvent]:
        """The next events; where the log no longer has them, the progress tells."""
        oldest, _ = await self._events.event_bounds()
        if progress.cursor + 1 < oldest:
            self._set(progress.missed(up_to=oldest - 1), save_within=0)
            log.warning("events left the log before a webhook had them", webhook=self._webhook.name)
            await self._save()
        return await self._events.events_after(self.position(), limit=_PAGE)

    async def _wait(self) -> None:
        """For the bell; what is unsaved is saved meanwhile, when its time comes."""
        pause = None if self._save_at is None else max(self._save_at - _loop_time(), 0)
        try:
            async with asyncio.timeout(pause):
                await self._bell.wait()
        except TimeoutError:
            await self._save()

    async def _handle(self, stored: StoredEvent) -> None:
        record = load_record(stored)
        if record is None or not self._webhook.takes(record):
            self._set(self._present().passed(stored.number), save_within=_SAVE_PASSED_AFTER)
        else:
            await self._deliver(record)
            self._unsaved += 1
            done = self._present().delivered(stored.number, now=self._clock.now())
            self._set(done, save_within=_SAVE_AFTER)
        if self._save_at is not None and (self._save_at <= _loop_time() or self._unsaved >= _SAVE_EVERY):
            await self._save()

    async def _deliver(self, record: EventRecord) -> None:
        """Until the receiver has it."""
        body = cloud_event(record)
        while True:
            await self._wait_for_attempt()
            outcome = await self._sender.send(record.id, body)
            if outcome.is_delivered:
                return
            await self._note_failure(outcome)

    async def _wait_for_attempt(self) -> None:
        """A pause survives restarts; a clock that was set back makes it no longer than the longest."""
        pause = self._present().next_attempt - self._clock.now()
        if pause > 0:
            await self._sleep(min(pause, LIMIT))

    async def _note_failure(self, outcome: SendOutcome) -> None:
        before, now = self._present(), self._clock.now()
        pause = pause_after(before.failures + 1, jitter=self._jitter(), asked=outcome.retry_after)
        failed = before.failed(outcome.error, now=now, pause=pause)
        self._set(failed, save_within=0)
        if now - failed.failing_since >= _ALARM and now >= self._alarm_at:
            self._alarm_at = now + _ALARM
            log.error("a webhook has failed for a day or more", webhook=self._webhook.name, reason=outcome.error)
        await self._save()

    # --- the progress ---------------------------------------------------------------------------------------------

    def _present(self) -> Progress:
        if self._progress is None:
            raise RuntimeError("no progress was loaded")
        return self._progress

    def _set(self, progress: Progress, *, save_within: float) -> None:
        self._progress = progress
        save_at = _loop_time() + save_within
        self._save_at = save_at if self._save_at is None else min(self._save_at, save_at)

    async def _save(self) -> None:
        """Raises CasMismatchError when it is not ours to move any longer."""
        self._revision = await self._store.save(self._webhook, self._present(), revision=self._revision)
        self._save_at, self._unsaved = None, 0


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
