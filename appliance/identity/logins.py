"""What a login writes: the entity and alias of who logged in, and the external groups that the method vouches for."""

from collections.abc import Iterable

import msgspec

from appliance.identity.entities import new_entity, set_groups
from appliance.identity.ledger import Ledger
from appliance.identity.stored import StoredAlias, StoredEntity, StoredGroup
from appliance.identity.values import MAX_ACCESSOR, check_login_metadata, check_name
from core.errors import InvalidRequestError
from core.ids import new_uuid
from core.requests import LoginAlias

MAX_GROUP_ALIASES = 1000  # of one login


class LoginFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Who logged in, where, and what the method says of them."""

    mount_accessor: str
    name: str
    metadata: dict[str, str]
    groups: tuple[str, ...]  # names, each in lower case, once


def login_facts(accessor: str, alias: LoginAlias, group_aliases: Iterable[str]) -> LoginFacts:
    """The login as it may be stored. Raises InvalidRequestError."""
    if not 0 < len(accessor) <= MAX_ACCESSOR or "/" in accessor:
        raise InvalidRequestError("the accessor of the login mount is missing or malformed")
    groups = tuple(dict.fromkeys(name.lower() for name in group_aliases))
    if len(groups) > MAX_GROUP_ALIASES:
        raise InvalidRequestError(f"a login may name at most {MAX_GROUP_ALIASES} groups")
    return LoginFacts(
        mount_accessor=accessor,
        name=check_name(alias.name, field="the name of the alias"),
        metadata=check_login_metadata(alias.metadata or {}),
        groups=groups,
    )


def groups_after(entity: StoredEntity, accessor: str, vouched: Iterable[StoredGroup]) -> dict[str, str]:
    """The entity's groups when exactly `vouched` are those that this mount vouches for."""
    others = {held: source for held, source in entity.groups.items() if not source.startswith(f"{accessor}/")}
    return others | {group.id: group.source for group in vouched}


def is_settled(entity: StoredEntity, facts: LoginFacts, vouched: Iterable[StoredGroup]) -> bool:
    """Whether this login has nothing to write."""
    alias = entity.alias_at(facts.mount_accessor)
    if alias is None or alias.name.lower() != facts.name.lower() or alias.metadata != facts.metadata:
        return False
    return groups_after(entity, facts.mount_accessor, vouched) == entity.groups


async def record_login(ledger: Ledger, facts: LoginFacts) -> StoredEntity:
    """Find or make entity and alias, and bring metadata and external groups up to date."""
    former = await ledger.entity_at(facts.mount_accessor, facts.name)
    entity = former or await new_entity(ledger)
    aliases = _aliases_after(entity, facts, ledger.now)
    stored = entity
    if aliases != entity.aliases:
        stored = await ledger.put_entity(msgspec.structs.replace(entity, aliases=aliases), former=former)
    vouched = [await ledger.group_at(facts.mount_accessor, name) for name in facts.groups]
    groups = groups_after(stored, facts.mount_accessor, [group for group in vouched if group is not None])
    return await set_groups(ledger, stored, groups)


def _aliases_after(entity: StoredEntity, facts: LoginFacts, now: float) -> tuple[StoredAlias, ...]:
    held = entity.alias_at(facts.mount_accessor)
    if held is None:
        fresh = StoredAlias(
            id=new_uuid(),
            name=facts.name,
            mount_accessor=facts.mount_accessor,
            created=now,
            updated=now,
            metadata=facts.metadata,
        )
        return (*entity.aliases, fresh)
    if held.metadata == facts.metadata:
        return entity.aliases
    changed = msgspec.structs.replace(held, metadata=facts.metadata, updated=now)
    return tuple(changed if alias is held else alias for alias in entity.aliases)
