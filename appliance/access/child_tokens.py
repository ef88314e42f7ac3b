"""What a token may give to the tokens it creates: Vault's rules, as pure functions."""

import re
from collections.abc import Iterable

import msgspec

from appliance.access.globs import matches_any
from appliance.access.lifetimes import lesser
from appliance.access.policy_text import policy_name
from appliance.access.token_entry import BATCH, SERVICE, WRAPPING_POLICY, TokenEntry, TokenSpec
from appliance.access.token_hash import MAX_TOKEN
from appliance.access.token_roles import TokenRole
from core.addresses import is_subnet, parse_cidrs
from core.bodies import Duration, StringList, StringMap
from core.errors import InvalidRequestError

MAX_METADATA = 64 * 1024  # characters, names and values
MAX_POLICIES = 256
MAX_USES = 2**31 - 1  # what Vault's clients decode into
_MAX_NAME = 256

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
    bound_cidrs: StringList = msgspec.field(default_factory=StringList)  # Mimir's own: Vault has it for roles alone


class Grounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a creation is judged by, besides its body."""

    parent: TokenEntry
    path: str  # "auth/token/create"
    namespace: str  # id of the one that the request is made in
    is_sudo: bool = False
    is_orphan: bool = False  # asked for by the path
    role: TokenRole | None = None
    entity_id: str = ""  # of the entity alias in the body


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """What to create, and what to tell about it."""

    spec: TokenSpec
    is_orphan: bool
    warnings: tuple[str, ...] = ()


def check_creator(parent: TokenEntry) -> None:
    """Raise InvalidRequestError for a token that may create none at all."""
    if parent.is_batch:
        raise InvalidRequestError("batch tokens cannot create more tokens")
    if parent.num_uses:
        raise InvalidRequestError("restricted use token cannot generate child tokens")


def check_alias(name: str, role: TokenRole | None) -> None:
    """Raise InvalidRequestError for an entity alias that the role does not list."""
    if role is None:
        raise InvalidRequestError("'entity_alias' is only allowed in combination with token role")
    if not matches_any(role.allowed_entity_aliases, name.lower()):
        raise InvalidRequestError("invalid 'entity_alias' value")


def child_of(body: CreateBody, grounds: Grounds) -> Child:
    """What to create for this body. Raises InvalidRequestError for what the parent and the role do not give."""
    parent, role = grounds.parent, grounds.role
    check_creator(parent)
    _check_body(body, grounds)
    kind = _kind(body, role)
    policies = child_policies(body, grounds)
    if "root" in policies:
        _check_root(kind, grounds)
    if role is None and body.no_parent and not grounds.is_sudo:
        raise InvalidRequestError("root or sudo privileges required to create orphan token")
    is_orphan = role.orphan if role else grounds.is_orphan or body.no_parent
    period, explicit_max_ttl, warnings = _bounds(body, role, kind)
    spec = TokenSpec(
        policies=policies,
        path=f"{grounds.path}/{role.path_suffix}" if role and role.path_suffix else grounds.path,
        display_name=_display_name(body.display_name),
        metadata=None if body.meta is None else dict(body.meta),
        ttl=body.ttl or body.lease,
        explicit_max_ttl=explicit_max_ttl,
        period=period,
        num_uses=lesser(body.num_uses, role.token_num_uses if role else 0),
        renewable=body.renewable and (role is None or role.renewable),
        token_id=body.id,
        entity_id=grounds.entity_id or ("" if is_orphan else parent.entity_id),
        role=role.name if role else "",
        type=kind,
        namespace=grounds.namespace,
        bound_cidrs=_networks(body, role.token_bound_cidrs if role else () if is_orphan else parent.bound_cidrs),
    )
    if "root" in policies and not (spec.ttl or spec.period or spec.explicit_max_ttl):
        _check_endless(body, parent)
    return Child(spec=spec, is_orphan=is_orphan, warnings=warnings)


# --- policies -----------------------------------------------------------------------------------------------------


def child_policies(body: CreateBody, grounds: Grounds) -> tuple[str, ...]:
    """The policies of a child, sorted: what is wanted if role or parent give that, otherwise theirs.

    Without a role that lists policies and without sudo they must be a subset of the parent's. "root" stands alone.
    """
    if len(body.policies) > MAX_POLICIES:
        raise InvalidRequestError(f"a token may have at most {MAX_POLICIES} policies")
    wanted = sanitized(body.policies)
    held, role = set(grounds.parent.policies), grounds.role
    if role is not None and role.lists_policies:
        names = _by_role(wanted, grounds.parent, role, without_default=body.no_default_policy)
    elif grounds.namespace != grounds.parent.namespace:
        names = wanted | {"default"}
    elif not wanted:
        names = held
    elif grounds.is_sudo:
        names = wanted | {"default"}
    elif not wanted <= held:
        raise InvalidRequestError("child policies must be subset of parent")
    else:
        names = wanted | (held & {"default"})
    by_lists = role is not None and role.lists_policies  # they have settled "default" themselves
    if body.no_default_policy or (role is not None and role.token_no_default_policy and not by_lists):
        names = names - {"default"}
    if WRAPPING_POLICY in names:
        raise InvalidRequestError(f'cannot assign policy "{WRAPPING_POLICY}"')
    return ("root",) if "root" in names else tuple(sorted(names))


def sanitized(names: Iterable[str]) -> set[str]:
    """Policy names as they are stored; with "root" among them nothing else."""
    found = {policy_name(name) for name in names}
    return {"root"} if "root" in found else found


def _by_role(wanted: set[str], parent: TokenEntry, role: TokenRole, *, without_default: bool) -> set[str]:
    """The policies by a role's lists, which may reach beyond the parent's."""
    is_default_disallowed = "default" in role.disallowed_policies or matches_any(
        role.disallowed_policies_glob, "default"
    )
    adds_default = not (without_default or role.token_no_default_policy or is_default_disallowed)
    names = _with_default(wanted, add=adds_default) if wanted else set()
    if role.allowed_policies or role.allowed_policies_glob:
        allowed = _with_default(sanitized(role.allowed_policies), add=adds_default)
        for name in sorted(names):
            if name not in allowed and not matches_any(role.allowed_policies_glob, name):
                raise InvalidRequestError(
                    f"token policies ({_quoted(names)}) must be subset of the role's allowed policies "
                    f"({_quoted(allowed)}) or glob policies ({_quoted(role.allowed_policies_glob)})"
                )
        names = names or allowed
    else:
        names = names or _with_default(set(parent.policies), add=adds_default)
    for name in sorted(names):
        if name in role.disallowed_policies or matches_any(role.disallowed_policies_glob, name):
            raise InvalidRequestError(f'token policy "{name}" is disallowed by this role')
    return names


def _with_default(names: set[str], *, add: bool) -> set[str]:
    return names | {"default"} if add and "root" not in names else names


def _quoted(names: Iterable[str]) -> str:
    """As Go prints a list of strings."""
    return "[" + " ".join(f'"{name}"' for name in sorted(names)) + "]"


def _check_root(kind: str, grounds: Grounds) -> None:
    if grounds.namespace != grounds.parent.namespace:
        raise InvalidRequestError("root tokens may not be created from a parent namespace")
    if not grounds.parent.is_root:
        raise InvalidRequestError("root tokens may not be created without parent token being root")
    if kind == BATCH:
        raise InvalidRequestError("batch tokens cannot be root tokens")


def _check_endless(body: CreateBody, parent: TokenEntry) -> None:
    if parent.ttl:
        raise InvalidRequestError("expiring root tokens cannot create non-expiring root tokens")
    if body.bound_cidrs:
        raise InvalidRequestError("a root token that never expires cannot have bound_cidrs: give it a ttl")


# --- the rest of the body -----------------------------------------------------------------------------------------


def _kind(body: CreateBody, role: TokenRole | None) -> str:
    """The role's type, or what is asked for where the role only has a default."""
    wanted = body.type
    if role is not None:
        wanted = role.token_type if role.is_type_fixed else wanted or role.token_type.removeprefix("default-")
    if wanted in ("", SERVICE):
        return SERVICE
    if wanted != BATCH:
        raise InvalidRequestError("invalid 'token_type' value")
    uses = body.num_uses or (role.token_num_uses if role else 0)
    for field, value in (("explicit_max_ttl", body.explicit_max_ttl), ("num_uses", uses), ("period", body.period)):
        if value:
            raise InvalidRequestError(f'batch tokens cannot have "{field}" set')
    if body.id:
        raise InvalidRequestError('batch tokens cannot have "id" set')
    return BATCH


