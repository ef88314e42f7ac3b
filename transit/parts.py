"""What the routes of one mount stand on."""

from dataclasses import dataclass

from core.clock import Clock
from core.engine import EngineContext, Meter
from core.protocols import KeyCustodian, StorageView
from transit.counters import UsageCounters
from transit.engine import TransitEngine
from transit.lifecycle import KeyLifecycle
from transit.rotation import DueRotations
from transit.store import KeyStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One worker's view of one mount."""

    storage: StorageView
    keys: KeyCustodian
    clock: Clock
    meter: Meter
    store: KeyStore
    lifecycle: KeyLifecycle
    counters: UsageCounters
    engine: TransitEngine
    rotations: DueRotations


def assemble(context: EngineContext) -> Parts:
    """Does no I/O."""
    store = KeyStore(context.storage)
    lifecycle = KeyLifecycle(context.storage, store, context.keys, context.clock, context.meter)
    counters = UsageCounters(
        context.storage,
        rotate=lambda name, version: lifecycle.rotate(name, only_from=version),
        meter=context.meter,
    )
    return Parts(
        storage=context.storage,
        keys=context.keys,
        clock=context.clock,
        meter=context.meter,
        store=store,
        lifecycle=lifecycle,
        counters=counters,
        engine=TransitEngine(store, context.keys, counters),
        rotations=DueRotations(context.storage, store, lifecycle, context.clock),
    )
