"""A role: who may log in as it, and what the tokens of its logins may do."""

import re
from typing import Any

import msgspec

from auth.token_fields import TokenBody, TokenFields
from core.addresses import parse_cidrs
from core.bodies import Duration, StringList
from core.errors import InvalidRequestError
from core.ids import new_uuid

MAX_ROLE_ID = 1024  # characters
MAX_USES = 2**31 - 1
_NAME = re.compile(r"\w(?:[\w .-]{0,254}\w)?", re.ASCII)


class RoleBody(TokenBody):
    """role/<name>; what is left out stays as it is, or takes its default in a new role."""

    bind_secret_id: bool | None = None
    secret_id_bound_cidrs: StringList | None = None
    bound_cidr_list: StringList | None = None  # the former name
    secret_id_num_uses: int | None = None
    secret_id_ttl: Duration | None = None
    local_secret_ids: bool | None = None
    role_id: str | None = None
    policies: StringList | None = None
    period: Duration | None = None


class Role(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A role as stored."""

    uid: str  # of this role alone: a later one of the same name does not inherit its secret ids
    name: str  # in lower case
    role_id: str
    bind_secret_id: bool = True
    secret_id_bound_cidrs: tuple[str, ...] = ()
    secret_id_num_uses: int = 0  # 0: without limit
    secret_id_ttl: int = 0  # seconds; 0: they do not expire
    local_secret_ids: bool = False  # kept for clients; every node of a Mimir cluster shares one store
    token: TokenFields = TokenFields()
    format: int = 1

    def shown(self) -> dict[str, Any]:
        """As clients read it."""
        return {
            "bind_secret_id": self.bind_secret_id,
            "local_secret_ids": self.local_secret_ids,
            "secret_id_bound_cidrs": list(self.secret_id_bound_cidrs) or None,
            "secret_id_num_uses": self.secret_id_num_uses,
            "secret_id_ttl": self.secret_id_ttl,
            **self.token.shown(),
        }


def is_role_name(name: str) -> bool:
    """Whether a role can be called that."""
    return _NAME.fullmatch(name) is not None


def role_name(name: str) -> str:
    """The name as it is stored. Raises InvalidRequestError."""
    if not is_role_name(name):
        raise InvalidRequestError(
            "a role's name is 1 to 256 letters, digits, blanks and _ - . ; it begins and ends with a letter or digit"
        )
    return name.lower()


def new_role(name: str) -> Role:
    """A role with nothing but defaults."""
    return Role(uid=new_uuid(), name=name, role_id=new_uuid())


def changed_role(role: Role, body: RoleBody, warnings: list[str], *, is_new: bool) -> Role:
    """The role with what `body` gives. Raises InvalidRequestError."""
    changes: dict[str, Any] = {"token": role.token.changed(body, warnings)}
    if body.role_id is not None:
        changes["role_id"] = _role_id(body.role_id)
    if body.bind_secret_id is not None:
        changes["bind_secret_id"] = body.bind_secret_id
    cidrs = body.secret_id_bound_cidrs if body.secret_id_bound_cidrs is not None else body.bound_cidr_list
    if cidrs is not None:
        changes["secret_id_bound_cidrs"] = parse_cidrs(cidrs, field="secret_id_bound_cidrs")
    if body.secret_id_num_uses is not None:
        changes["secret_id_num_uses"] = _uses(body.secret_id_num_uses, field="secret_id_num_uses")
    if body.secret_id_ttl is not None:
        changes["secret_id_ttl"] = body.secret_id_ttl
    if body.local_secret_ids is not None:
        if not is_new:
            raise InvalidRequestError("local_secret_ids can only be modified during role creation")
        changes["local_secret_ids"] = body.local_secret_ids
    found = msgspec.structs.replace(role, **changes)
    check_constrained(found)
    return found


def check_constrained(role: Role) -> None:
    """Raise InvalidRequestError for a role as which anybody could log in who knows its id."""
    if not (role.bind_secret_id or role.secret_id_bound_cidrs or role.token.bound_cidrs):
        raise InvalidRequestError("at least one constraint should be enabled on the role")


def _role_id(text: str) -> str:
    found = text.strip()
    if not 0 < len(found) <= MAX_ROLE_ID or not found.isprintable():
        raise InvalidRequestError(f"role_id must have 1 to {MAX_ROLE_ID} printable characters")
    return found


def _uses(count: int, *, field: str) -> int:
    if not 0 <= count <= MAX_USES:
        raise InvalidRequestError(f"{field} must be 0 to {MAX_USES}")
    return count
