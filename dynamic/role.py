"""A role: which accounts it makes, and for how long."""

import msgspec

from dynamic.target import Statements

DEFAULT_TTL = 3600  # seconds
DEFAULT_MAX_TTL = 86400


class Role(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`role/<name>`."""

    name: str
    db_name: str
    creation_statements: Statements = ()
    revocation_statements: Statements = ()
    rollback_statements: Statements = ()
    renew_statements: Statements = ()
    verify_statements: Statements = ()  # what an account must be able to do, for `verify/<role>`
    default_ttl: int = 0  # seconds, as written; 0: see `ttl`
    max_ttl: int = 0  # see `longest`
    password_policy: str = ""  # over the connection's
    format: int = 1

    @property
    def longest(self) -> int:
        """How long an account lives at most: a day, unless the role says otherwise."""
        return self.max_ttl or max(DEFAULT_MAX_TTL, self.default_ttl)

    @property
    def ttl(self) -> int:
        """How long it lives at first: an hour, unless the role says otherwise."""
        return min(self.default_ttl or DEFAULT_TTL, self.longest)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Role).decode


def encode_role(role: Role) -> bytes:
    """As it is stored."""
    return _encode(role)


def decode_role(value: bytes) -> Role:
    """As it was stored."""
    return _decode(value)
