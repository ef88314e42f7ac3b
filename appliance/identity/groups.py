"""Groups: internal ones, whose members operators name, and external ones, whose members a login method vouches for."""

from collections.abc import Sequence

import msgspec

from appliance.identity.entities import set_groups
from appliance.identity.ledger import Ledger
from appliance.identity.stored import StoredGroup, StoredGroupAlias
from appliance.identity.values import check_metadata, check_name, check_policies
from core.errors import InvalidRequestError
from core.ids import new_uuid

TYPES = ("internal", "external")
MAX_CHANGED = 2000  # members that one request adds or removes: each is an entity to rewrite
MAX_GROUPS = 1000  # that one group is in or holds, at every depth: each view of a member looks at all of them


class GroupChange(msgspec.Struct, frozen=True, kw_only=True):
    """What to set; None and "" leave it."""

    name: str = ""
    type: str | None = None
    metadata: dict[str, str] | None = None
    policies: Sequence[str] | None = None
    member_entity_ids: Sequence[str] | None = None
    member_group_ids: Sequence[str] | None = None


async def write_group(ledger: Ledger, change: GroupChange, *, former: StoredGroup | None) -> StoredGroup:
    """Change `former`, or make a group."""
    group = _changed(former or await _new_group(ledger, change), change, former)
    if change.name:
        named = await ledger.group_named(change.name)
        if named is not None and named.id != group.id:
            raise InvalidRequestError("group name is already in use")
    if group.is_external and change.member_entity_ids is not None:
        raise InvalidRequestError("member entities can't be set manually for external groups")
    if group.is_external and change.member_group_ids is not None:
        raise InvalidRequestError("member groups can't be set for external groups")
    if change.member_group_ids is not None:
        group = await _with_members(ledger, group, tuple(dict.fromkeys(change.member_group_ids)))
    group = await ledger.put_group(group, former=former)
    if change.member_entity_ids is not None:
        await _set_entities(ledger, group, set(change.member_entity_ids))
    return group


async def _new_group(ledger: Ledger, change: GroupChange) -> StoredGroup:
    group_id = new_uuid()
    name = change.name or await ledger.free_name("group", group_id)
    return StoredGroup(id=group_id, name=name, type=change.type or "internal", created=ledger.now, updated=ledger.now)


def _changed(group: StoredGroup, change: GroupChange, former: StoredGroup | None) -> StoredGroup:
    if change.type and former is not None and change.type != former.type:
        raise InvalidRequestError("group type cannot be changed")
    if group.type not in TYPES:
        raise InvalidRequestError('a group\'s type must be "internal" or "external"')
    return msgspec.structs.replace(
        group,
        name=check_name(change.name) if change.name else group.name,
        metadata=group.metadata if change.metadata is None else check_metadata(change.metadata),
        policies=group.policies if change.policies is None else check_policies(change.policies),
    )


# --- groups in groups -------------------------------------------------------------------------------------------------


async def _with_members(ledger: Ledger, group: StoredGroup, wanted: tuple[str, ...]) -> StoredGroup:
    """The group with exactly these groups in it; theirs name it as a parent. A cycle is refused."""
    if len(wanted) > MAX_GROUPS:
        raise InvalidRequestError(f"a group may hold at most {MAX_GROUPS} groups")
    above = await _ancestors(ledger, group)
    for member_id in (member_id for member_id in wanted if member_id not in group.members):
        if member_id in above:
            raise InvalidRequestError(f'cyclic relationship detected for member group ID "{member_id}"')
        await _set_parent(ledger, member_id, group.id, present=True)
    for member_id in set(group.members) - set(wanted):
        await _set_parent(ledger, member_id, group.id, present=False)
    return msgspec.structs.replace(group, members=wanted)


async def _set_parent(ledger: Ledger, member_id: str, parent_id: str, *, present: bool) -> None:
    member = await ledger.group(member_id)
    if member is None:
        if present:
            raise InvalidRequestError(f'invalid group ID "{member_id}" in member_group_ids')
        return
    parents = tuple(held for held in member.parents if held != parent_id)
    if present:
        parents = (*parents, parent_id)
    await ledger.put_group(msgspec.structs.replace(member, parents=parents), former=member)


async def _ancestors(ledger: Ledger, group: StoredGroup) -> set[str]:
    """The group and all that it is in, at every depth."""
    above, waiting = {group.id}, list(group.parents)
    while waiting:
        group_id = waiting.pop()
        if group_id in above:
            continue
        above.add(group_id)
        if len(above) > MAX_GROUPS:
            raise InvalidRequestError(f"a group may be in at most {MAX_GROUPS} groups")
        found = await ledger.group(group_id)
        waiting += found.parents if found else ()
    return above


