"""Transactions that wait together in one process are committed together, and harm each other as little as before."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from barrier import group_commit
from barrier.bell import Bell
from barrier.connection import Statements, driver_connection
from barrier.schema import upgrade_async
from barrier.seal import Barrier
from barrier.turn import Turn
from core.errors import CasMismatchError, StoreUnavailableError
from core.protocols import CoreTransaction
from tests.barrier.nodes import Node, initialize
from tests.barrier.test_store_faults import limit_pages, small_disk

Body = Callable[[CoreTransaction], Awaitable[object]]


@pytest.fixture
async def sqlite_node(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(sqlite_url, tmp_path)
    yield node
    await node.close()


@pytest.fixture
async def worker(sqlite_node: Node, monkeypatch: pytest.MonkeyPatch) -> Barrier:
    """Its groups take as long as they take: what is tested is not how fast this machine is."""
    monkeypatch.setattr(group_commit, "MAX_SECONDS", 60.0)
    barrier = await sqlite_node.worker()
    await initialize(barrier)
    await barrier.storage.put("first", b"x")  # makes room in the budget of encryptions
    await barrier.storage.delete("first")
    return barrier


def commits(barrier: Barrier) -> list[str]:
    """Every COMMIT from now on."""
    seen: list[str] = []
    writer = barrier._database._writer
    assert writer is not None
    with writer._engine.connect() as connection:  # the one in the pool
        driver = driver_connection(connection)
    driver.set_trace_callback(lambda statement: seen.append(statement) if statement == "COMMIT" else None)
    return seen


def put(path: str, value: bytes = b"x") -> Body:
    async def body(txn: CoreTransaction) -> None:
        await txn.put(path, value)

    return body


async def increment(txn: CoreTransaction) -> int:
    entry = await txn.get("counter")
    number = int(entry.value) + 1 if entry else 1
    await txn.put("counter", str(number).encode())
    return number


async def at_once(barrier: Barrier, *bodies: Body) -> list[object]:
    return await asyncio.gather(*map(barrier.storage.transact, bodies), return_exceptions=True)


async def names(barrier: Barrier) -> list[str]:
    return await barrier.storage.list("")


# --- together -------------------------------------------------------------------------------------------------------


async def test_transactions_that_wait_share_one_commit(worker: Barrier) -> None:
    seen = commits(worker)
    await at_once(worker, *(put(f"entry-{number:02}") for number in range(40)))
    assert len(seen) == 1
    assert len(await names(worker)) == 40


async def test_what_comes_during_a_commit_is_the_next_group(worker: Barrier) -> None:
    seen = commits(worker)
    first = asyncio.create_task(worker.storage.put("first", b"x"))
    while not seen:  # noqa: ASYNC110 - SQLite tells it in another thread
        await asyncio.sleep(0.001)
    await asyncio.gather(first, *(worker.storage.put(f"entry-{number}", b"x") for number in range(20)))
    assert len(seen) == 2


async def test_a_later_one_sees_what_an_earlier_one_wrote(worker: Barrier) -> None:
    assert await at_once(worker, *[increment] * 30) == list(range(1, 31))


async def test_compare_and_set_lets_one_of_a_group_win(worker: Barrier) -> None:
    seen = commits(worker)
    outcomes = await asyncio.gather(
        *(worker.storage.put("one", b"x", cas=0) for _ in range(10)), return_exceptions=True
    )
    assert outcomes[0] == 1
    assert all(isinstance(outcome, CasMismatchError) for outcome in outcomes[1:])
    assert len(seen) == 1


async def test_every_cache_hears_of_every_change_of_a_group(sqlite_node: Node, worker: Barrier) -> None:
    other = await sqlite_node.worker()
    await other.unseal_from_hsm()

    async def load(_view, _path, entry) -> bytes:
        return entry.value

    cache = other.storage.decoded_cache(load)
    paths = [f"entry-{number}" for number in range(20)]
    await at_once(worker, *(put(path, b"old") for path in paths))
    other.storage.sync()
    assert [await cache.get(path) for path in paths] == [b"old"] * 20
    await at_once(worker, *(put(path, b"new") for path in paths))
    other.storage.sync()
    assert [cache.peek(path) for path in paths] == [None] * 20


async def test_limited_uses_are_exact_over_two_workers(sqlite_node: Node, worker: Barrier) -> None:
    other = await sqlite_node.worker()
    await other.unseal_from_hsm()
    await worker.storage.put("uses", b"7")

    async def use(txn: CoreTransaction) -> bool:
        entry = await txn.get("uses")
        left = int(entry.value)  # type: ignore[union-attr]  # it is there
        if left:
            await txn.put("uses", str(left - 1).encode())
        return left > 0

    outcomes = await asyncio.gather(*(barrier.storage.transact(use) for barrier in (worker, other) for _ in range(25)))
    assert outcomes.count(True) == 7


# --- failing alone --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 3, 9])
async def test_one_that_fails_is_undone_alone(worker: Barrier, place: int) -> None:
    async def failing(txn: CoreTransaction) -> None:
        await txn.put("half", b"x")
        raise ValueError("its own")

    bodies: list[Body] = [put(f"entry-{number}") for number in range(9)]
    bodies.insert(place, failing)
    seen = commits(worker)
    outcomes = await at_once(worker, *bodies)
    assert [number for number, outcome in enumerate(outcomes) if isinstance(outcome, ValueError)] == [place]
    assert await names(worker) == [f"entry-{number}" for number in range(9)]
    assert len(seen) == 1


async def test_all_may_fail(worker: Barrier) -> None:
    async def failing(txn: CoreTransaction) -> None:
        await txn.put("half", b"x")
        raise ValueError("its own")

    outcomes = await at_once(worker, *[failing] * 5)
    assert all(isinstance(outcome, ValueError) for outcome in outcomes)
    assert await names(worker) == []
    await worker.storage.put("after", b"x")


async def test_one_that_fills_the_database_is_undone_alone(worker: Barrier) -> None:
    await worker.storage.put("before", b"x")
    limit_pages(worker, limit_pages(worker, 1) + 20)
    huge = put("huge", os.urandom(400_000))
    outcomes = await at_once(worker, put("a"), huge, put("b"), put("c"))
    assert isinstance(outcomes[1], StoreUnavailableError)
    assert "full" in outcomes[1].sentence
    assert await names(worker) == ["a", "b", "before", "c"]


async def test_a_commit_that_fails_fails_them_all(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk):
        url = f"sqlite:///{disk}/store.db"
        await upgrade_async(url)
        node = Node(url, tmp_path)
        barrier = await node.worker()
        await initialize(barrier)
        with (disk / "ballast").open("wb", buffering=0) as ballast:
            try:
                while ballast.write(b"x" * 4096) == 4096:
                    pass
            except OSError:
                pass
        value = os.urandom(30_000)  # together less than SQLite keeps in memory before the COMMIT
        outcomes = await at_once(barrier, *(put(f"entry-{number}", value) for number in range(10)))
        assert {type(outcome) for outcome in outcomes} == {StoreUnavailableError}
        (disk / "ballast").unlink()
        assert await names(barrier) == []
        await barrier.storage.put("after", b"x")
        assert await names(barrier) == ["after"]
        await node.close()


# --- callers that go away -------------------------------------------------------------------------------------------


async def test_a_caller_that_is_cancelled_stops_neither_its_transaction_nor_the_others(worker: Barrier) -> None:
    tasks = [asyncio.create_task(worker.storage.put(f"entry-{number}", b"x")) for number in range(5)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[2], asyncio.CancelledError)
    assert outcomes.count(1) == 4
    await worker.storage.put("after", b"x")
    assert len(await names(worker)) == 6


async def test_closing_finishes_what_waits(sqlite_node: Node, worker: Barrier) -> None:
    tasks = [asyncio.create_task(worker.storage.put(f"entry-{number}", b"x")) for number in range(5)]
    await asyncio.sleep(0)
    await worker._database.close()
    assert await asyncio.gather(*tasks) == [1] * 5


# --- bounds ---------------------------------------------------------------------------------------------------------


async def test_a_group_has_a_limited_number_of_members(worker: Barrier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_MEMBERS", 4)
    seen = commits(worker)
    await at_once(worker, *(put(f"entry-{number}") for number in range(10)))
    assert len(seen) == 3


async def test_a_group_ends_when_its_time_is_over(worker: Barrier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_SECONDS", 0.0)
    seen = commits(worker)
    await at_once(worker, *(put(f"entry-{number}") for number in range(5)))
    assert len(seen) == 5


async def test_a_row_of_failures_lets_others_run(worker: Barrier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MAX_SECONDS", 0.0)
    turns = []

    async def failing(_txn: CoreTransaction) -> None:
        turns.append(len(turns))
        raise ValueError("its own")

    async def look() -> None:
        while len(turns) < 20:
            turns_seen.add(len(turns))
            await asyncio.sleep(0)

    turns_seen: set[int] = set()
    await asyncio.gather(look(), at_once(worker, *[failing] * 20))
    assert len(turns_seen) > 10


async def test_a_scan_of_many_rows_keeps_no_group_waiting(worker: Barrier) -> None:
    tries = []

    async def count(txn: CoreTransaction) -> int:
        await txn.put(f"try-{len(tries)}", b"x")
        tries.append(None)
        return len(await txn.list("entry-"))

    seen = commits(worker)
    outcomes = await at_once(worker, put("entry-1"), count, put("entry-2"))
    assert outcomes[1] == 1  # in its turn
    assert len(seen) == 3
    assert await names(worker) == ["entry-1", "entry-2", "try-1"]  # the first try was undone


async def test_a_body_that_swallows_the_refusal_of_a_scan_runs_again(worker: Barrier) -> None:
    async def careless(txn: CoreTransaction) -> list[str]:
        try:
            return await txn.list("entry-")
        except Exception:  # noqa: BLE001 - what careless code does
            return ["nothing"]

    assert (await at_once(worker, put("entry-1"), careless))[1] == ["1"]


async def test_a_transaction_that_may_wait_for_others_is_alone(worker: Barrier) -> None:
    """Such are the seal's, which ask the HSM."""
    asked = asyncio.Event()

    async def waits(_connection: Statements) -> None:
        await asked.wait()

    seen = commits(worker)
    before = asyncio.create_task(worker.storage.put("before", b"x"))
    await asyncio.sleep(0)
    slow = asyncio.create_task(worker._database.write(waits))
    await before
    assert len(seen) == 1
    asked.set()
    await slow


