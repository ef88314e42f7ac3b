"""The mount table as every worker sees it: namespaces, and which engine stands at which path in them.

One entry for each mount (`core/mounts/<uuid>`) and for each namespace (`core/namespaces/<id>`), and one entry
(`core/mount-table`) that every change rewrites: a cache of the whole table hangs on it, so that a change is seen by
every worker at its next request.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from appliance.access.subject import ROOT_NAMESPACE
from appliance.namespaces import ROOT, Namespace
from core.engine import MountInfo
from core.errors import InvalidRequestError
from core.protocols import Entry, StorageView

TABLE = "core/mount-table"
ROWS = "core/mounts/"
NAMESPACE_ROWS = "core/namespaces/"
DATA = "logical/"
AUTH = "auth/"  # login methods are mounted below it
DEFAULT_LEASE_TTL = 2764800  # seconds; 32 days, Vault's default
MAX_PATH = 256

# first segments that are the system's in every namespace, for mounts and for namespaces
RESERVED = ("sys/", "cubbyhole/", "identity/", "audit/")
# a segment is whatever needs no quoting in a URL: a mount path is typed by people and stands in policies
_PATH = re.compile(r"[A-Za-z0-9_.~@:-]+(/[A-Za-z0-9_.~@:-]+)*/")


class MountEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One mount, as stored. A TTL of 0 means the system's default."""

    uuid: str
    accessor: str
    type: str
    path: str  # "transit/", "auth/approle/"
    namespace: str = ROOT_NAMESPACE  # id
    namespace_path: str = ""  # a namespace never moves
    description: str = ""
    options: dict[str, str] | None = None
    default_lease_ttl: int = 0  # seconds
    max_lease_ttl: int = 0
    force_no_cache: bool = False
    listing_visibility: str = ""
    token_type: str = ""  # of login methods: default-service, default-batch, service, batch
    audit_non_hmac_request_keys: list[str] = msgspec.field(default_factory=list)
    audit_non_hmac_response_keys: list[str] = msgspec.field(default_factory=list)
    passthrough_request_headers: list[str] = msgspec.field(default_factory=list)
    allowed_response_headers: list[str] = msgspec.field(default_factory=list)
    user_lockout_config: dict[str, str] | None = None
    plugin_version: str = ""
    local: bool = False
    seal_wrap: bool = False
    external_entropy_access: bool = False
    tainted: bool = False  # being disabled or moved: nothing but revocation reaches the engine
    created_at: int = 0  # epoch seconds

    def info(self) -> MountInfo:
        """What the engine may know."""
        return MountInfo(
            uuid=self.uuid,
            accessor=self.accessor,
            type=self.type,
            path=self.path,
            namespace=self.namespace_path,
            options=self.options or {},
            default_lease_ttl=self.effective_default_ttl,
            max_lease_ttl=self.effective_max_ttl,
        )

    @property
    def effective_max_ttl(self) -> int:
        """Seconds; the system's where the mount has none of its own."""
        return self.max_lease_ttl or DEFAULT_LEASE_TTL

    @property
    def effective_default_ttl(self) -> int:
        """Seconds; a mount with a shorter maximum than the system's default has that as its default."""
        return min(self.default_lease_ttl or DEFAULT_LEASE_TTL, self.effective_max_ttl)

    @property
    def full_path(self) -> str:
        """With the path of its namespace."""
        return self.namespace_path + self.path

    @property
    def is_auth(self) -> bool:
        """Whether it is a login method."""
        return self.path.startswith(AUTH)

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
    """Every stored mount and namespace at one moment, by full path; the root namespace is always there."""

    entries: Mapping[str, MountEntry]
    namespaces: Mapping[str, Namespace]
    namespaces_by_id: Mapping[str, Namespace]
    mount_uuids: frozenset[str]  # of those in service

    def resolve(self, path: str) -> Namespace:
        """The innermost namespace that `path` is in."""
        if len(self.namespaces) == 1:
            return ROOT
        found, end = ROOT, path.find("/")
        while end >= 0:
            inner = self.namespaces.get(path[: end + 1])
            if inner is None:
                return found  # a namespace below another is found through it
            found, end = inner, path.find("/", end + 1)
        return found

    def below(self, parent: Namespace) -> list[Namespace]:
        """The namespaces inside `parent`, at any depth, by path."""
        return [
            self.namespaces[path]
            for path in sorted(self.namespaces)
            if path and path != parent.path and path.startswith(parent.path)
        ]


EMPTY_TABLE = MountTable({}, {"": ROOT}, {ROOT.id: ROOT}, frozenset())


def check_mount_path(path: str) -> None:
    """Raise InvalidRequestError unless an engine may stand at `path` ("team/transit/", "auth/approle/")."""
    if not _PATH.fullmatch(path) or len(path) > MAX_PATH:
        raise InvalidRequestError(
            f"a mount path has segments of letters, digits and - _ . ~ @ :, and at most {MAX_PATH} characters"
        )
    if any(set(segment) == {"."} for segment in path.split("/") if segment):
        raise InvalidRequestError("a mount path has no segment of dots only")
    if path == "tune/" or path.endswith("/tune/"):
        raise InvalidRequestError("a mount path does not end in tune: that is the path of a mount's tuning")
    for reserved in RESERVED:
        if path.startswith(reserved):
            raise InvalidRequestError(f"paths below {reserved} are the system's own; mount the engine elsewhere")
    if path == AUTH or path.startswith("auth/token/"):
        raise InvalidRequestError(f"path is already in use at {AUTH if path == AUTH else 'token/'}")


def check_free(path: str, taken: Iterable[str], *, inside: str) -> None:
    """Raise InvalidRequestError when something stands at, above or below the full path `path`.

    It is named as its operator names it: inside the namespace of path `inside`, and a login method without "auth/".
    """
    for other in taken:
        if path.startswith(other) or other.startswith(path):
            raise InvalidRequestError(f"path is already in use at {other.removeprefix(inside).removeprefix(AUTH)}")


class Reads(Protocol):
    """The store or a transaction."""

    async def get(self, path: str) -> Entry | None:
        """One entry."""
        ...

    async def list(self, prefix: str, *, after: str = "", limit: int = 0) -> list[str]:
        """Names below a prefix."""
        ...


async def read_mounts(reads: Reads) -> list[MountEntry]:
    """Every stored mount."""
    rows: list[MountEntry] = []
    for name in await reads.list(ROWS):
        entry = await reads.get(ROWS + name)
        if entry is not None:  # gone between the two reads; inside a transaction that cannot be
            rows.append(msgspec.json.decode(entry.value, type=MountEntry))
    return rows


async def read_namespaces(reads: Reads) -> list[Namespace]:
    """Every stored namespace; the root is not stored."""
    rows: list[Namespace] = []
    for name in await reads.list(NAMESPACE_ROWS):
        entry = await reads.get(NAMESPACE_ROWS + name)
        if entry is not None:
            rows.append(msgspec.json.decode(entry.value, type=Namespace))
    return rows


async def load_table(storage: StorageView, _path: str, _entry: Entry) -> MountTable:
    """The table, out of its rows."""
    namespaces = {"": ROOT} | {row.path: row for row in await read_namespaces(storage)}
    by_id = {row.id: row for row in namespaces.values()}
    rows = [row for row in await read_mounts(storage) if row.namespace in by_id]
    return MountTable(
        {row.full_path: row for row in rows}, namespaces, by_id, frozenset(row.uuid for row in rows if not row.tainted)
    )
