"""Entities: made, changed, deleted and merged, each in one transaction by Vault's rules."""

from collections.abc import Sequence

import msgspec

from appliance.identity.ledger import Ledger
from appliance.identity.stored import StoredAlias, StoredEntity, encode, home_path, needs_home
from appliance.identity.values import check_metadata, check_name, check_policies
from core.errors import InvalidRequestError
from core.ids import new_uuid

MAX_MERGED = 1000  # entities that became part of one
MAX_BATCH = 1000  # entities deleted or merged by one request


class EntityChange(msgspec.Struct, frozen=True, kw_only=True):
    """What to set; None leaves it."""

    name: str | None = None
    metadata: dict[str, str] | None = None
    policies: Sequence[str] | None = None
    disabled: bool | None = None


class AliasClashError(InvalidRequestError):
    """Two entities that are to become one each have an alias at the same mount."""


async def write_entity(ledger: Ledger, change: EntityChange, *, entity_id: str = "") -> tuple[StoredEntity, bool]:
    """Change the entity of that id, or of the name in `change`, or make one; the entity, and whether it is new."""
    found = await ledger.entity(entity_id)
    if entity_id and found is None:
        raise InvalidRequestError("entity not found from id")
    if change.name:
        named = await ledger.entity_named(check_name(change.name))
        if named is not None and found is not None and named.id != found.id:
            raise InvalidRequestError("entity name is already in use")
        found = found or named
    base = found or await new_entity(ledger, name=change.name or "")
    return await ledger.put_entity(_changed(base, change), former=found), found is None


def _changed(entity: StoredEntity, change: EntityChange) -> StoredEntity:
    if change.name:
        entity = msgspec.structs.replace(entity, name=change.name)
    if change.metadata is not None:
        entity = msgspec.structs.replace(entity, metadata=check_metadata(change.metadata))
    if change.policies is not None:
        entity = msgspec.structs.replace(entity, policies=check_policies(change.policies))
    if change.disabled is not None:
        entity = msgspec.structs.replace(entity, disabled=change.disabled)
    return entity


async def new_entity(ledger: Ledger, *, name: str = "") -> StoredEntity:
    """One that is not stored yet."""
    entity_id = new_uuid()
    name = name or await ledger.free_name("entity", entity_id)
    return StoredEntity(id=entity_id, name=name, created=ledger.now, updated=ledger.now)


async def delete_entities(ledger: Ledger, entity_ids: Sequence[str]) -> None:
    """Those that exist; absent ones are as good."""
    if len(entity_ids) > MAX_BATCH:
        raise InvalidRequestError(f"at most {MAX_BATCH} entities can be deleted at once")
    for entity_id in dict.fromkeys(entity_ids):
        entity = await ledger.entity(entity_id)
        if entity is not None:
            await ledger.remove_entity(entity)


async def merge_entities(
    ledger: Ledger, *, to_id: str, from_ids: Sequence[str], keep_aliases: Sequence[str] = ()
) -> StoredEntity:
    """Make `from_ids` part of `to_id`: aliases and groups move, and the ids lead to it from now on.

    Policies that were set on the others end with them, as in Vault: a merge of two people grants neither anything.
    Where both have an alias at the same mount, `keep_aliases` names the one that stays.
    """
    to, sources = await _to_and_from(ledger, to_id, from_ids)
    former = to
    kept = _without_clashes(to, sources, keep_aliases)
    groups: dict[str, str] = {}
    for entity in (to, *sources):
        groups |= _moving_groups(entity, kept)
    for source in sources:
        await ledger.remove_entity(source)
    merged = dict.fromkeys(
        [*to.merged, *(entity_id for source in sources for entity_id in (source.id, *source.merged))]
    )
    if len(merged) > MAX_MERGED:
        raise InvalidRequestError(f"at most {MAX_MERGED} entities can become one")
    to = msgspec.structs.replace(
        to,
        aliases=kept,
        merged=tuple(merged),
    )
    stored = await ledger.put_entity(to, former=former)
    for entity_id in merged:
        await ledger.txn.put(ledger.paths.by_id("merged", entity_id), to.id.encode())
        if needs_home(ledger.namespace):
            await ledger.txn.put(home_path(entity_id), ledger.namespace.encode())
    return await set_groups(ledger, stored, groups)


