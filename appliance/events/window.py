"""The newest events in memory, once for all subscribers of a worker."""

from bisect import bisect_right

from appliance.events.record import EventRecord, cloud_event
from appliance.wire import StreamMessage

# A subscriber that reads at all is rarely a thousand events behind; four thousand take 3 MiB with their JSON.
MAX_EVENTS = 4096
MAX_BYTES = 8 * 1024 * 1024


class HeldEvent:
    """One event; its message is made when the first subscriber gets it, and is the same for all."""

    __slots__ = ("_message", "number", "record", "size")

    def __init__(self, number: int, record: EventRecord, size: int) -> None:
        self.number = number
        self.record = record
        self.size = size  # of the stored body, which the message is some three times as long as
        self._message: StreamMessage | None = None

    @property
    def message(self) -> StreamMessage:
        """What is sent."""
        if self._message is None:
            data = cloud_event(self.record)
            self._message = StreamMessage(data, message_id=str(self.number), kind=self.record.type)
        return self._message


class Window:
    """All events behind `floor` up to `position`."""

    def __init__(self, position: int, *, capacity: int = MAX_EVENTS, budget: int = MAX_BYTES) -> None:
        self.floor = position
        self.position = position
        self._capacity = capacity
        self._budget = budget // 4  # of stored bodies, with their messages
        self._numbers: list[int] = []
        self._events: list[HeldEvent] = []
        self._size = 0

    def add(self, event: HeldEvent) -> None:
        """The next one."""
        self._numbers.append(event.number)
        self._events.append(event)
        self._size += event.size
        self.position = event.number
        if len(self._events) > self._capacity or self._size > self._budget:
            self._forget(len(self._events) // 4 or 1)

    def skip_to(self, number: int) -> None:
        """Up to there, nothing is worth telling."""
        self.position = max(self.position, number)

    def reaches(self, number: int) -> bool:
        """Whether nothing behind that number is missing here."""
        return number >= self.floor

    def after(self, number: int, *, limit: int) -> list[HeldEvent]:
        """The next ones behind that number."""
        start = bisect_right(self._numbers, number)
        return self._events[start : start + limit]

    def _forget(self, count: int) -> None:
        self.floor = self._numbers[count - 1]
        self._size -= sum(event.size for event in self._events[:count])
        del self._numbers[:count], self._events[:count]
