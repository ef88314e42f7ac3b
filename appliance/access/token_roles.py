"""Token roles: what tokens made at auth/token/create/<role> are like, and what may be asked of them.

Stored per namespace below "token-role/", one entry a role.
"""

import re
from typing import Any

import msgspec

from appliance.access.lifetimes import SYSTEM_MAX_TTL
from appliance.access.policy_text import policy_name
from appliance.namespaces import data_prefix
from core.addresses import parse_cidrs
from core.bodies import Duration, StringList
from core.errors import InvalidRequestError
from core.protocols import CoreStorage, CoreTransaction, Entry, StorageView

MAX_NAMES = 256  # in one of a role's lists
_MAX_USES = 2**31 - 1
_FOLDER = "token-role/"
_NAME = re.compile(r"\w(?:[\w.-]{0,126}\w)?", re.ASCII)
_SUFFIX = re.compile(r"\w[\w.-]{1,126}\w", re.ASCII)
_GLOB = re.compile(r"[a-z0-9_.@:+=~*-]{1,128}", re.ASCII)
_TYPES = {"service", "batch", "default-service", "default-batch"}


class TokenRole(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A role, under the names that Vault gives its fields. Durations in seconds; 0 and empty: not set.

    `period`, `explicit_max_ttl` and `bound_cidrs` are the older names; they are only kept to be read back.
    """

    name: str
    allowed_policies: tuple[str, ...] = ()
    disallowed_policies: tuple[str, ...] = ()
    allowed_policies_glob: tuple[str, ...] = ()
    disallowed_policies_glob: tuple[str, ...] = ()
    orphan: bool = False
    renewable: bool = True
    path_suffix: str = ""
    allowed_entity_aliases: tuple[str, ...] = ()  # in lower case
    token_bound_cidrs: tuple[str, ...] = ()
    token_explicit_max_ttl: int = 0
    token_period: int = 0
    token_no_default_policy: bool = False
    token_num_uses: int = 0
    token_type: str = "default-service"  # noqa: S105 - a kind, not a credential
    period: int = 0
    explicit_max_ttl: int = 0
    bound_cidrs: tuple[str, ...] = ()
    format: int = 1

    @property
    def lists_policies(self) -> bool:
        """Whether it has policy rules of its own."""
        lists = (self.allowed_policies, self.disallowed_policies)
        return any(lists) or any((self.allowed_policies_glob, self.disallowed_policies_glob))

    @property
    def is_type_fixed(self) -> bool:
        """Whether its tokens are of one type, whatever is asked for."""
        return not self.token_type.startswith("default")


class RoleBody(msgspec.Struct):
    """`auth/token/roles/<name>`: what is absent stays as it is."""

    allowed_policies: StringList | None = None
    disallowed_policies: StringList | None = None
    allowed_policies_glob: StringList | None = None
    disallowed_policies_glob: StringList | None = None
    orphan: bool | None = None
    renewable: bool | None = None
    path_suffix: str | None = None
    allowed_entity_aliases: StringList | None = None
    token_bound_cidrs: StringList | None = None
    token_explicit_max_ttl: Duration | None = None
    token_period: Duration | None = None
    token_no_default_policy: bool | None = None
    token_num_uses: int | None = None
    token_type: str | None = None
    period: Duration | None = None
    explicit_max_ttl: Duration | None = None
    bound_cidrs: StringList | None = None


def changed_role(role: TokenRole, body: RoleBody) -> tuple[TokenRole, list[str]]:
    """The role with what the body sets, and warnings. Raises InvalidRequestError."""
    changes, warnings = _with_older_names(body)
    changed = msgspec.structs.replace(role, **changes)
    _check_role(changed)
    if changed.token_explicit_max_ttl > SYSTEM_MAX_TTL:
        warnings.append(
            f"Given explicit max TTL of {changed.token_explicit_max_ttl} is greater than system/mount allowed value of "
            f"{SYSTEM_MAX_TTL} seconds; tokens of this role end at the lesser one"
        )
    return changed, warnings


def _with_older_names(body: RoleBody) -> tuple[dict[str, Any], list[str]]:
    """The members that are given, in stored form. The newer name goes before the older one."""
    given = {name: value for name in body.__struct_fields__ if (value := getattr(body, name)) is not None}
    changes: dict[str, Any] = {name: _stored(name, value) for name, value in given.items()}
    warnings = []
    for old in ("period", "bound_cidrs", "explicit_max_ttl"):
        new = f"token_{old}"
        if new in changes:
            if old in changes:
                warnings.append(f"Both '{new}' and deprecated '{old}' value supplied, ignoring the deprecated value")
            changes[old] = () if old == "bound_cidrs" else 0
        elif old in changes:
            changes[new] = changes[old]
    return changes, warnings


def _stored(name: str, value: Any) -> Any:
    if name in {"token_bound_cidrs", "bound_cidrs"}:
        return parse_cidrs(value, field=name)
    if isinstance(value, list):
        if len(value) > MAX_NAMES:
            raise InvalidRequestError(f"{name} may hold at most {MAX_NAMES} names")
        return tuple(sorted({_listed(name, item) for item in value}))
    return value


def _listed(field: str, item: str) -> str:
    """One name of a list, in lower case."""
    if field.endswith("_policies"):
        return policy_name(item)
    item = item.lower()
    if field.endswith("_glob") and not _GLOB.fullmatch(item):
        raise InvalidRequestError(f"{field} may hold policy names and *")
    if len(item) > 256:
        raise InvalidRequestError(f"a name in {field} may have at most 256 characters")
    return item


def _check_role(role: TokenRole) -> None:
    if role.path_suffix and not _SUFFIX.fullmatch(role.path_suffix):
        raise InvalidRequestError(
            r"given role path suffix contains invalid characters; must match \w[\w-.]+\w and be shorter than 129"
        )
    if ".." in role.path_suffix:
        raise InvalidRequestError("error registering path suffix: path cannot contain parent references")
    if role.token_type not in _TYPES:
        raise InvalidRequestError("invalid 'token_type' value: it is service, batch, default-service or default-batch")
    if not 0 <= role.token_num_uses <= _MAX_USES:
        raise InvalidRequestError(f"token_num_uses must be 0 to {_MAX_USES}")
    if role.token_type == "batch":  # noqa: S105 - a kind, not a credential
        _check_batch_role(role)


def _check_batch_role(role: TokenRole) -> None:
    for is_wrong, what in (
        (not role.orphan, "non-orphan tokens"),
        (role.token_period, "periodic tokens"),
        (role.renewable, "renewable tokens"),
        (role.token_explicit_max_ttl, "tokens with an explicit max TTL"),
        (role.token_num_uses, "tokens with limited use count"),
    ):
        if is_wrong:
            raise InvalidRequestError(f"'token_type' cannot be 'batch' when role is set to generate {what}")


class TokenRoles:
    """The roles of all namespaces."""

    def __init__(self, storage: CoreStorage) -> None:
        self._storage = storage
        self._cache = storage.decoded_cache(_load)

    async def get(self, name: str, *, namespace: str) -> TokenRole | None:
        """The role of that name."""
        return await self._cache.get(_path(namespace, name)) if _NAME.fullmatch(name) else None

    async def names(self, *, namespace: str) -> list[str]:
        """All names, sorted."""
        return await self._storage.list(data_prefix(namespace) + _FOLDER)

    async def write(self, name: str, body: RoleBody, *, namespace: str) -> list[str]:
        """Create or change a role; answers warnings. Raises InvalidRequestError."""
        if not _NAME.fullmatch(name):
            raise InvalidRequestError(
                "a role name is 1 to 128 of letters, digits, _, - and ., and - and . not at its ends"
            )
        path = _path(namespace, name)

        async def change(txn: CoreTransaction) -> list[str]:
            entry = await txn.get(path)
            role = TokenRole(name=name) if entry is None else _decoder.decode(entry.value)
            changed, warnings = changed_role(role, body)
            await txn.put(path, msgspec.json.encode(changed))
            return warnings

        return await self._storage.transact(change)

    async def delete(self, name: str, *, namespace: str) -> bool:
        """Remove it; whether there was one. Its tokens live on, but are not renewed any more."""
        return bool(_NAME.fullmatch(name)) and await self._storage.delete(_path(namespace, name))


_decoder = msgspec.json.Decoder(TokenRole)


def _path(namespace: str, name: str) -> str:
    return f"{data_prefix(namespace)}{_FOLDER}{name}"


async def _load(_storage: StorageView, _path: str, entry: Entry) -> TokenRole:
    return _decoder.decode(entry.value)
