"""The encrypted transactional store, once the seal is open: core.protocols.CoreStorage."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from weakref import WeakSet

from barrier import catalog_names, catalog_reads, catalog_rows, entries, events, names, records
from barrier.cache import Evictable, LoadingCache
from barrier.catalog_names import EVERYTHING
from barrier.changes import SEQUENCE, ChangeRing, path_hash
from barrier.connection import Statements
from barrier.database import Database
from barrier.keyring import Keyring, UnknownTermError
from barrier.transaction import BarrierTransaction, Names, Records, record_name, row_name
from barrier.views import PrefixView
from core.errors import SealedError
from core.protocols import (
    CatalogPage,
    CatalogQuery,
    CatalogRow,
    CoreTransaction,
    DecodedCache,
    Entry,
    Record,
    StorageView,
    StoredEvent,
)

T = TypeVar("T")

Stored = list[StoredEvent]  # in a class that has a method `list`, the annotation would name that

SEALED = "Vault is sealed"  # what scripts around Vault look for


class _EventBell:
    """Counts the changes of the log of events, as `sync` learns of them."""

    def __init__(self) -> None:
        self.rings = 0
        self._name = path_hash(events.RING_NAME)

    def evict(self, hashes: set[int]) -> None:
        """What was changed."""
        if self._name in hashes:
            self.rings += 1

    def clear(self) -> None:
        """Anything may have been."""
        self.rings += 1


class BarrierStorage:
    """Every access raises SealedError while no keyring is here.

    `reload_keyring` fetches a keyring that another process has rotated; `reserve` makes room in the active term's
    budget of encryptions.
    """

    def __init__(
        self,
        database: Database,
        ring: ChangeRing,
        *,
        reload_keyring: Callable[[], Awaitable[None]],
        reserve: Callable[[], Awaitable[None]],
    ) -> None:
        self._database = database
        self._ring = ring
        self._words = ring.words  # what sync() reads, without a call
        self._seen = ring.sequence
        self._keyring: Keyring | None = None
        self._reload_keyring = reload_keyring
        self._reserve = reserve
        self._reserving = asyncio.Lock()
        self._caches: WeakSet[Evictable] = WeakSet()
        self._bell = _EventBell()
        self._caches.add(self._bell)
        self._unpublished: list[str] = []  # what was committed a moment ago

    # --- the seal's side ------------------------------------------------------------------------------------------

    def unseal(self, keyring: Keyring) -> None:
        """Serve with this keyring."""
        self._keyring = keyring

    def seal(self) -> None:
        """Forget the keyring and all that it opened."""
        self._keyring = None
        self._drop_caches()

    @property
    def keyring(self) -> Keyring:
        """The keyring. Raises SealedError."""
        if self._keyring is None:
            raise SealedError(SEALED)
        return self._keyring

    # --- caches ---------------------------------------------------------------------------------------------------

    @property
    def sequence(self) -> int:
        """The change sequence, as it is now."""
        return self._words[SEQUENCE]

    def sync(self) -> int:
        """Forget what any process has changed; called at the start of each request.

        Answers the change sequence that the caches stand at: while it is the same, nothing was changed.
        """
        if self._words[SEQUENCE] != self._seen:
            self._evict_changed()
        return self._seen

    def _evict_changed(self) -> None:
        now = self._ring.sequence
        changed = self._ring.since(self._seen)
        self._seen = now
        if changed is None:
            self._drop_caches()
        else:
            hashes = set(changed)
            for cache in self._caches:
                cache.evict(hashes)

    def _drop_caches(self) -> None:
        for cache in self._caches:
            cache.clear()

    def decoded_cache(
        self,
        load: Callable[[StorageView, str, Entry], Awaitable[T]],
        *,
        capacity: int = 10_000,
        weigh: Callable[[T], int] | None = None,
        budget: int = 0,
        absent: T | None = None,
    ) -> DecodedCache[T]:
        """A cache of what `load` makes of an entry."""
        return self.entry_cache(self, "", load, capacity=capacity, weigh=weigh, budget=budget, absent=absent)

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

        async def load_path(path: str) -> T | None:
            entry = await view.get(path)
            return absent if entry is None else await load(view, path, entry)

        cache = LoadingCache(
            self._ring,
            load_path,
            ring_name=lambda path: prefix + path,
            capacity=capacity,
            weigh=weigh,
            budget=budget,
        )
        self._caches.add(cache)
        return cache

    def record_cache(self, kind: str, decode: Callable[[Record], T], *, capacity: int = 10_000) -> DecodedCache[T]:
        """Decoded records in memory, by record_id."""

        async def load_record(record_id: str) -> T | None:
            record = await self.get_record(kind, record_id)
            return None if record is None else decode(record)

        cache = LoadingCache(
            self._ring, load_record, ring_name=lambda record_id: record_name(kind, record_id), capacity=capacity
        )
        self._caches.add(cache)
        return cache

    # --- entries --------------------------------------------------------------------------------------------------

    async def get(self, path: str) -> Entry | None:
        """The entry, decrypted and authenticated under its path. Raises IntegrityError."""
        return await self._read(lambda connection, keyring: entries.load_entry(connection, keyring, path))

    async def list(self, prefix: str, *, after: str = "", limit: int = 0) -> list[str]:
        """Names below `prefix`, sorted; a folder ends in "/"."""
        return await self._scan(
            lambda connection, _keyring: names.load_names(connection, names.ENTRIES, prefix, after=after, limit=limit)
        )

    async def paths(self, prefix: str, *, after: str = "", limit: int = 0) -> Names:
        """What follows `prefix` in every path that starts with it, at any depth, sorted, behind `after`."""
        return await self._scan(
            lambda connection, _keyring: entries.load_paths(connection, prefix, after=after, limit=limit)
        )

    async def put(self, path: str, value: bytes, *, cas: int | None = None) -> int:
        """A transaction of one write."""
        return await self.transact(lambda transaction: transaction.put(path, value, cas=cas))

    async def delete(self, path: str) -> bool:
        """A transaction of one delete."""
        return await self.transact(lambda transaction: transaction.delete(path))

    def view(self, prefix: str) -> StorageView:
        """The part below `prefix`; what an engine gets."""
        return PrefixView(self, prefix)

    # --- records --------------------------------------------------------------------------------------------------

    async def get_record(self, kind: str, record_id: str) -> Record | None:
        """The record, authenticated with its columns. Raises IntegrityError."""
        return await self._read(lambda connection, keyring: records.load_record(connection, keyring, kind, record_id))

    async def record_by_alias(self, kind: str, alias: str) -> Record | None:
        """The record of that alias."""
        return await self._read(lambda connection, keyring: records.load_by_alias(connection, keyring, kind, alias))

    async def child_records(self, kind: str, parent: str, *, after: str = "", limit: int = 0) -> Records:
        """Records with that parent, by record_id, behind `after`."""
        return await self._scan(
            lambda connection, keyring: records.load_children(
                connection, keyring, kind, parent, after=after, limit=limit
            )
        )

    async def records_below(self, kind: str, prefix: str, *, after: str = "", limit: int = 0) -> Records:
        """Records whose path starts with `prefix`, by path, behind the path `after`; served by an index."""
        return await self._scan(
            lambda connection, keyring: records.load_below(connection, keyring, kind, prefix, after=after, limit=limit)
        )

    async def record_names(self, kind: str, prefix: str, *, after: str = "", limit: int = 0) -> Names:
        """Names below `prefix` in the paths of records, sorted; a folder ends in "/"."""
        return await self._scan(
            lambda connection, _keyring: names.load_names(
                connection, names.RECORDS, prefix, after=after, limit=limit, kind=kind
            )
        )

    async def count_records(self, kind: str, prefix: str = "") -> int:
        """How many records have a path that starts with `prefix`; with "" all of the kind."""
        return await self._scan(lambda connection, _keyring: records.count(connection, kind, prefix))

    async def expired_records(self, kind: str, *, before: int, limit: int) -> Records:
        """Records with expires_at <= before, the oldest first; served by an index."""
        return await self._scan(
            lambda connection, keyring: records.load_expired(connection, keyring, kind, before=before, limit=limit)
        )

    async def list_records(self, kind: str, *, after: str = "", limit: int = 0) -> Records:
        """Records by record_id."""
        return await self._scan(
            lambda connection, keyring: records.load_records(connection, keyring, kind, after=after, limit=limit)
        )

    # --- catalogs -------------------------------------------------------------------------------------------------

    async def row(self, catalog: str, row_id: str) -> CatalogRow | None:
        """The row; `catalog` is the path of its view and its name. Raises IntegrityError."""
        return await self._read(lambda connection, keyring: catalog_rows.load_row(connection, keyring, catalog, row_id))

    async def row_ids(self, catalog: str, *, after: str = "", limit: int = 0) -> Names:
        """Ids of rows, sorted, behind `after`."""
        return await self._scan(
            lambda connection, _keyring: catalog_rows.load_ids(connection, catalog, after=after, limit=limit)
        )

    async def find_rows(self, catalog: str, query: CatalogQuery) -> CatalogPage:
        """A page of rows. Raises InvalidRequestError for an `after` that is no cursor of this query."""
        return await self._scan(lambda connection, keyring: catalog_reads.find(connection, keyring, catalog, query))

    async def count_rows(
        self,
        catalog: str,
        *,
        states: Sequence[int] = (),
        group: str | None = None,
        due_from: int | None = None,
        due_before: int | None = None,
    ) -> int:
        """How many rows there are of that kind; reads an index, some millions a second."""
        query = CatalogQuery(states=tuple(states), group=group, due_from=due_from, due_before=due_before)
        return await self._scan(lambda connection, _keyring: catalog_reads.count(connection, catalog, query))

    def row_cache(self, catalog: str, decode: Callable[[CatalogRow], T], *, capacity: int = 10_000) -> DecodedCache[T]:
        """Decoded rows of a catalog in memory, by row_id."""

        async def load_one(row_id: str) -> T | None:
            row = await self.row(catalog, row_id)
            return None if row is None else decode(row)

        cache = LoadingCache(
            self._ring, load_one, ring_name=lambda row_id: row_name(catalog, row_id), capacity=capacity
        )
        self._caches.add(cache)
        return cache

    async def sweep_catalogs(self, *, limit: int = 1000) -> bool:
        """Remove some of what is left of catalogs whose mount is gone; whether there may be more."""
        if not await self._read(lambda connection, _keyring: catalog_names.has_dropped(connection)):
            return False  # no transaction for nothing

        async def body(transaction: CoreTransaction) -> bool:
            return await transaction.sweep_catalogs(limit=limit)

        return await self.transact(body)

    # --- events ---------------------------------------------------------------------------------------------------

    @property
    def events_heard(self) -> int:
        """A number that changes when `sync` has learned of new events on this node."""
        return self._bell.rings

    async def events_after(self, number: int, *, limit: int) -> Stored:
        """Committed events behind that number, in their order; the body of one that does not open is empty."""
        try:
            return await self._read(
                lambda connection, keyring: events.load_after(connection, keyring, number, limit=limit)
            )
        except UnknownTermError:  # also after fetching the keyring anew
            return await self._read(
                lambda connection, keyring: events.load_after(connection, keyring, number, limit=limit, is_newest=True)
            )

    async def event_bounds(self) -> tuple[int, int]:
        """From which number on nothing was removed, and the newest that can be read; (0, 0): there never was one."""
        return await self._read(lambda connection, _keyring: events.bounds(connection))

    async def nth_newest_event(self, count: int) -> int:
        """The number of the event that `count` others are newer than; 0 when there are not so many."""
        return await self._scan(lambda connection, _keyring: events.nth_newest(connection, count))

    # --- reading and writing --------------------------------------------------------------------------------------

    async def _read(self, work: Callable[[Statements, Keyring], Awaitable[T]]) -> T:
        return await self._run(self._database.read, work)

    async def _scan(self, work: Callable[[Statements, Keyring], Awaitable[T]]) -> T:
        return await self._run(self._database.scan, work)

    async def _run(
        self,
        run: Callable[[Callable[[Statements], Awaitable[T]]], Awaitable[T]],
        work: Callable[[Statements, Keyring], Awaitable[T]],
    ) -> T:
        keyring = self.keyring
        try:
            return await run(lambda connection: work(connection, keyring))
        except UnknownTermError:
            await self._reload_keyring()
        fresh = self.keyring
        return await run(lambda connection: work(connection, fresh))

    async def transact(self, body: Callable[[CoreTransaction], Awaitable[T]]) -> T:
        """Run `body` in one transaction and commit it; durable, and known to every process, when this returns."""
        if self.keyring.budget <= 0:
            await self._make_room()
        try:
            return await self._transact_once(body)
        except UnknownTermError:
            await self._reload_keyring()
        return await self._transact_once(body)

    async def _transact_once(self, body: Callable[[CoreTransaction], Awaitable[T]]) -> T:
        touched: list[str] = []

        async def work(connection: Statements) -> T:
            transaction = BarrierTransaction(connection, self.keyring)
            touched[:] = ()
            try:
                return await body(transaction)
            finally:
                touched[:] = transaction.end()

        def committed() -> None:
            self._unpublished.extend(touched)

        return await self._database.write(work, committed=committed, settled=self._publish, may_share=True)

    def _publish(self) -> None:
        """Tell all processes, and this one at once: what is read back must be what was written."""
        touched, self._unpublished = self._unpublished, []
        if EVERYTHING in touched:
            self._ring.publish_all()
        else:
            self._ring.publish(touched)
        self.sync()

    async def _make_room(self) -> None:
        async with self._reserving:
            if self.keyring.budget <= 0:
                await self._reserve()
