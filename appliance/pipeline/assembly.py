"""Puts the pipeline together from the barrier, the access store, the audit trail and the engines found here."""

from collections.abc import Callable
from dataclasses import dataclass

from appliance.access.policies import PolicyStore, bootstrap_policies
from appliance.access.token_routes import token_engine
from appliance.access.tokens import TokenStore, bootstrap_tokens
from appliance.mounts import MountStore, bootstrap_mounts
from appliance.pipeline.admissions import Admissions
from appliance.pipeline.catalog import EngineCatalog
from appliance.pipeline.identity import Identities
from appliance.pipeline.lifecycle import Lifecycle
from appliance.pipeline.mounted import MountedEngines
from appliance.pipeline.pipeline import Pipeline
from appliance.system.engine import SystemParts, open_routes, system_engine, system_mount
from appliance.system.hsm import HsmStatus
from appliance.system.init import Bootstrap
from appliance.system.node import NodeInfo
from audit.trail import AuditTrail
from barrier.seal import Barrier
from core.clock import Clock
from core.protocols import CoreStorage, CoreTransaction, KeyCustodian

SYSTEM = system_mount("sys/", "system", description="system endpoints used for control, policy and debugging")
TOKENS = system_mount("auth/token/", "token", description="token based credentials")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """The pipeline, and the parts that the housekeeper and the listener need beside it."""

    pipeline: Pipeline
    lifecycle: Lifecycle
    tokens: TokenStore
    policies: PolicyStore
    mounts: MountedEngines
    store: MountStore
    bootstrap: Bootstrap


class _PolicyPart:
    """Policies need no opening; at seal the access lists are dropped."""

    def __init__(self, policies: PolicyStore) -> None:
        self._policies = policies

    async def open(self) -> None:
        """They are loaded when asked for."""

    def close(self) -> None:
        """Forget what is compiled."""
        self._policies.forget()


def assemble(given: Assembly) -> Assembled:
    """Build everything, open nothing: the first request or `lifecycle.settle()` does."""
    clock, storage, trail = given.clock, given.storage, given.trail
    tokens = TokenStore(storage, clock)
    policies = PolicyStore(storage)
    store = MountStore(storage, clock, types=given.catalog)
    mounts = MountedEngines(store, storage=storage, keys=given.keys, clock=clock, catalog=given.catalog)
    identities = Identities()
    admissions = Admissions(clock)
    lifecycle = Lifecycle(given.barrier, (tokens, identities, admissions, _PolicyPart(policies), trail, mounts))
    parts = SystemParts(
        barrier=given.barrier,
        lifecycle=lifecycle,
        store=store,
        mounts=mounts,
        tokens=tokens,
        policies=policies,
        trail=trail,
        node=given.node,
        clock=clock,
        hsm_status=given.hsm_status,
        escrow_id=given.escrow_id,
    )

    async def bootstrap(txn: CoreTransaction) -> str:
        await bootstrap_mounts(txn)
        await bootstrap_policies(txn)
        return await bootstrap_tokens(txn, clock)

    open_paths = open_routes(parts, bootstrap)
    mounts.add_built_in(SYSTEM, lambda _context: system_engine(parts, open_paths))
    mounts.add_built_in(TOKENS, lambda _context: token_engine(clock, tokens, policies))
    pipeline = Pipeline(
        lifecycle=lifecycle,
        sync=given.sync,
        mounts=mounts,
        tokens=tokens,
        policies=policies,
        trail=trail,
        open_routes=open_paths,
        identities=identities,
        admissions=admissions,
    )
    return Assembled(
        pipeline=pipeline,
        lifecycle=lifecycle,
        tokens=tokens,
        policies=policies,
        mounts=mounts,
        store=store,
        bootstrap=bootstrap,
    )
