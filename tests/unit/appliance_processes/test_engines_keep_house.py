"""The housekeeper calls every engine that keeps house once a minute, each for itself, and only while unsealed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
import structlog

from appliance import housekeeping, kept_engines
from appliance.housekeeping import Housekeeping
from appliance.kept_engines import PERIOD, KeptEngines
from appliance.mount_table import MountEntry
from appliance.pipeline.mounted import Mounted
from core.errors import HsmGoneError


class Time:
    """The monotonic clock, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class KeepingEngine:
    """Counts its calls; fails or waits when told to."""

    routes = ()

    def __init__(self, trouble: Exception | None = None, *, slow: bool = False) -> None:
        self.calls = 0
        self.trouble = trouble
        self.closed = False
        self.may_end = asyncio.Event()
        if not slow:
            self.may_end.set()

    async def housekeep(self) -> None:
        self.calls += 1
        await self.may_end.wait()
        if self.trouble is not None:
            raise self.trouble

    async def close(self) -> None:
        self.closed = True


class ShelfEngine:
    """Keeps no house."""

    routes = ()

    async def close(self) -> None: ...


class Mounts:
    """Engines in service, by name."""

    def __init__(self, **engines: Any) -> None:
        self.mounted = {name: self._mounted(name, engine) for name, engine in engines.items()}

    @staticmethod
    def _mounted(name: str, engine: Any) -> Mounted:
        return Mounted(MountEntry(uuid=name, accessor=name, type="keeping", path=f"{name}/"), engine)

    def in_service(self) -> list[Mounted]:
        return list(self.mounted.values())

    async def leave(self, mounted: Mounted) -> None:
        assert mounted.engine is not None
        await mounted.engine.close()


class Seal:
    ready = True
    settled = True
    looks = 0

    def is_settled(self) -> bool:
        self.looks += 1
        return self.settled


class NoTokens:
    async def revoke_expired(self, _limit: int) -> int:
        return 0


@pytest.fixture(autouse=True)
def short_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    for pause in ("_PERIOD", "_LOOK"):
        monkeypatch.setattr(housekeeping, pause, 0.001)


@pytest.fixture
def time() -> Time:
    return Time()


@contextlib.asynccontextmanager
async def kept(mounts: Mounts, time: Time, seal: Seal | None = None, **more: Any) -> AsyncIterator[None]:
    """The housekeeper at work."""
    engines = KeptEngines(mounts, monotonic=time)
    keeping = Housekeeping(
        cast("Any", seal or Seal()), cast("Any", NoTokens()), sync=lambda: None, engines=engines, **more
    )
    task = asyncio.create_task(keeping.run())
    try:
        async with asyncio.timeout(5):
            yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(reached: Callable[[], bool]) -> None:
    while not reached():  # noqa: ASYNC110 - of what is tested, nothing can be told to set an event
        await asyncio.sleep(0.001)


async def several_looks(seal: Seal) -> None:
    seen = seal.looks
    await until(lambda: seal.looks > seen + 6)


async def test_each_is_called_once_a_minute(time: Time) -> None:
    engine, seal = KeepingEngine(), Seal()
    async with kept(Mounts(a=engine, b=ShelfEngine()), time, seal):
        await until(lambda: engine.calls == 1)
        await several_looks(seal)
        assert engine.calls == 1
        time.now += PERIOD
        await until(lambda: engine.calls == 2)


async def test_a_slow_engine_delays_no_other_and_is_not_called_twice_at_once(time: Time) -> None:
    slow, quick, seal = KeepingEngine(slow=True), KeepingEngine(), Seal()
    async with kept(Mounts(a=slow, b=quick), time, seal):
        for calls in range(1, 4):
            await until(lambda calls=calls: quick.calls == calls)
            time.now += PERIOD
        assert slow.calls == 1
        slow.may_end.set()
        await several_looks(seal)
        assert slow.calls == 1  # a minute from its end
        time.now += PERIOD
        await until(lambda: slow.calls == 2)


@pytest.mark.parametrize("trouble", [HsmGoneError("the HSM is gone"), RuntimeError("password: hunter2")])
async def test_an_engine_that_fails_is_logged_without_secrets_and_called_again(time: Time, trouble: Exception) -> None:
    failing, good = KeepingEngine(trouble), KeepingEngine()
    with structlog.testing.capture_logs() as logged:
        async with kept(Mounts(failing=failing, good=good), time):
            await until(lambda: failing.calls == 1)
            time.now += PERIOD
            await until(lambda: failing.calls == 2 and good.calls == 2)
    assert {line["mount"] for line in logged} == {"failing/"}
    assert "hunter2" not in repr(logged)


