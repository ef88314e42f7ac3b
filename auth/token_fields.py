"""The token_* fields that every login method has on its roles or users: what their tokens may do, and for how long."""

from collections.abc import Mapping
from typing import Any

import msgspec

from core.addresses import parse_cidrs
from core.bodies import Duration, StringList
from core.errors import InvalidRequestError
from core.requests import Login, LoginAlias

MAX_POLICIES = 256
MAX_USES = 2**31 - 1  # what Vault's clients decode into
_MAX_NAME = 128  # characters of a policy's name
# spellings from before the prefix; which of them a method takes is told by its body
_LEGACY = {name: f"token_{name}" for name in ("bound_cidrs", "max_ttl", "num_uses", "period", "policies", "ttl")}
_TYPES = {"": "default", "default": "default", "service": "service", "batch": "batch"}
_ADJUSTED = {"default-service": "service", "default-batch": "batch"}


class TokenBody(msgspec.Struct):
    """The fields in a body; what is left out stays as it is."""

    token_ttl: Duration | None = None
    token_max_ttl: Duration | None = None
    token_policies: StringList | None = None
    token_bound_cidrs: StringList | None = None
    token_explicit_max_ttl: Duration | None = None
    token_no_default_policy: bool | None = None
    token_num_uses: int | None = None
    token_period: Duration | None = None
    token_type: str | None = None


class TokenFields(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a role or user says of its tokens, as stored. Durations are seconds; 0 leaves them to the mount."""

    ttl: int = 0
    max_ttl: int = 0
    policies: tuple[str, ...] = ()
    bound_cidrs: tuple[str, ...] = ()
    explicit_max_ttl: int = 0
    no_default_policy: bool = False
    num_uses: int = 0
    period: int = 0
    type: str = "default"
    legacy: tuple[str, ...] = ()  # old spellings by which fields were last written, and are shown, too

    def changed(self, body: TokenBody, warnings: list[str]) -> "TokenFields":
        """With what `body` gives. Raises InvalidRequestError; what was adjusted is added to `warnings`."""
        given = _given(body)
        changes: dict[str, Any] = {}
        for name, value in given.items():
            if value is not None:
                changes[name] = _checked(name, value, warnings)
        changes["legacy"] = _legacy(self.legacy, body)
        found = msgspec.structs.replace(self, **changes)
        _check_together(found)
        return found

    def shown(self) -> dict[str, Any]:
        """As clients read them."""
        data: dict[str, Any] = {
            "token_bound_cidrs": list(self.bound_cidrs),
            "token_explicit_max_ttl": self.explicit_max_ttl,
            "token_max_ttl": self.max_ttl,
            "token_no_default_policy": self.no_default_policy,
            "token_num_uses": self.num_uses,
            "token_period": self.period,
            "token_policies": list(self.policies),
            "token_ttl": self.ttl,
            "token_type": self.type,
        }
        return data | {old: data[_LEGACY[old]] for old in self.legacy}

    def login(
        self,
        *,
        display_name: str,
        alias: LoginAlias,
        metadata: dict[str, str],
        renewal: dict[str, str],
        bound_cidrs: tuple[str, ...] = (),
        group_aliases: tuple[str, ...] = (),
        policies: tuple[str, ...] = (),
    ) -> Login:
        """The login of somebody with these fields. `bound_cidrs` take the place of the fields' own; `policies` add."""
        return Login(
            display_name=display_name,
            policies=self.policies + policies,
            no_default_policy=self.no_default_policy,
            metadata=metadata,
            alias=alias,
            group_aliases=group_aliases,
            ttl=self.ttl,
            max_ttl=self.max_ttl,
            explicit_max_ttl=self.explicit_max_ttl,
            period=self.period,
            num_uses=self.num_uses,
            bound_cidrs=bound_cidrs or self.bound_cidrs,
            token_type=self.type,
            renewal=renewal,
        )


def check_within_mount(fields: TokenFields, max_lease_ttl: int, warnings: list[str]) -> None:
    """Raise InvalidRequestError for a period beyond the mount's maximum; a max TTL beyond it warns, as in Vault."""
    if fields.period > max_lease_ttl:
        raise InvalidRequestError(
            f"token_period of {fields.period}s is greater than the mount's maximum lease TTL of {max_lease_ttl}s"
        )
    if fields.max_ttl > max_lease_ttl:
        warnings.append(
            "token_max_ttl is greater than the backend mount's maximum TTL value; issued tokens' max TTL value will be "
            "truncated"
        )


def policy_names(names: StringList | tuple[str, ...]) -> tuple[str, ...]:
    """In lower case, each once, in the order given. Raises InvalidRequestError for too many or too long ones."""
    found = tuple(dict.fromkeys(name.strip().lower() for name in names))
    if len(found) > MAX_POLICIES:
        raise InvalidRequestError(f"token_policies may name at most {MAX_POLICIES} policies")
    if any(len(name) > _MAX_NAME for name in found):
        raise InvalidRequestError(f"token_policies: a policy's name has at most {_MAX_NAME} characters")
    return found


def _given(body: TokenBody) -> dict[str, Any]:
    """The members without their prefix; an old spelling counts where the new one is not given."""
    given: Mapping[str, Any] = msgspec.structs.asdict(body)
    values = {name.removeprefix("token_"): given[name] for name in TokenBody.__struct_fields__}
    for old, new in _LEGACY.items():
        if given[new] is None and given.get(old) is not None:
            values[old] = given[old]
    return values


def _legacy(before: tuple[str, ...], body: TokenBody) -> tuple[str, ...]:
    found = set(before)
    for old, new in _LEGACY.items():
        if getattr(body, old, None) is not None:
            found.add(old)
        elif getattr(body, new) is not None:
            found.discard(old)
    return tuple(sorted(found))


def _checked(name: str, value: Any, warnings: list[str]) -> Any:
    """One value as it is stored."""
    if name == "policies":
        return policy_names(value)
    if name == "bound_cidrs":
        return parse_cidrs(value, field="token_bound_cidrs")
    if name == "type":
        return _token_type(value, warnings)
    if name == "num_uses" and not 0 <= value <= MAX_USES:
        raise InvalidRequestError(f"token_num_uses must be 0 to {MAX_USES}")
    return value


def _token_type(text: str, warnings: list[str]) -> str:
    adjusted = _ADJUSTED.get(text)
    if adjusted:
        warnings.append(f"{text} has no useful meaning; adjusting to {adjusted}")
        return adjusted
    if text not in _TYPES:
        raise InvalidRequestError("token_type must be default, service or batch")
    return _TYPES[text]


def _check_together(fields: TokenFields) -> None:
    if fields.type == "batch" and fields.period:
        raise InvalidRequestError("'token_type' cannot be 'batch' when set to generate periodic tokens")
    if fields.type == "batch" and fields.num_uses:
        raise InvalidRequestError("'token_type' cannot be 'batch' when set to generate tokens with limited use count")
    if 0 < fields.max_ttl < fields.ttl:
        raise InvalidRequestError("'token_ttl' cannot be greater than 'token_max_ttl'")
