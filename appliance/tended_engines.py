"""Engines that keep something in a worker's memory write it about twice a minute, off any request."""

import asyncio
import random

import structlog

from appliance.kept_engines import MountsInService
from appliance.logging import log_internal_error
from appliance.pipeline.mounted import Mounted
from core.engine import TendedEngine
from core.errors import MimirError

log = structlog.get_logger("mimir.tended_engines")

PERIOD = 30.0  # seconds between two rounds


class TendedEngines:
    """Calls `tend` of every engine that has it, one after the other. While sealed there are none."""

    def __init__(self, mounts: MountsInService) -> None:
        self._mounts = mounts

    async def run(self) -> None:
        """Until cancelled. The first round comes at a random moment: the workers take turns at the store."""
        await asyncio.sleep(PERIOD * random.random())  # noqa: S311 - spreads the workers, guards nothing
        while True:
            await self.tend_all()
            await asyncio.sleep(PERIOD)

    async def tend_all(self) -> None:
        """One round."""
        for mounted in self._mounts.in_service():
            engine: object = mounted.engine
            if isinstance(engine, TendedEngine) and not mounted.retired:
                await self._tend(mounted, engine)

    async def _tend(self, mounted: Mounted, engine: TendedEngine) -> None:
        """One call, which ends in no error: the round goes on."""
        mounted.users += 1  # as a request would: the engine is not closed under it
        try:
            await engine.tend()
        except MimirError as exc:
            log.warning("an engine could not write what it holds; trying again", **_names(mounted), reason=exc.sentence)
        except Exception as exc:  # noqa: BLE001 - the engine may be anybody's; the others must go on
            log_internal_error(log.bind(**_names(mounted)), exc)
        finally:
            if mounted.left():
                await self._mounts.leave(mounted)


def _names(mounted: Mounted) -> dict[str, str]:
    return {"mount": mounted.entry.full_path, "type": mounted.entry.type}
