"""Serial numbers whose certificate never came: the HSM went, or the process died, between intent and record.

Whether the HSM has signed is not known then, and nobody has seen a certificate. So the serial number is abandoned: it
stays taken and is never signed for again. A worker that is merely slow finds its intent changed when it wants to record
the certificate (`pki.issuing`), and answers an error instead of the certificate.
"""

from msgspec.structs import replace

from core.clock import Clock
from core.engine import Meter
from core.protocols import CatalogQuery, CatalogRow, Transaction
from pki.certificates import CATALOG, State, decode_row
from pki.store import PkiStore

PATIENCE = 600  # seconds; a request is given up long before
_PAGE = 100  # rows of one transaction: a few milliseconds in which others cannot write


class Intents:
    """What the housekeeper does about them in one mount."""

    def __init__(self, store: PkiStore, clock: Clock, meter: Meter) -> None:
        self._store = store
        self._clock = clock
        self._meter = meter

    async def reconcile(self) -> int:
        """Abandon those that are older than PATIENCE; how many there were."""
        before = int(self._clock.now()) - PATIENCE
        query, abandoned = CatalogQuery(states=(State.INTENDED,), limit=_PAGE), 0
        while True:
            page = await self._store.storage.find_rows(CATALOG, query)
            old = [row for row in page.rows if decode_row(row).body.issued_at <= before]
            if old:
                abandoned += await self._abandon(old)
            if not page.next:
                return abandoned
            query = replace(query, after=page.next)

    async def _abandon(self, rows: list[CatalogRow]) -> int:
        async def work(txn: Transaction) -> int:
            count = 0
            for seen in rows:
                row = await txn.row(CATALOG, seen.row_id)
                if row is None or row.revision != seen.revision:
                    continue  # its worker was faster after all
                await txn.put_row(CATALOG, replace(row, state=State.ABANDONED), cas=row.revision)
                count += 1
            return count

        count = await self._store.storage.transact(work)
        self._meter.count("intent_abandoned", count)
        return count
