"""A machine with workers on one store, and ways to edit that store behind their back."""

from pathlib import Path

from sqlalchemy import text

from barrier.changes import ChangeRing
from barrier.database import Database
from barrier.initialize import InitRequest, InitResult
from barrier.seal import Barrier
from core.protocols import CoreTransaction
from tests.support.clock import SettableClock
from tests.unit.barrier.software_hsm import SoftwareHsm

QUORUM = InitRequest(recovery_shares=5, recovery_threshold=3)


async def no_first_writes(_transaction: CoreTransaction) -> None:
    """An initialisation of nothing but the seal."""


class Node:
    """One machine: a ring, a token, and workers that share them, all in this process."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self.ring_path = directory / "ring"
        ChangeRing.create(self.ring_path).close()
        self.clock = SettableClock(1_800_000_000.0)
        self._open: list[tuple[Barrier, ChangeRing]] = []

    async def worker(self, hsm: SoftwareHsm | None = None, *, patience: float = 5.0) -> Barrier:
        """Another worker, with its own mapping of the ring and its own session on the token."""
        ring = ChangeRing.open(self.ring_path)
        barrier = await Barrier.open(self.url, ring, hsm or SoftwareHsm(), clock=self.clock, patience=patience)
        self._open.append((barrier, ring))
        return barrier

    def restart(self) -> None:
        """As the supervisor does at start: a new page."""
        ChangeRing.create(self.ring_path).close()

    async def close(self) -> None:
        for barrier, ring in self._open:
            await barrier.close()
            ring.close()


async def initialize(barrier: Barrier, request: InitRequest = QUORUM) -> InitResult:
    """Initialise with no first writes."""
    return await barrier.initialize(request, no_first_writes)


async def execute(url: str, statement: str) -> None:
    """Edit the database behind the barrier's back."""
    database = Database(url)
    try:
        await database.write(lambda connection: connection.execute(text(statement.replace(":", r"\:"))))
    finally:
        await database.close()