async def delete_group(ledger: Ledger, group: StoredGroup) -> None:
    """Delete it; its parents and members forget it."""
    for member_id in group.members:
        await _set_parent(ledger, member_id, group.id, present=False)
    for parent_id in group.parents:
        parent = await ledger.group(parent_id)
        if parent is not None:
            rest = tuple(held for held in parent.members if held != group.id)
            await ledger.put_group(msgspec.structs.replace(parent, members=rest), former=parent)
    await ledger.remove_group(group)


# --- entities in groups -----------------------------------------------------------------------------------------------


async def _set_entities(ledger: Ledger, group: StoredGroup, wanted: set[str]) -> None:
    present = set(await ledger.txn.list(ledger.paths.member(group.id)))
    added, removed = wanted - present, present - wanted
    if len(added) + len(removed) > MAX_CHANGED:
        raise InvalidRequestError(f"one request may add and remove at most {MAX_CHANGED} members of a group")
    for entity_id in sorted(added):
        entity = await ledger.entity(entity_id)
        if entity is None:
            raise InvalidRequestError(f'invalid entity ID "{entity_id}" in member_entity_ids')
        await set_groups(ledger, entity, {**entity.groups, group.id: ""})
    for entity_id in sorted(removed):
        entity = await ledger.entity(entity_id)
        if entity is not None:
            rest = {held: source for held, source in entity.groups.items() if held != group.id}
            await set_groups(ledger, entity, rest)


# --- aliases of external groups ---------------------------------------------------------------------------------------


class GroupAliasChange(msgspec.Struct, frozen=True, kw_only=True):
    """What to set; "" leaves it. Whether the accessor is one of this namespace is checked before."""

    name: str = ""
    mount_accessor: str = ""
    group_id: str = ""


async def write_group_alias(
    ledger: Ledger, change: GroupAliasChange, *, alias_id: str = ""
) -> tuple[StoredGroup, StoredGroupAlias]:
    """Change the alias of that id, or give one to the group that `change` names.

    Memberships that were vouched for under another name or mount end with it.
    """
    group = await ledger.group_of_alias(alias_id) if alias_id else await ledger.group(change.group_id)
    if alias_id and (group is None or group.alias is None):
        raise InvalidRequestError("invalid group alias ID")
    if change.group_id and group is not None and group.id != change.group_id:
        return await _move_alias(ledger, group, change)
    if group is None:
        raise InvalidRequestError("canonical_id must be the ID of an external group")
    return await _give_alias(ledger, group, change)


async def _give_alias(
    ledger: Ledger, group: StoredGroup, change: GroupAliasChange
) -> tuple[StoredGroup, StoredGroupAlias]:
    if not group.is_external:
        raise InvalidRequestError("alias can't be set on an internal group")
    alias = _alias_of(group, change, ledger.now)
    holder = await ledger.group_at(alias.mount_accessor, alias.name)
    if holder is not None and holder.id != group.id:
        raise InvalidRequestError("combination of mount accessor and group alias name is already in use")
    stored = await ledger.put_group(msgspec.structs.replace(group, alias=alias), former=group)
    return stored, alias


def _alias_of(group: StoredGroup, change: GroupAliasChange, now: float) -> StoredGroupAlias:
    held = group.alias
    if held is None and not change.name:
        raise InvalidRequestError("missing alias name")
    if held is None and not change.mount_accessor:
        raise InvalidRequestError("missing mount_accessor")
    return StoredGroupAlias(
        id=held.id if held else new_uuid(),
        name=check_name(change.name) if change.name or held is None else held.name,
        mount_accessor=change.mount_accessor or (held.mount_accessor if held else ""),
        created=held.created if held else now,
        updated=now,
    )


async def _move_alias(
    ledger: Ledger, group: StoredGroup, change: GroupAliasChange
) -> tuple[StoredGroup, StoredGroupAlias]:
    target = await ledger.group(change.group_id)
    if target is None or not target.is_external:
        raise InvalidRequestError("canonical_id must be the ID of an external group")
    if target.alias is not None:
        raise InvalidRequestError("the group that canonical_id names has an alias already")
    held = group.alias
    moved = GroupAliasChange(
        name=change.name or (held.name if held else ""),
        mount_accessor=change.mount_accessor or (held.mount_accessor if held else ""),
    )
    await remove_group_alias(ledger, group)
    return await _give_alias(ledger, target, moved)


async def remove_group_alias(ledger: Ledger, group: StoredGroup) -> None:
    """Take it away; nobody is in the group then."""
    await ledger.put_group(msgspec.structs.replace(group, alias=None), former=group)
