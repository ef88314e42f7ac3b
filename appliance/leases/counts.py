"""How many leases there are, and which could not be revoked: what operators ask."""

from collections.abc import Callable

from appliance.leases.engines import EngineFinder
from appliance.leases.entries import KIND, decode_lease, record_path
from appliance.leases.irrevocable import Irrevocable, irrevocable_leases, namespaces_with_irrevocable
from appliance.namespaces import Namespace
from core.protocols import CoreStorage

_LAST = "\U0010ffff"  # sorts behind every name in a folder
NO_MOUNT = "mount-accessor-not-found"  # Vault's word


class LeaseCounts:
    """Counts and lists by mount, for a namespace and, if asked, all below it."""

    def __init__(
        self, storage: CoreStorage, engines: EngineFinder, *, namespace_path: Callable[[str], str | None]
    ) -> None:
        self._storage = storage
        self._engines = engines
        self._namespace_path = namespace_path

    async def irrevocable(self, within: Namespace, *, children: bool) -> list[tuple[str, Irrevocable]]:
        """Every irrevocable lease with its mount's accessor, by expiry."""
        found: list[tuple[str, Irrevocable]] = []
        for namespace in self._among(await namespaces_with_irrevocable(self._storage), within, children=children):
            found += [
                (self._accessor(namespace, lease.mount_path, lease.mount), lease)
                async for lease in irrevocable_leases(self._storage, namespace)
            ]
        return sorted(found, key=lambda row: (row[1].expires_at, row[1].lease_id))

    async def by_mount(self, within: Namespace, *, children: bool) -> dict[str, int]:
        """How many leases each mount has, by accessor. Asks for one lease of each mount and counts by the index."""
        counts: dict[str, int] = {}
        known = [name.rstrip("/") for name in await self._storage.record_names(KIND, "")]
        for namespace in self._among(known, within, children=children):
            after, top = "", record_path(namespace, "")
            while page := await self._storage.records_below(KIND, top, after=after, limit=1):
                lease = decode_lease(page[0])
                folder = record_path(namespace, lease.mount_path)
                accessor = self._accessor(namespace, lease.mount_path, lease.mount)
                counts[accessor] = counts.get(accessor, 0) + await self._storage.count_records(KIND, folder)
                after = folder + _LAST
        return counts

    def _among(self, namespaces: list[str], within: Namespace, *, children: bool) -> list[str]:
        if not children:
            return [name for name in namespaces if name == within.id]
        paths = ((name, self._namespace_path(name)) for name in namespaces)
        return [name for name, path in paths if path is not None and path.startswith(within.path)]

    def _accessor(self, namespace: str, mount_path: str, uuid: str) -> str:
        found = self._engines.leasing(namespace, mount_path)
        return found[0].accessor if found is not None and found[0].uuid == uuid else NO_MOUNT
