"""A connection to a database as it is stored."""

from typing import Any

import msgspec

from core.errors import InvalidRequestError, PermissionDeniedError
from dynamic.globs import matches
from dynamic.target import ConnectionDetails, Statements


class Connection(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`config/<name>`. The password stands nowhere else, and never in an answer.

    `pending_password` is a password that the database may have taken already: it is written here before it is set
    there, so that whoever dies in between leaves both (`dynamic.root_rotation`).
    """

    name: str
    plugin_name: str
    plugin_version: str = ""
    allowed_roles: tuple[str, ...] = ()
    root_rotation_statements: Statements = ()
    password_policy: str = ""
    username_template: str = ""
    root_rotation_ttl: int = 0  # seconds between two rotations of the connection's own password; 0: never by itself
    reconcile_interval: int = 3600  # seconds between two comparisons of accounts with leases; 0: never by itself
    options: dict[str, Any] = msgspec.field(default_factory=dict)  # connection_url and the plugin's own
    username: str = ""
    password: str = ""
    pending_password: str = ""
    pending_since: int = 0  # epoch seconds; a rotation is under way or was cut off
    rotated_at: int = 0  # epoch seconds; 0: the password is the one that was written
    written_at: int = 0
    rotation_error: str = ""  # why the last rotation failed
    epoch: int = 0  # advanced by every write and reset: what is open is opened anew
    format: int = 1

    def __repr__(self) -> str:
        return f"Connection({self.name})"

    def details(self, password: str) -> ConnectionDetails:
        """For the plugin."""
        return ConnectionDetails(name=self.name, username=self.username, password=password, options=self.options)

    @property
    def passwords(self) -> tuple[str, ...]:
        """Those that the database may expect, the likelier first."""
        return (self.password, self.pending_password) if self.pending_password else (self.password,)

    @property
    def root_rotation_due(self) -> int:
        """Epoch seconds; 0: never."""
        if not self.root_rotation_ttl:
            return 0
        return (self.rotated_at or self.written_at) + self.root_rotation_ttl

    def check_allows(self, role: str) -> None:
        """Raise unless the role may use the connection."""
        if not any(matches(pattern, role) for pattern in self.allowed_roles):
            raise PermissionDeniedError(f'"{role}" is not an allowed role')


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Connection).decode


def encode_connection(connection: Connection) -> bytes:
    """As it is stored."""
    return _encode(connection)


def decode_connection(value: bytes) -> Connection:
    """As it was stored."""
    return _decode(value)


def unknown_connection(name: str) -> InvalidRequestError:
    """What is said of a connection that is not there (Vault's words)."""
    return InvalidRequestError(f'failed to find entry for connection with name: "{name}"')
