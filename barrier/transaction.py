"""A transaction over entries and records, as engines and the appliance see it."""

from barrier import entries, records
from barrier.connection import Statements
from barrier.keyring import Keyring
from barrier.paths import check_name
from core.protocols import Entry, Record, Transaction

Records = list[Record]  # in a class that has a method `list`, the annotation would name that


def record_name(kind: str, record_id: str) -> str:
    """What the change ring calls a record; no entry's path begins with NUL."""
    return f"\0{kind}\0{record_id}"


class BarrierTransaction:
    """Implements core.protocols.CoreTransaction on a connection that has begun a transaction."""

    def __init__(self, connection: Statements, keyring: Keyring) -> None:
        self._connection = connection
        self._keyring = keyring
        self.touched: list[str] = []

    async def get(self, path: str) -> Entry | None:
        """The entry as this transaction sees it."""
        return await entries.load_entry(self._connection, self._keyring, path)

    async def list(self, prefix: str, *, after: str = "", limit: int = 0) -> list[str]:
        """Names below `prefix`, sorted."""
        return await entries.load_names(self._connection, prefix, after=after, limit=limit)

    async def put(self, path: str, value: bytes, *, cas: int | None = None) -> int:
        """Write; answers the new revision. Raises CasMismatchError."""
        check_name(path)
        revision = await entries.store_entry(self._connection, self._keyring, path, value, cas=cas)
        self.touched.append(path)
        return revision

    async def delete(self, path: str) -> bool:
        """Remove the entry; whether there was one."""
        removed = await entries.remove_entry(self._connection, path)
        if removed:
            self.touched.append(path)
        return removed

    async def delete_prefix(self, prefix: str) -> int:
        """Remove every entry whose path starts with `prefix`; how many."""
        removed = await entries.remove_prefix(self._connection, prefix)
        self.touched += removed
        return len(removed)

    async def get_record(self, kind: str, record_id: str) -> Record | None:
        """The record."""
        return await records.load_record(self._connection, self._keyring, kind, record_id)

    async def record_by_alias(self, kind: str, alias: str) -> Record | None:
        """The record of that alias."""
        return await records.load_by_alias(self._connection, self._keyring, kind, alias)

    async def child_records(self, kind: str, parent: str) -> Records:
        """Every record with that parent."""
        return await records.load_children(self._connection, self._keyring, kind, parent)

    async def expired_records(self, kind: str, *, before: int, limit: int) -> Records:
        """Records with expires_at <= before, the oldest first."""
        return await records.load_expired(self._connection, self._keyring, kind, before=before, limit=limit)

    async def list_records(self, kind: str, *, after: str = "", limit: int = 0) -> Records:
        """Records by record_id."""
        return await records.load_records(self._connection, self._keyring, kind, after=after, limit=limit)

    async def put_record(self, kind: str, record: Record, *, cas: int | None = None) -> int:
        """Write; answers the new revision. Raises CasMismatchError."""
        revision = await records.store_record(self._connection, self._keyring, kind, record, cas=cas)
        self.touched.append(record_name(kind, record.record_id))
        return revision

    async def delete_record(self, kind: str, record_id: str) -> bool:
        """Remove it; whether there was one."""
        removed = await records.remove_record(self._connection, kind, record_id)
        if removed:
            self.touched.append(record_name(kind, record_id))
        return removed


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
