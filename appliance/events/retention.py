"""How long the log of events is kept: for subscribers that come back, and for webhooks that are behind."""

from math import inf
from typing import Protocol

from appliance.events.record import load_record
from core.clock import Clock
from core.protocols import CoreStorage, StoredEvent

# Who was away for a night can go on; 100,000 events take 50 MB, and are a day of one change a second.
MAX_EVENTS = 100_000
MAX_AGE = 24 * 3600.0  # seconds
# For what still has to be delivered to a webhook: longer than the weekend its receiver may be down for.
MAX_EVENTS_NEEDED = 1_000_000
MAX_AGE_NEEDED = 7 * 24 * 3600.0
_BATCH = 500


class EventReaders(Protocol):
    """Who must not miss an event: the webhooks."""

    async def lowest(self) -> int | None:
        """The number up to which all of them have got every event; None when nobody waits for any."""
        ...


class Retention:
    """Removes what is too old or too much, the oldest first."""

    def __init__(self, storage: CoreStorage, clock: Clock, readers: EventReaders | None = None) -> None:
        self._storage = storage
        self._clock = clock
        self._readers = readers

    async def tidy(self) -> None:
        """Batch after batch, until nothing is left to remove."""
        while await self.remove_batch():
            pass

    async def remove_batch(self) -> bool:
        """One batch; whether there may be more to remove."""
        page = await self._storage.events_after(0, limit=_BATCH)
        if not page:
            return False
        enough = await self._storage.nth_newest_event(MAX_EVENTS)
        delivered = None if self._readers is None else await self._readers.lowest()
        if delivered is not None and delivered < page[-1].number:
            too_many = await self._storage.nth_newest_event(MAX_EVENTS_NEEDED)
        else:
            delivered, too_many = page[-1].number, enough
        now, last = self._clock.now(), 0
        for stored in page:
            age = _age(stored, now)
            limit, oldest = (enough, MAX_AGE) if stored.number <= delivered else (too_many, MAX_AGE_NEEDED)
            if stored.number > limit and age <= oldest:
                break
            last = stored.number
        if last:
            await self._storage.transact(lambda txn: txn.drop_events(before=last + 1))
        return last == page[-1].number and len(page) == _BATCH


def _age(stored: StoredEvent, now: float) -> float:
    """Seconds; one that cannot be read helps nobody."""
    record = load_record(stored)
    return inf if record is None else now - record.time
