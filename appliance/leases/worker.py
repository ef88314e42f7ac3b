"""Works off jobs on leases, a batch at a time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple, Protocol

from appliance.access.tokens import TokenEntry
from appliance.leases.entries import KIND, LeaseEntry, LeaseState, decode_lease, marked
from appliance.leases.jobs import CLAIM, TOKENS, JobKind, JobTable, LeaseJob
from appliance.leases.markers import MarkerTable
from appliance.leases.revocation import Revoker
from core.clock import Clock
from core.protocols import CoreStorage, CoreTransaction

BATCH = 192  # leases of one transaction, which deletes them in few statements
_BEAT = CLAIM / 3  # seconds between two signs of life
_LOOKED = 2_000  # leases that are looked at for one batch of those that are looked for
_LOOK = 0.1  # seconds between two looks at a job that another process works on


class _Page(NamedTuple):
    """Leases of a job that are to be revoked, and how far it has looked for them."""

    entries: list[LeaseEntry]
    cursor: str
    rows: int  # that were looked at
    is_full: bool  # there may be more


class LeasedTokens(Protocol):
    """The token store, as far as tokens are leases of the login that made them."""

    async def find_accessor(self, accessor: str) -> TokenEntry | None:
        """The entry of a live token."""
        ...

    async def revoke(self, record_id: str) -> bool:
        """Refuse and delete it."""
        ...

    async def revoke_below(self, prefix: str, limit: int) -> int:
        """Revoke up to `limit` tokens whose record path starts with `prefix`; how many there were."""
        ...


class JobWorker:
    """Used by the request that waits for its job, and by the housekeeper for all others."""

    def __init__(
        self,
        storage: CoreStorage,
        clock: Clock,
        *,
        markers: MarkerTable,
        table: JobTable,
        revoker: Revoker,
        tokens: LeasedTokens,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._markers = markers
        self._table = table
        self._revoker = revoker
        self._tokens = tokens
        self._steps: dict[JobKind, Callable[[LeaseJob], Awaitable[bool]]] = {
            JobKind.LEASES: self._revoke_leases,
            JobKind.TOKENS: self._revoke_tokens,
            JobKind.TIDY: self._tidy,
        }

    async def work(self) -> bool:
        """One batch of every job that nobody else works on; whether there was any."""
        busy = False
        for marker in (await self._markers.current()).active:
            busy |= await self._step(marker.job)
        return busy

    async def finish(self, job_id: str) -> LeaseJob | None:
        """Work until the job is done, by whomever; the job then."""
        while True:
            if await self._step(job_id):
                await asyncio.sleep(0)
                continue
            job = await self._table.find(job_id)
            if job is None or job.finished:
                return job
            await asyncio.sleep(_LOOK)

    async def _step(self, job_id: str) -> bool:
        """One batch; False when there is nothing to do for this process."""
        job = await self._table.claim(job_id)
        if job is None:
            return False
        async with self._held(job_id):
            more = await self._steps[job.kind](job)
        if not more:
            await self._table.finish(job_id)
        return True

    @contextlib.asynccontextmanager
    async def _held(self, job_id: str) -> AsyncIterator[None]:
        """Keep the claim while an engine is slow."""

        async def beat() -> None:
            while True:
                await asyncio.sleep(_BEAT)
                await self._table.hold(job_id)

        beating = asyncio.create_task(beat())
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _revoke_leases(self, job: LeaseJob) -> bool:
        page = await self._page(job)
        if not page.rows:
            return False
        outcomes = await self._revoker.attempt(page.entries)
        failed = self._revoker.tell(outcomes, force=job.force)

        async def body(txn: CoreTransaction) -> None:
            await self._revoker.settle(txn, outcomes, force=job.force)
            done = len(outcomes) - failed
            await self._table.move(txn, job, done=done, failed=failed, cursor=page.cursor, scanned=page.rows)

        await self._storage.transact(body)
        return page.is_full

    async def _page(self, job: LeaseJob) -> _Page:
        """The leases that come next. Who looks for few of them looks on until a batch of these has come together."""
        entries: list[LeaseEntry] = []
        cursor, rows = job.cursor, 0
        while True:
            page = await self._storage.records_below(KIND, job.record_prefix, after=cursor, limit=BATCH)
            entries += [entry for entry in map(decode_lease, page) if job.is_about(entry)]
            cursor, rows = page[-1].path if page else cursor, rows + len(page)
            is_full = len(page) == BATCH
            if not is_full or not job.is_selective or len(entries) >= BATCH or rows >= _LOOKED:
                return _Page(entries, cursor, rows, is_full)

    async def _revoke_tokens(self, job: LeaseJob) -> bool:
        revoked = await self._tokens.revoke_below(job.record_prefix, BATCH)

        async def body(txn: CoreTransaction) -> None:
            await self._table.move(txn, job, done=revoked, failed=0, cursor="")

        await self._storage.transact(body)
        return revoked > 0

    async def _tidy(self, job: LeaseJob) -> bool:
        """Mark leases whose token is gone; what marks them usually is the deletion of the token itself."""
        now = int(self._clock.now())

        async def body(txn: CoreTransaction) -> bool:
            page = await txn.records_below(KIND, job.record_prefix, after=job.cursor, limit=BATCH)
            orphans = [record for record in page if await self._is_orphan(txn, decode_lease(record))]
            for record in orphans:
                await txn.put_record(KIND, marked(decode_lease(record), due=now).record(), cas=record.revision)
            if page:
                await self._table.move(txn, job, done=len(orphans), failed=0, cursor=page[-1].path)
            return len(page) == BATCH

        return await self._storage.transact(body)

    @staticmethod
    async def _is_orphan(txn: CoreTransaction, entry: LeaseEntry) -> bool:
        hangs = entry.state is LeaseState.LIVE and entry.token
        return bool(hangs) and await txn.get_record(TOKENS, entry.token) is None