async def test_none_is_called_while_sealed(time: Time) -> None:
    engine, seal = KeepingEngine(), Seal()
    seal.settled = False
    async with kept(Mounts(a=engine), time, seal):
        await several_looks(seal)
        assert engine.calls == 0
        seal.settled = True
        await until(lambda: engine.calls == 1)


async def test_mounts_are_followed_before_each_look(time: Time) -> None:
    mounts, late = Mounts(), KeepingEngine()

    async def follow() -> None:
        mounts.mounted.setdefault("late", Mounts._mounted("late", late))

    async with kept(mounts, time, follow=follow):
        await until(lambda: late.calls == 1)


async def test_an_engine_is_not_closed_while_it_keeps_house(time: Time) -> None:
    engine, mounts = KeepingEngine(slow=True), Mounts()
    mounted = mounts.mounted["a"] = Mounts._mounted("a", engine)
    async with kept(mounts, time):
        await until(lambda: engine.calls == 1)
        mounts.mounted.clear()
        mounted.retired = True
        assert mounted.users == 1
        engine.may_end.set()
        await until(lambda: engine.closed)


async def test_thousands_of_mounts_are_spread_over_looks(time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_engines, "_STARTS", 10)
    engines = {f"m{i}": KeepingEngine(slow=True) for i in range(25)}
    mounts = Mounts(**engines)
    keeping = KeptEngines(mounts, monotonic=time)
    async with asyncio.TaskGroup() as group:
        work = keeping.work_in(group)
        for started in (10, 20, 25, 25):
            await work()
            await asyncio.sleep(0)
            assert sum(engine.calls for engine in engines.values()) == started
        for engine in engines.values():
            engine.may_end.set()


async def test_ending_cancels_a_call_under_way(time: Time) -> None:
    engine = KeepingEngine(slow=True)
    mounts = Mounts(a=engine)
    async with kept(mounts, time):
        await until(lambda: engine.calls == 1)
    assert mounts.mounted["a"].users == 0


class HastyEngine(KeepingEngine):
    """Has work that does not wait when told so."""

    def __init__(self, trouble: Exception | None = None) -> None:
        super().__init__(trouble)
        self.due = False
        self.asking: Exception | None = None

    def is_due(self) -> bool:
        if self.asking is not None:
            raise self.asking
        return self.due

    async def housekeep(self) -> None:
        self.due = self.trouble is not None
        await super().housekeep()


async def test_a_hasty_engine_is_called_as_soon_as_it_has_work(time: Time) -> None:
    engine, seal = HastyEngine(), Seal()
    async with kept(Mounts(a=engine), time, seal):
        for calls in (1, 2, 3):
            await until(lambda calls=calls: engine.calls == calls)
            await several_looks(seal)
            assert engine.calls == calls
            engine.due = True


async def test_a_hasty_engine_that_fails_is_called_again_soon_and_then_less_often(time: Time) -> None:
    engine, seal = HastyEngine(HsmGoneError("the HSM is gone")), Seal()
    async with kept(Mounts(a=engine), time, seal):
        for calls, pause in ((1, 5), (2, 10), (3, 20)):
            await until(lambda calls=calls: engine.calls == calls)
            time.now += pause - 1
            await several_looks(seal)
            assert engine.calls == calls
            time.now += 1
        engine.trouble = None
        await until(lambda: engine.calls == 4)
        engine.due = True
        await until(lambda: engine.calls == 5)


async def test_an_engine_that_cannot_say_whether_it_has_work_disturbs_no_other(time: Time) -> None:
    broken, good = HastyEngine(), HastyEngine()
    broken.asking = RuntimeError("password: hunter2")
    with structlog.testing.capture_logs() as logged:
        async with kept(Mounts(broken=broken, good=good), time):
            await until(lambda: good.calls == 1)
            good.due = True
            await until(lambda: good.calls == 2)
            time.now += PERIOD
            await until(lambda: broken.calls == 2)
    assert {line["mount"] for line in logged} == {"broken/"}
    assert "hunter2" not in repr(logged)
