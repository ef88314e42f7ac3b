"""Work on many leases as a stored job: refused at once by one write, then worked off in batches by any process.

Each batch is one transaction that deletes rows and moves the job's cursor. A process that works on a job holds a short
claim on it; when it dies, the housekeeper goes on behind the cursor.
"""

from enum import Enum

import msgspec

from appliance.leases.entries import KIND, LeaseEntry, record_path
from appliance.leases.markers import MarkerTable
from appliance.transactions import transact_again
from core.clock import Clock
from core.ids import new_uuid
from core.protocols import CoreStorage, CoreTransaction, Entry

ROWS = "core/lease-jobs/"
TOKENS = "token"  # the kind of the token store's records
CLAIM = 15  # seconds
_KEPT = 86400  # seconds for which a finished job can be read


class JobKind(Enum):
    """What is done."""

    LEASES = "leases"  # revoke the leases below a prefix
    TOKENS = "tokens"  # revoke the tokens that logins below a prefix made
    TIDY = "tidy"  # revoke the leases whose token is gone


class LeaseJob(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job, as stored. Times are epoch seconds."""

    job_id: str
    kind: JobKind
    namespace: str  # id
    prefix: str  # without the namespace: "database/creds/"
    generation: int  # leases of a lesser one are revoked
    started: int
    by: str = ""  # display name of the token that asked for it
    force: bool = False
    entity: str = ""  # id: of the leases below the prefix only those that its tokens asked for
    target: str = ""  # only those that open this, as their engine names it
    total: int = 0  # leases there were at the start, below the prefix
    scanned: int = 0  # of these, how many were looked at, for entity or target
    done: int = 0
    failed: int = 0  # marked, and tried again by the housekeeper; with force forgotten
    cursor: str = ""  # the last record path (tidy: record id) that is dealt with
    finished: int = 0
    owner: str = ""  # the process that works on it
    claimed_until: int = 0

    @property
    def is_selective(self) -> bool:
        """Whether it leaves leases alone that are below its prefix."""
        return bool(self.entity or self.target)

    def is_about(self, entry: LeaseEntry) -> bool:
        """Whether the lease, which is below the prefix, is to be revoked."""
        if entry.generation >= self.generation:
            return False
        return (not self.entity or self.entity == entry.entity) and (not self.target or self.target == entry.target)

    @property
    def record_prefix(self) -> str:
        """As the paths of records begin."""
        return record_path(self.namespace, self.prefix)


class JobTable:
    """Starts, claims, moves and ends jobs."""

    def __init__(self, storage: CoreStorage, clock: Clock, markers: MarkerTable) -> None:
        self._storage = storage
        self._clock = clock
        self._markers = markers
        self.owner = new_uuid()  # of this process

    async def start(
        self,
        kind: JobKind,
        *,
        namespace: str,
        prefix: str,
        by: str,
        force: bool = False,
        claimed: bool = False,
        entity: str = "",
        target: str = "",
    ) -> LeaseJob:
        """Store a job; when this returns, every worker refuses the leases it is going to revoke."""
        now = int(self._clock.now())
        whole = record_path(namespace, prefix)
        total = await self._storage.count_records(TOKENS if kind is JobKind.TOKENS else KIND, whole)
        draft = LeaseJob(
            job_id=new_uuid(),
            kind=kind,
            namespace=namespace,
            prefix=prefix,
            generation=0,
            started=now,
            by=by,
            force=force,
            entity=entity,
            target=target,
            total=total,
            owner=self.owner if claimed else "",
            claimed_until=now + CLAIM if claimed else 0,
        )

        async def body(txn: CoreTransaction) -> LeaseJob:
            refused = whole if kind is JobKind.LEASES else None
            marker = await self._markers.add(txn, draft.job_id, prefix=refused, entity=entity, target=target)
            job = msgspec.structs.replace(draft, generation=marker.generation)
            await _put(txn, job)
            return job

        return await transact_again(self._storage, body)

    async def claim(self, job_id: str) -> LeaseJob | None:
        """The job, for this process to work on; None when it is finished or somebody else's."""
        now = int(self._clock.now())
        held = await self.find(job_id)
        if held is not None and not held.finished and held.owner == self.owner and held.claimed_until > now + CLAIM / 2:
            return held

        async def body(txn: CoreTransaction) -> LeaseJob | None:
            job = _decode(await txn.get(ROWS + job_id))
            if job is None or job.finished:
                await self._markers.remove(txn, job_id)
                return None
            # a claim from the future is of a clock that was set back since
            if job.owner != self.owner and now < job.claimed_until <= now + CLAIM:
                return None
            claimed = msgspec.structs.replace(job, owner=self.owner, claimed_until=now + CLAIM)
            await _put(txn, claimed)
            return claimed

        return await transact_again(self._storage, body)

    async def hold(self, job_id: str) -> None:
        """Prolong this process's claim while a batch takes long."""
        until = int(self._clock.now()) + CLAIM

        async def body(txn: CoreTransaction) -> None:
            job = _decode(await txn.get(ROWS + job_id))
            if job is not None and job.owner == self.owner:
                await _put(txn, msgspec.structs.replace(job, claimed_until=until))

        await self._storage.transact(body)

    async def move(
        self, txn: CoreTransaction, job: LeaseJob, *, done: int, failed: int, cursor: str, scanned: int = 0
    ) -> LeaseJob:
        """Write down a batch, in its transaction; `job` is as this process claimed it."""
        present = _decode(await txn.get(ROWS + job.job_id))
        if present is None or present.owner != self.owner:
            return job  # somebody took it over meanwhile; what is done stays done
        moved = msgspec.structs.replace(
            present,
            done=present.done + done,
            failed=present.failed + failed,
            scanned=present.scanned + scanned,
            cursor=cursor,
            claimed_until=int(self._clock.now()) + CLAIM,
        )
        await _put(txn, moved)
        return moved

    async def finish(self, job_id: str) -> None:
        """The job is done: nothing is refused on its account any more, and nothing needs to be."""
        now = int(self._clock.now())

        async def body(txn: CoreTransaction) -> None:
            job = _decode(await txn.get(ROWS + job_id))
            if job is not None and not job.finished:
                await _put(txn, msgspec.structs.replace(job, finished=now))
            await self._markers.remove(txn, job_id)

        await transact_again(self._storage, body)
        await self._forget_old(now)

    async def find(self, job_id: str) -> LeaseJob | None:
        """The job as it stands."""
        return _decode(await self._storage.get(ROWS + job_id))

    async def all(self) -> list[LeaseJob]:
        """Every job, those of the last day too, the oldest first."""
        found = [await self.find(name) for name in await self._storage.list(ROWS)]
        return sorted((job for job in found if job is not None), key=lambda job: job.generation)

    async def _forget_old(self, now: int) -> None:
        for job in await self.all():
            if job.finished and job.finished < now - _KEPT:
                await self._storage.delete(ROWS + job.job_id)


async def _put(txn: CoreTransaction, job: LeaseJob) -> None:
    await txn.put(ROWS + job.job_id, msgspec.json.encode(job))


def _decode(entry: Entry | None) -> LeaseJob | None:
    return msgspec.json.decode(entry.value, type=LeaseJob) if entry else None
