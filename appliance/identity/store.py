"""The identity store: who stands behind a token, from memory, and every write of entities and groups.

What a request needs (`peek`) is memory alone. A view is true as long as two cached things are the very ones it was made
of: the entity's entry, which each change of its aliases and memberships rewrites, and the group epoch of its namespace,
which each change of a group rewrites. Both are dropped in every worker with the commit that changes them.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import msgspec

from appliance.access.subject import EntityView
from appliance.identity.aliases import remove_alias
from appliance.identity.groups import remove_group_alias
from appliance.identity.ledger import Ledger
from appliance.identity.logins import LoginFacts, is_settled, login_facts, record_login
from appliance.identity.stored import (
    Paths,
    StoredEntity,
    StoredGroup,
    decode_entity,
    decode_group,
    home_path,
    name_key,
)
from appliance.identity.views import Membership, entity_view, membership
from appliance.namespaces import ROOT
from appliance.transactions import transact_again
from core.clock import Clock
from core.errors import InvalidRequestError
from core.ids import is_uuid
from core.protocols import CoreStorage, CoreTransaction, DecodedCache, Entry, StorageView
from core.requests import LoginAlias

T = TypeVar("T")

_VIEWS = 10_000  # in memory, the oldest goes first
_BATCH = 100  # entities that one transaction of a longer work rewrites
_PAGE = 200  # names listed at once; other requests run between two pages


class _Epoch:
    """Its identity marks a state of all groups of a namespace."""


class _Kept(msgspec.Struct, frozen=True):
    """A view and the cached things that it was made of."""

    view: EntityView
    entity_path: str
    entity: StoredEntity
    epoch_path: str
    epoch: _Epoch


class _Recognised(msgspec.Struct, frozen=True):
    """A login that had nothing to write, and whom it was."""

    metadata: dict[str, str]
    view: EntityView


class IdentityStore:
    """Entities and groups of all namespaces."""

    def __init__(self, storage: CoreStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._entities: DecodedCache[StoredEntity] = storage.decoded_cache(_load_entity, capacity=_VIEWS)
        self._groups: DecodedCache[StoredGroup] = storage.decoded_cache(_load_group, capacity=_VIEWS)
        self._epochs: DecodedCache[_Epoch] = storage.decoded_cache(_load_epoch, capacity=1000)
        self._ids: DecodedCache[str] = storage.decoded_cache(_load_id, capacity=4 * _VIEWS)
        self._views: dict[str, _Kept] = {}
        self._recognised: dict[tuple[str, str, str], _Recognised] = {}  # by namespace, mount accessor and alias name

    def forget(self) -> None:
        """Drop every view; called at seal."""
        self._views.clear()
        self._recognised.clear()

    # --- what access control asks ---------------------------------------------------------------------------------

    def peek(self, entity_id: str) -> EntityView | None:
        """The view from memory, if it is there and still true; no I/O. None sends the caller to `view`."""
        kept = self._views.get(entity_id)
        if kept is None or self._entities.peek(kept.entity_path) is not kept.entity:
            return None
        return kept.view if self._epochs.peek(kept.epoch_path) is kept.epoch else None

    async def view(self, entity_id: str) -> EntityView | None:
        """The entity of that id, or the one that it was merged into; None when there is none."""
        if (known := self.peek(entity_id)) is not None:
            return known
        if not is_uuid(entity_id):
            return None
        for namespace in (ROOT.id, await self._ids.get(home_path(entity_id))):
            if namespace and (found := await self._view_in(namespace, entity_id)) is not None:
                return found
        return None

    async def _view_in(self, namespace: str, asked_id: str) -> EntityView | None:
        paths = Paths(namespace)
        epoch = await self._epochs.get(paths.epoch)  # before the rest: a write since then makes the view stale
        entity_id = asked_id
        entity = await self._entities.get(paths.entity(entity_id))
        if entity is None:
            entity_id = await self._ids.get(paths.by_id("merged", asked_id)) or ""
            entity = await self._entities.get(paths.entity(entity_id)) if entity_id else None
        if entity is None:
            return None
        view = entity_view(entity, await self.membership(namespace, entity), namespace=namespace)
        if epoch is not None:
            self._keep(asked_id, _Kept(view, paths.entity(entity_id), entity, paths.epoch, epoch))
        return view

    def _keep(self, entity_id: str, kept: _Kept) -> None:
        self._views.pop(entity_id, None)
        if len(self._views) >= _VIEWS:
            del self._views[next(iter(self._views))]
        self._views[entity_id] = kept

    # --- logins ---------------------------------------------------------------------------------------------------

    async def resolve_login(
        self, *, namespace: str, mount_accessor: str, mount_path: str, alias: LoginAlias, group_aliases: tuple[str, ...]
    ) -> EntityView:
        """The entity of who logged in, made if need be; metadata and external groups are then as the method says.

        Nothing is written when nothing changes. Two logins at once of one new name make one entity. `mount_path` is
        part of the error when the method's answer cannot be stored.
        """
        login = (namespace, mount_accessor, alias.name)
        known = self._recognised.get(login)
        # while the very same view is current, nothing of the entity was changed, so its aliases and groups neither
        is_known = known is not None and not group_aliases and known.metadata == (alias.metadata or {})
        if known is not None and is_known and self.peek(known.view.id) is known.view:
            return known.view
        try:
            facts = login_facts(mount_accessor, alias, group_aliases)
        except InvalidRequestError as exc:
            raise InvalidRequestError(f"the login method at {mount_path} gave what cannot be kept: {exc}") from exc
        settled = await self._settled(namespace, facts)
        entity = settled
        if entity is None:
            entity = await self.change(namespace, lambda ledger: record_login(ledger, facts))
        view = self.peek(entity.id) or await self._view_in(namespace, entity.id)
        if view is None:
            raise InvalidRequestError("the entity was deleted while it logged in; log in again")
        kept = self._views.get(view.id)
        if not group_aliases and kept is not None and kept.view is view and kept.entity is settled:
            self._recognise(login, _Recognised(facts.metadata, view))
        return view

    def _recognise(self, login: tuple[str, str, str], recognised: _Recognised) -> None:
        if len(self._recognised) >= _VIEWS:
            self._recognised.clear()
        self._recognised[login] = recognised

    async def _settled(self, namespace: str, facts: LoginFacts) -> StoredEntity | None:
        """The entity for which this login has nothing to write; None when there is something."""
        paths = Paths(namespace)
        entity_id = await self._ids.get(paths.alias_index("alias-name", facts.mount_accessor, facts.name))
        entity = await self._entities.get(paths.entity(entity_id)) if entity_id else None
        if entity is None:
            return None
        vouched = []
        for name in facts.groups:
            group_id = await self._ids.get(paths.alias_index("group-alias-name", facts.mount_accessor, name))
            group = await self._groups.get(paths.group(group_id)) if group_id else None
            if group is not None:
                vouched.append(group)
        return entity if is_settled(entity, facts, vouched) else None

    # --- finding --------------------------------------------------------------------------------------------------

    async def find(self, namespace: str, name: str) -> EntityView | None:
        """By entity id, by entity name, or by the name of an alias at whatever mount."""
        found = await self.entity(namespace, name) if is_uuid(name) else None
        found = found or await self.entity_named(namespace, name) or await self._by_any_alias(namespace, name)
        return await self.view(found.id) if found else None

    async def _by_any_alias(self, namespace: str, name: str) -> StoredEntity | None:
        root = Paths(namespace).root + "alias-name/"
        for accessor in await self._storage.list(root):
            entity_id = await self._ids.get(f"{root}{accessor}{name_key(name)}")
            if entity_id:
                return await self.entity(namespace, entity_id)
        return None

    async def entity(self, namespace: str, entity_id: str) -> StoredEntity | None:
        """The entity of exactly that id."""
        return await self._entities.get(Paths(namespace).entity(entity_id)) if is_uuid(entity_id) else None

    async def entity_named(self, namespace: str, name: str) -> StoredEntity | None:
        """The entity of that name."""
        return await self.entity(namespace, await self._ids.get(Paths(namespace).index("entity-name", name)) or "")

    async def entity_at(self, namespace: str, accessor: str, name: str) -> StoredEntity | None:
        """The entity whose alias at that mount has that name."""
        path = Paths(namespace).alias_index("alias-name", accessor, name)
        return await self.entity(namespace, await self._ids.get(path) or "")

    async def entity_of_alias(self, namespace: str, alias_id: str) -> StoredEntity | None:
        """The entity that has the alias of that id."""
        path = Paths(namespace).by_id("alias", alias_id)
        return await self.entity(namespace, await self._ids.get(path) or "") if is_uuid(alias_id) else None

    async def group(self, namespace: str, group_id: str) -> StoredGroup | None:
        """The group of that id."""
        return await self._groups.get(Paths(namespace).group(group_id)) if is_uuid(group_id) else None

    async def group_named(self, namespace: str, name: str) -> StoredGroup | None:
        """The group of that name."""
        return await self.group(namespace, await self._ids.get(Paths(namespace).index("group-name", name)) or "")

    async def group_at(self, namespace: str, accessor: str, name: str) -> StoredGroup | None:
        """The external group whose alias at that mount has that name."""
        path = Paths(namespace).alias_index("group-alias-name", accessor, name)
        return await self.group(namespace, await self._ids.get(path) or "")

    async def group_of_alias(self, namespace: str, alias_id: str) -> StoredGroup | None:
        """The group that has the alias of that id."""
        path = Paths(namespace).by_id("group-alias", alias_id)
        return await self.group(namespace, await self._ids.get(path) or "") if is_uuid(alias_id) else None

    async def membership(self, namespace: str, entity: StoredEntity) -> Membership:
        """The groups that the entity is in."""
        paths = Paths(namespace)
        return await membership(entity, lambda group_id: self._groups.get(paths.group(group_id)))

    async def members(self, namespace: str, group_id: str) -> list[str]:
        """Ids of the entities that are in the group directly."""
        return await self._storage.list(Paths(namespace).member(group_id))

    async def count(self, namespace: str) -> int:
        """How many entities the namespace has."""
        return len(await self._storage.list(Paths(namespace).entity("")))

    async def entities(self, namespace: str) -> AsyncIterator[StoredEntity]:
        """All, by id."""
        async for entity_id in self._pages(Paths(namespace).entity("")):
            if (entity := await self.entity(namespace, entity_id)) is not None:
                yield entity

    async def groups(self, namespace: str) -> AsyncIterator[StoredGroup]:
        """All, by id."""
        async for group_id in self._pages(Paths(namespace).group("")):
            if (group := await self.group(namespace, group_id)) is not None:
                yield group

    async def _pages(self, prefix: str) -> AsyncIterator[str]:
        after = ""
        while page := await self._storage.list(prefix, after=after, limit=_PAGE):
            for name in page:
                yield name
            after = page[-1]
            await asyncio.sleep(0)

    # --- changing -------------------------------------------------------------------------------------------------

    async def change(self, namespace: str, body: Callable[[Ledger], Awaitable[T]]) -> T:
        """Run `body` in one transaction, again when somebody else took a name meanwhile."""

        async def run(txn: CoreTransaction) -> T:
            return await body(Ledger(txn, namespace, self._clock.now()))

        return await transact_again(self._storage, run)

    async def forget_mount(self, namespace: str, accessor: str) -> None:
        """A login mount is gone: delete its aliases, and with them the memberships that it vouched for.

        Some at a time; what was interrupted goes on when called again.
        """
        paths = Paths(namespace)
        await self._empty(namespace, paths.alias_index_root("group-alias-name", accessor), _forget_group_alias)
        await self._empty(
            namespace,
            paths.alias_index_root("alias-name", accessor),
            lambda ledger, entity_id: _forget_alias(ledger, entity_id, accessor),
        )

    async def _empty(self, namespace: str, prefix: str, forget: Callable[[Ledger, str], Awaitable[None]]) -> None:
        """Have `forget` deal with every id that an index holds, until the index is empty."""

        async def body(ledger: Ledger) -> bool:
            keys = await ledger.txn.list(prefix, limit=_BATCH)
            for key in keys:
                entry = await ledger.txn.get(prefix + key)
                if entry is not None:
                    await forget(ledger, entry.value.decode())
                    await ledger.txn.delete(prefix + key)
            return len(keys) == _BATCH

        while await self.change(namespace, body):
            pass

    async def forget_namespace(self, namespace: str) -> None:
        """Before a namespace's data is deleted: the notes of where its entities live."""
        async for entity in self.entities(namespace):
            for entity_id in (entity.id, *entity.merged):
                await self._storage.delete(home_path(entity_id))


async def _forget_alias(ledger: Ledger, entity_id: str, accessor: str) -> None:
    entity = await ledger.entity(entity_id)
    alias = entity.alias_at(accessor) if entity else None
    if entity is not None and alias is not None:
        await remove_alias(ledger, entity, alias)


async def _forget_group_alias(ledger: Ledger, group_id: str) -> None:
    group = await ledger.group(group_id)
    if group is not None:
        await remove_group_alias(ledger, group)


async def _load_entity(_storage: StorageView, _path: str, entry: Entry) -> StoredEntity:
    return decode_entity(entry.value)


async def _load_group(_storage: StorageView, _path: str, entry: Entry) -> StoredGroup:
    return decode_group(entry.value)


async def _load_epoch(_storage: StorageView, _path: str, _entry: Entry) -> _Epoch:
    return _Epoch()


async def _load_id(_storage: StorageView, _path: str, entry: Entry) -> str:
    return entry.value.decode()
