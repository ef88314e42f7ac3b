"""Who asks, at routes that are served without a token, too."""

from collections.abc import Awaitable, Callable

from appliance.access.acl import Acl
from appliance.access.subjects import Subjects
from appliance.access.tokens import TokenStore, check_address
from appliance.pipeline.mounted import MountedEngines
from appliance.pipeline.parsing import parse_token
from core.errors import PermissionDeniedError
from core.requests import Request

Vouch = Callable[[Request], Awaitable[bool]]  # whether the caller's token allows what is asked, with sudo


class Callers:
    """Looks at the token that such a request brings of itself. A bad one is as good as none."""

    def __init__(self, tokens: TokenStore, subjects: Subjects, mounts: MountedEngines) -> None:
        self._tokens = tokens
        self._subjects = subjects
        self._mounts = mounts

    async def acl_of(self, request: Request) -> Acl | None:
        """What the caller may do; None for nobody, and for a token that is not for this namespace or address."""
        client_token = parse_token(request.headers)
        if not client_token:
            return None
        try:
            token = self._tokens.peek(client_token) or await self._tokens.authenticate(client_token)
            check_address(token, request.client_address)
            acl = await self._subjects.acl(token)
        except PermissionDeniedError:
            return None
        home = self._mounts.table.namespaces_by_id.get(token.namespace)
        return acl if home is not None and request.namespace.startswith(home.path) else None

    async def vouch(self, request: Request) -> bool:
        """Whether a policy of the caller's allows the request as if the route asked for sudo.

        Rules with conditions do not count: nothing was asked of the request when it was admitted.
        """
        acl = await self.acl_of(request)
        path = request.namespace + request.mount_path + request.path
        return acl is not None and acl.allows(path, request.operation.word, sudo=True)


async def nobody(_request: Request) -> bool:
    """A `Vouch` that knows no caller."""
    return False
