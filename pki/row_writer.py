"""Rows of the inventory on their way to the store: those of requests that wait together are committed together.

A row alone is written at once. While one batch is being committed the next one gathers, so the more requests there are,
the less of a transaction each of them costs. Every row is durable when its request goes on.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from core.errors import CasMismatchError, InvalidRequestError
from core.protocols import CatalogRow, StorageView, Transaction
from pki.certificates import CATALOG

MOST = 128  # rows of one batch: a few milliseconds in which the event loop stands still


@dataclass(slots=True, eq=False)
class _Waiting:
    """One row and the request that waits for it."""

    row: CatalogRow
    cas: int
    written: asyncio.Future[None]

    def settle(self, failure: BaseException | None) -> None:
        """Tell the request, unless it is gone."""
        if self.written.done():
            return
        if failure is None:
            self.written.set_result(None)
        elif isinstance(failure, asyncio.CancelledError):
            self.written.cancel()
        else:
            self.written.set_exception(failure)


class RowWriter:
    """Writes the rows of one mount in one worker, in the order in which they come."""

    def __init__(self, storage: StorageView) -> None:
        self._storage = storage
        self._waiting: deque[_Waiting] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def put(self, row: CatalogRow, *, cas: int) -> None:
        """As Transaction.put_row in a transaction of its own; durable when this returns.

        A caller that is cancelled does not stop it. Raises CasMismatchError, and what the transaction raises.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(row, cas, loop.create_future())
        self._waiting.append(waiting)
        if self._writing is None or self._writing.done():
            self._writing = loop.create_task(self._write())
        await waiting.written

    async def close(self) -> None:
        """Finish what waits."""
        while self._writing is not None and not self._writing.done():
            await asyncio.wait([self._writing])

    async def _write(self) -> None:
        batch: list[_Waiting] = []
        try:
            while self._waiting:
                batch = [self._waiting.popleft()]
                await self._write_batch(batch)
        except BaseException as exc:  # the loop ends, or a fault of ours: nobody may be left waiting
            for waiting in (*batch, *self._waiting):
                waiting.settle(exc)
            self._waiting.clear()
            raise

    async def _write_batch(self, batch: list[_Waiting]) -> None:
        """Write these, and those that come until the transaction begins; each hears how it ended."""

        async def work(txn: Transaction) -> list[bool]:
            self._gather(batch)
            return await _put(txn, batch)

        try:
            written = await self._storage.transact(work)
        except InvalidRequestError as exc:
            if len(batch) == 1:
                batch[0].settle(exc)
            for waiting in batch if len(batch) > 1 else ():  # one of them is wrong: the others are not to blame
                await self._write_alone(waiting)
        except Exception as exc:  # noqa: BLE001 - theirs
            for waiting in batch:
                waiting.settle(exc)
        else:
            for waiting, is_written in zip(batch, written, strict=True):
                waiting.settle(None if is_written else _lost(waiting))

    def _gather(self, batch: list[_Waiting]) -> None:
        """Add those that wait, until one comes of a row that is in the batch already."""
        row_ids = {waiting.row.row_id for waiting in batch}
        while self._waiting and len(batch) < MOST and self._waiting[0].row.row_id not in row_ids:
            row_ids.add(self._waiting[0].row.row_id)
            batch.append(self._waiting.popleft())

    async def _write_alone(self, waiting: _Waiting) -> None:
        try:
            [is_written] = await self._storage.transact(lambda txn: _put(txn, [waiting]))
            waiting.settle(None if is_written else _lost(waiting))
        except Exception as exc:  # noqa: BLE001 - as above
            waiting.settle(exc)


async def _put(txn: Transaction, batch: list[_Waiting]) -> list[bool]:
    """Which of them were at the revision that they must be at."""
    written: set[str] = set()
    for cas in sorted({waiting.cas for waiting in batch}):
        rows = [waiting.row for waiting in batch if waiting.cas == cas]
        written |= await txn.put_rows(CATALOG, rows, cas=cas)
    return [waiting.row.row_id in written for waiting in batch]


def _lost(waiting: _Waiting) -> CasMismatchError:
    return CasMismatchError(f"the row of {waiting.row.row_id} is not at revision {waiting.cas}")
