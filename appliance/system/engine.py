"""The sys/ engine, put together from its parts."""

from collections.abc import Sequence

from appliance.access.root_tokens import create_root_token
from appliance.mount_table import MountEntry
from appliance.router import RouteTable
from appliance.system.audit import AuditRoutes
from appliance.system.callers import Callers
from appliance.system.capabilities import CapabilityRoutes
from appliance.system.events import EventRoutes
from appliance.system.generate_root import GenerateRootRoutes
from appliance.system.health import HealthRoutes
from appliance.system.hsm import HsmRoutes
from appliance.system.init import Bootstrap, InitRoutes
from appliance.system.keyring import KeyringRoutes
from appliance.system.leases import LeaseRoutes
from appliance.system.locked_users import LockedUserRoutes
from appliance.system.mounts import MountRoutes
from appliance.system.namespaces import NamespaceRoutes
from appliance.system.openapi import OpenApiRoutes
from appliance.system.operations import OperationsParts, operations_routes
from appliance.system.parts import SystemParts
from appliance.system.policies import PolicyRoutes
from appliance.system.policies_history import PolicyHistoryRoutes
from appliance.system.policies_tools import PolicyToolRoutes
from appliance.system.quotas import splitter
from appliance.system.rekey import RekeyRoutes
from appliance.system.remount import RemountRoutes
from appliance.system.seal import SealRoutes
from appliance.system.ui import UiRoutes
from appliance.system.webhooks import WebhookRoutes
from appliance.system.wrapping import WrappingRoutes
from barrier.ceremonies import RecoveryRotation, RootGeneration, RootKeyRotation
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
    """The rest, below sys/."""
    return SystemEngine(
        [
            *_seal_routes(parts),
            *_mount_routes(parts),
            *_access_routes(parts),
            *_operation_routes(parts),
            *WebhookRoutes(parts.storage, parts.clock, version=parts.node.version).routes(),
            *EventRoutes(parts.hub, parts.gate).routes(),
            *OpenApiRoutes(parts.mounts, open_paths, parts.node.version).routes(),
        ]
    )


def _seal_routes(parts: SystemParts) -> list[Route]:
    barrier = parts.barrier
    return [
        *SealRoutes(barrier, parts.lifecycle, parts.node).routes(),
        *KeyringRoutes(barrier).routes(),
        *_ceremony_routes(parts),
        *HsmRoutes(barrier, parts.hsm_status, parts.escrow_id).routes(),
        *AuditRoutes(parts.trail).routes(),
    ]


def _ceremony_routes(parts: SystemParts) -> list[Route]:
    """What a quorum of recovery keys may do; by the older paths only where the operator leaves them on."""
    barrier, clock = parts.barrier, parts.clock
    vouch = Callers(parts.tokens, parts.subjects, parts.mounts).vouch
    routes = [
        *GenerateRootRoutes(RootGeneration(barrier, clock), lambda: create_root_token(parts.tokens), vouch).routes(),
        *RekeyRoutes(RootKeyRotation(barrier, clock), RecoveryRotation(barrier, clock), vouch).routes(),
    ]
    return [route for route in routes if parts.node.unauthenticated_ceremonies or not route.unauthenticated]


def _mount_routes(parts: SystemParts) -> list[Route]:
    mounts = MountRoutes(parts.store, parts.mounts, parts.moves, parts.node.version)
    return [
        *mounts.routes(),
        *RemountRoutes(parts.mounts, parts.moves).routes(),
        *NamespaceRoutes(parts.namespaces, parts.mounts, parts.moves, parts.entities).routes(),
        *UiRoutes(parts.mounts, mounts, Callers(parts.tokens, parts.subjects, parts.mounts)).routes(),
    ]


def _access_routes(parts: SystemParts) -> list[Route]:
    policies, clock = parts.policies, parts.clock
    links = parts.links
    return [
        *PolicyRoutes(policies, clock).routes(),
        *PolicyHistoryRoutes(policies).routes(),
        *PolicyToolRoutes(
            policies,
            clock,
            parts.shared.refusals,
            find_identity=links.find_identity,
            mounts_of=links.mounts_of,
        ).routes(),
        *CapabilityRoutes(parts.tokens, parts.subjects, namespace_path=links.namespace_path).routes(),
        *LeaseRoutes(parts.lease_operations, parts.lease_counts, clock, mount_paths=parts.links.mount_paths).routes(),
        *WrappingRoutes(parts.wrapping).routes(),
        *LockedUserRoutes(parts.lockouts, links.namespaces_below).routes(),
    ]


def _operation_routes(parts: SystemParts) -> list[Route]:
    return operations_routes(
        OperationsParts(
            settings=parts.settings,
            passwords=parts.passwords,
            versions=parts.versions,
            metrics=parts.shared.metrics,
            keys=parts.keys,
            node=parts.node,
            clock=parts.clock,
            split=splitter(parts.links.namespace_paths, parts.links.mount_paths),
            namespaces=parts.links.reachable,
            tokens=parts.links.count_tokens,
            entities=parts.links.count_entities,
            in_flight=parts.in_flight,
            sanitized=parts.sanitized,
            extras=(parts.links.lease_families, parts.links.engine_families),
        )
    )
