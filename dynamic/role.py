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
    default_ttl: int = DEFAULT_TTL  # seconds
    max_ttl: int = DEFAULT_MAX_TTL
    password_policy: str = ""  # over the connection's
    format: int = 1


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Role).decode


def encode_role(role: Role) -> bytes:
    """As it is stored."""
    return _encode(role)


def decode_role(value: bytes) -> Role:
    """As it was stored."""
    return _decode(value)
