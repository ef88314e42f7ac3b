"""`sys/internal/ui/mounts`: which engine stands at a path, for who may use anything below it.

Clients of kv ask this before anything else, to learn the version. A refusal and an absent mount look alike.
"""

from typing import Any

from appliance.pipeline.mounted import MountedEngines
from appliance.system.callers import Callers
from appliance.system.errors import PreflightDeniedError
from appliance.system.mounts import MountRoutes
from core.engine import Handler, Method, Route
from core.requests import Operation, Request, Response


class UiRoutes:
    """Both routes ask for the token themselves: the list is answered without one, too."""

    def __init__(self, mounts: MountedEngines, views: MountRoutes, callers: Callers) -> None:
        self._mounts = mounts
        self._views = views
        self._callers = callers

    def routes(self) -> list[Route]:
        """Below sys/."""
        return [
            _route("internal/ui/mounts", self.list_visible, "The mounts that the caller may use."),
            _route("internal/ui/mounts/{path...}", self.read, "The mount that a path is below."),
        ]

    async def list_visible(self, request: Request, _body: object) -> Response:
        """Without a token only what is tuned to be visible."""
        acl = await self._callers.acl_of(request)
        data: dict[str, dict[str, Any]] = {"secret": {}, "auth": {}}
        for entry in self._mounts.entries(self._mounts.table.resolve(request.namespace)):
            if entry.listing_visibility == "unauth" or (
                acl is not None and acl.reaches(request.namespace + entry.path)
            ):
                path, view = self._views.view(entry)
                data["auth" if entry.is_auth else "secret"][path] = view
        return Response(data=dict(data))

    async def read(self, request: Request, _body: object) -> Response:
        """The mount, when any capability on any path below it is granted. It may be in a namespace further down."""
        path = request.params["path"].removeprefix("/")
        namespace = self._mounts.table.resolve(request.namespace + path)
        mounted = self._mounts.find(request.namespace + path, namespace)
        full_path = namespace.path + mounted.entry.path if mounted is not None else ""
        acl = await self._callers.acl_of(request)
        if acl is None or mounted is None or not acl.reaches(full_path):
            raise PreflightDeniedError(
                "preflight capability check returned 403, please ensure client's policies grant access to path"
                f' "{path.removesuffix("/")}/"'
            )
        shown_path, view = self._views.view(mounted.entry)
        return Response(data={"path": namespace.path[len(request.namespace) :] + shown_path, **view})


def _route(pattern: str, handler: Handler, text: str) -> Route:
    method = Method(handler=handler, mutates=False, summary=text)
    return Route(pattern=pattern, methods={Operation.READ: method}, help=text, unauthenticated=True)
