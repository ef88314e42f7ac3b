"""What the routes of one mount stand on."""

from dataclasses import dataclass

from core.clock import Clock
from core.engine import EngineContext, Meter, MountInfo
from core.protocols import KeyCustodian
from pki.crl_store import CrlStore
from pki.crl_work import CrlWork
from pki.importing import Importing
from pki.intents import Intents
from pki.issuing import Issuing
from pki.leasing import Leases
from pki.measuring import Measuring
from pki.ocsp_delegates import Delegates
from pki.revoking import Revoking
from pki.store import PkiStore
from pki.tidy import Tidy
from pki.watch import Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One worker's view of one mount."""

    mount: MountInfo
    clock: Clock
    keys: KeyCustodian
    meter: Meter
    store: PkiStore
    issuing: Issuing
    intents: Intents
    importing: Importing
    leases: Leases
    crls: CrlStore
    crl_work: CrlWork
    ocsp_delegates: Delegates
    tidy: Tidy
    watch: Watch
    measuring: Measuring


def assemble(context: EngineContext) -> Parts:
    """Does no I/O."""
    store = PkiStore(context.storage)
    crls = CrlStore(context.storage)
    issuing = Issuing(store, context.keys, context.clock)
    watch = Watch(store, crls, context.clock, context.mount)
    return Parts(
        mount=context.mount,
        clock=context.clock,
        keys=context.keys,
        meter=context.meter,
        store=store,
        issuing=issuing,
        intents=Intents(store, context.clock, context.meter),
        importing=Importing(store, context.keys, context.clock),
        leases=Leases(store, context.clock, Revoking(store, context.clock)),
        crls=crls,
        ocsp_delegates=Delegates(store, issuing, context.keys, context.clock),
        crl_work=CrlWork(store, crls, context.keys, context.clock),
        tidy=Tidy(store, crls, context.clock),
        watch=watch,
        measuring=Measuring(store, watch, context.clock),
    )
