"""The access lists in memory: one for each set of policies in use, made anew when it may have become untrue.

It is true while no policy was written (the epoch entry is the same), no rule in it expired, and its namespaces have the
paths they had. A list with templates is one entity's alone, all others are shared by everybody with those policies.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from appliance.access.acl import ROOT_ACL, Acl, is_templated
from appliance.access.rules import Policy
from appliance.access.subject import ROOT_NAMESPACE, EntityView, Subject
from core.clock import Clock
from core.protocols import DecodedCache

_EPOCH = "core/policy-epoch"
_CAPACITY = 512  # of each kind; the oldest goes first
_NOTHING = Acl(())

K = TypeVar("K")
V = TypeVar("V")
FindPolicy = Callable[[str, str], Awaitable[Policy | None]]
Key = tuple[str | tuple[str, ...], ...]
Paths = tuple[str | None, str | None]


class Epoch:
    """Its identity marks a state of all policies."""


class _Held(msgspec.Struct, frozen=True):
    """A list and what it depends on. Without a list: one is held for each entity."""

    epoch: Epoch
    paths: Paths
    acl: Acl | None
    entity: EntityView | None = None


class AccessLists:
    """Those of one worker."""

    def __init__(
        self,
        epochs: DecodedCache[Epoch],
        clock: Clock,
        *,
        namespace_path: Callable[[str], str | None],
        find: FindPolicy,
    ) -> None:
        self._epochs = epochs
        self._clock = clock
        self._namespace_path = namespace_path
        self._find = find
        self._shared: dict[Key, _Held] = {}
        self._of_entities: dict[tuple[Key, str], _Held] = {}

    def peek(self, subject: Subject) -> Acl | None:
        """From memory, if it is still true. A disabled entity may do nothing."""
        entity = subject.entity
        if entity is not None and entity.disabled:
            return _NOTHING
        if "root" in subject.policies and subject.namespace == ROOT_NAMESPACE:
            return ROOT_ACL
        key = _key(subject)
        held = self._shared.get(key)
        if held is not None and held.acl is None and entity is not None:
            held = self._of_entities.get((key, entity.id))
            if held is not None and held.entity is not entity and held.entity != entity:
                return None
        if held is None or held.acl is None or held.epoch is not self._epochs.peek(_EPOCH):
            return None
        if held.acl.until <= self._clock.now() or held.paths != self._paths(subject):
            return None
        return held.acl

    async def make(self, subject: Subject) -> Acl:
        """The list of what is stored now; held for the next request."""
        epoch = await self._epochs.get(_EPOCH)  # before the policies: a write since then makes this one stale
        paths = self._paths(subject)
        sources = await self.sources(subject)
        acl = Acl(sources, entity=subject.entity, now=self._clock.now())
        if epoch is not None:
            key = _key(subject)
            if subject.entity is not None and any(is_templated(policy) for _, policy in sources):
                _keep(self._shared, key, _Held(epoch, paths, None))
                _keep(self._of_entities, (key, subject.entity.id), _Held(epoch, paths, acl, subject.entity))
            else:
                _keep(self._shared, key, _Held(epoch, paths, acl))
        return acl

    async def sources(self, subject: Subject) -> list[tuple[str, Policy]]:
        """The policies of the token and of the entity, each with the path of its namespace; each once."""
        paths = self._paths(subject)
        wanted = [(paths[0], subject.namespace, name) for name in subject.policies]
        if subject.entity is not None:
            wanted += [(paths[1], subject.entity.namespace, name) for name in subject.entity.policies]
        sources: list[tuple[str, Policy]] = []
        for path, namespace, name in dict.fromkeys(wanted):
            policy = None if path is None else await self._find(namespace, name)
            if path is not None and policy is not None:
                sources.append((path, policy))
        return sources

    def _paths(self, subject: Subject) -> Paths:
        entity = subject.entity
        return self._path_of(subject.namespace), self._path_of(entity.namespace) if entity is not None else ""

    def _path_of(self, namespace: str) -> str | None:
        return "" if namespace == ROOT_NAMESPACE else self._namespace_path(namespace)

    def forget(self) -> None:
        """Drop them all."""
        self._shared.clear()
        self._of_entities.clear()


def _key(subject: Subject) -> Key:
    entity = subject.entity
    if entity is None:
        return subject.namespace, subject.policies
    return subject.namespace, subject.policies, entity.namespace, entity.policies


def _keep(held: dict[K, V], key: K, value: V) -> None:
    held.pop(key, None)
    if len(held) >= _CAPACITY:
        del held[next(iter(held))]
    held[key] = value
