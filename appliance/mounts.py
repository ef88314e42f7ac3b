"""The mount table: which engine stands at which path, as it is stored and as every worker sees it.

One entry for each mount (`core/mounts/<uuid>`), and one entry (`core/mount-table`) that every change rewrites: a cache
of the whole table hangs on it, so that a change is seen by every worker at its next request.
"""

import contextlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import msgspec

from core.clock import Clock
from core.engine import MountInfo
from core.errors import CasMismatchError, InvalidRequestError
from core.ids import new_uuid, random_base62
from core.protocols import CoreStorage, CoreTransaction, Entry, StorageView

T = TypeVar("T")

TABLE = "core/mount-table"
ROWS = "core/mounts/"
DATA = "logical/"
DEFAULT_LEASE_TTL = 2764800  # seconds; 32 days, Vault's default
MAX_PATH = 256

_RESERVED = ("auth/", "sys/", "cubbyhole/", "identity/", "audit/")
# a segment is whatever needs no quoting in a URL: a mount path is typed by people and stands in policies
_PATH = re.compile(r"[A-Za-z0-9_.~@:-]+(/[A-Za-z0-9_.~@:-]+)*/")
_ATTEMPTS = 5  # mounts change by hand: a fifth collision in a row means something else is wrong
_encode = msgspec.json.Encoder(order="deterministic").encode


class MountEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One mount, as stored. A TTL of 0 means the system's default."""

    uuid: str
    accessor: str
    type: str
    path: str  # "transit/"
    description: str = ""
    options: dict[str, str] | None = None
    default_lease_ttl: int = 0  # seconds
    max_lease_ttl: int = 0
    force_no_cache: bool = False
    listing_visibility: str = ""
    local: bool = False
    seal_wrap: bool = False
    external_entropy_access: bool = False
    created_at: int = 0  # epoch seconds

    def info(self) -> MountInfo:
        """What the engine may know."""
        return MountInfo(
            uuid=self.uuid,
            accessor=self.accessor,
            type=self.type,
            path=self.path,
            options=self.options or {},
            default_lease_ttl=self.default_lease_ttl or DEFAULT_LEASE_TTL,
            max_lease_ttl=self.max_lease_ttl or DEFAULT_LEASE_TTL,
        )

    @property
    def row(self) -> str:
        """Where this entry is stored."""
        return ROWS + self.uuid

    @property
    def data_prefix(self) -> str:
        """Where the engine's data is stored."""
        return f"{DATA}{self.uuid}/"


@dataclass(frozen=True, slots=True)
class MountTable:
    """Every stored mount at one moment, by path."""

    entries: Mapping[str, MountEntry]


class KnownTypes(Protocol):
    """Which engines can be mounted."""

    def __contains__(self, name: object) -> bool: ...

    def names(self) -> list[str]:
        """Every mount type, sorted."""
        ...


def check_mount_path(path: str) -> None:
    """Raise InvalidRequestError unless an engine may stand at `path` ("team/transit/")."""
    if not _PATH.fullmatch(path) or len(path) > MAX_PATH:
        raise InvalidRequestError(
            f"a mount path has segments of letters, digits and - _ . ~ @ :, and at most {MAX_PATH} characters"
        )
    if any(set(segment) == {"."} for segment in path.split("/") if segment):
        raise InvalidRequestError("a mount path has no segment of dots only")
    for reserved in _RESERVED:
        if path.startswith(reserved):
            raise InvalidRequestError(f"paths below {reserved} are the system's own; mount the engine elsewhere")


def check_free(path: str, taken: Iterable[str]) -> None:
    """Raise InvalidRequestError when a mount stands at, above or below `path`."""
    for other in taken:
        if path.startswith(other) or other.startswith(path):
            raise InvalidRequestError(f"path is already in use at {other}")


class MountStore:
    """Reads and changes the table. Every change is one transaction over the rows and `core/mount-table`."""

    def __init__(self, storage: CoreStorage, clock: Clock, *, types: KnownTypes) -> None:
        self._storage = storage
        self._clock = clock
        self._types = types
        self._cache = storage.decoded_cache(_load_table, capacity=1)

    def peek(self) -> MountTable | None:
        """The table, if this worker knows the present one."""
        return self._cache.peek(TABLE)

    async def table(self) -> MountTable:
        """The present table."""
        return await self._cache.get(TABLE) or MountTable({})

    async def enable(self, wanted: MountEntry) -> MountEntry:
        """Store a new mount; of two at the same path one wins. Raises InvalidRequestError."""
        check_mount_path(wanted.path)
        if wanted.type not in self._types:
            known = ", ".join(self._types.names())
            raise InvalidRequestError(f"there is no engine of that type; this server has: {known}")
        uuid = new_uuid()
        accessor = f"{wanted.type}_{random_base62(8).lower()}"
        entry = msgspec.structs.replace(wanted, uuid=uuid, accessor=accessor, created_at=int(self._clock.now()))

        async def body(txn: CoreTransaction) -> None:
            check_free(entry.path, [row.path for row in await _read_rows(txn)])
            await txn.put(entry.row, _encode(entry), cas=0)

        await self._alter(body)
        return entry

    async def disable(self, path: str) -> bool:
        """Remove the mount and all its data at once; whether there was one."""

        async def body(txn: CoreTransaction) -> bool:
            entry = next((row for row in await _read_rows(txn) if row.path == path), None)
            if entry is None:
                return False
            await txn.delete(entry.row)
            await txn.delete_prefix(entry.data_prefix)
            return True

        return await self._alter(body)

    async def change(self, path: str, alter: Callable[[MountEntry], MountEntry]) -> bool:
        """Replace the mount at `path` by what `alter` makes of it; whether there was one."""

        async def body(txn: CoreTransaction) -> bool:
            entry = next((row for row in await _read_rows(txn) if row.path == path), None)
            if entry is None:
                return False
            await txn.put(entry.row, _encode(alter(entry)))
            return True

        return await self._alter(body)

    async def _alter(self, body: Callable[[CoreTransaction], Awaitable[T]]) -> T:
        """Run `body` in a transaction that rewrites the table entry; again when another worker was faster."""

        async def whole(txn: CoreTransaction) -> T:
            table = await txn.get(TABLE)
            result = await body(txn)
            await txn.put(TABLE, b"{}", cas=table.revision if table else 0)
            return result

        for _ in range(_ATTEMPTS - 1):
            with contextlib.suppress(CasMismatchError):
                return await self._storage.transact(whole)
        return await self._storage.transact(whole)


async def bootstrap_mounts(txn: CoreTransaction) -> None:
    """An empty table; part of the transaction of `sys/init`."""
    await txn.put(TABLE, b"{}", cas=0)


class _Reads(Protocol):
    async def get(self, path: str) -> Entry | None: ...

    async def list(self, prefix: str, *, after: str = "", limit: int = 0) -> list[str]: ...


async def _read_rows(reads: _Reads) -> list[MountEntry]:
    rows: list[MountEntry] = []
    for name in await reads.list(ROWS):
        entry = await reads.get(ROWS + name)
        if entry is not None:  # gone between the two reads; inside a transaction that cannot be
            rows.append(msgspec.json.decode(entry.value, type=MountEntry))
    return rows


async def _load_table(storage: StorageView, _path: str, _entry: Entry) -> MountTable:
    return MountTable({row.path: row for row in await _read_rows(storage)})
