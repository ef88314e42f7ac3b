"""`sys/namespaces`: namespaces inside the one that the request is made in."""

from typing import Any

import msgspec

from appliance.access.request import as_access_request
from appliance.identity.store import IdentityStore
from appliance.mount_moves import MountMoves
from appliance.namespace_store import NamespaceStore
from appliance.namespaces import Namespace, parse_namespace_path
from appliance.pipeline.mounted import MountedEngines
from core.bodies import StringMap, parse_body
from core.engine import Method, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import Operation, Request, Response


class NamespaceBody(msgspec.Struct):
    """What is noted with it."""

    custom_metadata: StringMap | None = None


class NamespaceRoutes:
    """Makes, shows and deletes namespaces."""

    def __init__(
        self, store: NamespaceStore, mounts: MountedEngines, moves: MountMoves, entities: IdentityStore
    ) -> None:
        self._entities = entities
        self._store = store
        self._mounts = mounts
        self._moves = moves

    def routes(self) -> list[Route]:
        """Below sys/."""
        children = Method(handler=self.children, mutates=False, summary="The namespaces directly inside this one.")
        everything = Method(handler=self.everything, mutates=False, summary="Those at any depth.")
        return [
            Route(
                pattern="namespaces",
                methods={Operation.LIST: children, Operation.SCAN: everything},
                help="The namespaces inside this one.",
            ),
            Route(
                pattern="namespaces/{path...}",
                methods={
                    Operation.READ: Method(handler=self.read, mutates=False, summary="The namespace."),
                    Operation.UPDATE: Method(
                        handler=self.create, body=NamespaceBody, summary="Make it, or replace its metadata."
                    ),
                    Operation.PATCH: Method(handler=self.patch, summary="Merge into its metadata (RFC 7396)."),
                    Operation.DELETE: Method(
                        handler=self.delete, summary="Delete it with its mounts, leases, tokens, policies and identity."
                    ),
                },
                help="One namespace.",
            ),
        ]

    async def children(self, request: Request, _body: object) -> Response:
        """Their names, with what is known of each."""
        within = as_access_request(request).within
        return _listing(within, [row for row in self._mounts.table.below(within) if row.parent_path == within.path])

    async def everything(self, request: Request, _body: object) -> Response:
        """At any depth, by their paths from here."""
        within = as_access_request(request).within
        return _listing(within, self._mounts.table.below(within))

    async def read(self, request: Request, _body: object) -> Response:
        """One namespace."""
        return Response(data=_shown(self._named(request)))

    async def create(self, request: Request, body: NamespaceBody) -> Response:
        """Answers the namespace."""
        within = as_access_request(request).within
        metadata = None if body.custom_metadata is None else dict(body.custom_metadata)
        namespace, _ = await self._store.create(within, request.params["path"], metadata)
        return Response(data=_shown(namespace))

    async def patch(self, request: Request, _body: object) -> Response:
        """A null removes a key."""
        given = request.data.get("custom_metadata")
        if not isinstance(given, dict):
            raise InvalidRequestError("custom_metadata must be an object")
        removed = {name: None for name, value in given.items() if value is None}
        kept = parse_body(
            {"custom_metadata": {name: value for name, value in given.items() if value is not None}}, NamespaceBody
        )
        changes: dict[str, str | None] = {**(kept.custom_metadata or {}), **removed}
        namespace = await self._store.patch(self._named(request).path, changes)
        return Response(data=_shown(namespace))

    async def delete(self, request: Request, _body: object) -> Response:
        """Everything in it goes. Absent is as good. The answer has a body: Go clients fail without one."""
        path = self._path(request)
        if not path or path == as_access_request(request).within.path:
            raise InvalidRequestError("the namespace to delete is named by its path below this one")
        namespace = await self._store.taint(path)
        if namespace is None:
            return Response(warnings=["requested namespace does not exist"])
        await self._mounts.refresh()
        for entry in self._mounts.entries(namespace):
            if not self._mounts.is_built_in(entry.path):
                await self._moves.disable(entry)
        await self._moves.end_tokens(namespace)
        await self._entities.forget_namespace(namespace.id)
        await self._store.remove(namespace)
        return Response(data={"status": "done"})

    def _named(self, request: Request) -> Namespace:
        """One below the request's own, which is its parent's to look at and to change."""
        path = self._path(request)
        namespace = self._mounts.table.namespaces.get(path)
        if namespace is None or path == as_access_request(request).within.path:
            raise NotFoundError("")
        return namespace

    @staticmethod
    def _path(request: Request) -> str:
        return as_access_request(request).within.path + parse_namespace_path(request.params["path"])


def _shown(namespace: Namespace) -> dict[str, Any]:
    """Its path is the whole one, wherever it is asked for."""
    return {
        "id": namespace.id,
        "uuid": namespace.uuid,
        "path": namespace.path,
        "tainted": namespace.tainted,
        "locked": False,
        "custom_metadata": namespace.custom_metadata,
    }


def _listing(within: Namespace, namespaces: list[Namespace]) -> Response:
    if not namespaces:
        raise NotFoundError("")
    shown = {row.path[len(within.path) :]: _shown(row) for row in namespaces}
    return Response(data={"keys": sorted(shown), "key_info": shown})
