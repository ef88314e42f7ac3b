"""The leases that could not be revoked: a small index beside the rows, so that listing them scans nothing else."""

from collections.abc import AsyncIterator

import msgspec

from appliance.leases.entries import KIND, LeaseEntry
from core.protocols import CoreStorage, CoreTransaction

INDEX = "core/lease-irrevocable/"
_PAGE = 500


class Irrevocable(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator needs to know of one."""

    lease_id: str
    mount: str  # uuid
    mount_path: str
    error: str
    expires_at: int


async def note(txn: CoreTransaction, entry: LeaseEntry) -> None:
    """Put the lease into the index, in the transaction that marks it."""
    noted = Irrevocable(
        lease_id=entry.lease_id,
        mount=entry.mount,
        mount_path=entry.mount_path,
        error=entry.error,
        expires_at=entry.expires_at,
    )
    await txn.put(_place(entry), msgspec.json.encode(noted))


async def forget(txn: CoreTransaction, entry: LeaseEntry) -> None:
    """Take the lease out of the index, in the transaction that deletes it."""
    await txn.delete(_place(entry))


async def namespaces_with_irrevocable(storage: CoreStorage) -> list[str]:
    """Ids of the namespaces that have any."""
    return [name.rstrip("/") for name in await storage.list(INDEX)]


async def irrevocable_leases(storage: CoreStorage, namespace: str) -> AsyncIterator[Irrevocable]:
    """Those of one namespace."""
    folder, after = f"{INDEX}{namespace}/", ""
    while names := await storage.list(folder, after=after, limit=_PAGE):
        after = names[-1]
        for name in names:
            entry = await storage.get(folder + name)
            # a lease that somebody deleted in the moment it was given up is not in the way
            if entry is not None and await storage.get_record(KIND, name) is not None:
                yield msgspec.json.decode(entry.value, type=Irrevocable)


def _place(entry: LeaseEntry) -> str:
    return f"{INDEX}{entry.namespace}/{entry.record_id}"
