"""Keys whose auto_rotate_period has passed are rotated by whichever process keeps house."""

import asyncio
import time
from collections.abc import Callable

import structlog

from core.clock import Clock
from core.errors import HsmGoneError, HsmRetryError, MimirError, SealedError, StoreUnavailableError
from core.protocols import StorageView
from transit.lifecycle import KeyLifecycle
from transit.schedule import Due, due_at, due_keys
from transit.store import KeyStore

log = structlog.get_logger("mimir.transit")

_BATCH = 50  # keys looked up at once
_FIRST_PAUSE = 60.0  # seconds until a key that failed is tried again, doubled each time
_LONGEST_PAUSE = 3600.0
_REMEMBERED = 10_000  # keys that failed

# nothing is wrong with the key: the next one would fail, too
_PASSING = (HsmGoneError, HsmRetryError, StoreUnavailableError, SealedError)


class DueRotations:
    """Rotates the keys of one mount that are due; a key that fails is passed over and tried again later."""

    def __init__(
        self,
        storage: StorageView,
        store: KeyStore,
        lifecycle: KeyLifecycle,
        clock: Clock,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._store = store
        self._lifecycle = lifecycle
        self._clock = clock
        self._monotonic = monotonic
        self._failed: dict[str, tuple[float, float]] = {}  # name: tried again when (monotonic), and the pause before

    async def rotate(self) -> None:
        """Rotate all that are due now, the longest due first. Without work this is one indexed list.

        Raises the OperatorError that keeps all keys from being rotated; those that are left stay due.
        """
        last: Due | None = None
        while True:
            batch = await due_keys(self._storage, now=int(self._clock.now()), limit=_BATCH, after=last)
            for due in batch:
                await self._rotate_one(due)
                await asyncio.sleep(0)
            if len(batch) < _BATCH:
                return
            last = batch[-1]

    async def _rotate_one(self, due: Due) -> None:
        if self._is_waiting(due.name):
            return
        try:
            found = await self._store.find(due.name)
            if found is None or due_at(found.keyring) != due.at:
                return  # rotated, changed or deleted since it was listed
            # of several processes that come to this, one finds the version still the latest
            await self._lifecycle.rotate(due.name, only_from=found.keyring.latest_version)
        except _PASSING:
            raise
        except MimirError as exc:
            log.warning("a key is due and was not rotated", key=due.name, reason=exc.sentence)
            self._put_off(due.name)
        else:
            self._failed.pop(due.name, None)

    def _is_waiting(self, name: str) -> bool:
        failed = self._failed.get(name)
        return failed is not None and self._monotonic() < failed[0]

    def _put_off(self, name: str) -> None:
        pause = min(2 * self._failed.pop(name, (0.0, _FIRST_PAUSE / 2))[1], _LONGEST_PAUSE)
        if len(self._failed) >= _REMEMBERED:
            del self._failed[next(iter(self._failed))]
        self._failed[name] = self._monotonic() + pause, pause
