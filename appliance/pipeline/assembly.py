"""Puts the pipeline together from barrier, audit trail, access control and the engines found here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from appliance.access.cubbyhole import cubbyhole_attachment, cubbyhole_engine
from appliance.access.lockouts import Lockouts
from appliance.access.logins import Logins
from appliance.access.policies import PolicyStore, bootstrap_policies
from appliance.access.subjects import Subjects
from appliance.access.token_roles import TokenRoles
from appliance.access.token_routes import token_engine
from appliance.access.tokens import TokenStore, bootstrap_tokens
from appliance.access.wrapping import Wrapping
from appliance.audited_headers import AuditedHeaders
from appliance.cors import CrossOrigin
from appliance.deposits import MountDeposits
from appliance.events.access import Gate
from appliance.events.hub import EventHub
from appliance.identity.routes import identity_engine
from appliance.identity.store import IdentityStore
from appliance.in_flight import InFlightRequests
from appliance.leases.attachment import lease_attachment
from appliance.leases.book import MountLeases
from appliance.leases.counts import LeaseCounts
from appliance.leases.operations import LeaseOperations
from appliance.leases.store import LeaseStore
from appliance.links import Links
from appliance.metrics import EngineMeter
from appliance.mount_moves import MountMoves
from appliance.mounts import MountStore, bootstrap_mounts
from appliance.namespace_store import NamespaceStore
from appliance.node_shared import Shared
from appliance.password_policies import MountPasswords, PasswordPolicies
from appliance.pipeline.admissions import Admissions
from appliance.pipeline.catalog import EngineCatalog
from appliance.pipeline.dependents import dependents
from appliance.pipeline.identity import Identities
from appliance.pipeline.lifecycle import Lifecycle
from appliance.pipeline.mounted import MountedEngines
from appliance.pipeline.outcomes import Outcomes
from appliance.pipeline.pipeline import Pipeline
from appliance.router import RouteTable
from appliance.settings import SystemSettings
from appliance.system.engine import open_routes, system_engine, system_mount
from appliance.system.hsm import HsmStatus
from appliance.system.init import Bootstrap
from appliance.system.node import NodeInfo
from appliance.system.parts import SystemParts
from appliance.system.versions import VersionHistory
from audit.trail import AuditTrail
from barrier.seal import Barrier
from core.clock import Clock
from core.protocols import CoreStorage, CoreTransaction, KeyCustodian

SYSTEM = system_mount("sys/", "system", description="system endpoints used for control, policy and debugging")
TOKENS = system_mount("auth/token/", "token", description="token based credentials")
IDENTITY = system_mount("identity/", "identity", description="identity store")
CUBBYHOLE = system_mount("cubbyhole/", "cubbyhole", description="per-token private secret storage")
BUILT_IN_TYPES = tuple(entry.type for entry in (SYSTEM, TOKENS, IDENTITY, CUBBYHOLE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """What a process composes first. `storage` is the barrier's, `sync` drops what other processes changed in it."""

    barrier: Barrier
    storage: CoreStorage
    sync: Callable[[], int]
    keys: KeyCustodian
    trail: AuditTrail
    clock: Clock
    node: NodeInfo
    hsm_status: HsmStatus
    escrow_id: Callable[[], str]
    catalog: EngineCatalog
    methods: EngineCatalog
    shared: Shared
    sanitized: dict[str, Any]  # the configuration without secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """The pipeline, and the parts that the housekeeper and the listener need beside it."""

    pipeline: Pipeline
    lifecycle: Lifecycle
    tokens: TokenStore
    policies: PolicyStore
    leases: LeaseStore
    mounts: MountedEngines
    settings: SystemSettings
    store: MountStore
    links: Links
    cors: CrossOrigin
    hub: EventHub
    bootstrap: Bootstrap


