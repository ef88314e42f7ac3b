"""cubbyhole/: a place of its own for every service token, which nobody else can reach and which goes with the token.

Stored below "core/cubbyhole/<record id of the token>/". One engine serves all namespaces: record ids are unique.
"""

from collections.abc import Sequence

import msgspec

from appliance.access.request import as_access_request
from appliance.access.token_entry import KIND
from core.engine import Engine, Method, Route
from core.errors import InvalidRequestError, NotFoundError, PermissionDeniedError, RequestTooLargeError
from core.protocols import CoreStorage, CoreTransaction
from core.requests import NO_CONTENT, Operation, Request, Response

MAX_VALUE = 1024 * 1024  # bytes of JSON
MAX_DEPTH = 32  # folders
_ROWS = 300  # deleted by one transaction


def cubbyhole_prefix(record_id: str) -> str:
    """Where a token's values are."""
    if not record_id:
        raise InvalidRequestError('cubbyhole operations are only supported by "service" type tokens')
    return f"core/cubbyhole/{record_id}/"


async def cubbyhole_attachment(txn: CoreTransaction, record_id: str) -> bool:
    """Delete what a token's cubbyhole holds, some hundred values at most; whether that was all."""
    left = _ROWS
    folders = [cubbyhole_prefix(record_id)]
    while folders:
        folder = folders[-1]
        names = await txn.list(folder, limit=left)
        deeper = [folder + name for name in names if name.endswith("/")]
        for name in names:
            if not name.endswith("/"):
                await txn.delete(folder + name)
                left -= 1
        if left <= 0:
            return False
        if not deeper:
            folders.pop()
        folders += deeper[:1]
    return True


def cubbyhole_engine(storage: CoreStorage) -> Engine:
    """The engine mounted at cubbyhole/. Its handlers take an AccessRequest."""
    return _CubbyholeEngine(storage)


class _CubbyholeEngine:
    def __init__(self, storage: CoreStorage) -> None:
        self._storage = storage
        listing = Method(handler=self._list, mutates=False, summary="Names below the path.")
        methods = {
            Operation.READ: Method(handler=self._read, mutates=False, summary="What is stored at the path."),
            Operation.UPDATE: Method(handler=self._write, summary="Store the members of the body."),
            Operation.DELETE: Method(handler=self._delete, summary="Delete what is stored at the path."),
            Operation.LIST: listing,
        }
        self.routes: Sequence[Route] = [
            Route(pattern="", methods={Operation.LIST: listing}, help="A token's own values."),
            Route(pattern="{path...}", methods=methods, help="One of a token's own values."),
        ]

    async def close(self) -> None:
        """Nothing is held here."""

    async def _read(self, request: Request, _body: object) -> Response:
        entry = await self._storage.get(_path(request))
        if entry is None:
            raise NotFoundError("")
        return Response(data=msgspec.json.decode(entry.value))

    async def _write(self, request: Request, _body: object) -> Response:
        path, record_id = _path(request), as_access_request(request).entry.record_id
        if not request.data:
            raise InvalidRequestError("missing data fields")
        value = msgspec.json.encode(request.data)
        if len(value) > MAX_VALUE:
            raise RequestTooLargeError(f"a value in the cubbyhole may have at most {MAX_VALUE} bytes")

        async def body(txn: CoreTransaction) -> None:
            if await txn.get_record(KIND, record_id) is None:  # it would be left behind for ever
                raise PermissionDeniedError("permission denied")
            await txn.put(path, value)

        await self._storage.transact(body)
        return NO_CONTENT

    async def _delete(self, request: Request, _body: object) -> Response:
        await self._storage.delete(_path(request))
        return NO_CONTENT

    async def _list(self, request: Request, _body: object) -> Response:
        folder = _path(request, is_folder=True)
        keys = await self._storage.list(folder)
        if not keys:
            raise NotFoundError("")
        return Response(data={"keys": keys})


def _path(request: Request, *, is_folder: bool = False) -> str:
    """Where it is stored. Raises InvalidRequestError."""
    prefix = cubbyhole_prefix(as_access_request(request).entry.record_id)
    asked = request.params.get("path", "")
    if is_folder:
        asked = asked.removesuffix("/")
        if not asked:
            return prefix
    segments = asked.split("/")
    if len(segments) > MAX_DEPTH or any(segment in {"", ".", ".."} for segment in segments):
        raise InvalidRequestError(
            f'a path in the cubbyhole has 1 to {MAX_DEPTH} parts, none of them empty, "." or "..", and no slash at its end'
        )
    return prefix + asked + ("/" if is_folder else "")
