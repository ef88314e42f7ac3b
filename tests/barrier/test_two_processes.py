"""Workers are processes: what one writes, the others see before their next request."""

from barrier.changes import CAPACITY
from barrier.seal import Barrier
from core.protocols import Entry, StorageView
from tests.barrier.nodes import Node
from tests.barrier.processes import Child


async def test_cas_races_have_exactly_one_winner(node: Node, barrier: Barrier) -> None:
    paths = [f"prize/{number}" for number in range(40)]
    with Child("race", node) as one, Child("race", node) as other:
        children = (one, other)
        assert [child.hear() for child in children] == ["ready", "ready"]
        for child in children:
            child.say(" ".join(paths))
        said = [line for child in children for line in iter(child.hear, "done")]
    assert sorted(line for line in said if line.startswith("won")) == sorted(f"won {path}" for path in paths)
    assert sorted(line for line in said if line.startswith("lost")) == sorted(
        f"lost {path} CasMismatchError" for path in paths
    )


async def test_a_write_is_seen_by_the_other_process_before_its_next_request(node: Node, barrier: Barrier) -> None:
    with Child("read", node) as reader:
        assert reader.hear() == "ready"
        assert reader.ask("a") == "absent"
        for number in range(50):
            await barrier.storage.put("a", str(number).encode())
            assert reader.ask("a") == f"{number} cached"
        await barrier.storage.delete("a")
        assert reader.ask("a") == "absent"


async def test_a_lapped_process_drops_everything(node: Node, barrier: Barrier) -> None:
    ring = barrier._ring
    with Child("read", node) as reader:
        reader.hear()
        await barrier.storage.put("a", b"old")
        assert reader.ask("a") == "old cached"
        await barrier.storage.put("a", b"new")
        for _ in range(3):
            ring.publish([f"other/{number}" for number in range(CAPACITY // 3)])
        assert reader.ask("a") == "new cached"


async def test_a_writer_killed_between_commit_and_publish(node: Node, barrier: Barrier) -> None:
    """The supervisor that reaps it makes every process forget all it knows."""

    async def load(_view: StorageView, _path: str, entry: Entry) -> bytes:
        return entry.value

    cache = barrier.storage.decoded_cache(load)
    await barrier.storage.put("a", b"old")
    assert await cache.get("a") == b"old"
    with Child("die", node) as writer:
        assert writer.hear() == "ready"
        writer.say("a")
        writer.wait_killed()
    barrier.storage.sync()
    assert cache.peek("a") == b"old"
    barrier._ring.publish_all()
    barrier.storage.sync()
    assert cache.peek("a") is None
    assert await cache.get("a") == b"committed"