class _Remembered:
    """Policies and entities need no opening; at seal what is made of them is dropped."""

    def __init__(self, policies: PolicyStore, entities: IdentityStore) -> None:
        self._policies = policies
        self._entities = entities

    async def open(self) -> None:
        """They are loaded when asked for."""

    def close(self) -> None:
        """Forget access lists and views."""
        self._policies.forget()
        self._entities.forget()


def assemble(given: Assembly) -> Assembled:
    """Build everything, open nothing: the first request or `lifecycle.settle()` does."""
    stores = _stores(given)
    lifecycle = _lifecycle(given, stores)
    running, bootstrap = InFlightRequests(), _bootstrap(given.clock)
    parts = _system_parts(given, stores, lifecycle, running)
    open_paths = open_routes(parts, bootstrap)
    _add_built_in(given, stores, parts, open_paths)
    return Assembled(
        pipeline=_pipeline(given, stores, lifecycle, open_paths, running),
        lifecycle=lifecycle,
        tokens=stores.tokens,
        policies=stores.policies,
        leases=stores.leases,
        mounts=stores.mounts,
        settings=stores.settings,
        store=stores.store,
        links=stores.links,
        cors=stores.cors,
        hub=stores.hub,
        bootstrap=bootstrap,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stores:
    """What the parts of the appliance share: the stored things as this process sees them, and what links them."""

    store: MountStore
    mounts: MountedEngines
    roles: TokenRoles
    lockouts: Lockouts
    entities: IdentityStore
    links: Links
    tokens: TokenStore
    policies: PolicyStore
    leases: LeaseStore
    passwords: PasswordPolicies
    wrapping: Wrapping
    settings: SystemSettings
    versions: VersionHistory
    cors: CrossOrigin
    audited: AuditedHeaders
    identities: Identities
    admissions: Admissions
    gate: Gate
    hub: EventHub


def _stores(given: Assembly) -> _Stores:
    clock, storage = given.clock, given.storage
    store = MountStore(storage, clock, types=given.catalog, methods=given.methods)
    mounts = MountedEngines(
        store,
        storage=storage,
        keys=given.keys,
        clock=clock,
        catalog=given.catalog,
        methods=given.methods,
        meter=EngineMeter(given.shared.metrics),
    )
    roles, lockouts, entities = TokenRoles(storage), Lockouts(storage, clock), IdentityStore(storage, clock)
    links = Links(mounts, entities, roles, lockouts, storage, clock=clock, token_mount=TOKENS)
    attachments = (lease_attachment(clock), cubbyhole_attachment)
    tokens = TokenStore(storage, clock, scopes=mounts, attachments=attachments)
    policies = PolicyStore(storage, clock, namespace_path=links.namespace_path)
    gate = Gate(tokens, Subjects(entities, policies), clock, sync=given.sync, follow=mounts.refresh)
    leases = LeaseStore(storage, clock, mounts, tokens=tokens, namespace_path=links.lease_namespace_path)
    passwords = PasswordPolicies(storage)
    mounts.lend(
        passwords=lambda namespace: MountPasswords(passwords, namespace),
        leases=lambda mount: MountLeases(storage, leases, mount),
        deposits=lambda namespace: MountDeposits(mounts, namespace),
    )
    return _Stores(
        store=store,
        mounts=mounts,
        roles=roles,
        lockouts=lockouts,
        entities=entities,
        links=links,
        tokens=tokens,
        policies=policies,
        leases=leases,
        passwords=passwords,
        wrapping=Wrapping(storage, clock, tokens, namespace_path=links.namespace_path),
        settings=SystemSettings(storage),
        versions=VersionHistory(storage, clock, version=given.node.version),
        cors=CrossOrigin(),
        audited=AuditedHeaders(),
        identities=Identities(),
        admissions=Admissions(clock),
        gate=gate,
        hub=EventHub(storage, gate, is_shared=given.node.storage_type != "sqlite"),
    )


def _lifecycle(given: Assembly, stores: _Stores) -> Lifecycle:
    """Opened with the seal and closed with it, in this order and the opposite one; settings tell who follows them."""
    for follower in (given.shared.quotas, stores.cors, stores.audited):
        stores.settings.watch(follower.apply)
    return Lifecycle(
        given.barrier,
        (
            stores.tokens,
            stores.identities,
            stores.admissions,
            _Remembered(stores.policies, stores.entities),
            given.trail,
            stores.settings,
            stores.versions,
            stores.mounts,
            stores.hub,
        ),
    )


def _bootstrap(clock: Clock) -> Bootstrap:
    """What a new cluster begins with."""

    async def bootstrap(txn: CoreTransaction) -> str:
        await bootstrap_mounts(txn)
        await bootstrap_policies(txn, now=clock.now())
        return await bootstrap_tokens(txn, clock)

    return bootstrap


def _system_parts(given: Assembly, stores: _Stores, lifecycle: Lifecycle, running: InFlightRequests) -> SystemParts:
    clock, storage, links, tokens = given.clock, given.storage, stores.links, stores.tokens
    lease_operations = LeaseOperations(storage, stores.leases, tokens)
    return SystemParts(
        barrier=given.barrier,
        storage=storage,
        lifecycle=lifecycle,
        store=stores.store,
        mounts=stores.mounts,
        moves=MountMoves(stores.store, storage, dependents(lease_operations, stores.mounts, links, tokens)),
        namespaces=NamespaceStore(stores.store, clock),
        tokens=tokens,
        policies=stores.policies,
        entities=stores.entities,
        subjects=Subjects(stores.entities, stores.policies),
        links=links,
        lease_operations=lease_operations,
        lease_counts=LeaseCounts(storage, stores.mounts, namespace_path=links.lease_namespace_path),
        wrapping=stores.wrapping,
        lockouts=stores.lockouts,
        passwords=stores.passwords,
        settings=stores.settings,
        versions=stores.versions,
        shared=given.shared,
        trail=given.trail,
        hub=stores.hub,
        gate=stores.gate,
        keys=given.keys,
        node=given.node,
        clock=clock,
        hsm_status=given.hsm_status,
        escrow_id=given.escrow_id,
        in_flight=running,
        sanitized=given.sanitized,
    )


def _add_built_in(given: Assembly, stores: _Stores, parts: SystemParts, open_paths: RouteTable) -> None:
    mounts, links, entities = stores.mounts, stores.links, stores.entities
    mounts.add_built_in(SYSTEM, lambda _context: system_engine(parts, open_paths))
    mounts.add_built_in(
        TOKENS,
        lambda _context: token_engine(
            given.clock,
            stores.tokens,
            stores.policies,
            stores.roles,
            namespace_path=links.namespace_path,
            namespace_at=links.namespace_at,
            entity_of=entities.view,
            resolve_alias=links.resolve_alias,
            renew_login=links.renew_login,
        ),
    )
    mounts.add_built_in(IDENTITY, lambda _context: identity_engine(entities, links.find_mount))
    mounts.add_built_in(CUBBYHOLE, lambda _context: cubbyhole_engine(given.storage))


def _pipeline(
    given: Assembly, stores: _Stores, lifecycle: Lifecycle, open_paths: RouteTable, running: InFlightRequests
) -> Pipeline:
    logins = Logins(stores.tokens, stores.entities)
    return Pipeline(
        lifecycle=lifecycle,
        sync=given.sync,
        mounts=stores.mounts,
        settings=stores.settings,
        tokens=stores.tokens,
        policies=stores.policies,
        trail=given.trail,
        open_routes=open_paths,
        identities=stores.identities,
        admissions=stores.admissions,
        outcomes=Outcomes(logins, stores.lockouts, stores.leases, stores.wrapping, given.shared.metrics),
        entities=stores.entities,
        audited=stores.audited,
        shared=given.shared,
        running=running,
        clock=given.clock,
    )
