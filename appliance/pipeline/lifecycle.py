"""Opens what needs an open barrier when it becomes unsealed in this worker, and closes it at seal."""

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from barrier.seal import SealState


class SealGate(Protocol):
    """The seal, as the request path needs it; `barrier.seal.Barrier` is one."""

    @property
    def state(self) -> SealState:
        """What this process knows."""
        ...

    @property
    def needs_refresh(self) -> bool:
        """Whether another process sealed or unsealed since the last look; no I/O."""
        ...

    async def refresh(self) -> SealState:
        """Follow what the other process did."""
        ...


class Part(Protocol):
    """Something that lives between unseal and seal."""

    async def open(self) -> None:
        """Load what it needs from the store."""
        ...

    def close(self) -> Awaitable[None] | None:
        """Write back and forget it."""
        ...


class Lifecycle:
    """The worker's own seal state: `ready` follows the gate, one step at a time."""

    def __init__(self, gate: SealGate, parts: tuple[Part, ...]) -> None:
        self._gate = gate
        self._parts = parts
        self._opened: list[Part] = []
        self._settling = asyncio.Lock()
        self.ready = False

    def is_settled(self) -> bool:
        """Whether there is nothing to do; the one check each request makes."""
        return self.ready is (self._gate.state is SealState.UNSEALED) and not self._gate.needs_refresh

    async def settle(self) -> None:
        """Follow the gate. When a part fails to open, all are closed again and its error is raised."""
        async with self._settling:
            if self._gate.needs_refresh:
                await self._gate.refresh()
            unsealed = self._gate.state is SealState.UNSEALED
            if unsealed and not self.ready:
                await self._open()
            elif self.ready and not unsealed:
                await self._close()

    async def close(self) -> None:
        """Close the parts while the barrier is still open: before sealing, and when the process stops."""
        async with self._settling:
            await self._close()

    async def _open(self) -> None:
        try:
            for part in self._parts:
                self._opened.append(part)
                await part.open()
        except BaseException:
            await self._close()
            raise
        self.ready = True

    async def _close(self) -> None:
        """In reverse order; every part gets its turn, and the first error is raised at the end."""
        self.ready = False
        error: BaseException | None = None
        while self._opened:
            try:
                closing = self._opened.pop().close()
                if closing is not None:
                    await closing
            except Exception as exc:  # noqa: BLE001 - the other parts must be closed, too; raised below
                error = error or exc
        if error is not None:
            raise error
