"""Aliases of entities: an entity has one at most for each mount, and no two entities the same."""

import msgspec

from appliance.identity.entities import new_entity, set_groups
from appliance.identity.ledger import Ledger
from appliance.identity.stored import StoredAlias, StoredEntity
from appliance.identity.values import check_metadata, check_name
from core.errors import InvalidRequestError
from core.ids import new_uuid


class AliasChange(msgspec.Struct, frozen=True, kw_only=True):
    """What to set; "" and None leave it. Whether the accessor is one of this namespace is checked before."""

    name: str = ""
    mount_accessor: str = ""
    entity_id: str = ""
    custom_metadata: dict[str, str] | None = None


async def write_alias(
    ledger: Ledger, change: AliasChange, *, alias_id: str = ""
) -> tuple[StoredEntity, StoredAlias] | None:
    """Change the alias of that id, or of that mount and name, or make one; None when nothing changed."""
    if alias_id:
        entity = await ledger.entity_of_alias(alias_id)
        alias = entity.alias(alias_id) if entity else None
        if entity is None or alias is None:
            raise InvalidRequestError("invalid alias ID provided")
        return await _update(ledger, entity, alias, change)
    if not change.mount_accessor or not change.name:
        raise InvalidRequestError("'id' or 'mount_accessor' and 'name' must be provided")
    entity = await ledger.entity_at(change.mount_accessor, change.name)
    alias = entity.alias_at(change.mount_accessor) if entity else None
    if entity is not None and alias is not None:
        return await _update(ledger, entity, alias, change)
    return await _create(ledger, change)


async def _create(ledger: Ledger, change: AliasChange) -> tuple[StoredEntity, StoredAlias]:
    former = await ledger.entity(change.entity_id)
    if change.entity_id and former is None:
        raise InvalidRequestError("invalid canonical ID")
    entity = former or await new_entity(ledger)
    if entity.alias_at(change.mount_accessor) is not None:
        raise InvalidRequestError("Alias already exists for requested entity and mount accessor")
    alias = StoredAlias(
        id=new_uuid(),
        name=check_name(change.name),
        mount_accessor=change.mount_accessor,
        created=ledger.now,
        updated=ledger.now,
        custom_metadata=check_metadata(change.custom_metadata or {}, field="custom_metadata"),
    )
    entity = msgspec.structs.replace(entity, aliases=(*entity.aliases, alias))
    return await ledger.put_entity(entity, former=former), alias


async def _update(
    ledger: Ledger, entity: StoredEntity, alias: StoredAlias, change: AliasChange
) -> tuple[StoredEntity, StoredAlias] | None:
    target = entity.id if not change.entity_id else change.entity_id
    changed = _changed(alias, change)
    if changed == alias and target == entity.id:
        return None
    changed = msgspec.structs.replace(changed, updated=ledger.now)
    await _check_free(ledger, alias, changed)
    if target != entity.id:
        return await _move(ledger, entity, alias, changed, target)
    if changed.mount_accessor != alias.mount_accessor and entity.alias_at(changed.mount_accessor) is not None:
        raise InvalidRequestError(
            "Alias cannot be updated as the entity already has an alias for the given 'mount_accessor'"
        )
    aliases = tuple(changed if held.id == alias.id else held for held in entity.aliases)
    stored = await ledger.put_entity(msgspec.structs.replace(entity, aliases=aliases), former=entity)
    if _is_other_login(alias, changed):
        stored = await leave_external(ledger, stored, alias.mount_accessor)
    return stored, changed


def _changed(alias: StoredAlias, change: AliasChange) -> StoredAlias:
    metadata = change.custom_metadata
    return msgspec.structs.replace(
        alias,
        name=check_name(change.name) if change.name else alias.name,
        mount_accessor=change.mount_accessor or alias.mount_accessor,
        custom_metadata=alias.custom_metadata
        if metadata is None
        else check_metadata(metadata, field="custom_metadata"),
    )


async def _check_free(ledger: Ledger, alias: StoredAlias, changed: StoredAlias) -> None:
    holder = await ledger.entity_at(changed.mount_accessor, changed.name)
    rival = holder.alias_at(changed.mount_accessor) if holder else None
    if rival is not None and rival.id != alias.id:
        raise InvalidRequestError("alias with combination of mount accessor and name already exists")


async def _move(
    ledger: Ledger, entity: StoredEntity, alias: StoredAlias, changed: StoredAlias, target_id: str
) -> tuple[StoredEntity, StoredAlias]:
    """To another entity; what the login method vouched for does not move along."""
    target = await ledger.entity(target_id)
    if target is None:
        raise InvalidRequestError("given 'canonical_id' is not associated with an entity")
    if target.alias_at(changed.mount_accessor) is not None:
        raise InvalidRequestError("Alias cannot be updated as the given entity already has an alias for this mount")
    await remove_alias(ledger, entity, alias)
    moved = msgspec.structs.replace(target, aliases=(*target.aliases, changed))
    return await ledger.put_entity(moved, former=target), changed


async def remove_alias(ledger: Ledger, entity: StoredEntity, alias: StoredAlias) -> StoredEntity:
    """Take it from its entity, and the entity from the groups that the same mount vouched for."""
    rest = tuple(held for held in entity.aliases if held.id != alias.id)
    stored = await ledger.put_entity(msgspec.structs.replace(entity, aliases=rest), former=entity)
    return await leave_external(ledger, stored, alias.mount_accessor)


async def leave_external(ledger: Ledger, entity: StoredEntity, accessor: str) -> StoredEntity:
    """Take the entity from the groups that this mount vouched for."""
    rest = {group_id: source for group_id, source in entity.groups.items() if not source.startswith(f"{accessor}/")}
    return await set_groups(ledger, entity, rest)


def _is_other_login(alias: StoredAlias, changed: StoredAlias) -> bool:
    return (alias.mount_accessor, alias.name.lower()) != (changed.mount_accessor, changed.name.lower())
