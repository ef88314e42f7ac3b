"""Engines' measures stand among the metrics, and a scrape costs the store little."""

from collections.abc import Sequence
from typing import Any

import pytest

from appliance.measured_engines import KEPT, MeasuredEngines
from appliance.metrics import Sample
from appliance.mount_table import MountEntry
from appliance.pipeline.mounted import Mounted
from core.engine import Measure
from core.errors import StoreUnavailableError


class Counting:
    """Measures how often it was asked."""

    routes = ()

    def __init__(self, trouble: Exception | None = None) -> None:
        self.asked = 0
        self.trouble = trouble

    async def measures(self) -> Sequence[Measure]:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        return [Measure(name="things", text="Things.", value=self.asked, labels={"kind": "a"})]

    async def close(self) -> None:
        pass


class Plain:
    """Measures nothing."""

    routes = ()

    async def close(self) -> None:
        pass


class Mounts:
    def __init__(self, *engines: Any) -> None:
        self.mounted = [
            Mounted(MountEntry(uuid=str(number), accessor="", type="pki", path=f"{number}/"), engine)
            for number, engine in enumerate(engines)
        ]

    def in_service(self) -> list[Mounted]:
        return self.mounted

    async def leave(self, mounted: Mounted) -> None:
        raise AssertionError(mounted)


async def test_each_mount_is_a_sample_of_one_gauge() -> None:
    [family] = await MeasuredEngines(Mounts(Counting(), Plain(), Counting())).families()
    assert (family.name, family.kind, family.text) == ("mimir_things", "gauge", "Things.")
    assert family.samples == (
        Sample("mimir_things", 1, (("mount", "0/"), ("kind", "a"))),
        Sample("mimir_things", 1, (("mount", "2/"), ("kind", "a"))),
    )


async def test_a_second_scrape_soon_after_asks_no_engine() -> None:
    engine, now = Counting(), [0.0]
    measured = MeasuredEngines(Mounts(engine), monotonic=lambda: now[0])
    for now[0] in (0, KEPT - 1, KEPT + 1):
        await measured.families()
    assert engine.asked == 2


@pytest.mark.parametrize("trouble", [StoreUnavailableError("full"), RuntimeError("a fault")], ids=["known", "fault"])
async def test_an_engine_that_fails_leaves_the_others_their_numbers(trouble: Exception) -> None:
    mounts = Mounts(Counting(trouble), Counting())
    [family] = await MeasuredEngines(mounts).families()
    assert [sample.labels[0] for sample in family.samples] == [("mount", "1/")]
    assert [mounted.users for mounted in mounts.mounted] == [0, 0]
