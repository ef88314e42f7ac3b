"""`auth/token/`: Vault's endpoints for tokens.

Every operation on another token acts in the namespace of the request and below it; a token elsewhere is answered as if
it did not exist.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from appliance.access.request import as_access_request
from appliance.access.token_answers import EntityOf, NamespacePath, TokenAnswers, no_entities, root_only
from appliance.access.token_creation import PolicyNames, ResolveAlias, TokenCreation
from appliance.access.token_entry import Terms, TokenEntry
from appliance.access.token_role_routes import NamespaceAt, TokenRoleRoutes, root_at
from appliance.access.token_roles import TokenRoles
from appliance.access.token_tidy import TokenTidy
from appliance.access.tokens import TokenStore
from core.bodies import Duration
from core.clock import Clock
from core.engine import Engine, Handler, Method, NoBody, Route
from core.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from core.requests import NO_CONTENT, Login, Operation, Request, Response

RenewLogin = Callable[[TokenEntry], Awaitable[Login | None]]  # None: no login method granted it


class TokenBody(msgspec.Struct):
    """Names a token by itself."""

    token: str = ""


class AccessorBody(msgspec.Struct):
    """Names a token by its accessor."""

    accessor: str = ""


class RenewBody(TokenBody):
    """`increment`: seconds wanted from now on; 0 for what the token was created with."""

    increment: Duration = Duration()


class RenewAccessorBody(AccessorBody):
    """As RenewBody."""

    increment: Duration = Duration()


class RotateBody(msgspec.Struct):
    """`end_all`: batch tokens that exist are refused from now on, which is the one way to revoke them."""

    end_all: bool = False


async def no_login(_entry: TokenEntry) -> Login | None:
    """A RenewLogin for tokens that no login method granted."""
    return None


def token_engine(
    clock: Clock,
    tokens: TokenStore,
    policies: PolicyNames,
    roles: TokenRoles | None = None,
    *,
    namespace_path: NamespacePath = root_only,
    namespace_at: NamespaceAt = root_at,
    entity_of: EntityOf = no_entities,
    resolve_alias: ResolveAlias | None = None,
    renew_login: RenewLogin = no_login,
) -> Engine:
    """The engine mounted at auth/token/. Its handlers take an AccessRequest.

    `entity_of` answers an entity by its id; `renew_login` what the login method says when a token it granted is to be
    renewed, its durations clipped to the mount's limits.
    """
    answers = TokenAnswers(clock, namespace_path, entity_of)
    roles = roles or TokenRoles(tokens.storage)
    creation = TokenCreation(tokens, roles, answers, policies, entity_of=entity_of, resolve_alias=resolve_alias)
    return _TokenEngine(
        tokens,
        answers,
        roles,
        namespace_path=namespace_path,
        renew_login=renew_login,
        routes=[*creation.routes(), *TokenRoleRoutes(roles, namespace_at).routes()],
    )


class _TokenEngine:
    def __init__(
        self,
        tokens: TokenStore,
        answers: TokenAnswers,
        roles: TokenRoles,
        *,
        namespace_path: NamespacePath,
        renew_login: RenewLogin,
        routes: Sequence[Route],
    ) -> None:
        self._tokens = tokens
        self._answers = answers
        self._roles = roles
        self._namespace_path = namespace_path
        self._renew_login = renew_login
        self._tidy = TokenTidy(tokens.storage, tokens)
        self.routes: Sequence[Route] = [*routes, *self._own_routes()]

    async def close(self) -> None:
        """End a tidy run."""
        await self._tidy.close()

    def _own_routes(self) -> list[Route]:
        look, renew = _reads(self._look, TokenBody), _writes(self._renew, RenewBody)
        revoke, revoke_orphan = _writes(self._revoke, TokenBody), _writes(self._revoke_orphan, TokenBody)
        look_self = _reads(self._look_self, NoBody)
        update, read = Operation.UPDATE, Operation.READ
        return [
            Route(pattern="lookup", methods={update: look, read: look_self}, help="Look a token up."),
            Route(
                pattern="lookup-self", methods={update: look_self, read: look_self}, help="Look up the token in use."
            ),
            _post("lookup-accessor", _reads(self._look_accessor, AccessorBody), "Look a token up by its accessor."),
            _post("renew", renew, "Renew a token."),
            _post("renew-self", _writes(self._renew_self, RenewBody), "Renew the token in use."),
            _post("renew-accessor", _writes(self._renew_accessor, RenewAccessorBody), "Renew a token by its accessor."),
            _post("revoke", revoke, "Revoke a token and all below it."),
            _post("revoke-self", _writes(self._revoke_self, NoBody), "Revoke the token in use and all below it."),
            _post("revoke-accessor", _writes(self._revoke_accessor, AccessorBody), "Revoke a token by its accessor."),
            _post("revoke-orphan", revoke_orphan, "Revoke a token alone.", sudo=True),
            # older clients put the token into the path
            Route(pattern="lookup/{token}", methods={update: look, read: look}, help="Look a token up."),
            _post("renew/{token}", renew, "Renew a token."),
            _post("revoke/{token}", revoke, "Revoke a token and all below it."),
            _post("revoke-orphan/{token}", revoke_orphan, "Revoke a token alone.", sudo=True),
            Route(
                pattern="accessors",
                methods={Operation.LIST: _reads(self._accessors, NoBody)},
                sudo=True,
                help="The accessors of all tokens, in this namespace and below.",
            ),
            _post(
                "batch-key/rotate",
                _writes(self._rotate_batch_key, RotateBody),
                "Seal batch tokens under a new key; with end_all those that exist are refused.",
                sudo=True,
            ),
            _post(
                "tidy", Method(handler=self._start_tidy, statuses=(202,)), "Clear away what lost tokens left behind."
            ),
        ]

    # --- look up --------------------------------------------------------------------------------------------------

    async def _look(self, request: Request, body: TokenBody) -> Response:
        token = _token(request, body)
        if not token:
            return await self._look_self(request, None)
        entry = await self._find(request, token)
        if entry is None:
            raise PermissionDeniedError("bad token")
        return await self._answers.described(entry, token=token)

    async def _look_self(self, request: Request, _body: Any) -> Response:
        asked = as_access_request(request)
        entry = asked.entry  # as it was admitted: after a last use the store has it no more
        if entry.num_uses:
            entry = msgspec.structs.replace(entry, num_uses=entry.num_uses - 1)
        return await self._answers.described(entry, token=asked.token)

    async def _look_accessor(self, request: Request, body: AccessorBody) -> Response:
        return await self._answers.described(await self._by_accessor(request, body.accessor), token="")

    async def _accessors(self, request: Request, _body: Any) -> Response:
        within = as_access_request(request).within.path
        keys = await self._tokens.accessors(lambda namespace: self._is_within(within, namespace))
        if not keys:
            raise NotFoundError("")
        return Response(data={"keys": keys})

    # --- renew ----------------------------------------------------------------------------------------------------

    async def _renew(self, request: Request, body: RenewBody) -> Response:
        token = _token(request, body)
        if not token:
            raise InvalidRequestError("missing token ID")
        entry = await self._find(request, token)
        if entry is None:
            raise InvalidRequestError("token not found")
        return await self._renewed(entry, token=token, increment=body.increment)

    async def _renew_self(self, request: Request, body: RenewBody) -> Response:
        asked = as_access_request(request)
        return await self._renewed(asked.entry, token=asked.token, increment=body.increment)

    async def _renew_accessor(self, request: Request, body: RenewAccessorBody) -> Response:
        entry = await self._by_accessor(request, body.accessor)
        return await self._renewed(entry, token="", increment=body.increment)

    async def _renewed(self, entry: TokenEntry, *, token: str, increment: int) -> Response:
        if entry.is_batch:
            raise InvalidRequestError("batch tokens cannot be renewed")
        terms = await self._terms(entry) if entry.renewable else None
        renewed = await self._tokens.renew(entry.record_id, increment=increment, terms=terms)
        return await self._answers.granted(token, renewed, wanted=0 if entry.period else increment, warnings=[])

    async def _terms(self, entry: TokenEntry) -> Terms | None:
        """What the token's role or login method says now; None when it has neither."""
        if entry.role:
            role = await self._roles.get(entry.role, namespace=entry.namespace)
            if role is None:
                raise InvalidRequestError(f'original token role "{entry.role}" could not be found, not renewing')
            return Terms(period=role.token_period, explicit_max_ttl=role.token_explicit_max_ttl)
        login = await self._renew_login(entry)
        if login is None:
            return None
        if not login.renewable:
            raise InvalidRequestError("lease is not renewable")
        return Terms(ttl=login.ttl, max_ttl=login.max_ttl, period=login.period, explicit_max_ttl=login.explicit_max_ttl)

    # --- revoke ---------------------------------------------------------------------------------------------------

    async def _revoke(self, request: Request, body: TokenBody) -> Response:
        token = _token(request, body)
        if not token:
            raise InvalidRequestError("missing token ID")
        if entry := await self._find(request, token):
            await self._tokens.revoke(_stored(entry).record_id)
        return NO_CONTENT

    async def _revoke_self(self, request: Request, _body: Any) -> Response:
        await self._tokens.revoke(_stored(as_access_request(request).entry).record_id)
        return NO_CONTENT

    async def _revoke_accessor(self, request: Request, body: AccessorBody) -> Response:
        await self._tokens.revoke((await self._by_accessor(request, body.accessor)).record_id)
        return NO_CONTENT

    async def _revoke_orphan(self, request: Request, body: TokenBody) -> Response:
        token = _token(request, body)
        if not token:
            raise InvalidRequestError("missing token ID")
        entry = await self._find(request, token)
        if entry is None:
            raise InvalidRequestError("token to revoke not found")
        await self._tokens.revoke_orphan(_stored(entry).record_id)
        return NO_CONTENT

    async def _rotate_batch_key(self, request: Request, body: RotateBody) -> Response:
        if not as_access_request(request).within.is_root:
            raise InvalidRequestError("the key of batch tokens is of all namespaces: rotate it in the root namespace")
        await self._tokens.rotate_batch_key(end_all=body.end_all)
        return NO_CONTENT

    async def _start_tidy(self, _request: Request, _body: Any) -> Response:
        """In the whole store, whichever namespace asks: it only clears away what is refused anyway."""
        if self._tidy.start():
            said = "Tidy operation successfully started. What it finds is printed to the server's log."
        else:
            said = "Tidy operation already in progress."
        return Response(warnings=[said], status=202)

    # --------------------------------------------------------------------------------------------------------------

    async def _find(self, request: Request, token: str) -> TokenEntry | None:
        """The live token, if it is in the request's namespace or below."""
        entry = await self._tokens.find(token)
        within = as_access_request(request).within.path
        return entry if entry is not None and self._is_within(within, entry.namespace) else None

    async def _by_accessor(self, request: Request, accessor: str) -> TokenEntry:
        if not accessor:
            raise InvalidRequestError("missing accessor")
        entry = await self._tokens.find_accessor(accessor)
        if entry is None or not self._is_within(as_access_request(request).within.path, entry.namespace):
            raise InvalidRequestError("invalid accessor")
        return entry

    def _is_within(self, within: str, namespace: str) -> bool:
        path = self._namespace_path(namespace)
        return path is not None and path.startswith(within)


def _token(request: Request, body: TokenBody) -> str:
    """The token that is named, in the path or in the body."""
    return request.params.get("token", "") or body.token


def _stored(entry: TokenEntry) -> TokenEntry:
    if entry.is_batch:
        raise InvalidRequestError("batch tokens cannot be revoked")
    return entry


def _reads(handler: Handler, body: type[msgspec.Struct]) -> Method:
    return Method(handler=handler, body=body, mutates=False)


def _writes(handler: Handler, body: type[msgspec.Struct]) -> Method:
    return Method(handler=handler, body=body)


def _post(pattern: str, method: Method, summary: str, *, sudo: bool = False) -> Route:
    return Route(pattern=pattern, methods={Operation.UPDATE: method}, sudo=sudo, help=summary)
