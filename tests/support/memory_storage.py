"""CoreStorage in a dictionary: for unit tests of engines, tokens and mounts. It passes the real barrier's tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from core.errors import CasMismatchError, SealedError
from core.protocols import (
    CatalogPage,
    CatalogQuery,
    CatalogRow,
    CoreTransaction,
    DecodedCache,
    Entry,
    Event,
    Record,
    StorageView,
    StoredEvent,
    Transaction,
)
from tests.support import memory_catalog

T = TypeVar("T")
Records = list[Record]  # in a class that has a method `list`, the annotation would name that
Names = list[str]
Stored = list[StoredEvent]


def _folded(names: set[str], after: str, limit: int) -> list[str]:
    """First segments, in order, behind `after`."""
    folded = sorted({n[: n.index("/") + 1] if "/" in n else n for n in names}, key=str.encode)
    folded = [n for n in folded if n.encode() > after.encode()]
    return folded[:limit] if limit else folded


class _State:
    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.records: dict[tuple[str, str], Record] = {}
        self.rows: memory_catalog.Rows = {}
        self.rows_made = 0
        self.events: list[Event] = []
        self.log: list[StoredEvent] = []
        self.numbered = 0
        self.sealed = False
        self.commits = 0
        self.lock = asyncio.Lock()


class _Reader:
    def __init__(self, state: _State, prefix: str = "") -> None:
        self._state = state
        self._prefix = prefix

    async def get(self, path: str) -> Entry | None:
        self._check()
        return self._state.entries.get(self._prefix + path)

    async def list(self, prefix: str, *, after: str = "", limit: int = 0) -> list[str]:
        self._check()
        whole = self._prefix + prefix
        names = {p[len(whole) :] for p in self._state.entries if p.startswith(whole) and p != whole}
        return _folded(names, after, limit)

    async def paths(self, prefix: str, *, after: str = "", limit: int = 0) -> Names:
        self._check()
        whole = self._prefix + prefix
        found = sorted((p[len(whole) :] for p in self._state.entries if p.startswith(whole)), key=str.encode)
        behind = [path for path in found if path.encode() > after.encode()]
        return behind[:limit] if limit else behind

    def _scope(self, catalog: str) -> str:
        return self._prefix + catalog

    async def row(self, catalog: str, row_id: str) -> CatalogRow | None:
        self._check()
        return memory_catalog.shown(self._state.rows.get((self._scope(catalog), row_id)))

    async def row_ids(self, catalog: str, *, after: str = "", limit: int = 0) -> Names:
        self._check()
        rows = memory_catalog.of_scope(self._state.rows, self._scope(catalog))
        found = sorted(row.row_id for row in rows if row.row_id > after)
        return found[:limit] if limit else found

    async def find_rows(self, catalog: str, query: CatalogQuery) -> CatalogPage:
        self._check()
        return memory_catalog.page(self._state.rows, self._scope(catalog), query)

    async def count_rows(
        self,
        catalog: str,
        *,
        states: Sequence[int] = (),
        group: str | None = None,
        due_from: int | None = None,
        due_before: int | None = None,
    ) -> int:
        self._check()
        return memory_catalog.count(self._state.rows, self._scope(catalog), states, group, due_from, due_before)

    async def get_record(self, kind: str, record_id: str) -> Record | None:
        self._check()
        return self._state.records.get((kind, record_id))

    async def record_by_alias(self, kind: str, alias: str) -> Record | None:
        self._check()
        return next((r for (k, _), r in self._state.records.items() if k == kind and alias and r.alias == alias), None)

    async def child_records(self, kind: str, parent: str, *, after: str = "", limit: int = 0) -> Records:
        self._check()
        rows = [r for r in self._of_kind(kind) if r.parent == parent and r.record_id > after]
        return rows[:limit] if limit else rows

    async def records_below(self, kind: str, prefix: str, *, after: str = "", limit: int = 0) -> Records:
        self._check()
        rows = [r for r in self._of_kind(kind) if r.path and r.path.startswith(prefix) and r.path > after]
        rows.sort(key=lambda r: r.path)
        return rows[:limit] if limit else rows

    async def record_names(self, kind: str, prefix: str, *, after: str = "", limit: int = 0) -> Names:
        self._check()
        rows = await self.records_below(kind, prefix)
        return _folded({r.path[len(prefix) :] for r in rows if r.path != prefix}, after, limit)

    async def count_records(self, kind: str, prefix: str = "") -> int:
        self._check()
        return sum(r.path.startswith(prefix) for r in self._of_kind(kind))

    def _of_kind(self, kind: str) -> Records:
        return [r for (k, _), r in sorted(self._state.records.items()) if k == kind]

    async def expired_records(self, kind: str, *, before: int, limit: int) -> Records:
        self._check()
        rows = [
            r
            for (k, _), r in self._state.records.items()
            if k == kind and r.expires_at is not None and r.expires_at <= before
        ]
        return sorted(rows, key=lambda r: (r.expires_at or 0, r.record_id))[:limit]

    async def list_records(self, kind: str, *, after: str = "", limit: int = 0) -> Records:
        self._check()
        rows = [r for (k, i), r in sorted(self._state.records.items()) if k == kind and i > after]
        return rows[:limit] if limit else rows

    async def events_after(self, number: int, *, limit: int) -> Stored:
        self._check()
        return [event for event in self._state.log if event.number > number][:limit]

    async def event_bounds(self) -> tuple[int, int]:
        newest = self._state.numbered
        return (self._state.log[0].number if self._state.log else newest and newest + 1), newest

    async def nth_newest_event(self, count: int) -> int:
        return self._state.log[-1 - count].number if len(self._state.log) > count else 0

    @property
    def events_heard(self) -> int:
        return self._state.numbered

    def _check(self) -> None:
        if self._state.sealed:
            raise SealedError("Vault is sealed")


class _Txn(_Reader):
    async def has(self, path: str) -> bool:
        return await self.get(path) is not None

    async def announce(self, event: Event) -> None:
        self._state.events.append(event)

    async def append_event(self, body: bytes) -> None:
        self._state.numbered += 1
        self._state.log = [*self._state.log, StoredEvent(self._state.numbered, body)]

    async def drop_events(self, *, before: int) -> int:
        kept = [event for event in self._state.log if event.number >= before]
        removed, self._state.log = len(self._state.log) - len(kept), kept
        return removed

    async def put(self, path: str, value: bytes, *, cas: int | None = None) -> int:
        old = await self.get(path)
        revision = old.revision if old else 0
        if cas is not None and cas != revision:
            raise CasMismatchError("check-and-set parameter did not match the current version")
        self._state.entries[self._prefix + path] = Entry(value, revision + 1)
        return revision + 1

    async def delete(self, path: str) -> bool:
        return self._state.entries.pop(self._prefix + path, None) is not None

    async def delete_prefix(self, prefix: str) -> int:
        doomed = [p for p in self._state.entries if p.startswith(self._prefix + prefix)]
        for path in doomed:
            del self._state.entries[path]
        memory_catalog.drop_below(self._state.rows, self._prefix + prefix)
        return len(doomed)

    async def put_row(self, catalog: str, row: CatalogRow, *, cas: int | None = None) -> int:
        self._state.rows_made += 1
        return memory_catalog.put(self._state.rows, self._scope(catalog), row, cas, self._state.rows_made)

    async def put_rows(self, catalog: str, rows: Sequence[CatalogRow], *, cas: int) -> set[str]:
        self._state.rows_made += len(rows)
        return memory_catalog.put_many(self._state.rows, self._scope(catalog), rows, cas, self._state.rows_made)

    async def delete_rows(self, catalog: str, row_ids: Sequence[str]) -> int:
        gone = [self._state.rows.pop((self._scope(catalog), row_id), None) for row_id in set(row_ids)]
        return sum(row is not None for row in gone)

    async def sweep_catalogs(self, *, limit: int) -> bool:
        return False

    async def put_record(self, kind: str, record: Record, *, cas: int | None = None) -> int:
        old = self._state.records.get((kind, record.record_id))
        revision = old.revision if old else 0
        taken = any(
            (r.alias and r.alias == record.alias) or (r.path and r.path == record.path)
            for (k, i), r in self._state.records.items()
            if k == kind and i != record.record_id
        )
        if (cas is not None and cas != revision) or taken:
            raise CasMismatchError("check-and-set parameter did not match the current version")
        self._state.records[kind, record.record_id] = replace(record, revision=revision + 1)
        return revision + 1

    async def delete_record(self, kind: str, record_id: str) -> bool:
        return self._state.records.pop((kind, record_id), None) is not None

    async def delete_records(self, kind: str, record_ids: Sequence[str]) -> int:
        return sum([await self.delete_record(kind, record_id) for record_id in record_ids])


class _Cache:
    """Decodes at every `get`, remembers for `peek` until the next commit."""

    def __init__(self, state: _State, load: Callable[[str], Awaitable[object | None]]) -> None:
        self._state = state
        self._load = load
        self._seen: dict[str, object] = {}
        self._commits = 0

    def peek(self, path: str) -> object | None:
        if self._commits != self._state.commits:
            self._seen.clear()
            self._commits = self._state.commits
        return self._seen.get(path)

    async def get(self, path: str) -> object | None:
        found = self.peek(path)
        if found is None:
            found = await self._load(path)
            if found is not None:
                self._seen[path] = found
        return found


class MemoryStorage(_Reader):
    """The whole barrier (CoreStorage); `view` gives what an engine sees."""

    @property
    def sequence(self) -> int:
        return self._state.commits

    @property
    def events(self) -> list[Event]:
        """What was announced and committed."""
        return self._state.events

    async def transact(self, body: Callable[[CoreTransaction], Awaitable[T]]) -> T:
        self._check()
        async with self._state.lock:
            before = dict(self._state.entries), dict(self._state.records), list(self._state.events), self._state.log
            rows = dict(self._state.rows)
            try:
                result = await body(_Txn(self._state, self._prefix))
            except BaseException:
                self._state.entries, self._state.records, self._state.events, self._state.log = before
                self._state.rows = rows
                raise
            self._state.commits += 1
            return result

    async def put(self, path: str, value: bytes, *, cas: int | None = None) -> int:
        async def body(txn: Transaction) -> int:
            return await txn.put(path, value, cas=cas)

        return await self.transact(body)

    async def delete(self, path: str) -> bool:
        async def body(txn: Transaction) -> bool:
            return await txn.delete(path)

        return await self.transact(body)

    def view(self, prefix: str) -> StorageView:
        return MemoryStorage(self._state, self._prefix + prefix)

    def decoded_cache(
        self,
        load: Callable[[StorageView, str, Entry], Awaitable[T]],
        *,
        capacity: int = 10_000,
        weigh: Callable[[T], int] | None = None,
        budget: int = 0,
        absent: T | None = None,
    ) -> DecodedCache[T]:
        async def fill(path: str) -> T | None:
            entry = await self.get(path)
            return absent if entry is None else await load(self, path, entry)

        return _Cache(self._state, fill)  # type: ignore[return-value]

    def record_cache(self, kind: str, decode: Callable[[Record], T], *, capacity: int = 10_000) -> DecodedCache[T]:
        async def fill(record_id: str) -> T | None:
            record = await self.get_record(kind, record_id)
            return None if record is None else decode(record)

        return _Cache(self._state, fill)  # type: ignore[return-value]

    def row_cache(self, catalog: str, decode: Callable[[CatalogRow], T], *, capacity: int = 10_000) -> DecodedCache[T]:
        async def fill(row_id: str) -> T | None:
            row = await self.row(catalog, row_id)
            return None if row is None else decode(row)

        return _Cache(self._state, fill)  # type: ignore[return-value]


def memory_storage() -> MemoryStorage:
    """An empty one."""
    return MemoryStorage(_State())
