"""What a process does without being asked: follow the seal, and housekeeping. Neither ends by an error."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance import composition, housekeeping
from appliance.composition import Node
from appliance.config import Config
from appliance.housekeeping import Housekeeping
from core.errors import StoreUnavailableError


class Seal:
    """A lifecycle whose `settle` may fail first."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.settled = self.ready = False
        self.looks = 0

    def is_settled(self) -> bool:
        self.looks += 1
        return self.settled

    async def settle(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.settled = True


async def run_until(done: Callable[[], bool], work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    async with asyncio.timeout(5):
        while not done():  # noqa: ASYNC110 - of what is tested, nothing can be told to set an event
            await asyncio.sleep(0.001)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_seal_is_followed_without_a_request_and_past_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "_SEAL_CHECK", 0.001)
    monkeypatch.setattr(composition, "_UNSEAL_PAUSE", 0.001)
    node = Node(Config.dev(tmp_path, "127.0.0.1:0", workers=1), role="worker", ring_path=tmp_path / "ring")
    seal = Seal(StoreUnavailableError("away"), RuntimeError("a fault of ours"))
    gauges: dict[object, object] = {}
    opened = cast(
        "Any",
        SimpleNamespace(
            assembled=SimpleNamespace(lifecycle=seal),
            shared=SimpleNamespace(metrics=SimpleNamespace(set=gauges.__setitem__)),
            hsm=SimpleNamespace(is_ready=True),
        ),
    )
    await run_until(lambda: seal.settled, node._follow_others(opened))
    seal.settled = False  # another process sealed
    await run_until(lambda: seal.settled, node._follow_others(opened))


class Tokens:
    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls = 0

    async def revoke_expired(self, _limit: int) -> int:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return 0


async def test_housekeeping_goes_on_after_any_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "_LOOK", 0.001)
    monkeypatch.setattr(housekeeping, "_PERIOD", 0.001)
    seal, tokens = Seal(), Tokens(StoreUnavailableError("away"), RuntimeError("a fault of ours"))
    seal.settled = seal.ready = True
    keeping = Housekeeping(cast("Any", seal), cast("Any", tokens), sync=lambda: None)
    await run_until(lambda: tokens.calls > 3, keeping.run())


async def test_housekeeping_rests_from_the_moment_of_a_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "_LOOK", 0.001)
    seal, tokens = Seal(), Tokens()
    seal.ready = True  # and not settled: the seal has changed, and this process has not followed yet
    keeping = Housekeeping(cast("Any", seal), cast("Any", tokens), sync=lambda: None)
    await run_until(lambda: seal.looks > 3, keeping.run())
    assert tokens.calls == 0
