"""The trail: one write per turn, fail closed, recovery, and the table of devices."""

import asyncio
import fcntl
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from audit import turns
from audit.records import AuditAuth, AuditRequest, AuditResponse
from audit.trail import AuditTrail
from audit.turns import Pace
from audit.verifier import verify_file
from core.errors import AuditUnavailableError, InvalidRequestError
from tests.support.clock import SettableClock
from tests.support.memory_storage import MemoryStorage, memory_storage


class Monotonic:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


class Slow(Pace):
    """Everything is written in the thread."""

    is_slow = True


class Setup:
    def __init__(self, folder: Path, *, slow: bool) -> None:
        self.slow = slow
        self.folder = folder
        self.file = folder / "audit.log"
        self.storage: MemoryStorage = memory_storage()
        self.monotonic = Monotonic()
        self.trail = self.worker("worker-0")

    def worker(self, name: str) -> AuditTrail:
        pace = Slow() if self.slow else None
        view = self.storage.view("audit/")
        return AuditTrail(view, SettableClock(), process=name, monotonic=self.monotonic, pace=pace)

    async def enable(self, path: str = "file", file: Path | None = None, **options: str) -> None:
        await self.trail.enable(path, type="file", options={"file_path": str(file or self.file), **options})

    def records(self, file: Path | None = None) -> list[dict]:
        path = file or self.file
        report = verify_file(path)
        assert report.ok, report.problems
        return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture(params=[False, True], ids=["loop", "thread"])
async def setup(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Setup]:
    made = Setup(tmp_path / "logs", slow=request.param)
    made.folder.mkdir()
    await made.trail.open()
    yield made
    await made.trail.close()


def _request(number: int = 1) -> AuditRequest:
    return AuditRequest(
        request_id=str(number), operation="update", path="transit/encrypt/k", data={"plaintext": "eA=="}
    )


async def _serve(trail: AuditTrail, number: int = 1) -> None:
    request, auth = _request(number), AuditAuth(client_token="t", accessor="a")
    trail.record_request(request, auth)
    trail.record_response(request, auth, AuditResponse(data={"ciphertext": "mimir:v1:AA"}))
    await trail.flush()


async def test_without_devices_nothing_is_asked(setup: Setup) -> None:
    assert not setup.trail.active
    await _serve(setup.trail)


async def test_request_comes_before_response(setup: Setup) -> None:
    await setup.enable()
    await _serve(setup.trail)
    assert [(r["type"], r["request"]["id"]) for r in setup.records()[1:]] == [("request", "1"), ("response", "1")]


async def test_enabling_writes_a_test_record(setup: Setup) -> None:
    await setup.enable()
    [record] = setup.records()
    assert record["request"]["path"] == "sys/audit/test"
    assert setup.trail.active


async def test_requests_of_one_turn_share_one_write(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    await setup.enable()
    writes, real = [], os.write
    monkeypatch.setattr(os, "write", lambda fd, block: writes.append(len(block)) or real(fd, block))
    await asyncio.gather(*(_serve(setup.trail, i) for i in range(32)))
    monkeypatch.undo()
    assert len(setup.records()) == 65
    assert len(writes) == 1


async def test_lines_of_a_cancelled_request_are_written(setup: Setup) -> None:
    await setup.enable()
    task = asyncio.create_task(_serve(setup.trail, 7))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await setup.trail.flush()
    assert [r["request"]["id"] for r in setup.records()[1:]] == ["7", "7"]


async def test_a_cancelled_request_does_not_cancel_its_neighbours(setup: Setup) -> None:
    await setup.enable()
    tasks = [asyncio.create_task(_serve(setup.trail, i)) for i in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), asyncio.CancelledError, type(None)]


async def test_a_record_without_flush_is_written_all_the_same(setup: Setup) -> None:
    await setup.enable()
    setup.trail.record_request(_request(3))
    await asyncio.sleep(0.05)
    assert setup.records()[-1]["request"]["id"] == "3"


