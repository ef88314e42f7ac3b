"""How leases reach the engines that granted them."""

from typing import Protocol

from appliance.mount_table import MountEntry
from core.engine import LeasingEngine


class EngineFinder(Protocol):
    """Finds engines by where they stand; no I/O."""

    def leasing(self, namespace_id: str, path: str) -> tuple[MountEntry, LeasingEngine] | None:
        """The mount that `path` ("database/creds/orders-api") is below, if its engine leases."""
        ...
