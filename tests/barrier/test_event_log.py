"""The log of events: committed with what it tells of, in an order that a reader may rely on, on both engines."""

import asyncio

import pytest

from barrier.schema import upgrade_async
from barrier.seal import Barrier
from core.errors import SealedError
from core.protocols import CoreTransaction, Event
from tests.barrier.nodes import Node, execute


async def append(barrier: Barrier, *bodies: bytes) -> None:
    async def body(txn: CoreTransaction) -> None:
        for one in bodies:
            await txn.append_event(one)

    await barrier.storage.transact(body)


async def bodies(barrier: Barrier, after: int = 0, limit: int = 100) -> list[bytes]:
    return [event.body for event in await barrier.storage.events_after(after, limit=limit)]


async def drop(barrier: Barrier, before: int) -> int:
    return await barrier.storage.transact(lambda txn: txn.drop_events(before=before))


async def test_events_come_in_the_order_of_the_commits_and_within_one_as_announced(barrier: Barrier) -> None:
    await append(barrier, b"a1", b"a2")
    await append(barrier, b"b")
    found = await barrier.storage.events_after(0, limit=10)
    assert [event.body for event in found] == [b"a1", b"a2", b"b"]
    assert [event.number for event in found] == sorted({event.number for event in found})
    assert await bodies(barrier, after=found[1].number) == [b"b"]
    assert await bodies(barrier, limit=2) == [b"a1", b"a2"]


async def test_an_event_of_a_transaction_that_fails_never_was(barrier: Barrier) -> None:
    async def fails(txn: CoreTransaction) -> None:
        await txn.append_event(b"never")
        raise LookupError

    with pytest.raises(LookupError):
        await barrier.storage.transact(fails)
    assert await bodies(barrier) == []
    assert await barrier.storage.event_bounds() == (0, 0)


async def test_one_that_is_still_being_committed_holds_up_later_ones(node: Node, barrier: Barrier) -> None:
    """Else whoever has read the later number would never see the earlier one."""
    appended, go_on = asyncio.Event(), asyncio.Event()

    async def slow(txn: CoreTransaction) -> None:
        await txn.append_event(b"slow")
        appended.set()
        await go_on.wait()

    writing = asyncio.create_task(barrier.storage.transact(slow))
    await appended.wait()
    other = await node.worker()
    await other.unseal_from_hsm()
    later = asyncio.create_task(append(other, b"later"))
    if not node.url.startswith("sqlite"):  # SQLite has one writer: the later one waits by itself
        await later
    assert await bodies(barrier) == []
    assert await barrier.storage.event_bounds() == (0, 0)
    go_on.set()
    await asyncio.gather(writing, later)
    assert await bodies(other) == [b"slow", b"later"]


async def test_another_worker_hears_of_events_and_of_nothing_else(node: Node, barrier: Barrier) -> None:
    other = await node.worker()
    await other.unseal_from_hsm()
    other.storage.sync()
    heard = other.storage.events_heard
    await barrier.storage.put("a", b"")
    other.storage.sync()
    assert other.storage.events_heard == heard
    await append(barrier, b"x")
    other.storage.sync()
    assert other.storage.events_heard == heard + 1


async def test_a_body_in_another_row_does_not_open_and_is_passed_over(node: Node, barrier: Barrier) -> None:
    await append(barrier, b"one", b"two", b"three")
    first, second, _ = [event.number for event in await barrier.storage.events_after(0, limit=9)]
    await execute(
        node.url,
        f"UPDATE events SET sealed = (SELECT sealed FROM events WHERE number = {first}) WHERE number = {second}",
    )
    assert await bodies(barrier) == [b"one", b"", b"three"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        pytest.param("sealed", "00" * 40, id="format"),
        pytest.param("sealed", "01000000ff" + "00" * 40, id="unknown-term"),
        pytest.param("sealed", "", id="empty"),
        pytest.param("event_id", "00" * 16, id="id"),
    ],
)
async def test_an_edited_row_does_not_open(node: Node, barrier: Barrier, column: str, value: str) -> None:
    await append(barrier, b"one", b"two")
    first = (await barrier.storage.events_after(0, limit=1))[0].number
    blob = f"x'{value}'" if node.url.startswith("sqlite") else f"decode('{value}', 'hex')"
    await execute(node.url, f"UPDATE events SET {column} = {blob} WHERE number = {first}")
    assert await bodies(barrier) == [b"", b"two"]


async def test_events_under_a_term_of_another_process_open(node: Node, barrier: Barrier) -> None:
    other = await node.worker()
    await other.unseal_from_hsm()
    await append(barrier, b"old term")
    await barrier.rotate()
    await append(barrier, b"new term")
    assert await bodies(other) == [b"old term", b"new term"]


async def test_bounds_tell_how_far_back_the_log_reaches(barrier: Barrier) -> None:
    await append(barrier, b"1", b"2", b"3")
    numbers = [event.number for event in await barrier.storage.events_after(0, limit=9)]
    assert await barrier.storage.event_bounds() == (1, numbers[2])
    assert await drop(barrier, numbers[1]) == 1
    assert await barrier.storage.event_bounds() == (numbers[0] + 1, numbers[2])
    assert await drop(barrier, numbers[2] + 1) == 2
    assert await barrier.storage.event_bounds() == (numbers[2] + 1, numbers[2])
    assert await drop(barrier, numbers[2] + 1) == 0
    await append(barrier, b"4")
    assert (await barrier.storage.events_after(0, limit=9))[0].number > numbers[2]


async def test_the_nth_newest_is_what_so_many_are_newer_than(barrier: Barrier) -> None:
    await append(barrier, b"1", b"2", b"3")
    numbers = [event.number for event in await barrier.storage.events_after(0, limit=9)]
    assert await barrier.storage.nth_newest_event(2) == numbers[0]
    assert await barrier.storage.nth_newest_event(3) == 0


async def test_a_sealed_appliance_shows_no_events(barrier: Barrier) -> None:
    await append(barrier, b"1")
    barrier.storage.seal()
    with pytest.raises(SealedError):
        await barrier.storage.events_after(0, limit=1)


async def test_only_a_mount_announces(barrier: Barrier) -> None:
    with pytest.raises(RuntimeError):
        await barrier.storage.view("x/").transact(lambda txn: txn.announce(Event(type="a", path="b")))


async def test_a_database_restored_on_another_server_goes_on_counting(node: Node, barrier: Barrier) -> None:
    """PostgreSQL counts transactions by server, so those of a new one begin below what the log holds."""
    if node.url.startswith("sqlite"):
        return
    await append(barrier, b"old")
    await execute(node.url, f"UPDATE events SET number = number + {1 << 50}")
    assert await bodies(barrier) == []
    await upgrade_async(node.url)
    await append(barrier, b"new")
    assert await bodies(barrier) == [b"old", b"new"]
    await execute(node.url, "SELECT setval('event_base', 1)")