async def test_a_device_that_is_gone_refuses_and_recovers(setup: Setup) -> None:
    await setup.enable()
    shutil.rmtree(setup.folder)
    for number in range(3):
        with pytest.raises(AuditUnavailableError, match=f"cannot write to {setup.file}"):
            await _serve(setup.trail, number)
    setup.folder.mkdir()
    setup.monotonic.time += 2
    await _serve(setup.trail, 9)
    # what was refused was asked all the same, and is on record
    assert [r["request"]["id"] for r in setup.records()[::2]] == ["0", "1", "2", "9"]


async def test_every_waiter_of_a_failed_turn_is_refused(setup: Setup) -> None:
    await setup.enable()
    shutil.rmtree(setup.folder)
    results = await asyncio.gather(*(_serve(setup.trail, i) for i in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [AuditUnavailableError] * 5


async def test_flush_fails_while_an_earlier_record_is_not_written(setup: Setup) -> None:
    """A request whose record failed unnoticed, in a turn nobody waited for, must not pass."""
    await setup.enable()
    shutil.rmtree(setup.folder)
    setup.trail.record_request(_request())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(AuditUnavailableError):
        await setup.trail.flush()


async def test_a_full_backlog_refuses_when_the_record_is_made(setup: Setup) -> None:
    await setup.enable()
    shutil.rmtree(setup.folder)
    request = AuditRequest(request_id="1", operation="update", path="p", headers={"h": ["x" * 2**20]})
    setup.trail.record_request(request)
    with pytest.raises(AuditUnavailableError):
        await setup.trail.flush()
    with pytest.raises(AuditUnavailableError):  # noqa: PT012 - which of them fails is not the point
        for _ in range(20):
            setup.trail.record_request(request)
    with pytest.raises(AuditUnavailableError):
        await setup.trail.flush()


async def test_a_request_passes_when_one_of_two_devices_took_it(setup: Setup, tmp_path: Path) -> None:
    other = tmp_path / "other" / "b.log"
    await setup.enable("one")
    await setup.enable("two", other)
    shutil.rmtree(other.parent)
    await _serve(setup.trail, 1)
    assert len(setup.records()) == 4 - 1
    other.parent.mkdir()
    setup.monotonic.time += 2
    await _serve(setup.trail, 2)
    assert [r["request"]["id"] for r in setup.records(other)] == ["1", "1", "2", "2"]


async def test_a_late_flush_passes_when_one_device_has_everything(setup: Setup, tmp_path: Path) -> None:
    """The records went out in an earlier turn, before anybody waited."""
    other = tmp_path / "other" / "b.log"
    await setup.enable("one")
    await setup.enable("two", other)
    shutil.rmtree(other.parent)
    setup.trail.record_request(_request())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await setup.trail.flush()


async def test_a_lock_held_for_a_moment_delays_and_does_not_refuse(setup: Setup) -> None:
    await setup.enable()
    with setup.file.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        task = asyncio.create_task(_serve(setup.trail))
        for _ in range(5):
            await asyncio.sleep(0.001)
        assert not task.done()
        fcntl.flock(other, fcntl.LOCK_UN)
        await task
    assert len(setup.records()) == 3


async def test_a_lock_held_for_long_refuses(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "BUSY_LIMIT", 0.1)
    await setup.enable()
    with setup.file.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        task = asyncio.create_task(_serve(setup.trail))
        await asyncio.sleep(0.002)
        setup.monotonic.time += 3
        with pytest.raises(AuditUnavailableError, match="lock"):
            await task


async def test_reopen_lets_go_of_the_rotated_file(setup: Setup) -> None:
    await setup.enable()
    setup.file.rename(setup.folder / "audit.log.1")
    setup.trail.reopen()
    await _serve(setup.trail)
    assert len(setup.records()) == 2


async def test_hash_is_what_the_lines_hold(setup: Setup) -> None:
    await setup.enable()
    await _serve(setup.trail)
    assert setup.records()[1]["request"]["data"]["plaintext"] == setup.trail.hash("file/", "eA==")


async def test_devices_have_keys_of_their_own(setup: Setup, tmp_path: Path) -> None:
    await setup.enable("one")
    await setup.enable("two", tmp_path / "b.log")
    assert setup.trail.hash("one", "x") != setup.trail.hash("two", "x")


async def test_hash_of_an_unknown_device(setup: Setup) -> None:
    with pytest.raises(InvalidRequestError, match="unknown audit backend"):
        setup.trail.hash("file", "x")


async def test_devices_are_listed_without_their_key(setup: Setup) -> None:
    await setup.enable(mode="0640")
    [(path, info)] = setup.trail.devices().items()
    assert path == info.path == "file/"
    assert info.options == {"file_path": str(setup.file), "mode": "0640"}
    assert not hasattr(info, "key")


async def test_another_worker_sees_the_change_at_sync(setup: Setup) -> None:
    other = setup.worker("worker-1")
    await other.open()
    await setup.enable()
    assert not other.current
    await other.sync()
    assert other.active
    await _serve(other, 4)
    assert other.hash("file", "x") == setup.trail.hash("file", "x")
    await setup.trail.disable("file")
    await other.sync()
    assert not other.active
    await other.close()


async def test_devices_survive_seal_and_unseal(setup: Setup) -> None:
    await setup.enable()
    before = setup.trail.hash("file", "x")
    await setup.trail.close()
    assert not setup.trail.active
    await setup.trail.open()
    assert setup.trail.hash("file", "x") == before


async def test_closing_writes_what_is_buffered(setup: Setup) -> None:
    await setup.enable()
    setup.trail.record_request(_request(5))
    await setup.trail.close()
    assert setup.records()[-1]["request"]["id"] == "5"


async def test_a_device_that_cannot_be_opened_at_unseal_refuses_requests(setup: Setup) -> None:
    await setup.enable()
    await setup.trail.close()
    shutil.rmtree(setup.folder)
    await setup.trail.open()
    with pytest.raises(AuditUnavailableError):
        await _serve(setup.trail)


@pytest.mark.parametrize(
    ("path", "kind", "options", "said"),
    [
        ("file", "socket", {}, "unknown backend type"),
        ("file", "file", {}, "file_path is required"),
        ("file", "file", {"file_path": "relative"}, "absolute"),
        ("file", "file", {"file_path": "/proc/no/such"}, "was not enabled"),
        ("file", "file", {"file_path": "/dev/full"}, "No space left"),
        ("", "file", {"file_path": "/dev/null"}, "path of an audit device"),
        ("a\nb", "file", {"file_path": "/dev/null"}, "path of an audit device"),
    ],
)
async def test_refusals_of_enable(setup: Setup, path: str, kind: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        await setup.trail.enable(path, type=kind, options=options)
    assert not setup.trail.active


@pytest.mark.parametrize("path", ["file", "file/", "file/sub"])
async def test_a_path_in_use_is_refused(setup: Setup, path: str) -> None:
    await setup.enable()
    with pytest.raises(InvalidRequestError, match="path already in use"):
        await setup.trail.enable(path, type="file", options={"file_path": "/dev/null"})


async def test_of_two_workers_that_enable_one_path_one_is_refused(setup: Setup) -> None:
    other = setup.worker("worker-1")
    await other.open()
    await setup.enable()
    with pytest.raises(InvalidRequestError, match="path already in use"):
        await other.enable("file", type="file", options={"file_path": "/dev/null"})
    await other.close()


async def test_disabling_tells_whether_there_was_one(setup: Setup) -> None:
    await setup.enable()
    assert await setup.trail.disable("file/")
    assert not await setup.trail.disable("file/")
    assert not setup.trail.active


async def test_the_table_does_not_hold_the_key_in_reach_of_repr(setup: Setup) -> None:
    await setup.enable()
    device = setup.trail._devices["file/"]
    assert str(device.record.key) not in repr(device.record)
