"""Request bodies of connections and roles, and how their members are read."""

from typing import Any

import msgspec

from core.bodies import Duration, StringList, StringMap
from core.errors import InvalidRequestError
from dynamic.target import StatementKind, Statements

MAX_STATEMENTS = 64
MAX_STATEMENT = 64 * 1024  # characters of one
_LARGEST = 2**63  # of a number as it is stored


class ListBody(msgspec.Struct):
    """A page of names."""

    after: str = ""
    limit: int = 0


class ConnectionBody(msgspec.Struct, kw_only=True):
    """Vault's common members; None: not given. All others are the plugin's (`options_of`)."""

    plugin_name: str | None = None
    plugin: str | None = None  # as the guides name it
    plugin_version: str | None = None
    verify_connection: bool = True
    allowed_roles: StringList | None = None
    root_rotation_statements: Any = None
    password_policy: str | None = None
    username_template: str | None = None
    root_rotation_ttl: Duration | None = None
    reconcile_interval: Duration | None = None
    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return "ConnectionBody(…)"


class RoleBody(msgspec.Struct, kw_only=True):
    """Members of a role; None: not given."""

    db_name: str | None = None
    creation_statements: Any = None
    revocation_statements: Any = None
    rollback_statements: Any = None
    renew_statements: Any = None
    verify_statements: Any = None
    default_ttl: Duration | None = None
    max_ttl: Duration | None = None
    credential_type: str | None = None
    credential_config: StringMap | None = None


_COMMON = frozenset(field for field in ConnectionBody.__struct_fields__ if field != "password")
_NOT_OPTIONS = _COMMON | {"password", "name"}


def options_of(data: dict[str, Any]) -> dict[str, Any]:
    """The members that are for the plugin. Raises InvalidRequestError for one that is no plain value."""
    found = {}
    for name, value in data.items():
        if name in _NOT_OPTIONS or value is None:
            continue
        if not _is_plain(value):
            raise InvalidRequestError(f"{name[:64]} must be a string, a number, true or false, or a list of strings")
        found[name] = value
    return found


def _is_plain(value: object) -> bool:
    if isinstance(value, int):
        return abs(value) < _LARGEST
    items = value if isinstance(value, list) else [str(value)]
    is_text = isinstance(value, str | float | list) and all(isinstance(item, str) for item in items)
    return is_text and sum(map(len, items)) <= MAX_STATEMENT


def statements_of(value: object, kind: StatementKind) -> Statements:
    """Statements from a list of strings or from one string; empty ones are dropped. Raises InvalidRequestError."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(statement, str) for statement in found):
        raise InvalidRequestError(f"{kind.value} must be a string or a list of strings")
    kept = tuple(statement.strip() for statement in found if statement.strip())
    if len(kept) > MAX_STATEMENTS or any(len(statement) > MAX_STATEMENT for statement in kept):
        raise InvalidRequestError(f"{kind.value}: at most {MAX_STATEMENTS} statements of {MAX_STATEMENT} characters")
    return kept


def check_credential(kind: str | None, config: dict[str, str] | None) -> str | None:
    """The password policy of `credential_config`; None: not given. Raises for what is not made here."""
    if kind not in {None, "", "password"}:
        raise InvalidRequestError("credential_type must be password: keys and client certificates are not made here")
    if config is None:
        return None
    unknown = sorted(set(config) - {"password_policy"})
    if unknown:
        raise InvalidRequestError(f"credential_config knows only password_policy, not {unknown[0][:64]!r}")
    return config.get("password_policy", "")
