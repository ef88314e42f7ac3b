"""A transaction over entries and records, as engines and the appliance see it."""

from collections.abc import Sequence

from barrier import catalog_bulk, catalog_names, catalog_rows, entries, events, names, records
from barrier.connection import Statements
from barrier.keyring import Keyring
from barrier.paths import check_name
from core.protocols import CatalogRow, Entry, Event, Record, Transaction

# in a class that has a method `list`, the annotation would name that
Records = list[Record]
Names = list[str]


def record_name(kind: str, record_id: str) -> str:
    """What the change ring calls a record; no entry's path begins with NUL."""
    return f"\0{kind}\0{record_id}"


def row_name(catalog: str, row_id: str) -> str:
    """What the change ring calls a row of a catalog."""
    return f"\0row\0{catalog}\0{row_id}"


class BarrierTransaction:
    """Implements core.protocols.CoreTransaction on a connection that has begun a transaction."""

    def __init__(self, connection: Statements, keyring: Keyring) -> None:
        self._connection: Statements | None = connection
        self._keyring = keyring
        self._touched: list[str] = []
        self._appended = 0

    def _live(self) -> Statements:
        if self._connection is None:
            raise RuntimeError("the transaction has ended")
        return self._connection

    def end(self) -> Sequence[str]:
        """Refuse further use, which would write outside the transaction; the names of what it changed."""
        self._connection = None
        return self._touched

    async def get(self, path: str) -> Entry | None:
        """The entry as this transaction sees it."""
        return await entries.load_entry(self._live(), self._keyring, path)

    async def list(self, prefix: str, *, after: str = "", limit: int = 0) -> list[str]:
        """Names below `prefix`, sorted."""
        return await names.load_names(self._live(), names.ENTRIES, prefix, after=after, limit=limit)

    async def put(self, path: str, value: bytes, *, cas: int | None = None) -> int:
        """Write; answers the new revision. Raises CasMismatchError."""
        check_name(path)
        revision = await entries.store_entry(self._live(), self._keyring, path, value, cas=cas)
        self._touched.append(path)
        return revision

    async def delete(self, path: str) -> bool:
        """Remove the entry; whether there was one."""
        removed = await entries.remove_entry(self._live(), path)
        if removed:
            self._touched.append(path)
        return removed

    async def delete_prefix(self, prefix: str) -> int:
        """Remove every entry whose path starts with `prefix`, and the catalogs of views there; how many entries."""
        removed = await entries.remove_prefix(self._live(), prefix)
        self._touched += removed
        if await catalog_names.drop_below(self._live(), prefix):
            self._touched.append(catalog_names.EVERYTHING)
        return len(removed)

    async def row(self, catalog: str, row_id: str) -> CatalogRow | None:
        """The row; `catalog` is the path of its view and its name."""
        return await catalog_rows.load_row(self._live(), self._keyring, catalog, row_id)

    async def put_row(self, catalog: str, row: CatalogRow, *, cas: int | None = None) -> int:
        """Write; answers the new revision. Raises CasMismatchError."""
        revision = await catalog_rows.store_row(self._live(), self._keyring, catalog, row, cas=cas)
        self._touched.append(row_name(catalog, row.row_id))
        return revision

    async def put_rows(self, catalog: str, rows: Sequence[CatalogRow], *, cas: int) -> set[str]:
        """Write those that are at revision `cas`, in few statements; their ids."""
        written = await catalog_bulk.store_rows(self._live(), self._keyring, catalog, rows, cas=cas)
        self._touched += (row_name(catalog, row_id) for row_id in written)
        return written

    async def delete_rows(self, catalog: str, row_ids: Sequence[str]) -> int:
        """Remove those that exist, in few statements; how many there were."""
        removed = await catalog_rows.remove_rows(self._live(), catalog, row_ids)
        self._touched += (row_name(catalog, row_id) for row_id in removed)
        return len(removed)

    async def sweep_catalogs(self, *, limit: int) -> bool:
        """Remove about so many rows of catalogs that are gone; whether there may be more."""
        return await catalog_names.sweep(self._live(), limit)

    async def get_record(self, kind: str, record_id: str) -> Record | None:
        """The record."""
        return await records.load_record(self._live(), self._keyring, kind, record_id)

    async def record_by_alias(self, kind: str, alias: str) -> Record | None:
        """The record of that alias."""
        return await records.load_by_alias(self._live(), self._keyring, kind, alias)

    async def child_records(self, kind: str, parent: str, *, after: str = "", limit: int = 0) -> Records:
        """Records with that parent, by record_id, behind `after`."""
        return await records.load_children(self._live(), self._keyring, kind, parent, after=after, limit=limit)

    async def records_below(self, kind: str, prefix: str, *, after: str = "", limit: int = 0) -> Records:
        """Records whose path starts with `prefix`, by path, behind the path `after`."""
        return await records.load_below(self._live(), self._keyring, kind, prefix, after=after, limit=limit)

    async def record_names(self, kind: str, prefix: str, *, after: str = "", limit: int = 0) -> Names:
        """Names below `prefix` in the paths of records, sorted."""
        return await names.load_names(self._live(), names.RECORDS, prefix, after=after, limit=limit, kind=kind)

    async def count_records(self, kind: str, prefix: str = "") -> int:
        """How many records have a path that starts with `prefix`; with "" all of the kind."""
        return await records.count(self._live(), kind, prefix)

    async def expired_records(self, kind: str, *, before: int, limit: int) -> Records:
        """Records with expires_at <= before, the oldest first."""
        return await records.load_expired(self._live(), self._keyring, kind, before=before, limit=limit)

    async def list_records(self, kind: str, *, after: str = "", limit: int = 0) -> Records:
        """Records by record_id."""
        return await records.load_records(self._live(), self._keyring, kind, after=after, limit=limit)

    async def put_record(self, kind: str, record: Record, *, cas: int | None = None) -> int:
        """Write; answers the new revision. Raises CasMismatchError."""
        revision = await records.store_record(self._live(), self._keyring, kind, record, cas=cas)
        self._touched.append(record_name(kind, record.record_id))
        return revision

    async def delete_record(self, kind: str, record_id: str) -> bool:
        """Remove it; whether there was one."""
        removed = await records.remove_record(self._live(), kind, record_id)
        if removed:
            self._touched.append(record_name(kind, record_id))
        return removed

    async def delete_records(self, kind: str, record_ids: Sequence[str]) -> int:
        """Remove those that exist, in few statements; how many there were."""
        removed = await records.remove_records(self._live(), kind, record_ids)
        self._touched += (record_name(kind, record_id) for record_id in removed)
        return len(removed)

    async def announce(self, event: Event) -> None:
        """Only a mount's view knows where it happened."""
        raise RuntimeError(f"{event.type} is announced at no mount")

    async def has(self, path: str) -> bool:
        """Whether there is such an entry, without opening it."""
        return await entries.has_entry(self._live(), path)

    async def append_event(self, body: bytes) -> None:
        """Add to the log of events."""
        await events.append(self._live(), self._keyring, body, place=self._appended)
        if not self._appended:
            self._touched.append(events.RING_NAME)
        self._appended += 1

    async def drop_events(self, *, before: int) -> int:
        """Remove those with a lower number; how many."""
        return await events.drop(self._live(), before=before)


