"""`auth/token/roles`: token roles, written, read, listed and deleted."""

from collections.abc import Callable
from typing import Any

from appliance.access.request import AccessRequest
from appliance.access.token_roles import RoleBody, TokenRole, TokenRoles
from appliance.namespaces import ROOT, Namespace
from core.engine import Method, NoBody, Route
from core.errors import NotFoundError
from core.requests import NO_CONTENT, Operation, Request, Response

NamespaceAt = Callable[[str], Namespace | None]  # path ("team-a/") to namespace; no I/O


class TokenRoleRoutes:
    """Each namespace has roles of its own."""

    def __init__(self, roles: TokenRoles, namespace_at: NamespaceAt) -> None:
        self._roles = roles
        self._namespace_at = namespace_at

    def routes(self) -> list[Route]:
        """Below auth/token/."""
        return [
            Route(
                pattern="roles",
                methods={Operation.LIST: Method(handler=self._list, mutates=False, summary="List token roles.")},
                help="Token roles.",
            ),
            Route(
                pattern="roles/{role_name}",
                methods={
                    Operation.READ: Method(handler=self._read, mutates=False, summary="Read a token role."),
                    Operation.UPDATE: Method(handler=self._write, body=RoleBody, summary="Create or change one."),
                    Operation.DELETE: Method(handler=self._delete, summary="Delete one."),
                },
                exists=self._exists,
                help="What the tokens made at auth/token/create/<role> are like.",
            ),
        ]

    async def _list(self, request: Request, _body: NoBody) -> Response:
        names = await self._roles.names(namespace=self._namespace(request))
        if not names:
            raise NotFoundError("")
        return Response(data={"keys": names})

    async def _read(self, request: Request, _body: NoBody) -> Response:
        role = await self._roles.get(request.params["role_name"], namespace=self._namespace(request))
        if role is None:
            raise NotFoundError("")
        return Response(data=_described(role))

    async def _write(self, request: Request, body: RoleBody) -> Response:
        name, namespace = request.params["role_name"], self._namespace(request)
        warnings = await self._roles.write(name, body, namespace=namespace)
        return Response(warnings=warnings) if warnings else NO_CONTENT

    async def _delete(self, request: Request, _body: NoBody) -> Response:
        await self._roles.delete(request.params["role_name"], namespace=self._namespace(request))
        return NO_CONTENT

    async def _exists(self, request: Request) -> bool:
        role = await self._roles.get(request.params["role_name"], namespace=self._namespace(request))
        return role is not None

    def _namespace(self, request: Request) -> str:
        """Whether a role exists is asked before the request is an AccessRequest."""
        if isinstance(request, AccessRequest):
            return request.within.id
        found = self._namespace_at(request.namespace)
        return "" if found is None else found.id


def root_at(path: str) -> Namespace | None:
    """A NamespaceAt that knows the root namespace alone."""
    return None if path else ROOT


def _described(role: TokenRole) -> dict[str, Any]:
    """Vault's fields; the last three only when they are set."""
    data: dict[str, Any] = {
        "name": role.name,
        "allowed_policies": list(role.allowed_policies),
        "disallowed_policies": list(role.disallowed_policies),
        "allowed_policies_glob": list(role.allowed_policies_glob),
        "disallowed_policies_glob": list(role.disallowed_policies_glob),
        "orphan": role.orphan,
        "renewable": role.renewable,
        "path_suffix": role.path_suffix,
        "period": role.period,
        "token_period": role.token_period,
        "explicit_max_ttl": role.explicit_max_ttl,
        "token_explicit_max_ttl": role.token_explicit_max_ttl,
        "token_type": role.token_type,
        "token_no_default_policy": role.token_no_default_policy,
        "allowed_entity_aliases": list(role.allowed_entity_aliases),
    }
    optional = {
        "token_bound_cidrs": list(role.token_bound_cidrs),
        "bound_cidrs": list(role.bound_cidrs),
        "token_num_uses": role.token_num_uses,
    }
    return data | {name: value for name, value in optional.items() if value}
