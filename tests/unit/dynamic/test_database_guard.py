"""What stands between requests and a database that may be dead."""

import asyncio
import itertools
from typing import Any

import pytest

from dynamic.guard import Breaker, Guarded
from dynamic.target import ConnectionDetails, Removal, TargetAwayError, TargetLoginError, TargetRefusedError
from tests.support.memory_target import MemoryTarget, Server


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def guarded(clock: Clock, **limits: Any) -> Guarded:
    details = ConnectionDetails(name="db", username="root", password="first", options={"connection_url": "memory://db"})
    return Guarded("db", MemoryTarget(details), Breaker(monotonic=clock), **limits)


async def called(server: Server, times: int) -> None:
    """Wait for so many calls of the server."""
    while len(server.calls) < times:
        server.visited.clear()
        await server.visited.wait()


async def test_a_database_that_is_away_is_asked_once_and_then_left_alone(server: Server) -> None:
    clock = Clock()
    target = guarded(clock)
    server.is_away = True
    with pytest.raises(TargetAwayError, match="the database is away"):
        await target.check()
    for _ in range(5):
        with pytest.raises(TargetAwayError, match=r"cannot be reached since 0 s .* tried again in 1 s"):
            await target.check()
    assert server.calls == ["check"]


async def test_one_call_tries_whether_it_is_back_and_the_others_wait_for_nothing(server: Server) -> None:
    clock = Clock()
    target = guarded(clock)
    server.is_away = True
    with pytest.raises(TargetAwayError):
        await target.check()
    server.is_away = False
    clock.now += 60
    server.gate, server.visited = asyncio.Event(), asyncio.Event()
    trial = asyncio.create_task(target.check())
    await server.visited.wait()
    with pytest.raises(TargetAwayError):
        await target.check()
    server.gate.set()
    await trial
    await target.check()
    assert server.calls == ["check", "check", "check"]


async def test_pauses_grow_to_a_quarter_of_a_minute(server: Server) -> None:
    clock = Clock()
    target = guarded(clock)
    server.is_away = True
    tried = []
    for _ in range(2_000):
        before = len(server.calls)
        with pytest.raises(TargetAwayError):
            await target.check()
        if len(server.calls) > before:
            tried.append(clock.now)
        clock.now += 0.1
    pauses = [round(later - sooner) for sooner, later in itertools.pairwise(tried)]
    assert pauses[:3] == [1, 1, 2]
    assert set(pauses[6:]) == {15}


@pytest.mark.parametrize("no", ["refuses", "login"])
async def test_a_database_that_says_no_is_there(server: Server, no: str) -> None:
    target = guarded(Clock())
    if no == "refuses":
        server.refuses = {"check"}
    else:
        server.accounts["root"] = "another"
    for _ in range(5):
        with pytest.raises((TargetRefusedError, TargetLoginError)):
            await target.check()
    assert len(server.calls) == 5


async def test_a_call_that_takes_too_long_is_given_up(server: Server) -> None:
    target = guarded(Clock(), timeout=0.01)
    server.gate = asyncio.Event()
    with pytest.raises(TargetAwayError, match="did not answer within"):
        await target.check()


async def test_three_slow_calls_in_a_row_are_a_database_that_is_away(server: Server) -> None:
    target = guarded(Clock(), timeout=0.01)
    server.gate = asyncio.Event()
    for _ in range(5):
        with pytest.raises(TargetAwayError):
            await target.check()
    assert len(server.calls) == 3


async def test_whether_it_is_back_is_not_found_out_by_a_slow_statement(server: Server) -> None:
    """Else the statements of one role would keep all others waiting."""
    clock = Clock()
    target = guarded(clock)
    server.is_away = True
    with pytest.raises(TargetAwayError):
        await target.drop(Removal(username="x"))
    server.is_away = False
    clock.now += 60
    slow = asyncio.create_task(target.drop(Removal(username="x")))
    await called(server, 3)
    server.gate = asyncio.Event()
    others = asyncio.create_task(target.drop(Removal(username="y")))
    await called(server, 4)
    assert server.calls == ["drop", "check", "drop", "drop"]
    server.gate.set()
    await asyncio.gather(slow, others)


async def test_a_trial_that_fails_makes_no_call(server: Server) -> None:
    clock = Clock()
    target = guarded(clock)
    server.is_away = True
    for _ in range(3):
        with pytest.raises(TargetAwayError):
            await target.drop(Removal(username="x"))
        clock.now += 60
    assert server.calls == ["drop", "check", "check"]


async def test_so_many_may_wait_and_no_more(server: Server) -> None:
    target = guarded(Clock(), budget=3)
    server.gate = asyncio.Event()
    waiting = [asyncio.create_task(target.drop(Removal(username="x"))) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(TargetAwayError, match="has 3 requests waiting already"):
        await target.check()
    server.gate.set()
    await asyncio.gather(*waiting)
    await target.check()


async def test_a_call_that_is_cut_off_gives_its_place_back(server: Server) -> None:
    clock = Clock()
    target = guarded(clock, budget=1)
    server.is_away = True
    with pytest.raises(TargetAwayError):
        await target.check()
    server.is_away = False
    clock.now += 60
    server.gate, server.visited = asyncio.Event(), asyncio.Event()
    trial = asyncio.create_task(target.check())
    await server.visited.wait()
    trial.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trial
    server.gate = None
    await target.check()
