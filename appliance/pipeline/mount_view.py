"""What an engine sees of the barrier: its mount's part, for as long as the mount exists.

Another worker may unmount an engine while this one is inside a request. So every write of an engine first reads, in
the same transaction, the row of its mount: after an unmount nothing can be written below it again.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from appliance.events.record import Announcer
from core.errors import UnsupportedPathError
from core.protocols import (
    CatalogRow,
    CoreStorage,
    CoreTransaction,
    DecodedCache,
    Entry,
    Event,
    Names,
    StorageView,
    Transaction,
)

T = TypeVar("T")


class _BelowPrefix:
    """A transaction, as chroot would show it."""

    __slots__ = ("_announcer", "_prefix", "_txn")

    def __init__(self, txn: CoreTransaction, prefix: str, announcer: Announcer) -> None:
        self._txn = txn
        self._prefix = prefix
        self._announcer = announcer

    async def get(self, path: str) -> Entry | None:
        return await self._txn.get(self._prefix + path)

    async def list(self, prefix: str, *, after: str = "", limit: int = 0) -> list[str]:
        return await self._txn.list(self._prefix + prefix, after=after, limit=limit)

    async def put(self, path: str, value: bytes, *, cas: int | None = None) -> int:
        return await self._txn.put(self._prefix + path, value, cas=cas)

    async def delete(self, path: str) -> bool:
        return await self._txn.delete(self._prefix + path)

    async def delete_prefix(self, prefix: str) -> int:
        return await self._txn.delete_prefix(self._prefix + prefix)

    async def row(self, catalog: str, row_id: str) -> CatalogRow | None:
        return await self._txn.row(self._prefix + catalog, row_id)

    async def put_row(self, catalog: str, row: CatalogRow, *, cas: int | None = None) -> int:
        return await self._txn.put_row(self._prefix + catalog, row, cas=cas)

    async def put_rows(self, catalog: str, rows: Sequence[CatalogRow], *, cas: int) -> set[str]:
        return await self._txn.put_rows(self._prefix + catalog, rows, cas=cas)

    async def delete_rows(self, catalog: str, row_ids: Sequence[str]) -> int:
        return await self._txn.delete_rows(self._prefix + catalog, row_ids)

    async def announce(self, event: Event) -> None:
        await self._txn.append_event(self._announcer.body(event))


class MountView:
    """A StorageView whose writes need the mount's row at `row`; `announcer` says where its events happen."""

    def __init__(self, storage: CoreStorage, *, prefix: str, row: str, announcer: Announcer) -> None:
        self._storage = storage
        self._announcer = announcer
        self._view = storage.view(prefix)
        self._prefix = prefix
        self._row = row
        # reads need no guard: after an unmount there is nothing to read
        self.get = self._view.get
        self.row, self.row_ids = self._view.row, self._view.row_ids
        self.find_rows, self.count_rows = self._view.find_rows, self._view.count_rows
        self.row_cache = self._view.row_cache

    @property
    def sequence(self) -> int:
        """The change sequence, as it is now."""
        return self._storage.sequence

    async def list(self, prefix: str, *, after: str = "", limit: int = 0) -> list[str]:
        """Names below `prefix`, sorted; a folder ends in "/"."""
        return await self._view.list(prefix, after=after, limit=limit)

    async def paths(self, prefix: str, *, after: str = "", limit: int = 0) -> Names:
        """What follows `prefix` in every path that starts with it, sorted."""
        return await self._view.paths(prefix, after=after, limit=limit)

    async def transact(self, body: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `body` and commit it. Raises UnsupportedPathError when the mount is gone."""

        async def guarded(txn: CoreTransaction) -> T:
            if not await txn.has(self._row):
                raise UnsupportedPathError("the mount was disabled meanwhile")
            return await body(_BelowPrefix(txn, self._prefix, self._announcer))

        return await self._storage.transact(guarded)

    def within(self, txn: CoreTransaction) -> Transaction:
        """The mount's part of a transaction that the appliance makes; who made it has looked at the mount's row."""
        return _BelowPrefix(txn, self._prefix, self._announcer)

    async def put(self, path: str, value: bytes, *, cas: int | None = None) -> int:
        """A transaction of one write."""

        async def body(txn: Transaction) -> int:
            return await txn.put(path, value, cas=cas)

        return await self.transact(body)

    async def delete(self, path: str) -> bool:
        """A transaction of one delete."""

        async def body(txn: Transaction) -> bool:
            return await txn.delete(path)

        return await self.transact(body)

    def decoded_cache(
        self,
        load: Callable[[StorageView, str, Entry], Awaitable[T]],
        *,
        capacity: int = 10_000,
        weigh: Callable[[T], int] | None = None,
        budget: int = 0,
        absent: T | None = None,
    ) -> DecodedCache[T]:
        """A cache of what `load` makes of an entry; reads only."""
        return self._view.decoded_cache(load, capacity=capacity, weigh=weigh, budget=budget, absent=absent)
