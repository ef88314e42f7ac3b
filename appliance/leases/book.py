"""The leases of one mount, as its engine may see them: what it compares with the accounts that there are."""

from appliance.leases.entries import KIND, decode_lease, record_id_of, record_path
from appliance.leases.store import LeaseStore
from appliance.mount_table import MountEntry
from appliance.namespaces import ROOT
from core.engine import Lease
from core.protocols import CoreStorage

_MOST = 1_000  # leases of one page


class MountLeases:
    """A `core.engine.LeaseBook`."""

    def __init__(self, storage: CoreStorage, leases: LeaseStore, mount: MountEntry) -> None:
        self._storage = storage
        self._leases = leases
        self._mount = mount

    async def page(self, *, after: str = "", limit: int = 500) -> tuple[list[Lease], str]:
        """Leases in the order of their ids, and where the next page begins."""
        limit = max(1, min(limit, _MOST))
        top = record_path(self._mount.namespace, self._mount.path)
        records = await self._storage.records_below(KIND, top, after=after, limit=limit)
        entries = [decode_lease(record) for record in records]
        found = [entry.for_engine() for entry in entries if entry.mount == self._mount.uuid]
        return found, records[-1].path if len(records) == limit else ""

    async def revoke(self, lease_id: str) -> bool:
        """Revoke now; the engine is asked. A lease of another mount is none of its business."""
        record = await self._storage.get_record(KIND, record_id_of(lease_id))
        if record is None or decode_lease(record).mount != self._mount.uuid:
            return False
        return await self._leases.revoke(lease_id, within=ROOT)
