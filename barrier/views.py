"""One mount's part of the store, as chroot would show it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from barrier.transaction import PrefixTransaction
from core.protocols import (
    CatalogPage,
    CatalogQuery,
    CatalogRow,
    CoreTransaction,
    DecodedCache,
    Entry,
    Names,
    StorageView,
    Transaction,
)

T = TypeVar("T")


class WholeStorage(Protocol):
    """What a view needs of the storage."""

    @property
    def sequence(self) -> int:
        """As StorageView.sequence."""
        ...

    async def get(self, path: str) -> Entry | None:
        """As StorageView.get."""
        ...

    async def list(self, prefix: str, *, after: str = "", limit: int = 0) -> list[str]:
        """As StorageView.list."""
        ...

    async def paths(self, prefix: str, *, after: str = "", limit: int = 0) -> Names:
        """As StorageView.paths."""
        ...

    async def transact(self, body: Callable[[CoreTransaction], Awaitable[T]]) -> T:
        """As CoreStorage.transact."""
        ...

    async def row(self, catalog: str, row_id: str) -> CatalogRow | None:
        """As StorageView.row."""
        ...

    async def row_ids(self, catalog: str, *, after: str = "", limit: int = 0) -> Names:
        """As StorageView.row_ids."""
        ...

    async def find_rows(self, catalog: str, query: CatalogQuery) -> CatalogPage:
        """As StorageView.find_rows."""
        ...

    async def count_rows(
        self,
        catalog: str,
        *,
        states: Sequence[int] = (),
        group: str | None = None,
        due_from: int | None = None,
        due_before: int | None = None,
    ) -> int:
        """As StorageView.count_rows."""
        ...

    def row_cache(self, catalog: str, decode: Callable[[CatalogRow], T], *, capacity: int = 10_000) -> DecodedCache[T]:
        """As StorageView.row_cache."""
        ...

    def entry_cache(
        self,
        view: StorageView,
        prefix: str,
        load: Callable[[StorageView, str, Entry], Awaitable[T]],
        *,
        capacity: int,
        weigh: Callable[[T], int] | None = None,
        budget: int = 0,
        absent: T | None = None,
    ) -> DecodedCache[T]:
        """The cache of a view whose paths stand below `prefix`."""
        ...


class PrefixView:
    """Implements core.protocols.StorageView below `prefix`."""

    def __init__(self, storage: WholeStorage, prefix: str) -> None:
        self._storage = storage
        self._prefix = prefix

    @property
    def sequence(self) -> int:
        """The change sequence, as it is now."""
        return self._storage.sequence

    async def get(self, path: str) -> Entry | None:
        """The entry."""
        return await self._storage.get(self._prefix + path)

    async def list(self, prefix: str, *, after: str = "", limit: int = 0) -> list[str]:
        """Names below `prefix`, sorted."""
        return await self._storage.list(self._prefix + prefix, after=after, limit=limit)

    async def paths(self, prefix: str, *, after: str = "", limit: int = 0) -> Names:
        """What follows `prefix` in every path that starts with it."""
        return await self._storage.paths(self._prefix + prefix, after=after, limit=limit)

    async def transact(self, body: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `body` in one transaction that sees only this view."""
        return await self._storage.transact(lambda whole: body(PrefixTransaction(whole, self._prefix)))

    async def put(self, path: str, value: bytes, *, cas: int | None = None) -> int:
        """A transaction of one write."""
        return await self.transact(lambda transaction: transaction.put(path, value, cas=cas))

    async def delete(self, path: str) -> bool:
        """A transaction of one delete."""
        return await self.transact(lambda transaction: transaction.delete(path))

    def decoded_cache(
        self,
        load: Callable[[StorageView, str, Entry], Awaitable[T]],
        *,
        capacity: int = 10_000,
        weigh: Callable[[T], int] | None = None,
        budget: int = 0,
        absent: T | None = None,
    ) -> DecodedCache[T]:
        """A cache of what `load` makes of an entry of this view."""
        return self._storage.entry_cache(
            self, self._prefix, load, capacity=capacity, weigh=weigh, budget=budget, absent=absent
        )

    async def row(self, catalog: str, row_id: str) -> CatalogRow | None:
        """The row, without its terms. Raises IntegrityError."""
        return await self._storage.row(self._prefix + catalog, row_id)

    async def row_ids(self, catalog: str, *, after: str = "", limit: int = 0) -> Names:
        """Ids of rows, sorted, behind `after`."""
        return await self._storage.row_ids(self._prefix + catalog, after=after, limit=limit)

    async def find_rows(self, catalog: str, query: CatalogQuery) -> CatalogPage:
        """A page of rows. Raises InvalidRequestError for an `after` that is no cursor of this query."""
        return await self._storage.find_rows(self._prefix + catalog, query)

    async def count_rows(
        self,
        catalog: str,
        *,
        states: Sequence[int] = (),
        group: str | None = None,
        due_from: int | None = None,
        due_before: int | None = None,
    ) -> int:
        """How many rows there are of that kind."""
        return await self._storage.count_rows(
            self._prefix + catalog, states=states, group=group, due_from=due_from, due_before=due_before
        )

    def row_cache(self, catalog: str, decode: Callable[[CatalogRow], T], *, capacity: int = 10_000) -> DecodedCache[T]:
        """Decoded rows of a catalog of this view."""
        return self._storage.row_cache(self._prefix + catalog, decode, capacity=capacity)
