"""What the routes of one mount stand on."""

from dataclasses import dataclass

from core.clock import Clock
from core.engine import EngineContext, MountInfo
from kv.cursors import Cursors
from kv.engine import KvEngine
from kv.listing import Listing
from kv.reads import ReadLog
from kv.store import KvStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """One worker's view of one mount."""

    mount: MountInfo
    clock: Clock
    store: KvStore
    engine: KvEngine
    reads: ReadLog
    listing: Listing
    cursors: Cursors


def assemble(context: EngineContext) -> Parts:
    """Does no I/O."""
    store = KvStore(context.storage)
    return Parts(
        mount=context.mount,
        clock=context.clock,
        store=store,
        engine=KvEngine(store, context.clock, prefix=context.mount.path),
        reads=ReadLog(context.storage, context.clock),
        listing=Listing(store, context.storage, context.clock),
        cursors=Cursors(context.storage),
    )
