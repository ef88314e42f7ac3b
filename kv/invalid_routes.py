"""Paths that version 2 does not serve, mostly those of version 1: the answer says so instead of a plain 404."""

from core.engine import Method, NoBody, Route
from core.errors import UnsupportedOperationError
from core.requests import Operation, Request, Response

_ROOTS = {"data", "delete", "destroy", "metadata", "undelete"}
_LISTING = {Operation.LIST, Operation.SCAN}
_COMMANDS = {
    Operation.READ: "get",
    Operation.UPDATE: "put",
    Operation.PATCH: "patch",
    Operation.DELETE: "delete",
    Operation.LIST: "list",
    Operation.SCAN: "list",
}

NO_ROOT = "Non-listing operations on the root of a K/V v2 mount are not supported."
INVALID = (
    "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. "
    "If using the Mimir CLI, use 'mimir kv {command}' for this operation."
)


def refusals() -> dict[Operation, Method]:
    """Every operation, refused."""
    method = Method(handler=_refuse, mutates=False, summary="Not served by version 2", statuses=(404,))
    return dict.fromkeys(_COMMANDS, method)


class InvalidRoutes:
    """What is left when no other route serves a path."""

    def routes(self) -> list[Route]:
        """Below the mount."""
        return [Route(pattern="{path...}", methods=refusals(), help="No path of version 2.")]


async def _refuse(request: Request, _body: NoBody) -> Response:
    path = request.path.rstrip("/")
    if path not in _ROOTS:
        return Response(status=404, warnings=[INVALID.format(command=_COMMANDS[request.operation])])
    if request.operation in _LISTING:
        raise UnsupportedOperationError("unsupported operation")
    return Response(status=404, warnings=[NO_ROOT])