def _networks(body: CreateBody, outer: tuple[str, ...]) -> tuple[str, ...]:
    """The networks asked for, which must lie within those of the role or the parent; without any, those."""
    asked = parse_cidrs(body.bound_cidrs, field="bound_cidrs")
    if outer and not all(is_subnet(network, outer) for network in asked):
        raise InvalidRequestError("bound_cidrs must lie within the networks of the parent token or the role")
    return asked or outer


def _bounds(body: CreateBody, role: TokenRole | None, kind: str) -> tuple[int, int, tuple[str, ...]]:
    """Period and explicit_max_ttl: the lesser of body and role. A role's are left out for batch tokens."""
    if role is None or kind == BATCH:
        return body.period, body.explicit_max_ttl, ()
    explicit_max_ttl = lesser(body.explicit_max_ttl, role.token_explicit_max_ttl)
    period = lesser(body.period, role.token_period)
    warnings = []
    for name, asked, given, value in (
        ("Explicit max TTL", body.explicit_max_ttl, role.token_explicit_max_ttl, explicit_max_ttl),
        ("Period", body.period, role.token_period, period),
    ):
        if asked and given:
            warnings.append(
                f"{name} specified both during creation call and in role; using the lesser value of {value} seconds"
            )
    return period, explicit_max_ttl, tuple(warnings)


