"""Decoded entries and records in memory, dropped as soon as the change ring names them."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from barrier.changes import ChangeRing, path_hash

T = TypeVar("T")


class Evictable(Protocol):
    """What the storage does to every cache."""

    def evict(self, hashes: set[int]) -> None:
        """Drop these, if here."""
        ...

    def clear(self) -> None:
        """Drop everything, and what is being loaded now."""
        ...


class LoadingCache(Generic[T]):
    """A bounded cache by path, the longest unused going first. What `weigh` says of a value must never change.

    `ring_name` makes of a path what the change ring calls it. A fill remembers the ring's sequence from before its read
    and is not kept if the ring has named its path since: the read may be older than the change.
    """

    def __init__(
        self,
        ring: ChangeRing,
        load: Callable[[str], Awaitable[T | None]],
        *,
        ring_name: Callable[[str], str],
        capacity: int,
        weigh: Callable[[T], int] | None = None,
        budget: int = 0,
    ) -> None:
        self._ring = ring
        self._load = load
        self._ring_name = ring_name
        self._capacity = capacity
        self._values: OrderedDict[str, tuple[T, int]] = OrderedDict()
        self._paths: dict[int, str] = {}
        self._weigh = weigh
        self._budget = budget
        self._weight = 0  # of all values together
        self._epoch = 0

    def peek(self, path: str) -> T | None:
        """What is in memory now."""
        found = self._values.get(path)
        if found is None:
            return None
        self._values.move_to_end(path)
        return found[0]

    async def get(self, path: str) -> T | None:
        """From memory, or loaded."""
        found = self._values.get(path)
        if found is not None:
            self._values.move_to_end(path)
            return found[0]
        epoch, before = self._epoch, self._ring.sequence
        value = await self._load(path)
        if value is not None and epoch == self._epoch:
            self._keep(path, value, before)
        return value

    def _keep(self, path: str, value: T, before: int) -> None:
        name = path_hash(self._ring_name(path))
        if self._ring.sequence != before:
            changed = self._ring.since(before)
            if changed is None or name in changed:
                return
        self._drop(name)  # two paths may have one hash: the ring could name only one of them
        self._values[path] = (value, name)
        self._paths[name] = path
        if self._weigh is not None:
            self._weight += self._weigh(value)
        while len(self._values) > self._capacity or self._weight > self._budget:
            self._drop(next(iter(self._values.values()))[1])

    def _drop(self, name: int) -> None:
        path = self._paths.pop(name, None)
        if path is None:
            return
        value, _name = self._values.pop(path)
        if self._weigh is not None:
            self._weight -= self._weigh(value)

    def evict(self, hashes: set[int]) -> None:
        """Drop what the ring named."""
        for name in self._paths.keys() & hashes:  # walks the smaller one: most caches hold little
            self._drop(name)

    def clear(self) -> None:
        """Drop everything, and what is being loaded now."""
        self._epoch += 1
        self._values.clear()
        self._paths.clear()
        self._weight = 0
