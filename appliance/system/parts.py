"""All that sys/ reaches, in one place."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from appliance.access.lockouts import Lockouts
from appliance.access.policies import PolicyStore
from appliance.access.subjects import Subjects
from appliance.access.tokens import TokenStore
from appliance.access.wrapping import Wrapping
from appliance.events.access import Gate
from appliance.events.hub import EventHub
from appliance.identity.store import IdentityStore
from appliance.leases.counts import LeaseCounts
from appliance.leases.operations import LeaseOperations
from appliance.links import Links
from appliance.mount_moves import MountMoves
from appliance.mounts import MountStore
from appliance.namespace_store import NamespaceStore
from appliance.node_shared import Shared
from appliance.password_policies import PasswordPolicies
from appliance.pipeline.lifecycle import Lifecycle
from appliance.pipeline.mounted import MountedEngines
from appliance.settings import SystemSettings
from appliance.system.host import InFlight
from appliance.system.hsm import HsmStatus
from appliance.system.node import NodeInfo
from appliance.system.versions import VersionHistory
from audit.trail import AuditTrail
from barrier.seal import Barrier
from core.clock import Clock
from core.protocols import CoreStorage, KeyCustodian


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemParts:
    """What the routes are made of; nothing here is theirs to close."""

    barrier: Barrier
    storage: CoreStorage
    lifecycle: Lifecycle
    store: MountStore
    mounts: MountedEngines
    moves: MountMoves
    namespaces: NamespaceStore
    tokens: TokenStore
    policies: PolicyStore
    entities: IdentityStore
    subjects: Subjects
    links: Links
    lease_operations: LeaseOperations
    lease_counts: LeaseCounts
    wrapping: Wrapping
    lockouts: Lockouts
    passwords: PasswordPolicies
    settings: SystemSettings
    versions: VersionHistory
    shared: Shared
    trail: AuditTrail
    hub: EventHub
    gate: Gate
    keys: KeyCustodian
    node: NodeInfo
    clock: Clock
    hsm_status: HsmStatus
    escrow_id: Callable[[], str]
    in_flight: Callable[[], Iterable[InFlight]]
    sanitized: dict[str, Any]  # the configuration without secrets
