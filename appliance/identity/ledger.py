"""Entities and groups of one namespace inside a transaction: each write keeps every index true."""

import msgspec

from appliance.identity.stored import (
    Paths,
    StoredAlias,
    StoredEntity,
    StoredGroup,
    StoredGroupAlias,
    decode_entity,
    decode_group,
    encode,
    home_path,
    needs_home,
)
from core.ids import new_uuid
from core.protocols import CoreTransaction


class Ledger:
    """One namespace, one transaction. `now` is what is noted as the time of its writes."""

    def __init__(self, txn: CoreTransaction, namespace: str, now: float) -> None:
        self.txn = txn
        self.namespace = namespace
        self.now = now
        self.paths = Paths(namespace)

    # --- entities -------------------------------------------------------------------------------------------------

    async def entity(self, entity_id: str) -> StoredEntity | None:
        """The entity of exactly that id."""
        entry = await self.txn.get(self.paths.entity(entity_id)) if entity_id else None
        return decode_entity(entry.value) if entry else None

    async def entity_named(self, name: str) -> StoredEntity | None:
        """The entity of that name, in whatever case."""
        return await self.entity(await self._id_at(self.paths.index("entity-name", name)))

    async def entity_of_alias(self, alias_id: str) -> StoredEntity | None:
        """The entity that has the alias of that id."""
        return await self.entity(await self._id_at(self.paths.by_id("alias", alias_id)))

    async def entity_at(self, accessor: str, name: str) -> StoredEntity | None:
        """The entity whose alias at that mount has that name."""
        return await self.entity(await self._id_at(self.paths.alias_index("alias-name", accessor, name)))

    async def put_entity(self, entity: StoredEntity, *, former: StoredEntity | None) -> StoredEntity:
        """Write the entity and what finds it; `former` is what was stored before. Answers what is stored."""
        entity = msgspec.structs.replace(entity, updated=self.now)
        await self._index_entity(entity, former)
        await self.txn.put(self.paths.entity(entity.id), encode(entity))
        return entity

    async def _index_entity(self, entity: StoredEntity, former: StoredEntity | None) -> None:
        if former is None:
            await self._begin_epoch()
            if needs_home(self.namespace):
                await self.txn.put(home_path(entity.id), self.namespace.encode())
        if former is None or former.name.lower() != entity.name.lower():
            if former is not None:
                await self.txn.delete(self.paths.index("entity-name", former.name))
            await self.txn.put(self.paths.index("entity-name", entity.name), entity.id.encode(), cas=0)
        held = {alias.id: alias for alias in former.aliases} if former else {}
        for alias in entity.aliases:
            await self._index_alias(alias, held.pop(alias.id, None), entity.id)
        for alias in held.values():
            await self._unindex_alias(alias)

    async def _index_alias(self, alias: StoredAlias, former: StoredAlias | None, entity_id: str) -> None:
        if former is not None:
            if _place(former) == _place(alias):
                return
            await self._unindex_alias(former)
        await self.txn.put(self.paths.by_id("alias", alias.id), entity_id.encode())
        path = self.paths.alias_index("alias-name", alias.mount_accessor, alias.name)
        await self.txn.put(path, entity_id.encode(), cas=0)

    async def _unindex_alias(self, alias: StoredAlias) -> None:
        await self.txn.delete(self.paths.by_id("alias", alias.id))
        await self.txn.delete(self.paths.alias_index("alias-name", alias.mount_accessor, alias.name))

    async def remove_entity(self, entity: StoredEntity) -> None:
        """Delete it with its aliases, its memberships and what was merged into it."""
        for alias in entity.aliases:
            await self._unindex_alias(alias)
        for group_id in entity.groups:
            await self.txn.delete(self.paths.member(group_id, entity.id))
        for merged in entity.merged:
            await self.txn.delete(self.paths.by_id("merged", merged))
            await self.txn.delete(home_path(merged))
        await self.txn.delete(self.paths.index("entity-name", entity.name))
        await self.txn.delete(home_path(entity.id))
        await self.txn.delete(self.paths.entity(entity.id))

    async def free_name(self, kind: str, item_id: str) -> str:
        """A name for what was given none: "entity_" or "group_" and the first digits of its id."""
        for length in (8, 13, 36):
            name = f"{kind}_{item_id[:length]}"
            if await self.txn.get(self.paths.index(f"{kind}-name", name)) is None:
                return name
        return f"{kind}_{new_uuid()}"

    # --- groups ---------------------------------------------------------------------------------------------------

    async def group(self, group_id: str) -> StoredGroup | None:
        """The group of that id."""
        entry = await self.txn.get(self.paths.group(group_id)) if group_id else None
        return decode_group(entry.value) if entry else None

    async def group_named(self, name: str) -> StoredGroup | None:
        """The group of that name, in whatever case."""
        return await self.group(await self._id_at(self.paths.index("group-name", name)))

    async def group_of_alias(self, alias_id: str) -> StoredGroup | None:
        """The group that has the alias of that id."""
        return await self.group(await self._id_at(self.paths.by_id("group-alias", alias_id)))

    async def group_at(self, accessor: str, name: str) -> StoredGroup | None:
        """The external group whose alias at that mount has that name."""
        return await self.group(await self._id_at(self.paths.alias_index("group-alias-name", accessor, name)))

    async def put_group(self, group: StoredGroup, *, former: StoredGroup | None) -> StoredGroup:
        """Write the group, what finds it, and the epoch. Answers what is stored."""
        index = former.modify_index + 1 if former else 1
        group = msgspec.structs.replace(group, updated=self.now, modify_index=index)
        if former is None or former.name.lower() != group.name.lower():
            if former is not None:
                await self.txn.delete(self.paths.index("group-name", former.name))
            await self.txn.put(self.paths.index("group-name", group.name), group.id.encode(), cas=0)
        await self._index_group_alias(group, former)
        await self.txn.put(self.paths.group(group.id), encode(group))
        await self.txn.put(self.paths.epoch, b"")
        return group

    async def _index_group_alias(self, group: StoredGroup, former: StoredGroup | None) -> None:
        before = former.alias if former else None
        if before == group.alias:
            return
        if before is not None:
            await self._unindex_group_alias(before)
        if (alias := group.alias) is not None:
            await self.txn.put(self.paths.by_id("group-alias", alias.id), group.id.encode())
            path = self.paths.alias_index("group-alias-name", alias.mount_accessor, alias.name)
            await self.txn.put(path, group.id.encode(), cas=0)
        if former is not None and former.source != group.source:
            await self.txn.delete_prefix(self.paths.member(group.id))  # the entities' halves are void by themselves

    async def _unindex_group_alias(self, alias: StoredGroupAlias) -> None:
        await self.txn.delete(self.paths.by_id("group-alias", alias.id))
        await self.txn.delete(self.paths.alias_index("group-alias-name", alias.mount_accessor, alias.name))

    async def remove_group(self, group: StoredGroup) -> None:
        """Delete it. Entities that name it are not rewritten: ids are never used again."""
        if group.alias is not None:
            await self._unindex_group_alias(group.alias)
        await self.txn.delete(self.paths.index("group-name", group.name))
        await self.txn.delete_prefix(self.paths.member(group.id))
        await self.txn.delete(self.paths.group(group.id))
        await self.txn.put(self.paths.epoch, b"")

    # --------------------------------------------------------------------------------------------------------------

    async def _begin_epoch(self) -> None:
        """Views are kept only where there is an epoch to hang them on."""
        if await self.txn.get(self.paths.epoch) is None:
            await self.txn.put(self.paths.epoch, b"")

    async def _id_at(self, path: str) -> str:
        entry = await self.txn.get(path)
        return entry.value.decode() if entry else ""


def _place(alias: StoredAlias) -> tuple[str, str]:
    return alias.mount_accessor, alias.name.lower()
