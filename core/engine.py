"""The contract between the appliance and an engine, built in or from another distribution.

An engine is found by an entry point in the group `mimir.engines` whose object is an `EngineFactory`; the name of the
entry point is the mount type. It declares its routes with typed bodies: the same declaration validates input, answers
`help` and yields the OpenAPI document.

A login method is an engine in the group `mimir.auth_methods`, mounted below auth/: its login routes are
`unauthenticated` and answer a `Response` with a `Login`, of which the appliance makes the token.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import msgspec

from core.clock import Clock
from core.errors import InvalidRequestError, NotFoundError
from core.protocols import KeyCustodian, StorageView
from core.requests import LeaseGrant, Login, Operation, Request, Response

Handler = Callable[[Request, Any], Awaitable[Response]]
Exists = Callable[[Request], Awaitable[bool]]


class NoBody(msgspec.Struct):
    """The body of an operation that takes none; unknown members are ignored, as everywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One operation on a route.

    `mutates`: something is written, so the audit record of the request must be on disk before the handler runs.
    Otherwise request and response records are written together, before the response leaves. `statuses` are those of
    its answers besides 200 and 204, `media_types` what they are in besides JSON, both for the OpenAPI document.
    `asks_access`: the handler looks at `request.access`, since its answer shows only what the caller may see.
    `asks_identity`: it looks at `request.identity`. `takes_bytes`: the body is no JSON (an OCSP request); the handler
    finds it in `request.body`, and `data` is empty. `is_atomic`: what it writes is one transaction, which is done or
    not however the request ends; so nothing must be seen to when the request is cut off.
    """

    handler: Handler
    body: type[msgspec.Struct] = NoBody
    mutates: bool = True
    summary: str = ""
    statuses: tuple[int, ...] = ()
    asks_access: bool = False
    asks_identity: bool = False
    takes_bytes: bool = False
    media_types: tuple[str, ...] = ()
    is_atomic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path below the mount. `{name}` captures one segment, `{name...}` all that is left.

    With `exists`, an UPDATE on something absent is checked against the policy as `create` (Vault's existence check).
    `sudo` paths ask for the capability of that name. `unauthenticated` ones (logins, CRLs) for no token.
    `login_name` tells whom a login is for, before it is tried: after too many failures the appliance refuses that name
    for a while (the handler says that credentials are wrong by raising LoginFailedError).
    With `ignores_case`, "users/Admin" is read as "users/admin": policies must allow both spellings then.
    """

    pattern: str
    methods: Mapping[Operation, Method]
    exists: Exists | None = None
    help: str = ""
    sudo: bool = False
    unauthenticated: bool = False
    login_name: Callable[[Request, Any], str] | None = None
    ignores_case: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MountInfo:
    """What an engine may know of its mount."""

    uuid: str
    accessor: str
    type: str
    path: str  # "transit/", without the namespace
    namespace: str = ""  # path of its namespace: "team-a/", "" for the root
    options: Mapping[str, str] = field(default_factory=dict)
    default_lease_ttl: int = 2764800  # seconds; 32 days, Vault's default
    max_lease_ttl: int = 2764800


class Meter(Protocol):
    """Counts what an engine wants seen in `sys/metrics`."""

    def count(self, event: str, number: int = 1) -> None:
        """One of the events that the appliance knows ("key_rotated", "encryption_limit_near"); others are dropped."""
        ...


class NoMeter:
    """For an engine that nobody watches."""

    def count(self, event: str, number: int = 1) -> None:
        """Forget it."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """A lease as the engine that granted it sees it again."""

    lease_id: str  # "database/creds/orders-api/…"
    path: str  # below the mount: "creds/orders-api"
    internal: Mapping[str, Any]  # what the engine put into its LeaseGrant
    issued_at: int  # epoch seconds
    ttl: int  # seconds, as last granted
    max_ttl: int


class Passwords(Protocol):
    """The password policies of the mount's namespace (`sys/policies/password`)."""

    async def generate(self, policy: str = "") -> str:
        """A password of the policy; "": 20 characters with an upper and a lower case letter, a digit and a dash.

        Raises NotFoundError when there is no policy of that name.
        """
        ...


class LeaseBook(Protocol):
    """The leases that the engine's mount has granted and that were not yet taken back, revoked and failed ones too."""

    async def page(self, *, after: str = "", limit: int = 500) -> tuple[list[Lease], str]:
        """Leases in the order of their ids, and where the next page begins; "" when there is none."""
        ...

    async def revoke(self, lease_id: str) -> bool:
        """Revoke now, as `sys/leases/revoke`: the engine is asked. Whether there was such a lease."""
        ...


@runtime_checkable
class DepositTaker(Protocol):
    """What an engine has at which another one may leave a secret: KV."""

    def deposit_path(self, name: str) -> str:
        """Where somebody would write it by himself, below the mount: "data/apps/orders". Raises InvalidRequestError."""
        ...

    async def deposit(self, name: str, data: Mapping[str, str], *, by: str) -> None:
        """Write it as a new version; `by` stands where a caller's name would."""
        ...


