"""Entities, groups and aliases as Vault's API shows them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.identity.stored import StoredAlias, StoredEntity, StoredGroup, StoredGroupAlias
from appliance.identity.views import Membership
from core.clock import rfc3339


@dataclass(frozen=True, slots=True, kw_only=True)
class MountNote:
    """What identity shows of a login mount."""

    type: str
    path: str  # "auth/approle/"


# the login mount of that accessor in the namespace of that id; memory only
FindMount = Callable[[str, str], MountNote | None]


class Wire:
    """Shows things of one namespace."""

    def __init__(self, namespace: str, find_mount: FindMount) -> None:
        self._namespace = namespace
        self._find_mount = find_mount

    def entity(self, entity: StoredEntity, groups: Membership) -> dict[str, Any]:
        """As `entity/id/<id>` answers."""
        direct = [group.id for group in groups.direct]
        inherited = [group.id for group in groups.inherited]
        return {
            "id": entity.id,
            "name": entity.name,
            "metadata": entity.metadata or None,
            "merged_entity_ids": list(entity.merged) or None,
            "policies": list(entity.policies),
            "disabled": entity.disabled,
            "namespace_id": self._namespace,
            "creation_time": rfc3339(entity.created),
            "last_update_time": rfc3339(entity.updated),
            "aliases": [self._alias(alias, entity.id) for alias in entity.aliases],
            "direct_group_ids": direct,
            "inherited_group_ids": inherited,
            "group_ids": direct + inherited,
        }

    def alias(self, alias: StoredAlias, entity_id: str) -> dict[str, Any]:
        """As `entity-alias/id/<id>` answers."""
        return {**self._alias(alias, entity_id), "namespace_id": self._namespace}

    def _alias(self, alias: StoredAlias, entity_id: str) -> dict[str, Any]:
        return {
            "id": alias.id,
            "canonical_id": entity_id,
            "mount_accessor": alias.mount_accessor,
            "metadata": alias.metadata or None,
            "custom_metadata": alias.custom_metadata or None,
            "name": alias.name,
            "merged_from_canonical_ids": list(alias.merged_from) or None,
            "creation_time": rfc3339(alias.created),
            "last_update_time": rfc3339(alias.updated),
            "local": False,
        } | self._mount(alias.mount_accessor)

    def group(self, group: StoredGroup, members: Sequence[str]) -> dict[str, Any]:
        """As `group/id/<id>` answers."""
        return {
            "id": group.id,
            "name": group.name,
            "type": group.type,
            "policies": None if group.policies is None else list(group.policies),
            "metadata": group.metadata,
            "member_entity_ids": list(members) or None,
            "member_group_ids": list(group.members) or None,
            "parent_group_ids": list(group.parents) or None,
            "alias": self.group_alias(group.alias, group.id) if group.alias else {},
            "creation_time": rfc3339(group.created),
            "last_update_time": rfc3339(group.updated),
            "modify_index": group.modify_index,
            "namespace_id": self._namespace,
        }

    def group_alias(self, alias: StoredGroupAlias, group_id: str) -> dict[str, Any]:
        """As `group-alias/id/<id>` answers."""
        return {
            "id": alias.id,
            "canonical_id": group_id,
            "mount_accessor": alias.mount_accessor,
            "metadata": None,
            "name": alias.name,
            "merged_from_canonical_ids": None,
            "creation_time": rfc3339(alias.created),
            "last_update_time": rfc3339(alias.updated),
        } | self._mount(alias.mount_accessor)

    def _mount(self, accessor: str) -> dict[str, Any]:
        mount = self._find_mount(self._namespace, accessor)
        return {"mount_type": mount.type, "mount_path": mount.path} if mount else {}

    # --- lists ----------------------------------------------------------------------------------------------------

    def brief_entity(self, entity: StoredEntity) -> dict[str, Any]:
        """As the key_info of a list."""
        brief: dict[str, Any] = {"name": entity.name}
        if entity.aliases:
            brief["aliases"] = [self._brief(alias) for alias in entity.aliases]
        return brief

    def brief_alias(self, alias: StoredAlias, entity_id: str) -> dict[str, Any]:
        """As the key_info of a list."""
        about: dict[str, Any] = {"canonical_id": entity_id, "local": False}
        if alias.custom_metadata:
            about["custom_metadata"] = alias.custom_metadata
        return {**self._brief(alias), **about}

    def brief_group(self, group: StoredGroup, members: int) -> dict[str, Any]:
        """As the key_info of a list."""
        brief: dict[str, Any] = {
            "name": group.name,
            "num_member_entities": members,
            "num_parent_groups": len(group.parents),
        }
        if group.alias:
            brief["alias"] = self._brief(group.alias)
        return brief

    def brief_group_alias(self, alias: StoredGroupAlias, group_id: str) -> dict[str, Any]:
        """As the key_info of a list."""
        return {**self._brief(alias), "canonical_id": group_id}

    def _brief(self, alias: StoredAlias | StoredGroupAlias) -> dict[str, Any]:
        about = {"id": alias.id, "name": alias.name, "mount_accessor": alias.mount_accessor}
        return about | self._mount(alias.mount_accessor)


def listed(info: dict[str, dict[str, Any]], *, by_name: bool = False) -> dict[str, Any]:
    """A list answer of what is known by id; a list of names has nothing else, as in Vault."""
    if by_name:
        return {"keys": sorted(str(about["name"]) for about in info.values())}
    return {"keys": sorted(info), "key_info": info}
