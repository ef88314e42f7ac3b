"""Caches of decoded entries: bounded by count and by weight, and remembering that there is nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from core.protocols import CoreStorage, Entry, StorageView
from tests.barrier.nodes import Node, initialize


@pytest.fixture
async def workers(sqlite_url: str, tmp_path: Path) -> AsyncIterator[tuple[CoreStorage, CoreStorage]]:
    """Two of one node."""
    node = Node(sqlite_url, tmp_path)
    first = await node.worker()
    await initialize(first)
    second = await node.worker()
    await second.unseal_from_hsm()
    yield first.storage, second.storage
    await node.close()


@pytest.fixture
def storage(workers: tuple[CoreStorage, CoreStorage]) -> CoreStorage:
    return workers[0]


async def _load(_view: StorageView, _path: str, entry: Entry) -> bytes:
    return entry.value


async def test_what_is_cached_weighs_no_more_than_its_budget(storage: CoreStorage) -> None:
    cache = storage.decoded_cache(_load, weigh=len, budget=100)
    for name in "abc":
        await storage.put(name, name.encode() * 40)
        await cache.get(name)
    assert [cache.peek(name) is not None for name in "abc"] == [False, True, True]
    await storage.put("b", b"b")  # lighter, and read anew
    await cache.get("b")
    await cache.get("a")
    assert [cache.peek(name) is not None for name in "abc"] == [True, True, True]


async def test_an_entry_over_the_budget_is_read_but_not_kept(storage: CoreStorage) -> None:
    cache = storage.decoded_cache(_load, weigh=len, budget=10)
    await storage.put("a", b"a" * 11)
    assert await cache.get("a") == b"a" * 11
    assert cache.peek("a") is None


async def test_an_absent_entry_is_remembered_until_another_worker_writes_it(
    workers: tuple[CoreStorage, CoreStorage],
) -> None:
    one, other = workers
    cache = one.decoded_cache(_load, absent=b"nothing")
    assert await cache.get("a") == b"nothing"
    assert cache.peek("a") == b"nothing"
    await other.put("a", b"something")
    one.sync()
    assert cache.peek("a") is None
    assert await cache.get("a") == b"something"
    await other.delete("a")
    one.sync()
    assert await cache.get("a") == b"nothing"
