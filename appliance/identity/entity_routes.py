"""`identity/entity…` and `identity/entity-alias…`."""

from typing import Any

import msgspec

from appliance.access.request import as_access_request
from appliance.identity.aliases import AliasChange, remove_alias, write_alias
from appliance.identity.entities import EntityChange, delete_entities, merge_entities, write_entity
from appliance.identity.ledger import Ledger
from appliance.identity.store import IdentityStore
from appliance.identity.stored import StoredEntity
from appliance.identity.values import parse_pairs
from appliance.identity.wire import FindMount, Wire, listed
from core.bodies import StringList
from core.engine import Handler, Method, Route
from core.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from core.requests import NO_CONTENT, Operation, Request, Response


class EntityBody(msgspec.Struct):
    """What is not given stays. `metadata` is an object, or texts like "team=core"."""

    id: str = ""
    name: str = ""
    metadata: dict[str, Any] | list[Any] | str | None = None
    policies: StringList | None = None
    disabled: bool | None = None


class BatchDeleteBody(msgspec.Struct):
    """The entities to delete."""

    entity_ids: StringList | None = None


class MergeBody(msgspec.Struct):
    """`force` is Vault's, for MFA secrets that clash; there are none to overwrite."""

    to_entity_id: str = ""
    from_entity_ids: StringList | None = None
    conflicting_alias_ids_to_keep: StringList | None = None
    force: bool = False


class EntityAliasBody(msgspec.Struct):
    """`entity_id` is the older name of `canonical_id`."""

    id: str = ""
    name: str = ""
    mount_accessor: str = ""
    canonical_id: str = ""
    entity_id: str = ""
    custom_metadata: dict[str, Any] | list[Any] | str | None = None


