"""Writes in the thread: order, what comes meanwhile, a seal or another device in the middle, and when it is used."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from audit.records import AuditRequest
from audit.trail import AuditTrail
from audit.turns import Pace
from audit.verifier import verify_file
from core.errors import AuditUnavailableError
from tests.support.clock import SettableClock
from tests.support.memory_storage import memory_storage


class Slow(Pace):
    """Everything is written in the thread."""

    is_slow = True


class Gate:
    """Holds writes back; those of the thread alone."""

    def __init__(self) -> None:
        self.opened, self.reached, self.writes = threading.Event(), threading.Event(), 0
        self.fault: Exception | None = None
        self._real = os.write

    def __call__(self, fd: int, block: bytes) -> int:
        if threading.current_thread() is not threading.main_thread():
            self.writes += 1
            self.reached.set()
            assert self.opened.wait(10)
            if self.fault is not None:
                raise self.fault
        return self._real(fd, block)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate()
    monkeypatch.setattr(os, "write", made)
    yield made
    made.opened.set()


@pytest.fixture
async def trail(tmp_path: Path) -> AsyncIterator[AuditTrail]:
    made = AuditTrail(memory_storage().view("audit/"), SettableClock(), process="worker-0", pace=Slow())
    await made.open()
    await made.enable("file", type="file", options={"file_path": str(tmp_path / "audit.log")})
    yield made
    await made.close()


def serve(trail: AuditTrail, number: int) -> asyncio.Task[None]:
    async def run() -> None:
        trail.record_request(AuditRequest(request_id=str(number), operation="read", path="x"))
        await trail.flush()

    return asyncio.create_task(run())


def numbers(tmp_path: Path) -> list[str]:
    """Of what is in the file, whose chain holds."""
    report = verify_file(tmp_path / "audit.log")
    assert report.ok, report.problems
    lines = (tmp_path / "audit.log").read_bytes().splitlines()[1:]
    return [json.loads(line)["request"]["id"] for line in lines]


async def reached(gate: Gate) -> None:
    await asyncio.to_thread(gate.reached.wait, 10)
    gate.reached.clear()


async def test_what_comes_while_a_write_is_under_way_goes_out_with_the_next(
    trail: AuditTrail, gate: Gate, tmp_path: Path
) -> None:
    tasks = [serve(trail, 0)]
    await reached(gate)
    for number in range(1, 40):
        tasks.append(serve(trail, number))
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in tasks)
    gate.opened.set()
    await asyncio.gather(*tasks)
    assert numbers(tmp_path) == [str(number) for number in range(40)]
    assert gate.writes == 2


async def test_nobody_is_answered_by_an_earlier_write(trail: AuditTrail, gate: Gate, tmp_path: Path) -> None:
    first = serve(trail, 1)
    await reached(gate)
    second = serve(trail, 2)
    await asyncio.sleep(0.01)
    gate.opened.set()
    await first
    if not second.done():
        await second
    assert numbers(tmp_path) == ["1", "2"]


async def test_the_loop_goes_on_meanwhile(trail: AuditTrail, gate: Gate) -> None:
    task = serve(trail, 1)
    await reached(gate)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not task.done()
    gate.opened.set()
    await task


async def test_a_seal_waits_for_the_write_under_way_and_writes_the_rest(
    trail: AuditTrail, gate: Gate, tmp_path: Path
) -> None:
    tasks = [serve(trail, 1)]
    await reached(gate)
    tasks.append(serve(trail, 2))
    await asyncio.sleep(0)
    threading.Timer(0.05, gate.opened.set).start()
    await trail.close()
    await asyncio.gather(*tasks)
    assert numbers(tmp_path) == ["1", "2"]


async def test_a_device_that_is_disabled_has_its_last_write(trail: AuditTrail, gate: Gate, tmp_path: Path) -> None:
    task = serve(trail, 1)
    await reached(gate)
    threading.Timer(0.05, gate.opened.set).start()
    assert await trail.disable("file")
    await task
    assert numbers(tmp_path) == ["1"]


async def test_a_full_disk_refuses_and_the_record_is_written_later(
    trail: AuditTrail, gate: Gate, tmp_path: Path
) -> None:
    gate.fault = OSError(28, "No space left on device")
    gate.opened.set()
    tasks = [serve(trail, 1), serve(trail, 2)]
    for task in tasks:
        with pytest.raises(AuditUnavailableError, match="No space left"):
            await task
    gate.fault = None
    await serve(trail, 3)
    assert numbers(tmp_path) == ["1", "2", "3"]


async def test_a_fault_of_ours_leaves_nobody_waiting(trail: AuditTrail, gate: Gate, tmp_path: Path) -> None:
    told: list[BaseException | None] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context.get("exception")))
    gate.fault = ZeroDivisionError()
    gate.opened.set()
    with pytest.raises(AuditUnavailableError):
        await serve(trail, 1)
    assert [type(exc) for exc in told] == [ZeroDivisionError]
    gate.fault = None
    await serve(trail, 2)
    assert numbers(tmp_path) == ["1", "2"]


async def test_a_caller_that_is_cancelled_does_not_stop_the_write(
    trail: AuditTrail, gate: Gate, tmp_path: Path
) -> None:
    task = serve(trail, 1)
    await reached(gate)
    task.cancel()
    gate.opened.set()
    await asyncio.gather(task, return_exceptions=True)
    await trail.flush()
    assert numbers(tmp_path) == ["1"]


# --- when -------------------------------------------------------------------------------------------------------------


class Monotonic:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def test_quick_writes_never_go_to_the_thread() -> None:
    pace = Pace(Monotonic())
    for _ in range(100_000):
        pace.note(0.0009)
    assert not pace.is_slow


def test_slow_writes_of_one_second_add_up() -> None:
    clock = Monotonic()
    pace = Pace(clock)
    for _ in range(9):
        pace.note(0.01)
        clock.time += 0.05
    assert not pace.is_slow
    pace.note(0.02)
    assert pace.is_slow
    clock.time += 1.9
    assert pace.is_slow
    clock.time += 0.2
    assert not pace.is_slow


def test_slow_writes_now_and_then_do_not() -> None:
    clock = Monotonic()
    pace = Pace(clock)
    for _ in range(100):
        pace.note(0.09)
        clock.time += 1.1
        assert not pace.is_slow


def test_one_write_that_takes_long_is_enough() -> None:
    pace = Pace(Monotonic())
    pace.note(0.5)
    assert pace.is_slow
