"""What the pipeline asks of tokens, policies and audit."""

from collections.abc import Mapping
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
        """ "service"."""
        ...


class Tokens(Protocol):
    """The token store."""

    def peek(self, token: str) -> Token | None:
        """The token, when memory is enough to know that it is valid."""
        ...

    async def authenticate(self, token: str) -> Token:
        """The token; one use of it is spent. Raises PermissionDeniedError."""
        ...


class Acl(Protocol):
    """What a set of policies allows."""

    @property
    def is_root(self) -> bool:
        """Whether everything is allowed."""
        ...

    def allows(self, path: str, capability: str) -> bool:
        """Whether `capability` is granted at the full path, "transit/encrypt/orders"."""
        ...

    def capabilities(self, path: str) -> list[str]:
        """Every capability at the path; ["deny"] when there is none."""
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

    async def sync(self) -> None:
        """Follow what another worker did to the devices; cheap when nothing."""
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


Headers = Mapping[str, str]
