"""What user interfaces ask: what the caller may do, which namespaces it may enter, and which version answers."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from appliance.access.policies import PolicyStore
from appliance.access.request import AccessRequest, as_access_request
from appliance.system.raw import raw_json
from core.engine import Handler, Method, Route
from core.requests import Operation, Request, Response

# pattern, with its "*" or "+", to the capabilities granted there
Grants = Callable[[AccessRequest], Awaitable[Mapping[str, Iterable[str]]]]
# paths of the namespaces below the caller's where it may do anything: "team-a/"
Reachable = Callable[[AccessRequest], Awaitable[Iterable[str]]]


class UiAccessRoutes:
    """Changes nothing."""

    def __init__(self, grants: Grants, namespaces: Reachable, version: str) -> None:
        self._grants = grants
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
        """Exact paths, and prefixes under "glob_paths"; patterns with `+` stand among these, as in Vault."""
        asked = as_access_request(request)
        if asked.acl.is_root:
            return Response(data={"root": True, "exact_paths": {}, "glob_paths": {}})
        exact: dict[str, Any] = {}
        glob: dict[str, Any] = {}
        for pattern, capabilities in sorted((await self._grants(asked)).items()):
            granted = sorted(set(capabilities))
            view = {"capabilities": ["deny"] if "deny" in granted else granted}
            if pattern.endswith("*") or "+" in pattern.split("/"):
                glob[pattern.removesuffix("*")] = view
            else:
                exact[pattern] = view
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


def grants_of_policies(policies: PolicyStore) -> Grants:
    """What the policies of token and entity say, as they are stored, of paths in the request's namespace."""

    async def grants(request: AccessRequest) -> dict[str, set[str]]:
        merged: dict[str, set[str]] = {}
        sources = await policies.sources(request.subject) if request.subject is not None else ()
        for namespace, policy in sources:
            for rule in policy.rules:
                pattern = pattern_from(namespace + rule.path, request.within.path)
                if pattern is not None:
                    merged.setdefault(pattern, set()).update(rule.capabilities)
        return merged

    return grants


def pattern_from(pattern: str, within: str) -> str | None:
    """What the pattern of a full path means inside the namespace of that path; None: nothing."""
    for segment in within.split("/")[:-1]:
        head, slash, rest = pattern.partition("/")
        if not slash:
            return "*" if head.endswith("*") and f"{segment}/".startswith(head[:-1]) else None
        if head not in {"+", segment}:
            return None
        pattern = rest
    return pattern


def _route(name: str, handler: Handler, text: str, *, is_open: bool = False) -> Route:
    method = Method(handler=handler, mutates=False, summary=text)
    return Route(pattern=f"internal/ui/{name}", methods={Operation.READ: method}, help=text, unauthenticated=is_open)
