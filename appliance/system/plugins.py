"""`sys/plugins/catalog`: the engines and login methods installed here. They come with packages, not by request."""

from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from core.engine import Method, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import Operation, Request, Response

_GROUPS = {"secret": "mimir.engines", "auth": "mimir.auth_methods", "database": "mimir.database_plugins"}
_BUILT_IN = {"secret": ("cubbyhole", "identity", "system"), "auth": ("token",), "database": ()}
Names = Callable[[str], Iterable[tuple[str, str]]]  # group to names and versions


@cache
def installed(group: str) -> tuple[tuple[str, str], ...]:
    """Names and versions of the entry points of a group: files are read once, since packages stay while we run."""
    return tuple((point.name, point.dist.version if point.dist else "") for point in entry_points(group=group))


class PluginRoutes:
    """Reads only."""

    def __init__(self, version: str, names: Names = installed) -> None:
        self._version = version
        self._names = names

    def routes(self) -> list[Route]:
        """Below sys/."""
        every = Method(handler=self.every, mutates=False, summary="The names of all, by type.")
        of_type = Method(handler=self.of_type, mutates=False, summary="The names of one type.")
        one = Method(handler=self.one, mutates=False, summary="One plugin.")
        return [
            Route(
                pattern="plugins/catalog",
                methods={Operation.READ: every, Operation.LIST: every},
                help="What can be mounted here.",
            ),
            Route(
                pattern="plugins/catalog/{type}", methods={Operation.LIST: of_type}, help="Secret, auth or database."
            ),
            Route(
                pattern="plugins/catalog/{type}/{name}",
                methods={Operation.READ: one},
                help="One engine or method.",
                sudo=True,
            ),
        ]

    async def every(self, _request: Request, _body: object) -> Response:
        """With Vault's "detailed" list."""
        data: dict[str, Any] = {kind: sorted(self._of(kind)) for kind in _GROUPS}
        data["detailed"] = [self._view(kind, name) for kind in _GROUPS for name in sorted(self._of(kind))]
        return Response(data=data)

    async def of_type(self, request: Request, _body: object) -> Response:
        """404 when there are none, as for every empty list."""
        names = sorted(self._of(_kind(request)))
        if not names:
            raise NotFoundError("")
        return Response(data={"keys": names})

    async def one(self, request: Request, _body: object) -> Response:
        """All are built in: there is neither a command nor a checksum."""
        kind, name = _kind(request), request.params["name"]
        if name not in self._of(kind):
            raise NotFoundError("")
        return Response(data={**self._view(kind, name), "args": None, "command": "", "sha256": ""})

    def _of(self, kind: str) -> dict[str, str]:
        built_in = dict.fromkeys(_BUILT_IN[kind], self._version)
        return built_in | dict(self._names(_GROUPS[kind]))

    def _view(self, kind: str, name: str) -> dict[str, Any]:
        return {
            "builtin": True,
            "deprecation_status": "supported",
            "name": name,
            "type": kind,
            "version": f"v{self._of(kind)[name] or self._version}+builtin.mimir",
        }


def _kind(request: Request) -> str:
    kind = request.params["type"]
    if kind not in _GROUPS:
        raise InvalidRequestError(f"type must be one of {', '.join(_GROUPS)}")
    return kind
