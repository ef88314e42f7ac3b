"""What the pipeline asks of tokens, policies and audit."""

from typing import Protocol

from audit.records import AuditAuth, AuditRequest, AuditResponse


class Token(Protocol):
    """A valid token, as the pipeline needs it."""

    @property
    def record_id(self) -> str:
        """The keyed hash that names its record."""
        ...

    @property
    def accessor(self) -> str:
        """Its public name."""
        ...

    @property
    def policies(self) -> tuple[str, ...]:
        """Sorted."""
        ...

    @property
    def metadata(self) -> dict[str, str] | None:
        """What its creator noted."""
        ...

    @property
    def display_name(self) -> str:
        """For people."""
        ...

    @property
    def entity_id(self) -> str:
        """Whom it speaks for."""
        ...

    @property
    def issue_time(self) -> int:
        """Epoch seconds."""
        ...

    @property
    def ttl(self) -> int:
        """Seconds, at creation."""
        ...

    @property
    def num_uses(self) -> int:
        """0: not limited."""
        ...

    @property
    def type(self) -> str:
        """Of which kind: "service"."""
        ...


class Tokens(Protocol):
    """The token store."""

    def peek(self, token: str) -> Token | None:
        """The token, when memory is enough to know that it is valid."""
        ...

    async def authenticate(self, token: str) -> Token:
        """The token; one use of it is spent. Raises PermissionDeniedError."""
        ...

    async def find(self, token: str) -> Token | None:
        """The token, without spending a use."""
        ...

    async def find_accessor(self, accessor: str) -> Token | None:
        """The token of that accessor."""
        ...


class Acl(Protocol):
    """What a set of policies allows."""

    @property
    def is_root(self) -> bool:
        """Whether everything is allowed."""
        ...

    def allows(self, path: str, capability: str, *, sudo: bool = False) -> bool:
        """Whether the full path ("transit/encrypt/orders") may be used so; with `sudo`, whether that is granted too."""
        ...

    def capabilities(self, path: str) -> list[str]:
        """Sorted; ["root"] or ["deny"]."""
        ...

    def reaches(self, mount_path: str) -> bool:
        """Whether anything at or below "secret/" is granted."""
        ...


class Acls(Protocol):
    """Policies, compiled."""

    def peek_acl(self, names: tuple[str, ...]) -> Acl | None:
        """From memory."""
        ...

    async def acl(self, names: tuple[str, ...]) -> Acl:
        """From memory or from the store."""
        ...


class Trail(Protocol):
    """The audit devices."""

    @property
    def active(self) -> bool:
        """Whether any device is enabled."""
        ...

    @property
    def current(self) -> bool:
        """Whether no worker has changed the devices since `sync`; no I/O."""
        ...

    async def sync(self) -> None:
        """Follow what another worker did to the devices."""
        ...

    def record_request(self, request: AuditRequest, auth: AuditAuth | None, *, error: str = "") -> None:
        """Buffer the request's line."""
        ...

    def record_response(
        self, request: AuditRequest, auth: AuditAuth | None, response: AuditResponse | None, *, error: str = ""
    ) -> None:
        """Buffer the response's line."""
        ...

    async def flush(self) -> None:
        """Return when every line buffered so far is written. Raises AuditUnavailableError."""
        ...