class EntityRoutes:
    """Entities and their aliases."""

    def __init__(self, store: IdentityStore, find_mount: FindMount) -> None:
        self._store = store
        self._find_mount = find_mount

    def routes(self) -> list[Route]:
        """Below identity/."""
        update = Operation.UPDATE
        merge = Method(handler=self.merge, body=MergeBody, summary="Make one of several.")
        batch = Method(handler=self.delete_several, body=BatchDeleteBody, summary="Delete several.")
        make = Method(handler=self.write, body=EntityBody, summary="Make or change an entity.")
        alias = Method(handler=self.write_alias, body=EntityAliasBody, summary="Make or change an alias.")
        return [
            Route(pattern="entity", methods={update: make}, help="Who stands behind logins."),
            Route(pattern="entity/merge", methods={update: merge}, help="Merges entities."),
            Route(pattern="entity/batch-delete", methods={update: batch}, help="Deletes entities."),
            names_route("entity/id", self.list_ids),
            names_route("entity/name", self.list_names),
            Route(
                pattern="entity/id/{id}",
                methods={
                    Operation.READ: Method(handler=self.read, mutates=False, summary="The entity."),
                    update: Method(handler=self.write, body=EntityBody, summary="Change the entity."),
                    Operation.DELETE: Method(handler=self.delete, summary="Delete the entity."),
                },
                help="One entity.",
            ),
            Route(
                pattern="entity/name/{name}",
                methods={
                    Operation.READ: Method(handler=self.read, mutates=False, summary="The entity."),
                    update: Method(handler=self.write, body=EntityBody, summary="Make or change the entity."),
                    Operation.DELETE: Method(handler=self.delete, summary="Delete the entity."),
                },
                help="One entity.",
            ),
            Route(pattern="entity-alias", methods={update: alias}, help="An entity's name at a login method."),
            names_route("entity-alias/id", self.list_aliases),
            Route(
                pattern="entity-alias/id/{id}",
                methods={
                    Operation.READ: Method(handler=self.read_alias, mutates=False, summary="The alias."),
                    update: Method(handler=self.write_alias, body=EntityAliasBody, summary="Change the alias."),
                    Operation.DELETE: Method(handler=self.delete_alias, summary="Delete the alias."),
                },
                help="One alias of an entity.",
            ),
        ]

    # --- entities -------------------------------------------------------------------------------------------------

    async def write(self, request: Request, body: EntityBody) -> Response:
        """Make or change; only a new one is answered."""
        change = EntityChange(
            name=request.params.get("name") or body.name or None,
            metadata=parse_pairs(body.metadata),
            policies=body.policies,
            disabled=body.disabled,
        )
        entity_id = request.params.get("id") or ("" if "name" in request.params else body.id)
        by_name = request.params.get("name", "")

        async def work(ledger: Ledger) -> tuple[StoredEntity, bool]:
            named = await ledger.entity_named(by_name) if by_name else None
            if named is not None:
                check_spelling(request, named.name)
            return await write_entity(ledger, change, entity_id=entity_id)

        entity, is_new = await self._store.change(space_of(request), work)
        if not is_new:
            return NO_CONTENT
        return Response(data={"id": entity.id, "name": entity.name, "aliases": None})

    async def read(self, request: Request, _body: object) -> Response:
        """All of it, with its groups."""
        entity = await self._named(request)
        if entity is None:
            raise NotFoundError("")
        groups = await self._store.membership(space_of(request), entity)
        return Response(data=self._wire(request).entity(entity, groups))

    async def delete(self, request: Request, _body: object) -> Response:
        """Absent is as good."""
        entity = await self._named(request)
        if entity is not None:
            entity_id = entity.id
            await self._store.change(space_of(request), lambda ledger: delete_entities(ledger, [entity_id]))
        return NO_CONTENT

    async def delete_several(self, request: Request, body: BatchDeleteBody) -> Response:
        """All of those named."""
        ids = body.entity_ids
        if not ids:
            raise InvalidRequestError("missing entity ids to delete")
        await self._store.change(space_of(request), lambda ledger: delete_entities(ledger, ids))
        return NO_CONTENT

    async def merge(self, request: Request, body: MergeBody) -> Response:
        """The others become part of one."""

        async def work(ledger: Ledger) -> StoredEntity:
            return await merge_entities(
                ledger,
                to_id=body.to_entity_id,
                from_ids=body.from_entity_ids or [],
                keep_aliases=body.conflicting_alias_ids_to_keep or [],
            )

        await self._store.change(space_of(request), work)
        return NO_CONTENT

    async def list_ids(self, request: Request, _body: object) -> Response:
        """The ids."""
        return await self._listed(request, by_name=False)

    async def list_names(self, request: Request, _body: object) -> Response:
        """The names."""
        return await self._listed(request, by_name=True)

    async def _listed(self, request: Request, *, by_name: bool) -> Response:
        wire = self._wire(request)
        info = {entity.id: wire.brief_entity(entity) async for entity in self._store.entities(space_of(request))}
        if not info:
            raise NotFoundError("")
        return Response(data=listed(info, by_name=by_name))

    async def _named(self, request: Request) -> StoredEntity | None:
        space, params = space_of(request), request.params
        if "id" in params:
            return await self._store.entity(space, params["id"])
        entity = await self._store.entity_named(space, params["name"])
        if entity is not None:
            check_spelling(request, entity.name)
        return entity

    # --- aliases --------------------------------------------------------------------------------------------------

    async def write_alias(self, request: Request, body: EntityAliasBody) -> Response:
        """Make or change; 204 when nothing changed."""
        space = space_of(request)
        if body.mount_accessor:
            check_accessor(self._find_mount, space, body.mount_accessor)
        change = AliasChange(
            name=body.name,
            mount_accessor=body.mount_accessor,
            entity_id=body.canonical_id or body.entity_id,
            custom_metadata=parse_pairs(body.custom_metadata, field="custom_metadata"),
        )
        alias_id = request.params.get("id") or body.id
        written = await self._store.change(space, lambda ledger: write_alias(ledger, change, alias_id=alias_id))
        if written is None:
            return NO_CONTENT
        entity, alias = written
        return Response(data={"id": alias.id, "canonical_id": entity.id})

    async def read_alias(self, request: Request, _body: object) -> Response:
        """All of it."""
        entity = await self._store.entity_of_alias(space_of(request), request.params["id"])
        alias = entity.alias(request.params["id"]) if entity else None
        if entity is None or alias is None:
            raise NotFoundError("")
        return Response(data=self._wire(request).alias(alias, entity.id))

    async def delete_alias(self, request: Request, _body: object) -> Response:
        """Absent is as good; the entity stays."""
        alias_id = request.params["id"]

        async def work(ledger: Ledger) -> None:
            entity = await ledger.entity_of_alias(alias_id)
            alias = entity.alias(alias_id) if entity else None
            if entity is not None and alias is not None:
                await remove_alias(ledger, entity, alias)

        await self._store.change(space_of(request), work)
        return NO_CONTENT

    async def list_aliases(self, request: Request, _body: object) -> Response:
        """The ids of all aliases of entities."""
        wire = self._wire(request)
        info: dict[str, dict[str, Any]] = {}
        async for entity in self._store.entities(space_of(request)):
            info |= {alias.id: wire.brief_alias(alias, entity.id) for alias in entity.aliases}
        if not info:
            raise NotFoundError("")
        return Response(data=listed(info))

    def _wire(self, request: Request) -> Wire:
        return Wire(space_of(request), self._find_mount)


def space_of(request: Request) -> str:
    """The id of the namespace that the request is made in."""
    return as_access_request(request).within.id


def check_spelling(request: Request, name: str) -> None:
    """Who asks by another spelling of `name` ("Admin") must be allowed to by this one, too."""
    given = request.params["name"]
    if given == name:
        return
    asked = as_access_request(request)
    path = asked.within.path + (request.mount_path + request.path).rstrip("/").removesuffix(given) + name
    if not asked.acl.allows(path, request.operation.value):
        raise PermissionDeniedError("permission denied")


def check_accessor(find_mount: FindMount, namespace: str, accessor: str) -> None:
    """Raise InvalidRequestError unless a login mount of this namespace has it."""
    if find_mount(namespace, accessor) is None:
        raise InvalidRequestError(
            "invalid mount accessor: `sys/auth` lists those of the login mounts of this namespace"
        )


def names_route(pattern: str, handler: Handler) -> Route:
    """What is listed, by LIST and by GET with `?list=true`: `entity/id` by id, `entity/name` by name."""
    kind, _, by = pattern.partition("/")
    text = f"All {_PLURALS[kind]}, by {by}."
    return Route(
        pattern=pattern,
        methods={Operation.LIST: Method(handler=handler, mutates=False, summary=text)},
        help=text,
    )


_PLURALS = {
    "entity": "entities",
    "entity-alias": "aliases of entities",
    "group": "groups",
    "group-alias": "aliases of groups",
}
