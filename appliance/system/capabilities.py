"""`sys/capabilities` and its kin: what a token may do at a path."""

import msgspec

from appliance.access.policies import PolicyStore
from appliance.access.tokens import TokenStore
from core.bodies import StringList
from core.engine import Handler, Method, Route
from core.errors import InvalidRequestError
from core.requests import Operation, Request, Response

MAX_PATHS = 1000  # of one call


class PathsBody(msgspec.Struct):
    """One path or several; `path` is the older name."""

    paths: StringList | None = None
    path: StringList | None = None


class TokenPathsBody(PathsBody):
    """With the token that is asked about."""

    token: str = ""


class AccessorPathsBody(PathsBody):
    """With the accessor of the token that is asked about."""

    accessor: str = ""


class CapabilityRoutes:
    """Asks the policies, changes nothing."""

    def __init__(self, tokens: TokenStore, policies: PolicyStore) -> None:
        self._tokens = tokens
        self._policies = policies

    def routes(self) -> list[Route]:
        """Below sys/."""
        return [
            _route("capabilities", self.of_token, TokenPathsBody),
            _route("capabilities-self", self.of_caller, PathsBody),
            _route("capabilities-accessor", self.of_accessor, AccessorPathsBody),
        ]

    async def of_caller(self, request: Request, body: PathsBody) -> Response:
        """Of the token that asks."""
        return await self._answer(request.caller.policies if request.caller else (), body)

    async def of_token(self, _request: Request, body: TokenPathsBody) -> Response:
        """Of another token."""
        token = await self._tokens.find(body.token)
        if token is None:
            raise InvalidRequestError("invalid token")
        return await self._answer(token.policies, body)

    async def of_accessor(self, _request: Request, body: AccessorPathsBody) -> Response:
        """Of the token with that accessor."""
        token = await self._tokens.find_accessor(body.accessor)
        if token is None:
            raise InvalidRequestError("invalid accessor")
        return await self._answer(token.policies, body)

    async def _answer(self, policies: tuple[str, ...], body: PathsBody) -> Response:
        paths = body.paths or body.path
        if not paths:
            raise InvalidRequestError("paths must be supplied")
        if len(paths) > MAX_PATHS:
            raise InvalidRequestError(f"at most {MAX_PATHS} paths can be asked about at once")
        acl = await self._policies.acl(policies)
        data = {path: acl.capabilities(path.removeprefix("/")) for path in paths}
        if len(paths) == 1:
            data["capabilities"] = data[paths[0]]
        return Response(data=dict(data), repeat_data=True)


def _route(pattern: str, handler: Handler, body: type[msgspec.Struct]) -> Route:
    method = Method(handler=handler, body=body, mutates=False, summary="What a token may do at the paths.")
    return Route(pattern=pattern, methods={Operation.UPDATE: method}, help="The capabilities of a token.")
