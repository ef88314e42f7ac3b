"""The sys/ engine, put together from its parts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.access.policies import PolicyStore
from appliance.access.tokens import TokenStore
from appliance.mounts import MountEntry, MountStore
from appliance.pipeline.lifecycle import Lifecycle
from appliance.pipeline.mounted import MountedEngines
from appliance.router import RouteTable
from appliance.system.audit import AuditRoutes
from appliance.system.capabilities import CapabilityRoutes
from appliance.system.health import HealthRoutes
from appliance.system.hsm import HsmRoutes, HsmStatus
from appliance.system.init import Bootstrap, InitRoutes
from appliance.system.keyring import KeyringRoutes
from appliance.system.mounts import MountRoutes
from appliance.system.node import NodeInfo
from appliance.system.openapi import OpenApiRoutes
from appliance.system.policies import PolicyRoutes
from appliance.system.seal import SealRoutes
from appliance.system.ui import UiRoutes
from audit.trail import AuditTrail
from barrier.seal import Barrier
from core.clock import Clock
from core.engine import Route


def system_mount(path: str, mount_type: str, *, description: str) -> MountEntry:
    """The entry of a mount that is part of the appliance: the same on every node, and stored nowhere."""
    name = path.strip("/").replace("/", "-")
    return MountEntry(
        uuid=f"built-in-{name}",
        accessor=f"{mount_type}_{name}",
        type=mount_type,
        path=path,
        description=description,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemParts:
    """All that sys/ reaches."""

    barrier: Barrier
    lifecycle: Lifecycle
    store: MountStore
    mounts: MountedEngines
    tokens: TokenStore
    policies: PolicyStore
    trail: AuditTrail
    node: NodeInfo
    clock: Clock
    hsm_status: HsmStatus
    escrow_id: Callable[[], str]


class SystemEngine:
    """Serves sys/; its state is that of the parts."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = routes

    async def close(self) -> None:
        """The parts are closed by those who opened them."""


def open_routes(parts: SystemParts, bootstrap: Bootstrap) -> RouteTable:
    """What is served in every seal state, under full paths."""
    return RouteTable(
        [
            *InitRoutes(parts.barrier, parts.lifecycle, bootstrap).routes(),
            *SealRoutes(parts.barrier, parts.lifecycle, parts.node).open_routes(),
            *HealthRoutes(parts.barrier, parts.lifecycle, parts.node, parts.clock).routes(),
        ]
    )


def system_engine(parts: SystemParts, open_paths: RouteTable) -> SystemEngine:
    """The authenticated rest, below sys/."""
    mounts = MountRoutes(parts.store, parts.mounts, parts.node.version)
    return SystemEngine(
        [
            *SealRoutes(parts.barrier, parts.lifecycle, parts.node).routes(),
            *KeyringRoutes(parts.barrier).routes(),
            *mounts.routes(),
            *PolicyRoutes(parts.policies).routes(),
            *CapabilityRoutes(parts.tokens, parts.policies).routes(),
            *AuditRoutes(parts.trail).routes(),
            *UiRoutes(parts.mounts, mounts, parts.tokens, parts.policies).routes(),
            *HsmRoutes(parts.barrier, parts.hsm_status, parts.escrow_id).routes(),
            *OpenApiRoutes(parts.mounts, open_paths, parts.node.version).routes(),
        ]
    )
