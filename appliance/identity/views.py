"""From what is stored of an entity to what access control asks of it."""

from collections.abc import Awaitable, Callable

import msgspec

from appliance.access.subject import AliasView, EntityView, GroupView
from appliance.identity.stored import StoredEntity, StoredGroup

FindGroup = Callable[[str], Awaitable[StoredGroup | None]]


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """The groups that an entity is in."""

    direct: tuple[StoredGroup, ...]
    inherited: tuple[StoredGroup, ...]


async def membership(entity: StoredEntity, find: FindGroup) -> Membership:
    """Direct memberships that are still vouched for, and the groups that those groups are in."""
    direct = {}
    for group_id, source in entity.groups.items():
        group = await find(group_id)
        if group is not None and group.source == source:
            direct[group_id] = group
    inherited: dict[str, StoredGroup] = {}
    waiting = [parent for group in direct.values() for parent in group.parents]
    while waiting:
        group_id = waiting.pop()
        if group_id in inherited:
            continue
        group = await find(group_id)
        if group is not None:
            inherited[group_id] = group
            waiting += group.parents
    for group_id in direct:
        inherited.pop(group_id, None)
    return Membership(direct=tuple(direct.values()), inherited=tuple(inherited.values()))


def entity_view(entity: StoredEntity, groups: Membership, *, namespace: str) -> EntityView:
    """The entity with the policies that it has by itself and by its groups."""
    every = (*groups.direct, *groups.inherited)
    policies = {*entity.policies, *(name for group in every for name in group.policies or ())}
    return EntityView(
        id=entity.id,
        name=entity.name,
        namespace=namespace,
        metadata=entity.metadata,
        disabled=entity.disabled,
        aliases=tuple(
            AliasView(
                id=alias.id,
                name=alias.name,
                mount_accessor=alias.mount_accessor,
                metadata=alias.metadata,
                custom_metadata=alias.custom_metadata,
            )
            for alias in entity.aliases
        ),
        groups=tuple(
            GroupView(id=group.id, name=group.name, metadata=group.metadata or {})
            for group in sorted(every, key=lambda group: group.id)
        ),
        policies=tuple(sorted(policies)),
    )
