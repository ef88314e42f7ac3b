"""`identity/group…` and `identity/group-alias…`."""

from typing import Any

import msgspec

from appliance.identity.entity_routes import check_accessor, names_route, space_of
from appliance.identity.groups import (
    GroupAliasChange,
    GroupChange,
    delete_group,
    remove_group_alias,
    write_group,
    write_group_alias,
)
from appliance.identity.ledger import Ledger
from appliance.identity.store import IdentityStore
from appliance.identity.stored import StoredGroup
from appliance.identity.values import parse_pairs
from appliance.identity.wire import FindMount, Wire, listed
from core.bodies import StringList
from core.engine import Method, Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import NO_CONTENT, Operation, Request, Response


class GroupBody(msgspec.Struct):
    """What is not given stays. `type` is "internal" (the default) or "external"."""

    id: str = ""
    name: str = ""
    type: str | None = None
    metadata: dict[str, Any] | list[Any] | str | None = None
    policies: StringList | None = None
    member_entity_ids: StringList | None = None
    member_group_ids: StringList | None = None


class GroupAliasBody(msgspec.Struct):
    """`canonical_id` is the id of the external group."""

    id: str = ""
    name: str = ""
    mount_accessor: str = ""
    canonical_id: str = ""


class GroupRoutes:
    """Groups and the aliases of external ones."""

    def __init__(self, store: IdentityStore, find_mount: FindMount) -> None:
        self._store = store
        self._find_mount = find_mount

    def routes(self) -> list[Route]:
        """Below identity/."""
        update = Operation.UPDATE
        single = {
            Operation.READ: Method(handler=self.read, mutates=False, summary="The group."),
            update: Method(handler=self.write, body=GroupBody, summary="Make or change the group."),
            Operation.DELETE: Method(handler=self.delete, summary="Delete the group."),
        }
        make = Method(handler=self.write, body=GroupBody, summary="Make or change a group.")
        alias = Method(handler=self.write_alias, body=GroupAliasBody, summary="Make or change an alias.")
        return [
            Route(pattern="group", methods={update: make}, help="Entities that share policies."),
            names_route("group/id", self.list_ids),
            names_route("group/name", self.list_names),
            Route(pattern="group/id/{id}", methods=single, help="One group."),
            Route(pattern="group/name/{name}", methods=single, help="One group."),
            Route(pattern="group-alias", methods={update: alias}, help="A group's name at a login method."),
            names_route("group-alias/id", self.list_aliases),
            Route(
                pattern="group-alias/id/{id}",
                methods={
                    Operation.READ: Method(handler=self.read_alias, mutates=False, summary="The alias."),
                    update: Method(handler=self.write_alias, body=GroupAliasBody, summary="Change the alias."),
                    Operation.DELETE: Method(handler=self.delete_alias, summary="Delete the alias."),
                },
                help="One alias of a group.",
            ),
        ]

    # --- groups ---------------------------------------------------------------------------------------------------

    async def write(self, request: Request, body: GroupBody) -> Response:
        """Make or change; only a new one is answered."""
        params = request.params
        change = GroupChange(
            name=params.get("name") or body.name,
            type=body.type or None,
            metadata=parse_pairs(body.metadata),
            policies=body.policies,
            member_entity_ids=body.member_entity_ids,
            member_group_ids=body.member_group_ids,
        )
        group_id = params.get("id") or ("" if "name" in params else body.id)

        async def work(ledger: Ledger) -> tuple[StoredGroup, bool]:
            former = await ledger.group(group_id)
            if group_id and former is None:
                raise InvalidRequestError("invalid group ID")
            if not group_id and change.name:
                former = await ledger.group_named(change.name)
            return await write_group(ledger, change, former=former), former is None

        group, is_new = await self._store.change(space_of(request), work)
        return Response(data={"id": group.id, "name": group.name}) if is_new else NO_CONTENT

    async def read(self, request: Request, _body: object) -> Response:
        """All of it, with its members."""
        group = await self._named(request)
        if group is None:
            raise NotFoundError("")
        members = await self._store.members(space_of(request), group.id)
        return Response(data=self._wire(request).group(group, members))

    async def delete(self, request: Request, _body: object) -> Response:
        """Absent is as good; its members stay."""
        found = await self._named(request)
        if found is None:
            return NO_CONTENT
        group_id = found.id

        async def work(ledger: Ledger) -> None:
            group = await ledger.group(group_id)
            if group is not None:
                await delete_group(ledger, group)

        await self._store.change(space_of(request), work)
        return NO_CONTENT

    async def list_ids(self, request: Request, _body: object) -> Response:
        """The ids."""
        return await self._listed(request, by_name=False)

    async def list_names(self, request: Request, _body: object) -> Response:
        """The names."""
        return await self._listed(request, by_name=True)

    async def _listed(self, request: Request, *, by_name: bool) -> Response:
        wire, space = self._wire(request), space_of(request)
        info: dict[str, dict[str, Any]] = {}
        async for group in self._store.groups(space):
            info[group.id] = wire.brief_group(group, len(await self._store.members(space, group.id)))
        if not info:
            raise NotFoundError("")
        return Response(data=listed(info, by_name=by_name))

    async def _named(self, request: Request) -> StoredGroup | None:
        space, params = space_of(request), request.params
        if "id" in params:
            return await self._store.group(space, params["id"])
        return await self._store.group_named(space, params["name"])

    # --- aliases --------------------------------------------------------------------------------------------------

    async def write_alias(self, request: Request, body: GroupAliasBody) -> Response:
        """Make or change."""
        space = space_of(request)
        if body.mount_accessor:
            check_accessor(self._find_mount, space, body.mount_accessor)
        change = GroupAliasChange(name=body.name, mount_accessor=body.mount_accessor, group_id=body.canonical_id)
        alias_id = request.params.get("id") or body.id
        group, alias = await self._store.change(
            space, lambda ledger: write_group_alias(ledger, change, alias_id=alias_id)
        )
        return Response(data={"id": alias.id, "canonical_id": group.id})

    async def read_alias(self, request: Request, _body: object) -> Response:
        """All of it."""
        group = await self._store.group_of_alias(space_of(request), request.params["id"])
        if group is None or group.alias is None:
            raise NotFoundError("")
        return Response(data=self._wire(request).group_alias(group.alias, group.id))

    async def delete_alias(self, request: Request, _body: object) -> Response:
        """Absent is as good; the group stays, without members."""
        alias_id = request.params["id"]

        async def work(ledger: Ledger) -> None:
            group = await ledger.group_of_alias(alias_id)
            if group is not None:
                await remove_group_alias(ledger, group)

        await self._store.change(space_of(request), work)
        return NO_CONTENT

    async def list_aliases(self, request: Request, _body: object) -> Response:
        """The ids of all aliases of groups."""
        wire = self._wire(request)
        info: dict[str, dict[str, Any]] = {}
        async for group in self._store.groups(space_of(request)):
            if group.alias is not None:
                info[group.alias.id] = wire.brief_group_alias(group.alias, group.id)
        if not info:
            raise NotFoundError("")
        return Response(data=listed(info))

    def _wire(self, request: Request) -> Wire:
        return Wire(space_of(request), self._find_mount)