class Deposits(Protocol):
    """The mounts of the namespace at which an engine may leave a secret, when somebody who may write there says so."""

    def place_of(self, path: str) -> str:
        """The path that a policy must allow: "secret/data/apps/orders" for "secret/apps/orders".

        Raises InvalidRequestError where there is no mount that takes deposits.
        """
        ...

    async def write(self, path: str, data: Mapping[str, str], *, by: str) -> None:
        """Leave it there."""
        ...


class Nothing:
    """For an engine that needs neither passwords nor leases nor places for secrets: tests and benchmarks of others."""

    def place_of(self, path: str) -> str:
        """There are no places."""
        raise InvalidRequestError(f"there is no mount that takes secrets for {path[:64]!r}")

    async def write(self, path: str, data: Mapping[str, str], *, by: str) -> None:
        """There are no places."""
        del data, by
        self.place_of(path)

    async def generate(self, policy: str = "") -> str:
        """There are no policies."""
        raise NotFoundError(f"there are no password policies here, nor {policy[:64]!r}")

    async def page(self, *, after: str = "", limit: int = 500) -> tuple[list[Lease], str]:
        """There are no leases."""
        del after, limit
        return [], ""

    async def revoke(self, lease_id: str) -> bool:
        """There is no lease."""
        del lease_id
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineContext:
    """All that the appliance hands to an engine; what is not here, an engine cannot reach."""

    mount: MountInfo
    storage: StorageView
    keys: KeyCustodian
    clock: Clock
    meter: Meter = field(default_factory=NoMeter)
    passwords: Passwords = field(default_factory=Nothing)
    leases: LeaseBook = field(default_factory=Nothing)
    deposits: Deposits = field(default_factory=Nothing)


class Engine(Protocol):
    """A mounted engine in one worker."""

    @property
    def routes(self) -> Sequence[Route]:
        """Every path it serves."""
        ...

    async def close(self) -> None:
        """Write back what is held (unused counter blocks); called at unmount, seal and stop."""
        ...


@runtime_checkable
class LeasingEngine(Protocol):
    """What an engine that answers a LeaseGrant has besides."""

    async def renew_lease(self, lease: Lease, *, increment: int) -> LeaseGrant:
        """Extend what was leased by `increment` seconds from now (0: as at first); a MimirError refuses."""
        ...

    async def revoke_lease(self, lease: Lease) -> None:
        """Take back what was leased. What is gone already is as good; an error makes the appliance try again later."""
        ...


@runtime_checkable
class RenewingMethod(Protocol):
    """What a login method has that is asked again when a token it granted is renewed."""

    async def renew_login(self, renewal: Mapping[str, str]) -> Login:
        """The login as it would be granted now; a MimirError refuses the renewal."""
        ...


@runtime_checkable
class NamedRoles(Protocol):
    """What a login method has whose roles or users can be named in a trial of policies."""

    async def policies_of(self, name: str) -> tuple[str, ...] | None:
        """The policies that a login by that role or user would have; None when there is none of that name."""
        ...


@runtime_checkable
class KeptEngine(Protocol):
    """What an engine has that must do something without being asked: rotate keys that are due, tidy up."""

    async def housekeep(self) -> None:
        """Called about once a minute, by one process of the cluster; a long work is done in parts.

        An error is logged and the call repeated a minute later. Another process may be serving the mount meanwhile,
        and a second housekeeper may run for a moment: changes are transactions.
        """
        ...


@runtime_checkable
class HastyEngine(KeptEngine, Protocol):
    """A KeptEngine with work that should not wait for the minute: a certificate was revoked, a CRL is to be signed."""

    def is_due(self) -> bool:
        """Whether `housekeep` should be called now. Asked about once a second; quick, and without I/O.

        It may say yes without need (a cached entry was dropped); `housekeep` finds out.
        """
        ...


@runtime_checkable
class TendedEngine(Protocol):
    """What an engine has that keeps something in a worker's memory until it is worth a write: who read what."""

    async def tend(self) -> None:
        """Called about twice a minute in every worker while unsealed, and before `close`; quick, and off any request.

        An error is logged and the call repeated later.
        """
        ...


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """A number that the store knows better than any process: how many certificates end within a week."""

    name: str  # "pki_certificates": `sys/metrics` adds "mimir_" before it, and the mount as a label
    text: str  # what it is, in a sentence; the same for all of one name
    value: float
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)


@runtime_checkable
class MeasuredEngine(Protocol):
    """What an engine has whose state belongs among the metrics."""

    async def measures(self) -> Sequence[Measure]:
        """Asked at a scrape, at most every 15 seconds in a process; quick, by an index."""
        ...


class EngineFactory(Protocol):
    """What the entry point names."""

    def __call__(self, context: EngineContext) -> Engine:
        """Make the engine for one mount. Does no I/O."""
        ...
