"""Engines that keep house are called about once a minute, each for itself; a hasty one as soon as it has work."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from appliance.logging import log_internal_error
from appliance.pipeline.mounted import Mounted
from core.engine import HastyEngine, KeptEngine
from core.errors import MimirError

log = structlog.get_logger("mimir.housekeeping")

PERIOD = 60.0  # seconds between two calls of one engine
_RETRY = 5.0  # seconds until hasty work that failed is tried again
_STARTS = 50  # at one look: so thousands of mounts spread over the minute, and do not all begin with the process


class MountsInService(Protocol):
    """The mounts of this process, kept in step with the table by somebody else."""

    def in_service(self) -> Sequence[Mounted]:
        """Those that have an engine and are not on their way out."""
        ...

    async def leave(self, mounted: Mounted) -> None:
        """Close a retired engine behind its last user."""
        ...


class _Turn:
    """When a mounted engine is called next, and whether it is at it."""

    __slots__ = ("at_work", "due", "failures")

    def __init__(self) -> None:
        self.due = 0.0  # by the monotonic clock
        self.at_work = False
        self.failures = 0  # calls in a row: then it waits until it is due, however hasty it is


class KeptEngines:
    """Calls `housekeep` of every engine that has it. A slow one delays no other, and is not called twice at once."""

    def __init__(self, mounts: MountsInService, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._mounts = mounts
        self._monotonic = monotonic
        self._turns: dict[Mounted, _Turn | None] = {}  # None: an engine that keeps no house

    def work_in(self, group: asyncio.TaskGroup) -> Callable[[], Awaitable[bool]]:
        """A work for the housekeeper: starts the calls that are due, as tasks of `group`, and waits for none."""

        async def work() -> bool:
            for mounted, turn in self._due()[:_STARTS]:
                turn.at_work = True
                group.create_task(self._keep(mounted, turn))
            return False

        return work

    def _due(self) -> list[tuple[Mounted, _Turn]]:
        """Whose turn it is, who waits longest first."""
        present = self._mounts.in_service()
        self._turns = {mounted: self._turn(mounted) for mounted in present}
        now = self._monotonic()
        found = [
            (mounted, turn)
            for mounted, turn in self._turns.items()
            if turn is not None and not turn.at_work and (turn.due <= now or _is_hasty(mounted, turn))
        ]
        return sorted(found, key=lambda row: row[1].due)

    def _turn(self, mounted: Mounted) -> _Turn | None:
        if mounted in self._turns:
            return self._turns[mounted]
        engine: object = mounted.engine
        return _Turn() if isinstance(engine, KeptEngine) else None

    async def _keep(self, mounted: Mounted, turn: _Turn) -> None:
        """One call, which ends in no error: the group goes on."""
        if mounted.retired:
            return
        mounted.users += 1  # as a request would: the engine is not closed under it
        try:
            turn.failures = 0 if await _housekeep(mounted) else turn.failures + 1
        finally:
            turn.due = self._monotonic() + _pause(mounted, turn)
            turn.at_work = False
            if mounted.left():
                await self._mounts.leave(mounted)


def _pause(mounted: Mounted, turn: _Turn) -> float:
    """Seconds; hasty work that failed is tried again soon, and then less and less often."""
    engine: object = mounted.engine
    if not turn.failures or not isinstance(engine, HastyEngine):
        return PERIOD
    return float(min(PERIOD, _RETRY * 2 ** min(turn.failures - 1, 10)))


def _is_hasty(mounted: Mounted, turn: _Turn) -> bool:
    """Whether the engine has work that should not wait; one that cannot even say so waits."""
    engine: object = mounted.engine
    if turn.failures or not isinstance(engine, HastyEngine):
        return False
    try:
        return engine.is_due()
    except Exception as exc:  # noqa: BLE001 - the engine may be anybody's; the others must go on
        turn.failures += 1
        log_internal_error(log.bind(mount=mounted.entry.full_path, type=mounted.entry.type), exc)
        return False


async def _housekeep(mounted: Mounted) -> bool:
    """Whether it went well."""
    engine: object = mounted.engine
    if not isinstance(engine, KeptEngine):
        return True
    entry = mounted.entry
    try:
        await engine.housekeep()
    except MimirError as exc:
        log.warning("an engine's housekeeping waits", mount=entry.full_path, type=entry.type, reason=exc.sentence)
        return False
    except Exception as exc:  # noqa: BLE001 - the engine may be anybody's; the others must go on
        log_internal_error(log.bind(mount=entry.full_path, type=entry.type), exc)
        return False
    return True
