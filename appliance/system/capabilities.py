"""`sys/capabilities` and its kin: what a token may do at a path."""

import msgspec

from appliance.access.acl import Acl
from appliance.access.request import as_access_request
from appliance.access.subjects import Subjects
from appliance.access.token_answers import NamespacePath
from appliance.access.tokens import TokenEntry, TokenStore
from core.bodies import StringList
from core.engine import Handler, Method, Route
from core.errors import InvalidRequestError, PermissionDeniedError
from core.requests import Operation, Request, Response

MAX_PATHS = 1000  # of one call
NOTHING = Acl(())  # what a token may do whose entity is gone or disabled


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

    def __init__(self, tokens: TokenStore, subjects: Subjects, *, namespace_path: NamespacePath) -> None:
        self._tokens = tokens
        self._subjects = subjects
        self._namespace_path = namespace_path

    def routes(self) -> list[Route]:
        """Below sys/."""
        return [
            _route("capabilities", self.of_token, TokenPathsBody),
            _route("capabilities-self", self.of_caller, PathsBody),
            _route("capabilities-accessor", self.of_accessor, AccessorPathsBody),
        ]

    async def of_caller(self, request: Request, body: PathsBody) -> Response:
        """Of the token that asks."""
        return _answer(request, body, as_access_request(request).acl)

    async def of_token(self, request: Request, body: TokenPathsBody) -> Response:
        """Of another token."""
        return await self._of(request, body, await self._tokens.find(body.token), "invalid token")

    async def of_accessor(self, request: Request, body: AccessorPathsBody) -> Response:
        """Of the token with that accessor, in the request's namespace or below: accessors are no proof of anything."""
        token = await self._tokens.find_accessor(body.accessor)
        home = None if token is None else self._namespace_path(token.namespace)
        if home is None or not home.startswith(as_access_request(request).within.path):
            token = None
        return await self._of(request, body, token, "invalid accessor")

    async def _of(self, request: Request, body: PathsBody, token: TokenEntry | None, absent: str) -> Response:
        if token is None:
            raise InvalidRequestError(absent)
        try:
            acl = await self._subjects.acl(token)
        except PermissionDeniedError:
            acl = NOTHING
        return _answer(request, body, acl)


def _answer(request: Request, body: PathsBody, acl: Acl) -> Response:
    asked = as_access_request(request)
    paths = body.paths or body.path
    if not paths:
        raise InvalidRequestError("paths must be supplied")
    if len(paths) > MAX_PATHS:
        raise InvalidRequestError(f"at most {MAX_PATHS} paths can be asked about at once")
    data = {path: acl.capabilities(asked.within.path + path.removeprefix("/"), asked.facts) for path in paths}
    if len(paths) == 1:
        data["capabilities"] = data[paths[0]]
    return Response(data=dict(data), repeat_data=True)


def _route(pattern: str, handler: Handler, body: type[msgspec.Struct]) -> Route:
    method = Method(handler=handler, body=body, mutates=False, summary="What a token may do at the paths.")
    return Route(pattern=pattern, methods={Operation.UPDATE: method}, help="The capabilities of a token.")
