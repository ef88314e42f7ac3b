"""SIGKILL during writes: every acknowledged write is there, nothing is half-written."""

import os
import random
import signal
import time

import pytest

from barrier.seal import Barrier
from core.protocols import CatalogQuery
from tests.barrier.nodes import Node
from tests.barrier.processes import Child


async def test_killed_writers_lose_nothing(node: Node, barrier: Barrier) -> None:
    await kill_writers(node, barrier, rounds=40 if node.url.startswith("sqlite") else 15)


async def test_killed_crowds_of_writers(node: Node, barrier: Barrier) -> None:
    """What many transactions of one process are committed with, all of them are acknowledged after."""
    await kill_writers(node, barrier, rounds=25 if node.url.startswith("sqlite") else 5, writers=16)


async def test_two_crowds_take_turns(node: Node, barrier: Barrier) -> None:
    """Neither process is kept from writing by the other, which always has somebody waiting."""
    with Child("nursery", node) as one, Child("nursery", node) as other:
        pids = [int(nursery.ask("16").removeprefix("pid ")) for nursery in (one, other)]
        told = [int(nursery.hear()) for _ in range(60) for nursery in (one, other)]
        assert len(set(told)) == len(told)  # no number was given twice
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for nursery in (one, other):
            while not (line := nursery.hear()).startswith("ended"):
                told.append(int(line))
    await assert_whole(barrier, max(told))


@pytest.mark.heavy
@pytest.mark.timeout(900)
async def test_a_thousand_killed_writers(node: Node, barrier: Barrier) -> None:
    await kill_writers(node, barrier, rounds=1000)


async def kill_writers(node: Node, barrier: Barrier, *, rounds: int, writers: int = 1) -> None:
    chance = random.Random(2026)  # noqa: S311 - picks moments, guards nothing
    with Child("nursery", node) as nursery:
        for _ in range(rounds):
            pid = int(nursery.ask(str(writers)).removeprefix("pid "))
            acknowledged = read_acknowledged(nursery, pid, chance)
            await assert_whole(barrier, acknowledged)
    head = int((await barrier.storage.get("head")).value)  # type: ignore[union-attr]
    assert await barrier.storage.list("log/") == [f"{number:06}" for number in range(1, head + 1)]


def read_acknowledged(nursery: Child, pid: int, chance: random.Random) -> int:
    """Kill the writer at some moment; the highest number that it had been told is durable."""
    last = 0
    for _ in range(chance.randrange(1, 4)):
        last = max(last, int(nursery.hear()))
    time.sleep(chance.random() * 0.006)  # where in a transaction it dies is the point
    os.kill(pid, signal.SIGKILL)
    while not (line := nursery.hear()).startswith("ended"):
        last = max(last, int(line))
    assert line == f"ended {-signal.SIGKILL}"
    return last


async def assert_whole(barrier: Barrier, acknowledged: int) -> None:
    head = await barrier.storage.get("head")
    mirror = await barrier.storage.get_record("token", "mirror")
    assert head is not None
    assert mirror is not None
    assert head.value == mirror.body
    assert int(head.value) >= acknowledged
    assert await barrier.storage.get(f"log/{int(head.value):06}") is not None
    last = await barrier.storage.find_rows("certs", CatalogQuery(terms=("all",), due_from=int(head.value), by_due=True))
    named = await barrier.storage.find_rows("certs", CatalogQuery(terms=(f"n:{int(head.value)}",)))
    assert [row.row_id for row in last.rows] == [row.row_id for row in named.rows] == [head.value.decode()]
