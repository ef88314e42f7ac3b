"""The couriers of all webhooks, in the housekeeper process: one task each, so that a slow receiver delays only its own.

What operators change is followed within a blink; at seal every courier stops, and its keys are forgotten.
"""

import asyncio
from collections.abc import Callable

import structlog

from appliance.logging import log_internal_error
from appliance.pipeline.lifecycle import Lifecycle
from appliance.webhooks.courier import Courier
from appliance.webhooks.store import FollowedWebhooks, WebhookStore
from appliance.webhooks.webhook import Webhook
from core.clock import Clock
from core.errors import MimirError
from core.protocols import CoreStorage

log = structlog.get_logger("mimir.webhooks")

_LOOK = 0.25  # seconds between two looks at memory while there is no webhook
_LOOK_BUSY = 0.05
_ASK = 1.0  # seconds between two questions to the log: other nodes commit, too, and nothing tells of that
_PAUSE = 2.0  # after trouble with the store


class _Running:
    """A courier at work."""

    __slots__ = ("courier", "task", "webhook")

    def __init__(self, webhook: Webhook, courier: Courier) -> None:
        self.webhook = webhook
        self.courier = courier
        self.task = asyncio.get_running_loop().create_task(courier.run())

    async def stop(self) -> None:
        """Cancel what is under way, and save what is done."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.courier.stop()


class WebhookDelivery:
    """`run` until cancelled."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        storage: CoreStorage,
        clock: Clock,
        *,
        sync: Callable[[], object],
        version: str,
    ) -> None:
        self._lifecycle = lifecycle
        self._storage = storage
        self._clock = clock
        self._sync = sync
        self._version = version
        self._store = WebhookStore(storage, clock)
        self._webhooks = FollowedWebhooks(storage)
        self._running: dict[str, _Running] = {}
        self._heard = -1
        self._ask_at = 0.0

    async def run(self) -> None:
        """Until cancelled. An error is logged and the work tried again."""
        try:
            while True:
                pause = await self._look()
                await asyncio.sleep(pause)
        finally:
            await self._stop_all()

    async def _look(self) -> float:
        """Seconds to the next look."""
        try:
            if not (self._lifecycle.ready and self._lifecycle.is_settled()):
                await self._stop_all()
                self._webhooks.forget()
                return _LOOK
            self._sync()
            await self._webhooks.refresh()
            await self._follow()
            await self._ring()
        except MimirError as exc:
            log.warning("webhooks wait", reason=exc.sentence)
            return _PAUSE
        except Exception as exc:  # noqa: BLE001 - the outermost frame of a task, which must not end
            log_internal_error(log, exc)
            return _PAUSE
        return _LOOK_BUSY if self._running else _LOOK

    async def _follow(self) -> None:
        """Stop what was changed or deleted, start what is new."""
        wanted = {name: webhook for name, webhook in self._webhooks.value.items() if webhook.enabled}
        stale = [name for name, running in self._running.items() if wanted.get(name) != running.webhook]
        await self._stop(stale)
        for name in wanted.keys() - self._running.keys():
            self._running[name] = _Running(wanted[name], self._courier(wanted[name]))

    def _courier(self, webhook: Webhook) -> Courier:
        from appliance.processes.spawned import import_aiohttp_without_authorities

        import_aiohttp_without_authorities()  # not at the top: without webhooks this process does without
        from appliance.webhooks.sender import Sender

        sender = Sender(webhook, self._clock, version=self._version)
        return Courier(webhook, self._storage, self._store, sender, self._clock)

    async def _ring(self) -> None:
        """Wake the couriers that are behind, when a commit here was heard of, and otherwise every second."""
        now = asyncio.get_running_loop().time()
        if not self._running or (self._storage.events_heard == self._heard and now < self._ask_at):
            return
        heard = self._storage.events_heard
        _, newest = await self._storage.event_bounds()
        self._heard, self._ask_at = heard, now + _ASK
        for running in self._running.values():
            if running.courier.position() < newest:
                running.courier.wake()

    async def _stop_all(self) -> None:
        await self._stop(list(self._running))

    async def _stop(self, names: list[str]) -> None:
        stopped = [self._running.pop(name) for name in names]
        await asyncio.gather(*(running.stop() for running in stopped))
