"""What a role of MongoDB says: one JSON document, which is checked when it is written.

creation_statements:   {"db": "admin", "roles": ["readWrite", {"role": "read", "db": "foo"}]}
revocation_statements: {"db": "admin"}, and the same for the rotation of a password: where the user is
"""

import base64
import binascii
import re
from typing import TypeVar

import msgspec

from core.errors import InvalidRequestError
from dynamic.target import StatementKind, Statements, TargetRefusedError

ADMIN = "admin"
_MOST_ROLES = 256
_DATABASE = re.compile(r"[^/\\. \"$*<>:|?\x00-\x1f\x7f]{1,63}")  # MongoDB's own rule, for all its platforms
_ROLE = re.compile(r"[^\s\x00-\x1f\x7f]{1,128}")
_PLACES = {StatementKind.REVOCATION, StatementKind.ROTATION, StatementKind.ROOT_ROTATION}

Role = str | dict[str, str]  # as createUser takes them


class _Place(msgspec.Struct, forbid_unknown_fields=True):
    db: str = ""


class _RoleOf(msgspec.Struct, forbid_unknown_fields=True):
    role: str
    db: str = ""


class _Creation(msgspec.Struct, forbid_unknown_fields=True):
    roles: list[str | _RoleOf]
    db: str = ""


T = TypeVar("T", _Place, _Creation)


def parse_creation(statements: Statements) -> tuple[str, list[Role]]:
    """The database that the user is made in, and the user's roles. Raises InvalidRequestError."""
    if len(statements) != 1:
        raise InvalidRequestError(
            'creation_statements must be one JSON document: {"db": "admin", "roles": [{"role": "readWrite"}]}'
        )
    found = _decoded(statements[0], _Creation, "creation_statements")
    if not 1 <= len(found.roles) <= _MOST_ROLES:
        raise InvalidRequestError(f"creation_statements: roles must be a list of 1 to {_MOST_ROLES} roles")
    return found.db or ADMIN, [_role(one) for one in found.roles]


def parse_place(kind: StatementKind, statements: Statements) -> str:
    """The database that the user is in; "" when nothing is said of it. Raises InvalidRequestError."""
    if not statements:
        return ""
    if len(statements) != 1:
        raise InvalidRequestError(f'{kind.value} must be one JSON document: {{"db": "admin"}}')
    return _decoded(statements[0], _Place, kind.value).db


def check_statements(kind: StatementKind, statements: Statements) -> None:
    """Raise InvalidRequestError for statements that are no such document, or that MongoDB has no use for."""
    if kind is StatementKind.CREATION:
        parse_creation(statements)
    elif kind in _PLACES:
        parse_place(kind, statements)
    elif statements:
        raise InvalidRequestError(f"{kind.value} are not for MongoDB: a user has roles and no end")


def check_name(username: str) -> None:
    """Raise TargetRefusedError for a name that is none."""
    if not 0 < len(username) <= 256 or username != username.strip() or not username.isprintable():
        raise TargetRefusedError("a MongoDB user name has no control characters, and no spaces at its ends")


def _decoded(text: str, kind: type[T], field: str) -> T:
    try:
        found = msgspec.json.decode(_plain(text), type=kind)
    except msgspec.ValidationError as exc:
        raise InvalidRequestError(f"{field}: {exc}") from None
    except msgspec.DecodeError:
        raise InvalidRequestError(f'{field} must be JSON, such as {{"db": "admin"}}') from None
    _check_database(found.db, field)
    return found


def _plain(text: str) -> bytes:
    """The document, which Vault's clients may give as base64."""
    if not text.lstrip().startswith(("{", "[", '"')):
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            pass
    return text.encode()


def _check_database(name: str, field: str) -> None:
    if name and not _DATABASE.fullmatch(name):
        raise InvalidRequestError(f"{field}: {name[:64]!r} is no name of a database that users can be in")


def _role(given: str | _RoleOf) -> Role:
    name, database = (given, "") if isinstance(given, str) else (given.role, given.db)
    if not _ROLE.fullmatch(name):
        raise InvalidRequestError(f"creation_statements: {name[:64]!r} is no name of a role")
    _check_database(database, "creation_statements")
    return {"role": name, "db": database} if database else name
