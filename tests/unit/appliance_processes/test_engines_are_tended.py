"""Engines that hold something in memory are tended twice a minute in each worker, and once more before they close."""

import asyncio
from typing import Any

import pytest

from appliance.mount_table import MountEntry
from appliance.pipeline import mounted as mounted_module
from appliance.pipeline.mounted import Mounted
from appliance.tended_engines import TendedEngines
from core.errors import StoreUnavailableError


class HoldingEngine:
    """Tells what was done to it; fails or waits when told to."""

    routes = ()

    def __init__(self, trouble: Exception | None = None, *, slow: bool = False) -> None:
        self.done: list[str] = []
        self.trouble = trouble
        self.began, self.may_end = asyncio.Event(), asyncio.Event()
        if not slow:
            self.may_end.set()

    async def tend(self) -> None:
        self.done.append("tend")
        self.began.set()
        await self.may_end.wait()
        if self.trouble is not None:
            raise self.trouble

    async def close(self) -> None:
        self.done.append("close")


class ShelfEngine:
    """Holds nothing."""

    routes = ()

    def __init__(self) -> None:
        self.done: list[str] = []

    async def close(self) -> None:
        self.done.append("close")


class Mounts:
    """Engines in service."""

    def __init__(self, *engines: Any) -> None:
        self.mounted = [
            Mounted(MountEntry(uuid=str(number), accessor="", type="kv", path=f"{number}/"), engine)
            for number, engine in enumerate(engines)
        ]
        self.left: list[Mounted] = []

    def in_service(self) -> list[Mounted]:
        return self.mounted

    async def leave(self, mounted: Mounted) -> None:
        self.left.append(mounted)


async def test_each_engine_that_holds_something_is_tended() -> None:
    first, second, shelf = HoldingEngine(), HoldingEngine(), ShelfEngine()
    await TendedEngines(Mounts(first, shelf, second)).tend_all()
    assert (first.done, second.done, shelf.done) == (["tend"], ["tend"], [])


@pytest.mark.parametrize("trouble", [StoreUnavailableError("full"), RuntimeError("a fault")], ids=["known", "fault"])
async def test_an_engine_in_trouble_keeps_no_other_from_its_turn(trouble: Exception) -> None:
    bad, good = HoldingEngine(trouble), HoldingEngine()
    mounts = Mounts(bad, good)
    await TendedEngines(mounts).tend_all()
    assert good.done == ["tend"]
    assert [mounted.users for mounted in mounts.mounted] == [0, 0]


async def test_a_retired_engine_is_left_alone() -> None:
    engine = HoldingEngine()
    mounts = Mounts(engine)
    mounts.mounted[0].retired = True
    await TendedEngines(mounts).tend_all()
    assert engine.done == []


async def test_an_engine_that_retires_meanwhile_is_closed_behind_the_call() -> None:
    engine = HoldingEngine(slow=True)
    mounts = Mounts(engine)
    round_ = asyncio.create_task(TendedEngines(mounts).tend_all())
    await engine.began.wait()
    await mounted_module._retire(mounts.mounted[0])
    assert "close" not in engine.done
    engine.may_end.set()
    await round_
    assert mounts.left == mounts.mounted


@pytest.mark.parametrize(
    "trouble", [None, StoreUnavailableError("full"), RuntimeError("a fault")], ids=["none", "known", "fault"]
)
async def test_an_engine_is_tended_before_it_is_closed_and_closed_whatever_comes_of_it(
    trouble: Exception | None,
) -> None:
    engine = HoldingEngine(trouble)
    await mounted_module._retire(Mounts(engine).mounted[0])
    assert engine.done == ["tend", "close"]


async def test_a_slow_engine_does_not_hold_up_the_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounted_module, "_TEND_PATIENCE", 0.0)
    engine = HoldingEngine(slow=True)
    await mounted_module._retire(Mounts(engine).mounted[0])
    assert engine.done == ["tend", "close"]
