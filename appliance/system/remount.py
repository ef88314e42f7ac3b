"""`sys/remount`: moving a mount to another path, also in another namespace."""

import msgspec

from appliance.access.request import as_access_request
from appliance.mount_moves import MountMoves
from appliance.mount_table import MountEntry, MountTable, check_mount_path
from appliance.namespaces import Namespace
from appliance.pipeline.mounted import MountedEngines
from core.engine import Method, Route
from core.errors import InvalidRequestError
from core.requests import Operation, Request, Response


class RemountBody(msgspec.Struct, rename={"source": "from"}):
    """From where to where; both may begin with the path of a namespace below this one."""

    source: str = ""
    to: str = ""


class RemountRoutes:
    """Moves, and how they went."""

    def __init__(self, mounts: MountedEngines, moves: MountMoves) -> None:
        self._mounts = mounts
        self._moves = moves

    def routes(self) -> list[Route]:
        """Below sys/."""
        move = Method(handler=self.move, body=RemountBody, summary="Move a mount; its leases or tokens are revoked.")
        status = Method(handler=self.status, mutates=False, summary="How a move went.")
        return [
            Route(pattern="remount", methods={Operation.UPDATE: move}, help="Move a mount.", sudo=True),
            Route(pattern="remount/status/{id}", methods={Operation.READ: status}, help="The state of a move."),
        ]

    async def move(self, request: Request, body: RemountBody) -> Response:
        """Done when this returns."""
        if not body.source or not body.to:
            raise InvalidRequestError("from and to must be given")
        within, table = as_access_request(request).within, self._mounts.table
        source, target = _full(body.source, within), _full(body.to, within)
        entry = _entry_at(table, source)
        if entry is None:
            if self._mounts.is_built_in(source[len(table.resolve(source).path) :]):
                raise InvalidRequestError(f"cannot remount {source}: it is the system's own")
            raise InvalidRequestError(f"no matching mount at {source}")
        into = table.resolve(target)
        if into.tainted:
            raise InvalidRequestError(f"the namespace {into.path} is being deleted")
        path = target[len(into.path) :]
        check_mount_path(path)
        taken = _taken(table, target, but=entry)
        if taken:
            raise InvalidRequestError(f"path is already in use at {taken}")
        return Response(data={"migration_id": await self._moves.move(entry, to=path, within=into)}, repeat_data=True)

    async def status(self, request: Request, _body: object) -> Response:
        """Vault's shape."""
        moved = await self._moves.status(request.params["id"])
        info = {"source_mount": moved.source, "target_mount": moved.target, "status": moved.status}
        return Response(data={"migration_id": request.params["id"], "migration_info": info})


def _full(path: str, within: Namespace) -> str:
    return within.path + path.strip("/") + "/"


def _entry_at(table: MountTable, path: str) -> MountEntry | None:
    return table.entries.get(path)


def _taken(table: MountTable, path: str, *, but: MountEntry) -> str:
    """The mount at, above or below `path`, before anything is revoked; the move itself looks again."""
    others = [other for other, entry in table.entries.items() if entry.uuid != but.uuid]
    return next((other for other in others if other.startswith(path) or path.startswith(other)), "")
