"""Which jobs are under way: one entry that every worker has in memory, so that a prefix is refused by one write.

A lease remembers the revision of that entry from when it was stored, its generation. A job has the revision that its
own start gave the entry. So it revokes what was there before it, and not what is granted while it runs; no clock is
asked.
"""

import msgspec

from appliance.leases.entries import LeaseEntry, record_path
from core.protocols import CoreStorage, CoreTransaction, Entry, StorageView

TABLE = "core/lease-jobs"


class Marker(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A job that is under way. Only those with a prefix refuse leases."""

    job: str
    generation: int
    prefix: str | None = None  # of record paths: "root/database/"
    entity: str = ""  # of the leases below the prefix, only those that this entity's tokens asked for
    target: str = ""  # only those that open this

    def refuses(self, entry: LeaseEntry, path: str) -> bool:
        """Whether the job is going to revoke the lease at that record path."""
        if self.prefix is None or entry.generation >= self.generation or not path.startswith(self.prefix):
            return False
        return (not self.entity or self.entity == entry.entity) and (not self.target or self.target == entry.target)


class Markers(msgspec.Struct, frozen=True, kw_only=True):
    """All jobs under way at one moment."""

    active: tuple[Marker, ...] = ()
    revision: int = 0

    def refuse(self, entry: LeaseEntry) -> bool:
        """Whether a job under way is going to revoke this lease."""
        if not self.active:
            return False
        path = record_path(entry.namespace, entry.lease_id)
        return any(marker.refuses(entry, path) for marker in self.active)


class MarkerTable:
    """Reads it from memory, and changes it within a transaction."""

    def __init__(self, storage: CoreStorage) -> None:
        self._cache = storage.decoded_cache(_load, capacity=1)

    async def current(self) -> Markers:
        """As this worker sees it."""
        return await self._cache.get(TABLE) or Markers()

    @staticmethod
    async def read(txn: CoreTransaction) -> Markers:
        """As the transaction sees it."""
        entry = await txn.get(TABLE)
        return _decode(entry) if entry else Markers()

    async def add(
        self, txn: CoreTransaction, job: str, *, prefix: str | None, entity: str = "", target: str = ""
    ) -> Marker:
        """One more job; what was stored before it has a lesser generation. Raises CasMismatchError."""
        present = await self.read(txn)
        marker = Marker(job=job, generation=present.revision + 1, prefix=prefix, entity=entity, target=target)
        await _write(txn, (*present.active, marker), present.revision)
        return marker

    async def remove(self, txn: CoreTransaction, job: str) -> None:
        """The job is done. Raises CasMismatchError."""
        present = await self.read(txn)
        left = tuple(marker for marker in present.active if marker.job != job)
        if left != present.active:
            await _write(txn, left, present.revision)


async def _write(txn: CoreTransaction, active: tuple[Marker, ...], revision: int) -> None:
    # never deleted: its revision must not begin anew
    await txn.put(TABLE, msgspec.json.encode(active), cas=revision)


_decoder = msgspec.json.Decoder(tuple[Marker, ...])


def _decode(entry: Entry) -> Markers:
    return Markers(active=_decoder.decode(entry.value), revision=entry.revision)


async def _load(_storage: StorageView, _path: str, entry: Entry) -> Markers:
    return _decode(entry)
