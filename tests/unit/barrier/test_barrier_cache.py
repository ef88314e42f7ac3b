"""A cache never keeps what may be older than a change that was acknowledged."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from barrier.cache import LoadingCache
from barrier.changes import ChangeRing, path_hash


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[ChangeRing]:
    ring = ChangeRing.create(tmp_path / "ring")
    yield ring
    ring.close()


class Source:
    """What is loaded, how often, and what happens in the middle of it."""

    def __init__(self, ring: ChangeRing, capacity: int = 3) -> None:
        self.loads = 0
        self.meanwhile = lambda: None
        self.cache = LoadingCache(ring, self.load, ring_name=lambda path: f"mount/{path}", capacity=capacity)

    async def load(self, path: str) -> str | None:
        self.loads += 1
        self.meanwhile()
        return None if path == "absent" else path.upper()


async def test_a_value_is_loaded_once(ring: ChangeRing) -> None:
    source = Source(ring)
    assert source.cache.peek("a") is None
    assert [await source.cache.get("a") for _ in range(3)] == ["A"] * 3
    assert (source.cache.peek("a"), source.loads) == ("A", 1)


async def test_what_is_absent_is_not_kept(ring: ChangeRing) -> None:
    source = Source(ring)
    for _ in range(2):
        assert await source.cache.get("absent") is None
    assert source.loads == 2


async def test_an_evicted_value_is_loaded_again(ring: ChangeRing) -> None:
    source = Source(ring)
    await source.cache.get("a")
    await source.cache.get("b")
    source.cache.evict({path_hash("mount/a"), path_hash("other/b"), 0})
    assert (source.cache.peek("a"), source.cache.peek("b")) == (None, "B")


@pytest.mark.parametrize("change", ["named", "lapped", "cleared"])
async def test_a_fill_that_a_change_overtook_is_not_kept(ring: ChangeRing, change: str) -> None:
    source = Source(ring)
    source.meanwhile = {
        "named": lambda: ring.publish(["mount/a"]),
        "lapped": ring.publish_all,
        "cleared": source.cache.clear,
    }[change]
    assert await source.cache.get("a") == "A"
    assert source.cache.peek("a") is None


async def test_a_fill_beside_another_change_is_kept(ring: ChangeRing) -> None:
    source = Source(ring)
    source.meanwhile = lambda: ring.publish(["mount/b"])
    await source.cache.get("a")
    assert source.cache.peek("a") == "A"


async def test_the_longest_unused_goes_first(ring: ChangeRing) -> None:
    source = Source(ring)
    for path in "abc":
        await source.cache.get(path)
    source.cache.peek("a")
    await source.cache.get("d")
    assert [path for path in "abcd" if source.cache.peek(path)] == ["a", "c", "d"]
    source.cache.evict({path_hash("mount/b")})  # gone already


async def test_a_cleared_cache_is_empty(ring: ChangeRing) -> None:
    source = Source(ring)
    await source.cache.get("a")
    source.cache.clear()
    assert source.cache.peek("a") is None
