"""What is done beside requests, once for the node: the housekeeper process runs this and serves nothing."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from appliance.access.tokens import TokenStore
from appliance.kept_engines import KeptEngines
from appliance.leases.store import LeaseStore
from appliance.logging import log_internal_error
from appliance.metrics import Counter, Metrics
from appliance.pipeline.lifecycle import Lifecycle
from core.errors import MimirError

log = structlog.get_logger("mimir.housekeeping")

_PERIOD = 1.0  # seconds between two looks while nothing is due
_TIDY_PERIOD = 60.0  # seconds
_BATCH = 200
_LANES = 4  # batches of leases under way at once: some wait for their engines, some for the disk
_LOOK = 0.25  # seconds between two looks at the seal

Work = Callable[[], Awaitable[bool]]  # one batch; whether there is more to do at once


class Housekeeping:
    """Removes expired tokens with their trees, revokes expired leases, works off jobs, and has engines keep house.

    All of it only while unsealed.

    Each kind of work goes on by itself, a batch at a time: a slow engine delays leases, not tokens. `sync` drops the
    cached entries that any process changed; `follow` brings the mounted engines in step. `tidy` is done every minute.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        tokens: TokenStore,
        *,
        sync: Callable[[], object],
        leases: LeaseStore | None = None,
        follow: Callable[[], Awaitable[None]] | None = None,
        engines: KeptEngines | None = None,
        tidy: Callable[[], Awaitable[None]] | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._lifecycle = lifecycle
        self._sync = sync
        self._follow = follow
        self._engines = engines
        self._works: list[Work] = [
            _until_empty(tokens.revoke_expired, _BATCH, _counted(metrics, Counter.TOKENS_EXPIRED))
        ]
        if leases is not None:
            expire = _until_empty(leases.expire_due, _BATCH, _counted(metrics, Counter.LEASES_REVOKED))
            self._works += [*[expire] * _LANES, leases.worker.work]
        if tidy is not None:
            self._works.append(_now_and_then(tidy))

    async def run(self) -> None:
        """Until cancelled. An error is logged and the work tried again."""
        async with asyncio.TaskGroup() as group:
            for work in self._works:
                group.create_task(self._keep(work))
            if self._engines is not None:
                group.create_task(self._keep(self._engines.work_in(group)))

    async def _keep(self, work: Work) -> None:
        pause = 0.0
        while True:
            await asyncio.sleep(pause)  # also when there is more to do: other work gets its turn
            pause = await self._once(work)

    async def _once(self, work: Work) -> float:
        """One batch, if the appliance is open; seconds to wait before the next one."""
        if not (self._lifecycle.ready and self._lifecycle.is_settled()):
            return _LOOK
        try:
            self._sync()
            if self._follow is not None:
                await self._follow()
            return 0 if await work() else _PERIOD
        except MimirError as exc:
            log.warning("housekeeping waits", reason=exc.sentence)
        except Exception as exc:  # noqa: BLE001 - the outermost frame of a task, which must not end
            log_internal_error(log, exc)
        return 5 * _PERIOD


def _until_empty(clear: Callable[[int], Awaitable[int]], limit: int, count: Callable[[int], None]) -> Work:
    """A batch that is not empty may have been the last one; the next look is cheap and tells."""

    async def work() -> bool:
        cleared = await clear(limit)
        count(cleared)
        return cleared > 0

    return work


def _counted(metrics: Metrics | None, counter: Counter) -> Callable[[int], None]:
    return lambda number: metrics.count(counter, number) if metrics is not None else None


def _now_and_then(tidy: Callable[[], Awaitable[None]]) -> Work:
    """At most once a minute."""
    due = 0.0

    async def work() -> bool:
        nonlocal due
        now = asyncio.get_running_loop().time()
        if now >= due:
            due = now + _TIDY_PERIOD
            await tidy()
        return False

    return work
