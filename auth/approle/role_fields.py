"""The paths below a role at which one of its fields is read, written and set back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from auth.approle.engine import AppRoleEngine
from auth.approle.roles import Role, RoleBody, changed_role, check_constrained, role_name
from auth.token_fields import TokenFields
from core.engine import Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import NO_CONTENT, Operation, Request, Response

_DEPRECATED = (
    'The "bound_cidr_list" field is deprecated and will be removed. Please use "secret_id_bound_cidrs" instead.'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleField:
    """One of them. `former` is an older name, under which it is taken and shown, too."""

    path: str
    name: str
    help: str
    former: str = ""
    read_only: bool = False


FIELDS = (
    RoleField(path="policies", name="token_policies", former="policies", help="Policies of the tokens."),
    RoleField(path="period", name="token_period", former="period", help="Each renewal gives the tokens this long."),
    RoleField(path="token-ttl", name="token_ttl", help="How long the tokens live before they are renewed."),
    RoleField(path="token-max-ttl", name="token_max_ttl", help="How long renewals can keep the tokens alive."),
    RoleField(path="token-num-uses", name="token_num_uses", help="How often each token can be used."),
    RoleField(path="token-bound-cidrs", name="token_bound_cidrs", help="Where the tokens can be used from."),
    RoleField(path="bind-secret-id", name="bind_secret_id", help="Whether a login needs a secret id."),
    RoleField(path="secret-id-num-uses", name="secret_id_num_uses", help="How often each new secret id can be used."),
    RoleField(path="secret-id-ttl", name="secret_id_ttl", help="How long each new secret id lives."),
    RoleField(path="secret-id-bound-cidrs", name="secret_id_bound_cidrs", help="Where logins can come from."),
    RoleField(path="bound-cidr-list", name="bound_cidr_list", help="The former name of secret-id-bound-cidrs."),
    RoleField(path="local-secret-ids", name="local_secret_ids", help="As at the role's creation.", read_only=True),
)


def field_routes(engine: AppRoleEngine) -> list[Route]:
    """All of them."""
    return [_FieldHandlers(engine, field).route() for field in FIELDS]


class _FieldHandlers:
    """Read, write and set back one field."""

    def __init__(self, engine: AppRoleEngine, field: RoleField) -> None:
        self._engine = engine
        self._field = field

    def route(self) -> Route:
        methods = {Operation.READ: Method(handler=self._read, mutates=False, summary=f"Read {self._field.name}")}
        if not self._field.read_only:
            methods[Operation.UPDATE] = Method(
                handler=self._write, body=RoleBody, summary=f"Set {self._field.name} of a role"
            )
            methods[Operation.DELETE] = Method(handler=self._reset, body=NoBody, summary="Set it back to its default")
        return Route(pattern=f"role/{{name}}/{self._field.path}", methods=methods, help=self._field.help)

    async def _read(self, request: Request, _body: NoBody) -> Response:
        role = await self._engine.store.role(role_name(request.params["name"]))
        if role is None:
            raise NotFoundError("")
        shown, name, former = role.shown(), self._field.name, self._field.former
        if name == "bound_cidr_list":
            return Response(data={name: shown["secret_id_bound_cidrs"]}, warnings=[_DEPRECATED])
        data = {name: shown[name]}
        return Response(data=data | {former: shown[former]} if former in shown else data)

    async def _write(self, request: Request, body: RoleBody) -> Response:
        field = self._field
        wanted = {field.name: getattr(body, field.name)}
        if field.former:
            wanted[field.former] = getattr(body, field.former)
        if all(value is None for value in wanted.values()):
            raise InvalidRequestError(f"missing {field.name}")
        if "cidr" in field.name and wanted[field.name] == []:
            raise InvalidRequestError(f"missing {field.name}: delete this path to lift the restriction")
        return await self._alter(request, lambda role, warnings: _with(role, wanted, warnings))

    async def _reset(self, request: Request, _body: NoBody) -> Response:
        return await self._alter(request, lambda role, _warnings: _without(role, self._field.name))

    async def _alter(self, request: Request, alter: Callable[[Role, list[str]], Role]) -> Response:
        warnings = await self._engine.change_role(role_name(request.params["name"]), alter)
        return Response(warnings=warnings) if warnings else NO_CONTENT


def _with(role: Role, wanted: dict[str, Any], warnings: list[str]) -> Role:
    return changed_role(role, RoleBody(**wanted), warnings, is_new=False)


def _without(role: Role, name: str) -> Role:
    """The role with the default in place of that field. Raises InvalidRequestError when it leaves no constraint."""
    if name.startswith("token_"):
        bare = name.removeprefix("token_")
        legacy = tuple(old for old in role.token.legacy if old != bare)
        token = msgspec.structs.replace(role.token, **{bare: getattr(TokenFields(), bare), "legacy": legacy})
        found = msgspec.structs.replace(role, token=token)
    else:
        place = "secret_id_bound_cidrs" if name == "bound_cidr_list" else name
        default = getattr(Role(uid="", name="", role_id=""), place)
        found = msgspec.structs.replace(role, **{place: default})
    check_constrained(found)
    return found
