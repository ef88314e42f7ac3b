"""What user interfaces ask: what the caller may do, which namespaces it may enter, and which version answers."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from appliance.access.pattern_index import has_wildcard
from appliance.access.request import AccessRequest, as_access_request
from appliance.system.raw import raw_json
from core.engine import Handler, Method, Route
from core.requests import Operation, Request, Response

# paths of the namespaces below the caller's where it may do anything: "team-a/"
Reachable = Callable[[AccessRequest], Awaitable[Iterable[str]]]


class UiAccessRoutes:
    """Changes nothing."""

    def __init__(self, namespaces: Reachable, version: str) -> None:
        self._namespaces = namespaces
        self._version = version

    def routes(self) -> list[Route]:
        """Below sys/."""
        return [
            _route("resultant-acl", self.resultant_acl, "What the policies of the caller grant."),
            _route("namespaces", self.namespaces, "The namespaces that the caller may enter."),
            _route("version", self.version, "The version that answers."),
            _route("feature-flags", self.feature_flags, "Switches of user interfaces; there are none.", is_open=True),
        ]

    async def resultant_acl(self, request: Request, _body: object) -> Response:
        """Exact paths, and prefixes under "glob_paths"; patterns with `+` stand among these, as in Vault.

        All as they read inside the namespace, with its path taken away.
        """
        asked = as_access_request(request)
        if asked.acl.is_root:
            return Response(data={"root": True, "exact_paths": {}, "glob_paths": {}})
        exact: dict[str, Any] = {}
        glob: dict[str, Any] = {}
        for pattern, capabilities in sorted(asked.acl.granted_below(asked.within.path, asked.facts).items()):
            paths = glob if has_wildcard(pattern) else exact
            paths[pattern.removesuffix("*")] = {"capabilities": capabilities}
        return Response(data={"root": False, "exact_paths": exact, "glob_paths": glob})

    async def namespaces(self, request: Request, _body: object) -> Response:
        """Relative to the one that is asked in."""
        return Response(data={"keys": sorted(await self._namespaces(as_access_request(request)))})

    async def version(self, _request: Request, _body: object) -> Response:
        """As `sys/health` says it."""
        return Response(data={"version": self._version})

    async def feature_flags(self, _request: Request, _body: object) -> Response:
        """Raw, as Vault answers it."""
        return raw_json({"feature_flags": []})


def _route(name: str, handler: Handler, text: str, *, is_open: bool = False) -> Route:
    method = Method(handler=handler, mutates=False, summary=text)
    return Route(pattern=f"internal/ui/{name}", methods={Operation.READ: method}, help=text, unauthenticated=is_open)