def _check_body(body: CreateBody, grounds: Grounds) -> None:
    _check_sizes(body)
    if grounds.namespace != grounds.parent.namespace and not grounds.is_sudo:
        raise InvalidRequestError("root or sudo privileges required to directly generate a token in a child namespace")
    if body.role_name and grounds.role is None:
        raise InvalidRequestError("a token of a role is created at auth/token/create/<role>")
    if body.entity_alias:
        check_alias(body.entity_alias, grounds.role)
    if body.id and not grounds.is_sudo:
        raise InvalidRequestError("root or sudo privileges required to specify token id")
    if body.id and grounds.namespace != "root":
        raise InvalidRequestError("token IDs can only be manually specified in the root namespace")
    if body.period and not grounds.is_sudo:
        raise InvalidRequestError("root or sudo privileges required to create periodic token")


def _check_sizes(body: CreateBody) -> None:
    if body.num_uses < 0:
        raise InvalidRequestError("number of uses cannot be negative")
    if body.num_uses > MAX_USES:
        raise InvalidRequestError(f"num_uses must be 0 to {MAX_USES}")
    if len(body.display_name) > _MAX_NAME:
        raise InvalidRequestError(f"display_name must be at most {_MAX_NAME} characters")
    if body.meta and sum(len(name) + len(value) for name, value in body.meta.items()) > MAX_METADATA:
        raise InvalidRequestError(f"meta must be at most {MAX_METADATA // 1024} KiB in all")
    if body.id and not _CHOSEN_ID.fullmatch(body.id):
        raise InvalidRequestError(f'id must be 1 to {MAX_TOKEN} printable ASCII characters without blanks and "."')


def _display_name(name: str) -> str:
    """`token-` and the name, in letters, digits and dashes."""
    return re.sub(r"[^a-zA-Z0-9-]", "-", f"token-{name}").removesuffix("-") if name else "token"
