"""What travels between the request pipeline and an engine: structs, since several are made for each request."""

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Any, Protocol

import msgspec

from core.protocols import Transaction


class Operation(Enum):
    """What a request wants, as Vault's policy language names it (`update` covers PUT and POST)."""

    READ = "read"
    CREATE = "create"
    UPDATE = "update"
    PATCH = "patch"
    DELETE = "delete"
    LIST = "list"
    SCAN = "scan"
    HELP = "help"

    def __init__(self, word: str) -> None:
        self.word = word  # as `value`, which costs a call in Python

    # the default hashes the name in Python code on every dictionary look-up
    __hash__ = object.__hash__


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who a token speaks for, as an engine may know it: names, never the token itself."""

    accessor: str
    display_name: str
    policies: tuple[str, ...]
    entity_id: str = ""
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)
    is_root: bool = False


class Access(Protocol):
    """What the caller's policies say about other paths of the same mount."""

    def allows(self, path: str, *capabilities: str) -> bool:
        """Whether one of the capabilities ("read", "list") is granted at `path`, which is below the mount.

        A rule that asks for more than the path (conditions, parameters) counts as not granted.
        """
        ...

    def allows_elsewhere(self, path: str, *capabilities: str) -> bool:
        """The same at another mount of the namespace: "secret/data/apps/orders"."""
        ...


class Identity(Protocol):
    """Who the caller is, for templates in an engine's configuration."""

    def render(self, template: str) -> str | None:
        """`template` with its `{{identity.…}}` parts filled in; None where the caller has no such value.

        What is no template is answered as it is. Raises InvalidRequestError for a template that cannot be one.
        """
        ...


class Request(msgspec.Struct, kw_only=True):
    """One request as an engine sees it: its own path, and nothing of HTTP."""

    request_id: str
    operation: Operation
    mount_path: str  # "transit/", without a namespace
    path: str  # below the mount, without a leading slash; a trailing one is kept: "keys/orders"
    params: Mapping[str, str] = msgspec.field(default_factory=dict)  # what the route's pattern captured
    query: Mapping[str, str] = msgspec.field(default_factory=dict)
    data: dict[str, Any] = msgspec.field(default_factory=dict)  # the JSON body as it came; handlers get it typed
    caller: Caller | None = None
    namespace: str = ""  # path of the namespace: "team-a/", "" for the root
    client_address: str = ""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)  # case-insensitive
    body: bytes = b""  # as it came: for who must not lose a digit of a number; `data` is what was understood of it
    access: Access | None = None  # only where the method says `asks_access`
    identity: Identity | None = None  # only where the method says `asks_identity`, and the caller is an entity

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.request_id}, {self.operation.word} {self.mount_path}…)"  # no values


class AuthGrant(msgspec.Struct, kw_only=True):
    """A login or token creation that the pipeline answers as Vault's `auth` block."""

    client_token: str
    accessor: str
    policies: list[str]
    token_policies: list[str]
    identity_policies: list[str] = msgspec.field(default_factory=list)
    metadata: dict[str, str] | None = None
    lease_duration: int = 0  # seconds
    renewable: bool = False
    entity_id: str = ""
    token_type: str = "service"  # noqa: S105 - a kind, not a credential
    orphan: bool = True
    num_uses: int = 0

    def __repr__(self) -> str:
        return f"AuthGrant({self.accessor})"


class LoginAlias(msgspec.Struct, frozen=True, kw_only=True):
    """The name by which a login method knows who logged in; the appliance adds the method's accessor."""

    name: str
    metadata: dict[str, str] | None = None


class Login(msgspec.Struct, kw_only=True):
    """What a login method found: who it is and what the token may have. The appliance makes entity and token of it.

    A duration of 0 leaves it to the mount; the appliance clips every one to the mount's and the system's limits.
    """

    display_name: str
    policies: tuple[str, ...] = ()  # "default" is added by the appliance
    no_default_policy: bool = False
    metadata: dict[str, str] | None = None
    alias: LoginAlias | None = None
    group_aliases: tuple[str, ...] = ()  # names of external groups that the method vouches for
    ttl: int = 0  # seconds
    max_ttl: int = 0
    explicit_max_ttl: int = 0
    period: int = 0
    num_uses: int = 0
    bound_cidrs: tuple[str, ...] = ()
    token_type: str = "default"  # noqa: S105 - default, service, batch, default-service or default-batch
    renewable: bool = True
    # what the method wants to see again when the token is renewed: {"role": "web"}; sealed with the token
    renewal: dict[str, str] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Login({self.display_name})"


class LeaseGrant(msgspec.Struct, kw_only=True):
    """A secret with a lifetime; the lease id is given when the lease is stored.

    An engine fills the rest; the appliance clips the durations to the mount's limits. `stored` runs within the
    transaction that stores the lease, on the mount's part of the barrier: the engine's note that it was about to make
    something goes together with the coming of the lease. What it raises refuses the lease, and the engine is asked to
    take back what it granted.
    """

    lease_id: str = ""
    ttl: int = 0  # seconds; 0: the mount's default
    max_ttl: int = 0  # seconds; 0: the mount's maximum
    renewable: bool = False
    internal: dict[str, Any] = msgspec.field(default_factory=dict)  # JSON; sealed, given back at renewal and revocation
    target: str = ""  # what it opens, as the engine names it: "orders-db"; leases can be revoked by it
    stored: Callable[[Transaction], Awaitable[None]] | None = None


class WrapInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Vault's `wrap_info` block: where a wrapped answer can be fetched, once."""

    token: str
    accessor: str
    ttl: int  # seconds
    creation_time: str  # RFC 3339
    creation_path: str
    wrapped_accessor: str = ""

    def __repr__(self) -> str:
        return f"WrapInfo({self.accessor})"


class RawBody(msgspec.Struct, kw_only=True):
    """An answer outside Vault's envelope: a CRL, a PEM file, `sys/health`."""

    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] | None = None  # what HTTP caches look at; without `Cache-Control` nothing is kept


class PreparedData(dict[str, Any]):
    """`data` of an answer that is given again and again: its JSON is made once, and so are its audited forms.

    Nobody changes one.
    """

    __slots__ = ("audited", "encoded")

    def __init__(self, data: Mapping[str, Any], encoded: bytes) -> None:
        super().__init__(data)
        self.encoded = encoded  # the same as JSON
        self.audited: dict[object, bytes] = {}  # kept by the audit devices: by device, what they write for it

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Response(msgspec.Struct, kw_only=True):
    """What an engine answers. Without data, auth, raw body and warnings it becomes 204."""

    data: dict[str, Any] | None = None
    auth: AuthGrant | None = None
    login: Login | None = None  # of a login method; the appliance answers with `auth`
    lease: LeaseGrant | None = None
    keep_for: int = 0  # seconds, shown as `lease_duration` without a lease: when to read again (kv version 1)
    wrap: WrapInfo | None = None  # of the appliance alone; then data and auth are None
    warnings: list[str] | None = None
    status: int | None = None  # only where Vault's API asks for one that does not follow from the rest
    raw: RawBody | None = None
    repeat_data: bool = False  # sys/mounts and its kin repeat the members of `data` at top level

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"  # it may hold what was decrypted


NO_CONTENT = Response()
