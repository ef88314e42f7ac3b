"""Scans of many rows: the event loop goes on meanwhile, and a caller that goes away disturbs nobody."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sized

import pytest

from barrier.connection import _SLICE
from barrier.seal import Barrier
from core.protocols import CoreTransaction, Record

ROWS = 40 * _SLICE


async def fill(transaction: CoreTransaction) -> None:
    for number in range(ROWS):
        await transaction.put(f"keys/{number:05}", b"x")
        await transaction.put_record("token", Record(record_id=f"{number:05}", body=b"x", parent="p", expires_at=1))


@pytest.fixture
async def filled(barrier: Barrier) -> Barrier:
    await barrier.storage.transact(fill)
    return barrier


async def turns_during(work: Awaitable[object]) -> int:
    """How often the event loop comes round to somebody else."""
    turns = 0
    task = asyncio.ensure_future(work)
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    await task
    return turns


async def test_the_event_loop_turns_during_every_scan(filled: Barrier) -> None:
    """In a transaction and outside of one; the rows are written once for all of them, which takes seconds."""
    scans: dict[str, Callable[[CoreTransaction], Awaitable[Sized]]] = {
        "list": lambda reads: reads.list("keys/"),
        "child": lambda reads: reads.child_records("token", "p"),
        "expired": lambda reads: reads.expired_records("token", before=2, limit=ROWS),
        "all": lambda reads: reads.list_records("token"),
    }
    for name, scan in scans.items():
        for work in (filled.storage.transact(scan), scan(filled.storage)):  # type: ignore[arg-type] # it reads alike
            # names are not decrypted: all is done in the thread, in less time than that
            assert await turns_during(work) >= (2 if name == "list" else ROWS // _SLICE), name


async def test_the_event_loop_turns_while_a_prefix_is_deleted(filled: Barrier) -> None:
    deleted = filled.storage.transact(lambda transaction: transaction.delete_prefix("keys/"))
    assert await turns_during(deleted) >= ROWS // _SLICE
    assert await filled.storage.list("keys/") == []


async def test_callers_that_go_away_during_a_scan_disturb_nobody(filled: Barrier) -> None:
    """The connection is in use until the thread has finished; it must not be given to another before."""
    for _ in range(20):
        gone = asyncio.ensure_future(filled.storage.list_records("token"))
        await asyncio.sleep(0.001)
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone
        assert await filled.storage.get("keys/00007") is not None
    assert len(await filled.storage.list("keys/")) == ROWS
