"""What engines measure, asked at a scrape and kept for a moment: scrapes of many do not become work for the store."""

import time
from collections.abc import Callable, Sequence

import structlog

from appliance.kept_engines import MountsInService
from appliance.logging import log_internal_error
from appliance.metrics import Family, Sample
from appliance.pipeline.mounted import Mounted
from core.engine import Measure, MeasuredEngine
from core.errors import MimirError

log = structlog.get_logger("mimir.measured_engines")

KEPT = 15.0  # seconds

_Found = tuple[Mounted, Measure]


class MeasuredEngines:
    """Asks every engine that has `measures`, one after the other. While sealed there are none."""

    def __init__(self, mounts: MountsInService, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._mounts = mounts
        self._monotonic = monotonic
        self._asked: dict[Mounted, tuple[float, Sequence[Measure]]] = {}

    async def families(self) -> list[Family]:
        """One gauge for each name, a sample for each mount and set of labels. An engine that fails is left out."""
        present = [mounted for mounted in self._mounts.in_service() if _is_measured(mounted)]
        self._asked = {mounted: self._asked[mounted] for mounted in present if mounted in self._asked}
        found = [(mounted, measure) for mounted in present for measure in await self._measures(mounted)]
        names = dict.fromkeys(measure.name for _, measure in found)
        return [_family(name, [row for row in found if row[1].name == name]) for name in names]

    async def _measures(self, mounted: Mounted) -> Sequence[Measure]:
        asked_at, kept = self._asked.get(mounted, (float("-inf"), ()))
        if self._monotonic() - asked_at < KEPT:
            return kept
        measures = await self._ask(mounted)
        self._asked[mounted] = (self._monotonic(), measures)
        return measures

    async def _ask(self, mounted: Mounted) -> Sequence[Measure]:
        engine: object = mounted.engine
        mounted.users += 1  # as a request would: the engine is not closed under it
        try:
            return await engine.measures() if isinstance(engine, MeasuredEngine) else ()
        except MimirError as exc:
            log.warning("an engine could not be measured", mount=mounted.entry.full_path, reason=exc.sentence)
        except Exception as exc:  # noqa: BLE001 - the engine may be anybody's; the other numbers are wanted
            log_internal_error(log.bind(mount=mounted.entry.full_path, type=mounted.entry.type), exc)
        finally:
            if mounted.left():
                await self._mounts.leave(mounted)
        return ()


def _is_measured(mounted: Mounted) -> bool:
    engine: object = mounted.engine
    return isinstance(engine, MeasuredEngine) and not mounted.retired


def _family(name: str, found: Sequence[_Found]) -> Family:
    samples = tuple(
        Sample(f"mimir_{name}", measure.value, (("mount", mounted.entry.full_path), *sorted(measure.labels.items())))
        for mounted, measure in found
    )
    return Family(f"mimir_{name}", "gauge", found[0][1].text, samples)