def _moving_groups(entity: StoredEntity, kept: Sequence[StoredAlias]) -> dict[str, str]:
    """What operators set, and what was vouched for of aliases that stay."""
    mounts = {alias.mount_accessor for alias in kept if entity.alias(alias.id) is not None}
    return {held: source for held, source in entity.groups.items() if not source or source.split("/")[0] in mounts}


async def _to_and_from(ledger: Ledger, to_id: str, from_ids: Sequence[str]) -> tuple[StoredEntity, list[StoredEntity]]:
    if not to_id:
        raise InvalidRequestError("missing entity id to merge to")
    if not from_ids:
        raise InvalidRequestError("missing entity ids to merge from")
    if len(from_ids) > MAX_BATCH:
        raise InvalidRequestError(f"at most {MAX_BATCH} entities can be merged at once")
    to = await ledger.entity(to_id)
    if to is None:
        raise InvalidRequestError("entity id to merge to is invalid")
    sources = []
    for entity_id in dict.fromkeys(from_ids):
        if entity_id == to.id:
            raise InvalidRequestError("to_entity_id should not be present in from_entity_ids")
        source = await ledger.entity(entity_id)
        if source is None:
            raise InvalidRequestError("entity id to merge from is invalid")
        if source.disabled and not to.disabled:  # its tokens and logins would work again
            raise InvalidRequestError("a disabled entity cannot become part of one that is not: enable it before")
        sources.append(source)
    return to, sources


def _without_clashes(
    to: StoredEntity, sources: Sequence[StoredEntity], keep_aliases: Sequence[str]
) -> tuple[StoredAlias, ...]:
    """The aliases of all, one for each mount."""
    if len(sources) > 1 and keep_aliases:
        raise InvalidRequestError(
            "aliases conflicts cannot be resolved with multiple from entity ids - merge one entity at a time"
        )
    kept = {alias.mount_accessor: alias for alias in to.aliases}
    for source in sources:
        for alias in source.aliases:
            moved = msgspec.structs.replace(alias, merged_from=(*alias.merged_from, source.id))
            rival = kept.setdefault(alias.mount_accessor, moved)
            if rival is not moved:
                kept[alias.mount_accessor] = _chosen(rival, moved, keep_aliases)
    return tuple(kept.values())


def _chosen(mine: StoredAlias, theirs: StoredAlias, keep_aliases: Sequence[str]) -> StoredAlias:
    wanted = [alias for alias in (mine, theirs) if alias.id in keep_aliases]
    if len(wanted) == 1:
        return wanted[0]
    if keep_aliases:
        raise InvalidRequestError("conflicting_alias_ids_to_keep must name exactly one alias for each mount")
    raise AliasClashError(
        "toEntity and at least one fromEntity have aliases with the same mount accessor, repeat the merge request "
        "specifying exactly one fromEntity and conflicting_alias_ids_to_keep, clashes: "
        f"{mine.id} and {theirs.id} at {mine.mount_accessor}"
    )


async def set_groups(ledger: Ledger, entity: StoredEntity, groups: dict[str, str]) -> StoredEntity:
    """Note which groups the entity is in directly, in both of the halves. Answers what is stored."""
    if groups == entity.groups:
        return entity
    for group_id in entity.groups.keys() - groups.keys():
        await ledger.txn.delete(ledger.paths.member(group_id, entity.id))
    for group_id in groups:
        await ledger.txn.put(ledger.paths.member(group_id, entity.id), b"")
    entity = msgspec.structs.replace(entity, groups=groups)
    await ledger.txn.put(ledger.paths.entity(entity.id), encode(entity))
    return entity
