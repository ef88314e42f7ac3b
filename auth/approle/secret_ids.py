"""A secret id: the credential that goes with a role's id. It is stored without itself."""

from typing import Any

import msgspec

from auth.approle.metadata import parse_metadata
from auth.approle.roles import MAX_USES, Role
from core.addresses import is_subnet, is_within, parse_cidrs
from core.bodies import Duration, StringList
from core.clock import rfc3339
from core.errors import InvalidRequestError
from core.ids import new_uuid

MAX_SECRET_ID = 1024  # characters
_NEVER = "0001-01-01T00:00:00Z"  # Go's zero time, as Vault's clients know it


class SecretIdBody(msgspec.Struct):
    """role/<name>/secret-id, and with `secret_id` role/<name>/custom-secret-id."""

    secret_id: str = ""
    metadata: str | dict[str, Any] | None = None
    cidr_list: StringList = msgspec.field(default_factory=StringList)
    token_bound_cidrs: StringList = msgspec.field(default_factory=StringList)
    num_uses: int | None = None
    ttl: Duration | None = None


class SecretId(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is stored of a secret id. Times are epoch seconds."""

    accessor: str
    created_at: float
    updated_at: float
    expires_at: int | None = None
    ttl: int = 0  # seconds
    num_uses: int = 0  # uses left; 0: without limit
    cidr_list: tuple[str, ...] = ()
    token_bound_cidrs: tuple[str, ...] = ()
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    format: int = 1

    def is_current(self, now: float) -> bool:
        """Whether its time is not over."""
        return self.expires_at is None or now < self.expires_at

    def used(self, now: float) -> "SecretId":
        """After one of its limited uses, which was not the last."""
        return msgspec.structs.replace(self, num_uses=self.num_uses - 1, updated_at=now)

    def check_address(self, address: str) -> None:
        """Raise InvalidRequestError unless it may be used from there."""
        if self.cidr_list and not is_within(address, self.cidr_list):
            raise InvalidRequestError(
                f'source address "{address}" unauthorized through CIDR restrictions on the secret ID'
            )

    def narrower_cidrs(self, role: Role) -> tuple[str, ...]:
        """Where its tokens may be used from: what lies in its own networks and in those that the role has by now.

        () leaves it to the role. Raises InvalidRequestError when the two have nothing in common any more.
        """
        own, whole = self.token_bound_cidrs, role.token.bound_cidrs
        if not own or not whole:
            return own
        # of two networks one holds the other, or they have nothing in common
        found = [one for one in own if is_subnet(one, whole)] + [one for one in whole if is_subnet(one, own)]
        if not found:
            raise InvalidRequestError("token_bound_cidrs of the secret ID lie outside those that the role has now")
        return tuple(dict.fromkeys(found))

    def shown(self) -> dict[str, Any]:
        """As clients read it."""
        return {
            "cidr_list": list(self.cidr_list),
            "creation_time": rfc3339(self.created_at),
            "expiration_time": _NEVER if self.expires_at is None else rfc3339(self.expires_at),
            "last_updated_time": rfc3339(self.updated_at),
            "metadata": self.metadata,
            "secret_id_accessor": self.accessor,
            "secret_id_num_uses": self.num_uses,
            "secret_id_ttl": self.ttl,
            "token_bound_cidrs": list(self.token_bound_cidrs),
        }


def new_secret_id(role: Role, body: SecretIdBody, *, now: float, max_ttl: int) -> SecretId:
    """What `body` asks for, if the role gives it. Raises InvalidRequestError. `max_ttl` clips its life."""
    if not role.bind_secret_id:
        raise InvalidRequestError("bind_secret_id is not set on the role")
    cidrs = parse_cidrs(body.cidr_list, field="cidr_list")
    _check_subset(cidrs, role.secret_id_bound_cidrs, what="cidr_list", whole="secret_id_bound_cidrs")
    token_cidrs = parse_cidrs(body.token_bound_cidrs, field="token_bound_cidrs")
    _check_subset(token_cidrs, role.token.bound_cidrs, what="token_bound_cidrs", whole="token_bound_cidrs")
    ttl = min(_ttl(role, body), max_ttl)
    return SecretId(
        accessor=new_uuid(),
        created_at=now,
        updated_at=now,
        expires_at=int(now) + ttl if ttl else None,
        ttl=ttl,
        num_uses=_num_uses(role, body),
        cidr_list=cidrs,
        token_bound_cidrs=token_cidrs,
        metadata=parse_metadata(body.metadata),
    )


def is_subset(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    """Whether each network of `inner` lies in one of `outer`; an empty `outer` is every network."""
    return not outer or all(is_subnet(one, outer) for one in inner)


def _check_subset(inner: tuple[str, ...], outer: tuple[str, ...], *, what: str, whole: str) -> None:
    if not is_subset(inner, outer):
        raise InvalidRequestError(
            f"failed to verify subset relationship between CIDR blocks: {what} must lie within the role's {whole}"
        )


def _num_uses(role: Role, body: SecretIdBody) -> int:
    """As asked for, or as the role says; never more than the role's."""
    limit = role.secret_id_num_uses
    if body.num_uses is None:
        return limit
    if body.num_uses < 0:
        raise InvalidRequestError("num_uses cannot be negative")
    if body.num_uses > MAX_USES or (limit and not 0 < body.num_uses <= limit):
        raise InvalidRequestError("num_uses cannot be higher than the role's secret_id_num_uses")
    return body.num_uses


def _ttl(role: Role, body: SecretIdBody) -> int:
    limit = role.secret_id_ttl
    if body.ttl is None:
        return limit
    if limit and not 0 < body.ttl <= limit:
        raise InvalidRequestError("ttl cannot be longer than the role's secret_id_ttl")
    return body.ttl
