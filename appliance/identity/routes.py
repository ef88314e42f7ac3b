"""The engine mounted at identity/, and `identity/lookup/…`."""

from collections.abc import Sequence

import msgspec

from appliance.identity.entity_routes import EntityRoutes, space_of
from appliance.identity.group_routes import GroupRoutes
from appliance.identity.store import IdentityStore
from appliance.identity.stored import StoredEntity, StoredGroup
from appliance.identity.wire import FindMount, Wire
from core.engine import Engine, Method, Route
from core.errors import InvalidRequestError
from core.requests import NO_CONTENT, Operation, Request, Response


class LookupBody(msgspec.Struct):
    """One of: an id, a name, an alias's id, or an alias's name with its mount."""

    id: str = ""
    name: str = ""
    alias_id: str = ""
    alias_name: str = ""
    alias_mount_accessor: str = ""


def identity_engine(store: IdentityStore, find_mount: FindMount) -> Engine:
    """One engine for all namespaces. Its handlers take an AccessRequest."""
    return _IdentityEngine(store, find_mount)


class _IdentityEngine:
    def __init__(self, store: IdentityStore, find_mount: FindMount) -> None:
        self._store = store
        self._find_mount = find_mount
        self.routes: Sequence[Route] = [
            *EntityRoutes(store, find_mount).routes(),
            *GroupRoutes(store, find_mount).routes(),
            Route(
                pattern="lookup/entity",
                methods={Operation.UPDATE: Method(handler=self._look_entity, body=LookupBody, mutates=False)},
                help="Finds an entity; 204 when there is none.",
            ),
            Route(
                pattern="lookup/group",
                methods={Operation.UPDATE: Method(handler=self._look_group, body=LookupBody, mutates=False)},
                help="Finds a group; 204 when there is none.",
            ),
        ]

    async def close(self) -> None:
        """Nothing is held here."""

    async def _look_entity(self, request: Request, body: LookupBody) -> Response:
        _check_one(body)
        found = await self._entity(space_of(request), body)
        if found is None:
            return NO_CONTENT
        groups = await self._store.membership(space_of(request), found)
        return Response(data=Wire(space_of(request), self._find_mount).entity(found, groups))

    async def _entity(self, space: str, body: LookupBody) -> StoredEntity | None:
        if body.id:
            return await self._store.entity(space, body.id)
        if body.name:
            return await self._store.entity_named(space, body.name)
        if body.alias_id:
            return await self._store.entity_of_alias(space, body.alias_id)
        return await self._store.entity_at(space, body.alias_mount_accessor, body.alias_name)

    async def _look_group(self, request: Request, body: LookupBody) -> Response:
        _check_one(body)
        found = await self._group(space_of(request), body)
        if found is None:
            return NO_CONTENT
        members = await self._store.members(space_of(request), found.id)
        return Response(data=Wire(space_of(request), self._find_mount).group(found, members))

    async def _group(self, space: str, body: LookupBody) -> StoredGroup | None:
        if body.id:
            return await self._store.group(space, body.id)
        if body.name:
            return await self._store.group_named(space, body.name)
        if body.alias_id:
            return await self._store.group_of_alias(space, body.alias_id)
        return await self._store.group_at(space, body.alias_mount_accessor, body.alias_name)


def _check_one(body: LookupBody) -> None:
    """Raise InvalidRequestError unless exactly one thing is asked for."""
    if bool(body.alias_name) != bool(body.alias_mount_accessor):
        raise InvalidRequestError("both 'alias_name' and 'alias_mount_accessor' needs to be set")
    given = [body.id, body.name, body.alias_id, body.alias_name]
    if not any(given):
        raise InvalidRequestError("query parameters not supplied")
    if sum(map(bool, given)) > 1:
        raise InvalidRequestError("give one of id, name, alias_id, or alias_name with alias_mount_accessor")
