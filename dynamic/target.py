"""The contract between the engine and the databases it makes accounts on.

A plugin is found by an entry point in the group `mimir.database_plugins` whose object is a `Plugin`; the name of the
entry point is the `plugin_name` of a connection. It opens a `Target` for a connection's details. Of a target four
methods must be there: create, renew, set_password, drop. Others have a default that says that the plugin cannot do it.

What a target raises:

    TargetAwayError      the database cannot be reached, or does not answer: tried again later
    TargetLoginError     it refuses the credentials it was given
    TargetRefusedError   it refuses what it was asked to do

The engine guards every call (`dynamic.guard`): a time limit, a bound on how many wait, a circuit breaker. A call may be
cancelled at any moment; what it had begun must then be undone or be harmless to do again.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec

from core.errors import InvalidRequestError, OperatorError

Statements = tuple[str, ...]


class TargetAwayError(OperatorError):
    """The database cannot be reached or does not answer. The sentence names the connection and holds no secret."""


class TargetLoginError(OperatorError):
    """The database refuses user name or password of the connection, or those of a test login."""


class TargetRefusedError(InvalidRequestError):
    """The database refuses a statement.

    The sentence is for the caller: which statements, and the database's code ("42501 insufficient_privilege"). `detail`
    is the database's own text for the operator, who reads it in the log; neither holds a password
    (`dynamic.scrubbing`).
    """

    def __init__(self, sentence: str, *, detail: str = "") -> None:
        super().__init__(sentence)
        self.detail = detail


class UnsupportedError(InvalidRequestError):
    """The plugin has no such method."""


class StatementKind(Enum):
    """What statements are for; the value is the name of the field they come in."""

    CREATION = "creation_statements"
    REVOCATION = "revocation_statements"
    ROLLBACK = "rollback_statements"
    RENEWAL = "renew_statements"
    ROTATION = "rotation_statements"
    ROOT_ROTATION = "root_rotation_statements"
    VERIFICATION = "verify_statements"


class ConnectionDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What a connection says of its database: the fields beside Vault's common ones, as they were written."""

    name: str  # of the connection: "orders-db"
    username: str = ""
    password: str = ""
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)  # connection_url, tls_ca, max_open_connections, …

    def __repr__(self) -> str:
        return f"ConnectionDetails({self.name})"  # URLs may hold a password


class NewAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account to be made."""

    username: str
    password: str
    expires_at: int  # epoch seconds; a little later than the lease's end
    statements: Statements = ()
    rollback: Statements = ()

    def __repr__(self) -> str:
        return f"NewAccount({self.username})"


class Renewal(msgspec.Struct, frozen=True, kw_only=True):
    """An account that may be used until later."""

    username: str
    expires_at: int
    statements: Statements = ()


class PasswordChange(msgspec.Struct, frozen=True, kw_only=True):
    """A new password for an account that exists: of a static role, or the connection's own."""

    username: str
    password: str
    statements: Statements = ()

    def __repr__(self) -> str:
        return f"PasswordChange({self.username})"


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """An account that is to go, with what it owns and may do."""

    username: str
    statements: Statements = ()


class Target(ABC):
    """One database, as one process reaches it with one connection's credentials. Opens nothing before it is used."""

    @abstractmethod
    async def create(self, account: NewAccount) -> None:
        """Make the account. When this raises TargetRefusedError nothing of it is left behind."""

    @abstractmethod
    async def renew(self, renewal: Renewal) -> None:
        """Let the account live longer; nothing to do where accounts have no end of their own."""

    @abstractmethod
    async def set_password(self, change: PasswordChange) -> None:
        """Change a password. Setting the same one again is no error."""

    @abstractmethod
    async def drop(self, removal: Removal) -> None:
        """Remove the account and end its sessions. One that is not there is as good as removed."""

    async def check(self) -> None:  # noqa: B027 - a default, not a duty
        """Reach the database with the connection's credentials; raises what is in the way."""

    async def login(self, username: str, password: str) -> None:
        """Log in as somebody else, on a connection of its own. Raises TargetLoginError when that is refused."""
        raise _unsupported("test logins", username, password)

    async def run_as(self, username: str, password: str, statements: Statements) -> None:
        """Log in as somebody else and run statements, of which nothing is kept (rolled back where that is possible)."""
        raise _unsupported("statements of an account", username, password, statements)

    async def accounts(self, prefix: str) -> list[str]:
        """The names of all accounts that begin with `prefix`, sorted."""
        raise _unsupported("listing of accounts", prefix)

    async def grants(self, username: str) -> list[str]:
        """What the account may do, a line each, for people. Raises TargetRefusedError when there is no such account."""
        raise _unsupported("listing of grants", username)

    async def close(self) -> None:  # noqa: B027 - a default, not a duty
        """Let go of connections. Calls under way may fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """What the entry point names.

    `open` does no I/O and raises InvalidRequestError, with a sentence without secrets, for details it does not
    understand. `check_statements` raises it for statements that cannot be rendered, when they are written.
    """

    type: str  # "postgresql"
    open: Callable[[ConnectionDetails], Target]
    check_statements: Callable[[StatementKind, Statements], None]
    max_username: int = 63  # characters
    username_template: str = '{{ printf "v-%s-%s" (.RoleName | truncate 24) (random 20) | truncate 63 }}'
    default_statements: Mapping[StatementKind, Statements] = field(default_factory=dict)  # for people to read
    secret_options: Sequence[str] = ("password", "private_key", "tls_private_key", "tls_certificate_key")


def _unsupported(what: str, *_unused: object) -> UnsupportedError:
    return UnsupportedError(f"the plugin of this database has no {what}")
