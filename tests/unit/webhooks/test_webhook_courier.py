"""One webhook's delivery over a log and a store in memory: order, at least once, pauses, and who moves the progress."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import pytest

from appliance.events.record import EventRecord
from appliance.webhooks.courier import Courier
from appliance.webhooks.webhook import Progress, Webhook
from core.errors import CasMismatchError, NotFoundError, StoreUnavailableError
from core.protocols import StoredEvent
from tests.support.clock import SettableClock


@dataclass
class Outcome:
    error: str = ""
    retry_after: float = 0.0

    @property
    def is_delivered(self) -> bool:
        return not self.error


REFUSED = Outcome("the receiver answered with status 500")


def body(number: int, kind: str = "kv-v2/data-write") -> bytes:
    record = EventRecord(
        id=f"id-{number}",
        time=0,
        type=kind,
        path=f"data/{number}",
        mount_path="secret/",
        mount_type="kv",
        mount_accessor="kv_1",
        mount_uuid="u",
    )
    return msgspec.json.encode(record)


@dataclass
class Log:
    """A log in memory."""

    rows: list[StoredEvent] = field(default_factory=list)
    oldest: int = 1

    def add(self, *numbers: int, kind: str = "kv-v2/data-write") -> None:
        self.rows += [StoredEvent(number, body(number, kind)) for number in numbers]

    async def events_after(self, number: int, *, limit: int) -> list[StoredEvent]:
        return [row for row in self.rows if row.number > max(number, self.oldest - 1)][:limit]

    async def event_bounds(self) -> tuple[int, int]:
        return (self.oldest, self.rows[-1].number) if self.rows else (0, 0)


@dataclass
class Store:
    """The progress in memory, with its revision."""

    kept: Progress | None = field(default_factory=lambda: Progress(cursor=0))
    revision: int = 1
    saves: int = 0
    trouble: int = 0

    async def progress(self, webhook: Webhook) -> tuple[Progress, int]:
        if self.kept is None:
            raise NotFoundError("")
        return self.kept, self.revision

    async def save(self, webhook: Webhook, progress: Progress, *, revision: int) -> int:
        if self.trouble:
            self.trouble -= 1
            raise StoreUnavailableError("the store is away")
        if self.kept is None or revision != self.revision:
            raise CasMismatchError("moved")
        self.kept, self.revision, self.saves = progress, revision + 1, self.saves + 1
        return self.revision

    def move(self, cursor: int) -> None:
        self.kept, self.revision = Progress(cursor=cursor), self.revision + 1


@dataclass
class Receiver:
    """Answers as told; records what came."""

    answers: list[Outcome] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    hook: Callable[[str], None] = lambda _id: None
    is_closed: bool = False

    async def send(self, message_id: str, body: bytes) -> Outcome:
        assert msgspec.json.decode(body)["id"] == message_id
        self.seen.append(message_id)
        self.hook(message_id)
        return self.answers.pop(0) if self.answers else Outcome()

    async def close(self) -> None:
        self.is_closed = True


def make_webhook() -> Webhook:
    return Webhook(id="1", name="x", url="https://h/", key=b"k" * 32, created_at=0.0)


@dataclass
class Rig:
    log: Log = field(default_factory=Log)
    store: Store = field(default_factory=Store)
    receiver: Receiver = field(default_factory=Receiver)
    clock: SettableClock = field(default_factory=SettableClock)
    pauses: list[float] = field(default_factory=list)
    webhook: Webhook = field(default_factory=make_webhook)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    @asynccontextmanager
    async def courier(self) -> AsyncIterator[Courier]:
        courier = Courier(
            self.webhook, self.log, self.store, self.receiver, self.clock, jitter=lambda: 0.0, sleep=self.sleep
        )
        task = asyncio.ensure_future(courier.run())
        yield courier
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await courier.stop()

    async def delivered(self, count: int) -> list[str]:
        async with asyncio.timeout(5):
            while len(self.receiver.seen) < count:  # noqa: ASYNC110 - a turn of the loop, no time
                await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        return self.receiver.seen


@pytest.fixture
def rig() -> Rig:
    return Rig()


def ids(*numbers: int) -> list[str]:
    return [f"id-{number}" for number in numbers]


async def test_events_are_delivered_in_the_order_of_the_log(rig: Rig) -> None:
    rig.log.add(1, 2, 5, 9)
    async with rig.courier() as courier:
        assert await rig.delivered(4) == ids(1, 2, 5, 9)
        rig.log.add(10)
        courier.wake()
        assert await rig.delivered(5) == ids(1, 2, 5, 9, 10)
    assert rig.store.kept is not None
    assert rig.store.kept.cursor == 10
    assert rig.store.kept.last_success == rig.clock.now()


async def test_more_than_a_page_is_delivered_without_another_call(rig: Rig) -> None:
    rig.log.add(*range(1, 201))
    async with rig.courier():
        assert await rig.delivered(200) == ids(*range(1, 201))
        assert rig.store.saves >= 3  # not only at the end


async def test_what_the_receiver_does_not_want_is_passed_over(rig: Rig) -> None:
    rig.webhook = msgspec.structs.replace(rig.webhook, event_types=("kv-v2/*",))
    rig.log.add(1, kind="kv-v1/write")
    rig.log.rows.append(StoredEvent(2, b""))  # one that did not open
    rig.log.add(3)
    rig.log.add(4, kind="kv-v1/write")
    async with rig.courier():
        assert await rig.delivered(1) == ids(3)
    assert rig.store.kept is not None
    assert rig.store.kept.cursor == 4


async def test_a_refused_event_is_sent_again_before_the_next_one(rig: Rig) -> None:
    rig.log.add(1, 2)
    rig.receiver.answers = [REFUSED, REFUSED, REFUSED]
    async with rig.courier():
        assert await rig.delivered(5) == ids(1, 1, 1, 1, 2)
    assert rig.pauses == pytest.approx([1, 2, 4])
    assert rig.store.kept is not None
    assert (rig.store.kept.failures, rig.store.kept.failing_since, rig.store.kept.next_attempt) == (0, 0, 0)
    assert rig.store.kept.last_error == REFUSED.error  # of which the time is told


async def test_a_failure_is_saved_before_the_pause(rig: Rig) -> None:
    rig.log.add(1)
    rig.receiver.answers = [REFUSED, REFUSED]
    kept: list[Progress | None] = []
    rig.receiver.hook = lambda _id: kept.append(rig.store.kept)
    async with rig.courier():
        await rig.delivered(3)
    second = kept[1]
    assert second is not None
    assert (second.failures, second.last_error, second.cursor) == (1, REFUSED.error, 0)
    assert second.next_attempt == second.last_failure + 1


async def test_a_pause_outlives_a_restart(rig: Rig) -> None:
    rig.log.add(1)
    rig.store.kept = Progress(cursor=0, failures=5, next_attempt=rig.clock.now() + 16)
    async with rig.courier():
        await rig.delivered(1)
    assert rig.pauses == [16]


async def test_a_clock_that_was_set_back_does_not_stop_delivery(rig: Rig) -> None:
    rig.log.add(1)
    rig.store.kept = Progress(cursor=0, failures=5, next_attempt=rig.clock.now() + 1e9)
    async with rig.courier():
        await rig.delivered(1)
    assert rig.pauses[0] == 300


async def test_a_courier_that_is_killed_before_it_saved_delivers_again(rig: Rig) -> None:
    rig.log.add(1, 2, 3)
    courier = Courier(rig.webhook, rig.log, rig.store, rig.receiver, rig.clock)
    task = asyncio.ensure_future(courier.run())
    await rig.delivered(3)
    task.cancel()  # and no stop(): as SIGKILL
    await asyncio.gather(task, return_exceptions=True)
    async with rig.courier():
        assert await rig.delivered(6) == ids(1, 2, 3, 1, 2, 3)


async def test_a_courier_that_stops_saves_and_closes(rig: Rig) -> None:
    rig.log.add(1)
    async with rig.courier():
        await rig.delivered(1)
        assert rig.store.saves == 0
    assert rig.store.saves == 1
    assert rig.receiver.is_closed


async def test_a_replay_is_followed_and_not_overwritten(rig: Rig) -> None:
    """Somebody else moves the progress while this courier delivers: its save is refused, and it reads anew."""
    rig.log.add(1, 2, 3)
    rig.receiver.hook = lambda _id: rig.store.move(1) if rig.receiver.seen == ids(1, 2, 3) else None
    async with rig.courier() as courier:
        await rig.delivered(3)
        rig.receiver.answers = [REFUSED]  # saves at once
        rig.log.add(4)
        courier.wake()
        assert await rig.delivered(7) == ids(1, 2, 3, 4, 2, 3, 4)


async def test_a_deleted_webhook_saves_nothing(rig: Rig) -> None:
    rig.log.add(1)
    async with rig.courier():
        await rig.delivered(1)
        rig.store.kept = None
    assert rig.store.kept is None


async def test_passing_trouble_with_the_store_delivers_nothing_twice(rig: Rig) -> None:
    rig.log.add(1)
    rig.receiver.answers = [Outcome(), REFUSED]
    rig.store.trouble = 1
    async with rig.courier() as courier:
        await rig.delivered(1)
        rig.log.add(2)
        courier.wake()
        assert await rig.delivered(3) == ids(1, 2, 2)


async def test_events_that_left_the_log_are_said_to_be_missed(rig: Rig) -> None:
    rig.log.add(*range(1, 9))
    rig.log.oldest = 6
    rig.store.kept = Progress(cursor=2)
    async with rig.courier():
        assert await rig.delivered(3) == ids(6, 7, 8)
    assert rig.store.kept is not None
    assert (rig.store.kept.missed_from, rig.store.kept.missed_to, rig.store.kept.cursor) == (3, 5, 8)


async def test_a_day_of_failing_is_logged_once_a_day(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.log.add(1)
    start = rig.clock.now()
    rig.store.kept = Progress(cursor=0, failures=400, failing_since=start - 24 * 3600)
    rig.receiver.answers = [REFUSED] * 10
    async with rig.courier():
        await rig.delivered(11)
    assert sum("failed for a day" in line for line in "".join(capsys.readouterr()).splitlines()) == 1
