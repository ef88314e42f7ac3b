"""What a token may give to the tokens it creates: Vault's rules, as pure functions."""

import re
from collections.abc import Iterable

import msgspec

from appliance.access.policy_text import policy_name
from appliance.access.token_hash import MAX_TOKEN
from appliance.access.tokens import TokenEntry, TokenSpec
from core.bodies import Duration, StringList, StringMap
from core.errors import InvalidRequestError

MAX_METADATA = 64 * 1024  # characters, names and values
MAX_POLICIES = 256
MAX_USES = 2**31 - 1  # what Vault's clients decode into
_MAX_NAME = 256

_UNASSIGNABLE = "response-wrapping"
_CHOSEN_ID = re.compile(rf"[!-\-/-~]{{1,{MAX_TOKEN}}}")  # printable ASCII but "."


class CreateBody(msgspec.Struct):
    """`auth/token/create`."""

    id: str = ""
    policies: StringList = msgspec.field(default_factory=StringList)
    meta: StringMap | None = None
    no_parent: bool = False
    no_default_policy: bool = False
    renewable: bool = True
    ttl: Duration = Duration()
    lease: Duration = Duration()
    type: str = ""
    explicit_max_ttl: Duration = Duration()
    period: Duration = Duration()
    display_name: str = ""
    num_uses: int = 0
    role_name: str = ""
    entity_alias: str = ""


def child_spec(body: CreateBody, parent: TokenEntry, *, path: str, is_sudo: bool, orphan: bool) -> TokenSpec:
    """What to create for this body. Raises InvalidRequestError for what the parent may not give."""
    _check_available(body)
    _check_sizes(body)
    if parent.num_uses:
        raise InvalidRequestError("restricted use token cannot generate child tokens")
    if not is_sudo:
        _check_without_sudo(body)
    policies = child_policies(body.policies, parent.policies, is_sudo=is_sudo, without_default=body.no_default_policy)
    spec = TokenSpec(
        policies=policies,
        path=path,
        display_name=_display_name(body.display_name),
        metadata=None if body.meta is None else dict(body.meta),
        ttl=body.ttl or body.lease,
        explicit_max_ttl=body.explicit_max_ttl,
        period=body.period,
        num_uses=body.num_uses,
        renewable=body.renewable,
        token_id=body.id,
        entity_id="" if orphan else parent.entity_id,
    )
    if "root" in policies and parent.ttl and not (spec.ttl or spec.period or spec.explicit_max_ttl):
        raise InvalidRequestError("expiring root tokens cannot create non-expiring root tokens")
    return spec


def child_policies(
    wanted: Iterable[str], parent: tuple[str, ...], *, is_sudo: bool, without_default: bool
) -> tuple[str, ...]:
    """The policies of a child, sorted: the parent's, or what is wanted if the parent may give that.

    Without sudo they must be a subset of the parent's. "root" is given by root alone, and stands alone.
    """
    names = {policy_name(name) for name in wanted}
    if len(names) > MAX_POLICIES:
        raise InvalidRequestError(f"a token may have at most {MAX_POLICIES} policies")
    if not names:
        names = set(parent)
    elif is_sudo:
        names.add("default")
    elif not names <= set(parent):
        raise InvalidRequestError("child policies must be subset of parent")
    elif "default" in parent:
        names.add("default")
    if without_default:
        names.discard("default")
    if _UNASSIGNABLE in names:
        raise InvalidRequestError(f'cannot assign policy "{_UNASSIGNABLE}"')
    if "root" not in names:
        return tuple(sorted(names))
    if "root" not in parent:
        raise InvalidRequestError("root tokens may not be created without parent token being root")
    return ("root",)


def _check_available(body: CreateBody) -> None:
    if body.type not in ("", "service"):
        raise InvalidRequestError("type must be service; this version has no batch tokens")
    if body.role_name:
        raise InvalidRequestError("role_name: this version has no token roles")
    if body.entity_alias:
        raise InvalidRequestError("'entity_alias' is only allowed in combination with token role")


def _check_sizes(body: CreateBody) -> None:
    if not 0 <= body.num_uses <= MAX_USES:
        raise InvalidRequestError(f"num_uses must be 0 to {MAX_USES}")
    if len(body.display_name) > _MAX_NAME:
        raise InvalidRequestError(f"display_name must be at most {_MAX_NAME} characters")
    if body.meta and sum(len(name) + len(value) for name, value in body.meta.items()) > MAX_METADATA:
        raise InvalidRequestError(f"meta must be at most {MAX_METADATA // 1024} KiB in all")
    if body.id and not _CHOSEN_ID.fullmatch(body.id):
        raise InvalidRequestError(f'id must be 1 to {MAX_TOKEN} printable ASCII characters without blanks and "."')


def _check_without_sudo(body: CreateBody) -> None:
    if body.id:
        raise InvalidRequestError("root or sudo privileges required to specify token id")
    if body.no_parent:
        raise InvalidRequestError("root or sudo privileges required to create orphan token")
    if body.period:
        raise InvalidRequestError("root or sudo privileges required to create periodic token")


def _display_name(name: str) -> str:
    """`token-` and the name, in letters, digits and dashes."""
    return re.sub(r"[^a-zA-Z0-9-]", "-", f"token-{name}").removesuffix("-") if name else "token"