# --- turns ----------------------------------------------------------------------------------------------------------


async def test_who_waits_for_a_turn_has_the_next_one(tmp_path: Path) -> None:
    busy, waiting = Turn(str(tmp_path / "store.db")), Turn(str(tmp_path / "store.db"))
    for _ in range(5):
        order = []
        soon = time.monotonic() + 30

        async def take(turn: Turn, name: str, order: list[str] = order, soon: float = soon) -> None:
            await turn.take(soon)
            order.append(name)
            await asyncio.sleep(0)
            turn.leave()

        await busy.take(soon)
        other = asyncio.create_task(take(waiting, "waiting"))
        await asyncio.sleep(0)
        busy.leave()
        await asyncio.gather(other, take(busy, "busy"))
        assert order == ["waiting", "busy"]
    busy.close()
    waiting.close()


async def test_a_turn_is_a_courtesy(tmp_path: Path) -> None:
    holder, waiting = Turn(str(tmp_path / "store.db")), Turn(str(tmp_path / "store.db"))
    await holder.take(time.monotonic() + 30)
    await waiting.take(time.monotonic())
    nowhere = Turn(str(tmp_path / "missing" / "store.db"))
    await nowhere.take(time.monotonic() + 30)
    nowhere.leave()
    for turn in (holder, waiting, nowhere):
        turn.close()


