"""Changing the mount table: enabling, tuning, moving and disabling engines and login methods."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import msgspec

from appliance.mount_table import (
    EMPTY_TABLE,
    ROWS,
    TABLE,
    MountEntry,
    MountTable,
    check_free,
    check_mount_path,
    load_table,
    read_mounts,
    read_namespaces,
)
from appliance.namespaces import ROOT
from appliance.transactions import transact_again
from core.clock import Clock
from core.errors import InvalidRequestError
from core.ids import new_uuid, random_base62
from core.protocols import CoreStorage, CoreTransaction

T = TypeVar("T")

_ATTEMPTS = 5  # mounts change by hand: a fifth collision in a row means something else is wrong
_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(MountEntry).decode


class KnownTypes(Protocol):
    """Which engines can be mounted."""

    def __contains__(self, name: object) -> bool: ...

    def names(self) -> list[str]:
        """Every mount type, sorted."""
        ...


class MountStore:
    """Reads and changes the table. Every change is one transaction over the rows and `core/mount-table`."""

    def __init__(self, storage: CoreStorage, clock: Clock, *, types: KnownTypes, methods: KnownTypes) -> None:
        """`types` are engines, `methods` login methods."""
        self._storage = storage
        self._clock = clock
        self._types = types
        self._methods = methods
        self._cache = storage.decoded_cache(load_table, capacity=1)

    def peek(self) -> MountTable | None:
        """The table, if this worker knows the present one."""
        return self._cache.peek(TABLE)

    async def table(self) -> MountTable:
        """The present table."""
        return await self._cache.get(TABLE) or EMPTY_TABLE

    async def enable(self, wanted: MountEntry) -> MountEntry:
        """Store a new mount; of two at the same path one wins. Raises InvalidRequestError."""
        check_mount_path(wanted.path)
        known = self._methods if wanted.is_auth else self._types
        if wanted.type not in known:
            kind = "login method" if wanted.is_auth else "engine"
            raise InvalidRequestError(
                f"this version of Mimir has no {kind} of that type (yet); it has: {', '.join(known.names())}"
            )
        entry = new_mount(wanted, self._clock)

        async def body(txn: CoreTransaction) -> None:
            await _check_place(txn, entry)
            await write_new_mount(txn, entry)

        await self.alter(body)
        return entry

    async def remove(self, entry: MountEntry) -> bool:
        """Remove a vacated mount and all its data at once; whether it was still there."""

        async def body(txn: CoreTransaction) -> bool:
            row = await txn.get(entry.row)
            if row is None:
                return False
            check_vacated(_decode(row.value), entry)
            await txn.delete(entry.row)
            await txn.delete_prefix(entry.data_prefix)
            return True

        return await self.alter(body)

    async def change(self, uuid: str, change: Callable[[MountEntry], MountEntry]) -> MountEntry | None:
        """Replace a mount by what `change` makes of it; None when it is gone. A new place must be free."""

        async def body(txn: CoreTransaction) -> MountEntry | None:
            row = await txn.get(ROWS + uuid)
            if row is None:
                return None
            before = _decode(row.value)
            after = change(before)
            if after.full_path != before.full_path:
                await _check_place(txn, after)
            await txn.put(after.row, _encode(after))
            return after

        return await self.alter(body)

    async def alter(self, body: Callable[[CoreTransaction], Awaitable[T]]) -> T:
        """Run `body` in a transaction that rewrites the table entry; again when another worker was faster."""

        async def whole(txn: CoreTransaction) -> T:
            table = await txn.get(TABLE)
            result = await body(txn)
            await txn.put(TABLE, b"{}", cas=table.revision if table else 0)
            return result

        return await transact_again(self._storage, whole, attempts=_ATTEMPTS)


async def _check_place(txn: CoreTransaction, entry: MountEntry) -> None:
    namespaces = await read_namespaces(txn)
    if entry.namespace != ROOT.id and not any(row.id == entry.namespace and not row.tainted for row in namespaces):
        raise InvalidRequestError("the namespace was deleted, or is being deleted")
    mounts = [row.full_path for row in await read_mounts(txn) if row.uuid != entry.uuid]
    inside = [row.path for row in namespaces if row.path != entry.namespace_path]
    check_free(
        entry.full_path,
        [*mounts, *(path for path in inside if path.startswith(entry.namespace_path))],
        inside=entry.namespace_path,
    )


def check_vacated(now: MountEntry, then: MountEntry) -> None:
    """Raise InvalidRequestError unless the mount is as who vacated it left it: nothing new hangs on it."""
    if not now.tainted or now.full_path != then.full_path:
        raise InvalidRequestError(
            f"somebody else moved or restored {then.path} meanwhile; look where it is, and try again"
        )


def new_mount(wanted: MountEntry, clock: Clock) -> MountEntry:
    """The mount with what tells it from every other."""
    prefix = f"auth_{wanted.type}" if wanted.is_auth else wanted.type
    accessor = f"{prefix}_{random_base62(8).lower()}"
    return msgspec.structs.replace(wanted, uuid=new_uuid(), accessor=accessor, created_at=int(clock.now()))


async def write_new_mount(txn: CoreTransaction, entry: MountEntry) -> None:
    """Store it; its path is known to be free."""
    await txn.put(entry.row, _encode(entry), cas=0)


async def bootstrap_mounts(txn: CoreTransaction) -> None:
    """An empty table; part of the transaction of `sys/init`."""
    await txn.put(TABLE, b"{}", cas=0)
