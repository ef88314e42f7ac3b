"""What is done beside requests, once for the node: the housekeeper process runs this and serves nothing."""

import asyncio
from collections.abc import Callable

import structlog

from appliance.access.tokens import TokenStore
from appliance.logging import code_path
from appliance.pipeline.lifecycle import Lifecycle
from core.errors import MimirError

log = structlog.get_logger("mimir.housekeeping")

_PERIOD = 5.0  # seconds; an expired token is refused at once anyway, this only removes its row
_BATCH = 200
_LOOK = 0.25  # seconds


class Housekeeping:
    """Removes expired tokens with their trees, a batch at a time, while the appliance is unsealed."""

    def __init__(self, lifecycle: Lifecycle, tokens: TokenStore, *, sync: Callable[[], object]) -> None:
        self._lifecycle = lifecycle
        self._tokens = tokens
        self._sync = sync

    async def run(self) -> None:
        """Until cancelled. An error is logged and the work tried again."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                if self._lifecycle.ready and self._lifecycle.is_settled() and loop.time() >= due:
                    self._sync()
                    full = await self._tokens.revoke_expired(_BATCH) == _BATCH
                    due = loop.time() + (0 if full else _PERIOD)
            except MimirError as exc:
                log.warning("housekeeping waits", reason=exc.sentence)
                due = loop.time() + _PERIOD
            except Exception as exc:  # noqa: BLE001 - the outermost frame of a task, which must not end
                log.error("internal error", exception=type(exc).__qualname__, where=code_path(exc))  # noqa: TRY400
                due = loop.time() + _PERIOD
            await asyncio.sleep(_LOOK)