class PrefixTransaction:
    """A transaction as a view of one prefix shows it; implements core.protocols.Transaction."""

    def __init__(self, transaction: Transaction, prefix: str) -> None:
        self._transaction = transaction
        self._prefix = prefix

    async def get(self, path: str) -> Entry | None:
        """The entry as this transaction sees it."""
        return await self._transaction.get(self._prefix + path)

    async def list(self, prefix: str, *, after: str = "", limit: int = 0) -> list[str]:
        """Names below `prefix`, sorted."""
        return await self._transaction.list(self._prefix + prefix, after=after, limit=limit)

    async def put(self, path: str, value: bytes, *, cas: int | None = None) -> int:
        """Write; answers the new revision. Raises CasMismatchError."""
        return await self._transaction.put(self._prefix + path, value, cas=cas)

    async def delete(self, path: str) -> bool:
        """Remove the entry; whether there was one."""
        return await self._transaction.delete(self._prefix + path)

    async def delete_prefix(self, prefix: str) -> int:
        """Remove every entry whose path starts with `prefix`; how many."""
        return await self._transaction.delete_prefix(self._prefix + prefix)

    async def row(self, catalog: str, row_id: str) -> CatalogRow | None:
        """The row, without its terms."""
        return await self._transaction.row(self._prefix + catalog, row_id)

    async def put_row(self, catalog: str, row: CatalogRow, *, cas: int | None = None) -> int:
        """Write; answers the new revision. Raises CasMismatchError."""
        return await self._transaction.put_row(self._prefix + catalog, row, cas=cas)

    async def put_rows(self, catalog: str, rows: Sequence[CatalogRow], *, cas: int) -> set[str]:
        """Write those that are at revision `cas`, in few statements; their ids."""
        return await self._transaction.put_rows(self._prefix + catalog, rows, cas=cas)

    async def delete_rows(self, catalog: str, row_ids: Sequence[str]) -> int:
        """Remove those that exist, in few statements; how many there were."""
        return await self._transaction.delete_rows(self._prefix + catalog, row_ids)

    async def announce(self, event: Event) -> None:
        """As the transaction beneath does it."""
        await self._transaction.announce(event)
