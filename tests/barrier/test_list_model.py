"""Listing and deleting against a model in memory, on both engines."""

import asyncio
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from barrier.seal import Barrier
from core.protocols import CoreTransaction, Record
from tests.barrier.nodes import Node, initialize

PATHS = st.sets(st.text("ab/.0é", min_size=1, max_size=6), max_size=12)
AFTER = st.text("ab/.0é", max_size=4)


def model(paths: set[str], prefix: str, after: str, limit: int) -> list[str]:
    """What a listing is: first segments below the prefix, folded, in the order of bytes."""
    names = {path[len(prefix) :] for path in paths if path.startswith(prefix)} - {""}
    folded = sorted({name.partition("/")[0] + name.partition("/")[1] for name in names}, key=str.encode)
    found = [name for name in folded if name.encode() > after.encode()]
    return found[:limit] if limit else found


async def test_list_agrees_with_a_model(barrier: Barrier) -> None:
    loop = asyncio.get_running_loop()

    def run(paths: set[str], prefix: str, after: str, limit: int) -> None:
        asyncio.run_coroutine_threadsafe(agree(barrier, paths, prefix, after, limit), loop).result()

    strategy = given(PATHS, st.sampled_from(["", "a/", "b/", "a/b/", "é/"]), AFTER, st.integers(0, 3))
    profile = settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    await asyncio.to_thread(profile(strategy(run)))


async def test_records_agree_with_the_model(barrier: Barrier) -> None:
    """Their paths are listed as those of entries; records of another kind stand beside them."""
    loop = asyncio.get_running_loop()

    def run(paths: set[str], prefix: str, after: str, limit: int) -> None:
        asyncio.run_coroutine_threadsafe(records_agree(barrier, paths, prefix, after, limit), loop).result()

    strategy = given(PATHS, st.sampled_from(["", "a/", "b/", "a/b/", "é/", "a"]), AFTER, st.integers(0, 3))
    profile = settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    await asyncio.to_thread(profile(strategy(run)))


async def test_all_paths_below_a_prefix_by_pages(barrier: Barrier) -> None:
    stored = ["a", "a/", "a/b", "a/b/c", "a/é", "a0", "a/\U0001f511", "ab/x"]

    async def fill(transaction: CoreTransaction) -> None:
        for path in stored:
            await transaction.put(f"m/{path}", b"")
        await transaction.put("m", b"")
        await transaction.put("n/a/b", b"")

    await barrier.storage.transact(fill)
    view = barrier.storage.view("m/")
    whole = sorted(stored, key=str.encode)
    assert await view.paths("") == whole
    assert await view.paths("a/") == ["b", "b/c", "é", "\U0001f511"]
    assert await view.paths("a/", after="b", limit=2) == ["b/c", "é"]
    assert await view.paths("a/", after="b/") == ["b/c", "é", "\U0001f511"]
    assert await view.paths("none/") == []
    pages: list[str] = []
    while page := await view.paths("", after=pages[-1] if pages else "", limit=3):
        pages += page
    assert pages == whole


async def test_a_listing_does_not_read_below_its_folders(sqlite_url: str, tmp_path: Path) -> None:
    """Counted in instructions of SQLite's virtual machine, which are the same on every machine."""
    node = Node(sqlite_url, tmp_path)
    barrier = await node.worker()
    await initialize(barrier)

    async def fill(transaction: CoreTransaction) -> None:
        for path in ["m/a", *(f"m/big/{number}" for number in range(2000)), "m/c"]:
            await transaction.put(path, b"")

    await barrier.storage.transact(fill)
    hundreds = 0

    def count() -> None:
        nonlocal hundreds
        hundreds += 1

    engine = barrier._database._reader
    assert engine is not None
    with engine.connect() as connection:
        connection.connection.driver_connection.set_progress_handler(count, 100)
    assert await barrier.storage.list("m/") == ["a", "big/", "c"]
    assert 0 < hundreds < 10
    await node.close()


async def agree(barrier: Barrier, paths: set[str], prefix: str, after: str, limit: int) -> None:
    async def body(transaction: CoreTransaction) -> None:
        await transaction.delete_prefix("")
        for path in paths:
            await transaction.put(path, b"")
        assert await transaction.list(prefix, after=after, limit=limit) == model(paths, prefix, after, limit)
        inside = {path for path in paths if path.startswith(prefix)}
        assert await transaction.delete_prefix(prefix) == len(inside)
        assert await transaction.list("") == model(paths - inside, "", "", 0)

    await barrier.storage.transact(body)


async def records_agree(barrier: Barrier, paths: set[str], prefix: str, after: str, limit: int) -> None:
    async def body(transaction: CoreTransaction) -> None:
        for kind in ("lease", "token"):
            present = await transaction.list_records(kind)
            await transaction.delete_records(kind, [record.record_id for record in present])
        await transaction.put_record("token", Record(record_id="x", body=b"", path="a/other"))
        await transaction.put_record("lease", Record(record_id="-", body=b""))
        for path in paths:
            await transaction.put_record("lease", Record(record_id=f"id {path}", body=b"", path=path))
        assert await transaction.record_names("lease", prefix, after=after, limit=limit) == model(
            paths, prefix, after, limit
        )
        inside = sorted((path for path in paths if path.startswith(prefix)), key=str.encode)
        assert await transaction.count_records("lease", prefix) == len(inside) + (prefix == "")
        page = [path for path in inside if path.encode() > after.encode()]
        found = await transaction.records_below("lease", prefix, after=after, limit=limit)
        assert [record.path for record in found] == (page[:limit] if limit else page)

    await barrier.storage.transact(body)
