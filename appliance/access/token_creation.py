"""`auth/token/create`, `create-orphan` and `create/<role>`."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from appliance.access.child_tokens import CreateBody, Grounds, check_alias, check_creator, child_of
from appliance.access.request import AccessRequest, as_access_request
from appliance.access.token_answers import EntityOf, TokenAnswers
from appliance.access.token_entry import TokenEntry
from appliance.access.token_roles import TokenRole, TokenRoles
from appliance.access.tokens import TokenStore
from core.engine import Method, Route
from core.errors import InvalidRequestError, PermissionDeniedError
from core.requests import Operation, Request, Response

ResolveAlias = Callable[[str, str], Awaitable[str]]  # namespace id and alias name to entity id


class PolicyNames(Protocol):
    """Policies by name and namespace id, to warn of those that do not exist."""

    async def get(self, name: str, *, namespace: str) -> object | None:
        """The policy."""
        ...


class TokenCreation:
    """Makes tokens for those who have one."""

    def __init__(
        self,
        tokens: TokenStore,
        roles: TokenRoles,
        answers: TokenAnswers,
        policies: PolicyNames,
        *,
        entity_of: EntityOf,
        resolve_alias: ResolveAlias | None,
    ) -> None:
        self._tokens = tokens
        self._roles = roles
        self._answers = answers
        self._policies = policies
        self._entity_of = entity_of
        self._resolve_alias = resolve_alias

    def routes(self) -> list[Route]:
        """Below auth/token/."""
        return [
            _route("create", self._create, "Create a child of the token in use."),
            _route("create-orphan", self._create_orphan, "Create a token that outlives the one in use."),
            _route("create/{role_name}", self._create_by_role, "Create a token of a role."),
        ]

    async def _create(self, request: Request, body: CreateBody) -> Response:
        return await self._common(as_access_request(request), body)

    async def _create_orphan(self, request: Request, body: CreateBody) -> Response:
        return await self._common(as_access_request(request), body, is_orphan=True)

    async def _create_by_role(self, request: Request, body: CreateBody) -> Response:
        asked = as_access_request(request)
        name = request.params["role_name"]
        role = await self._roles.get(name, namespace=asked.within.id)
        if role is None:
            raise InvalidRequestError(f"unknown role {name}")
        return await self._common(asked, body, role=role)

    async def _common(
        self, request: AccessRequest, body: CreateBody, *, is_orphan: bool = False, role: TokenRole | None = None
    ) -> Response:
        path = (request.mount_path + request.path).rstrip("/")
        check_creator(request.entry)
        grounds = Grounds(
            parent=request.entry,
            path=path,
            namespace=request.within.id,
            is_sudo=request.acl.allows(request.within.path + path, "sudo"),
            is_orphan=is_orphan,
            role=role,
            entity_id=await self._entity(request, body.entity_alias, role) if body.entity_alias else "",
        )
        child = child_of(body, grounds)
        token, entry = await self._tokens.create(child.spec, parent=request.entry, orphan=child.is_orphan)
        warnings = [*child.warnings, *await self._unknown_policies(entry)]
        return await self._answers.granted(token, entry, wanted=child.spec.ttl or child.spec.period, warnings=warnings)

    async def _entity(self, request: AccessRequest, alias: str, role: TokenRole | None) -> str:
        """The entity behind an alias that the role lists; made if there is none yet."""
        check_alias(alias, role)
        if self._resolve_alias is None:
            raise InvalidRequestError("entity aliases are not served here")
        entity_id = await self._resolve_alias(request.within.id, alias)
        view = await self._entity_of(entity_id)
        if view is not None and view.disabled:
            raise PermissionDeniedError("entity from given entity alias is disabled")
        return entity_id

    async def _unknown_policies(self, entry: TokenEntry) -> list[str]:
        found = {name: await self._policies.get(name, namespace=entry.namespace) for name in entry.policies}
        return [f'Policy "{name}" does not exist' for name, policy in found.items() if policy is None]


def _route(pattern: str, handler: Callable[[Request, CreateBody], Awaitable[Response]], summary: str) -> Route:
    method = Method(handler=handler, body=CreateBody, summary=summary)
    return Route(pattern=pattern, methods={Operation.UPDATE: method}, help=summary)