async def test_the_next_one_is_woken_and_need_not_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barrier.bell._WITH_BELL", 60.0)
    busy, waiting = Turn(str(tmp_path / "store.db")), Turn(str(tmp_path / "store.db"))
    soon = time.monotonic() + 30
    await busy.take(soon)
    woken = asyncio.create_task(waiting.take(soon))
    await asyncio.sleep(0.01)
    assert not woken.done()
    await asyncio.to_thread(busy.leave)  # a commit does so in its thread
    await asyncio.wait_for(woken, 5)
    busy.close()
    waiting.close()


async def test_a_bell_that_somebody_has_taken_is_a_courtesy_too(tmp_path: Path) -> None:
    busy, waiting, third = (Turn(str(tmp_path / "store.db")) for _ in range(3))
    soon = time.monotonic() + 30
    await busy.take(soon)
    await third.take(time.monotonic())  # gives up, and goes on without
    stranger = Bell(os.open(tmp_path / "store.db-turn", os.O_RDWR))
    stranger.listen()
    woken = asyncio.create_task(waiting.take(soon))
    await asyncio.sleep(0)
    busy.leave()
    await asyncio.wait_for(woken, 5)
    stranger.close()
    for turn in (busy, waiting, third):
        turn.close()


async def test_a_group_is_announced_at_once(worker: Barrier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each names what it changed; the ring is written once."""
    published: list[list[str]] = []
    publish = worker.storage._ring.publish

    def note(names: list[str]) -> None:
        published.append(names)
        publish(names)

    monkeypatch.setattr(worker.storage._ring, "publish", note)
    await asyncio.gather(*(worker.storage.put(f"entry-{number}", b"x") for number in range(8)))
    assert published == [[f"entry-{number}" for number in range(8)]]
