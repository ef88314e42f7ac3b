"""Records by their path, on both engines and on the dictionary that stands in for them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barrier.paths import prefix_end
from core.errors import CasMismatchError, InvalidRequestError, SealedError
from core.protocols import CoreStorage, CoreTransaction, Record
from tests.barrier.conftest import empty
from tests.barrier.nodes import Node, initialize
from tests.barrier.processes import Child
from tests.support.memory_storage import memory_storage

T = TypeVar("T")
AWKWARD = [
    "a%/x",
    "a_/x",
    "ab/x",
    "A_/x",
    "a\\/x",
    "a*/x",
    "a?/x",
    "a[b]/x",
    "a/",
    "a/x",
    "a0",
    "a.",
    "é/x",
    "\U0010ffff/x",
]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> str | None:
    """An empty database of each engine; None is the dictionary."""
    if request.param == "memory":
        return None
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_url")
    server = request.getfixturevalue("postgres")
    shared = server.url(request.getfixturevalue("shared_database"))
    asyncio.run(empty(shared))
    return shared


@pytest.fixture
async def storage(store: str | None, tmp_path: Path) -> AsyncIterator[CoreStorage]:
    """Each storage, empty."""
    if store is None:
        yield memory_storage()
        return
    node = Node(store, tmp_path)
    worker = await node.worker()
    await initialize(worker)
    yield worker.storage
    await node.close()


async def put(storage: CoreStorage, *records: Record, kind: str = "lease") -> None:
    async def body(transaction: CoreTransaction) -> None:
        for record in records:
            await transaction.put_record(kind, record)

    await storage.transact(body)


async def put_paths(storage: CoreStorage, *paths: str, kind: str = "lease") -> None:
    await put(storage, *(Record(record_id=f"id-{path}", body=path.encode(), path=path) for path in paths), kind=kind)


async def paths_below(storage: CoreStorage, prefix: str, **page: object) -> list[str]:
    return [record.path for record in await storage.records_below("lease", prefix, **page)]  # type: ignore[arg-type] # of a table of pages


async def in_transaction(storage: CoreStorage, work: Callable[[CoreTransaction], Awaitable[T]]) -> T:
    return await storage.transact(work)


async def test_a_record_comes_back_with_its_path(storage: CoreStorage) -> None:
    await put(storage, Record(record_id="r", body=b"body", path="root/db/1"))
    expected = Record(record_id="r", body=b"body", path="root/db/1", revision=1)
    assert await storage.get_record("lease", "r") == expected
    assert await storage.records_below("lease", "root/db/") == [expected]


async def test_records_without_a_path_are_below_nothing(storage: CoreStorage) -> None:
    await put(storage, Record(record_id="r", body=b""), Record(record_id="s", body=b""))
    assert await storage.records_below("lease", "") == []
    assert await storage.record_names("lease", "") == []
    assert await storage.count_records("lease") == 2


async def test_records_of_another_kind_are_not_seen(storage: CoreStorage) -> None:
    await put_paths(storage, "root/a", kind="token")
    assert await storage.records_below("lease", "root/") == []
    assert await storage.record_names("lease", "root/") == []
    assert await storage.count_records("lease", "root/") == 0
    assert await storage.count_records("lease") == 0
    assert await in_transaction(storage, lambda t: t.delete_records("lease", ["id-root/a"])) == 0


@pytest.mark.parametrize("prefix", [*AWKWARD, "a", "a%", "a_", "%", "_", "", "\U0010ffff", "é", "nothing"])
async def test_a_prefix_is_taken_letter_by_letter(storage: CoreStorage, prefix: str) -> None:
    await put_paths(storage, *AWKWARD)
    expected = sorted((path for path in AWKWARD if path.startswith(prefix)), key=str.encode)
    assert await paths_below(storage, prefix) == expected
    assert await storage.count_records("lease", prefix) == len(expected)


@pytest.mark.parametrize(
    ("after", "limit", "expected"),
    [
        ("", 2, ["m/a", "m/b/1"]),
        ("m/b/1", 1, ["m/b/2"]),
        ("m/b/", 0, ["m/b/1", "m/b/2", "m/c"]),
        ("m/c", 5, []),
        ("z", 5, []),
        ("a", 1, ["m/a"]),
    ],
)
async def test_records_below_come_in_pages(storage: CoreStorage, after: str, limit: int, expected: list[str]) -> None:
    await put_paths(storage, "l", "m/c", "m/b/2", "m/b/1", "m/a", "m0")
    assert await paths_below(storage, "m/", after=after, limit=limit) == expected


@pytest.mark.parametrize(
    ("prefix", "after", "limit", "names"),
    [
        ("", "", 0, ["root/", "te4m5a/"]),
        ("root/", "", 0, ["auth/", "db", "db/"]),
        ("root/db/creds/", "", 0, ["a", "b"]),
        ("root/", "auth/", 1, ["db"]),
        ("root/", "db", 0, ["db/"]),
        ("root/", "db/", 0, []),
        ("roo", "", 0, ["t/"]),
        ("other/", "", 0, []),
    ],
)
async def test_names_of_records_fold_as_those_of_entries_do(
    storage: CoreStorage, prefix: str, after: str, limit: int, names: list[str]
) -> None:
    paths = ["root/db", "root/db/creds/a", "root/db/creds/b", "root/auth/x/1", "te4m5a/db/creds/a"]
    await put_paths(storage, *paths)
    assert await storage.record_names("lease", prefix, after=after, limit=limit) == names


async def test_children_come_in_pages(storage: CoreStorage) -> None:
    await put(storage, *(Record(record_id=i, body=b"", parent="p") for i in "dbca"), Record(record_id="e", body=b""))

    async def children(**page: object) -> str:
        return "".join([r.record_id for r in await storage.child_records("lease", "p", **page)])  # type: ignore[arg-type] # of a table of pages

    assert await children() == "abcd"
    assert await children(limit=2) == "ab"
    assert await children(after="b", limit=1) == "c"
    assert await children(after="d") == ""


async def test_a_record_moves_with_its_path(storage: CoreStorage) -> None:
    await put(storage, Record(record_id="r", body=b"", path="root/old/r"))
    await put(storage, Record(record_id="r", body=b"", path="root/new/r"))
    assert await paths_below(storage, "root/") == ["root/new/r"]
    await put(storage, Record(record_id="r", body=b""))
    assert await paths_below(storage, "root/") == []


async def test_a_path_names_one_record(storage: CoreStorage) -> None:
    """Or a page would end between two of them, and the next one begin behind both."""
    await put(storage, Record(record_id="a", body=b"", path="root/same"))
    with pytest.raises(CasMismatchError):
        await put(storage, Record(record_id="b", body=b"", path="root/same"))
    await put(storage, Record(record_id="b", body=b"", path="root/same"), kind="token")
    await put(storage, Record(record_id="a", body=b"again", path="root/same"))


async def test_a_taken_path_cannot_be_moved_to(storage: CoreStorage) -> None:
    await put_paths(storage, "root/a", "root/b")
    with pytest.raises(CasMismatchError):
        await put(storage, Record(record_id="id-root/a", body=b"", path="root/b"))
    assert await paths_below(storage, "root/") == ["root/a", "root/b"]


async def test_many_records_are_deleted_at_once(storage: CoreStorage) -> None:
    await put_paths(storage, *(f"root/{number:04}" for number in range(1203)))
    doomed = [f"id-root/{number:04}" for number in range(1, 1203)]
    assert await in_transaction(storage, lambda t: t.delete_records("lease", [*doomed, "id-absent"])) == 1202
    assert await paths_below(storage, "") == ["root/0000"]
    assert await in_transaction(storage, lambda t: t.delete_records("lease", doomed)) == 0
    assert await in_transaction(storage, lambda t: t.delete_records("lease", [])) == 0


async def test_a_deletion_that_fails_later_is_undone(storage: CoreStorage) -> None:
    await put_paths(storage, "root/a")

    async def body(transaction: CoreTransaction) -> None:
        await transaction.delete_records("lease", ["id-root/a"])
        assert await transaction.count_records("lease") == 0
        raise LookupError

    with pytest.raises(LookupError):
        await storage.transact(body)
    assert await storage.count_records("lease") == 1


async def test_a_transaction_sees_the_paths_it_wrote(storage: CoreStorage) -> None:
    async def body(transaction: CoreTransaction) -> None:
        await transaction.put_record("lease", Record(record_id="r", body=b"", path="root/a/r", parent="p"))
        assert [r.record_id for r in await transaction.records_below("lease", "root/")] == ["r"]
        assert await transaction.record_names("lease", "root/") == ["a/"]
        assert [r.record_id for r in await transaction.child_records("lease", "p", limit=1)] == ["r"]
        assert await transaction.count_records("lease", "root/a/") == 1

    await storage.transact(body)


async def test_deleted_records_leave_the_caches(storage: CoreStorage) -> None:
    await put_paths(storage, "root/a", "root/b")
    cache = storage.record_cache("lease", lambda record: record.path)
    assert await cache.get("id-root/a") == "root/a"
    await in_transaction(storage, lambda t: t.delete_records("lease", ["id-root/a", "id-root/b"]))
    assert cache.peek("id-root/a") is None
    assert await cache.get("id-root/a") is None


# --- the barrier alone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["nul\0", "\ud800", "x" * 2049])
async def test_a_path_that_one_engine_could_not_store_is_refused(barrier, path: str) -> None:
    with pytest.raises(InvalidRequestError):
        await put(barrier.storage, Record(record_id="r", body=b"", path=path))


async def test_an_id_and_a_parent_too_long_for_their_index_are_refused(barrier) -> None:
    with pytest.raises(InvalidRequestError, match="together"):
        await put(barrier.storage, Record(record_id="r" * 1025, body=b"", parent="p" * 1024))


async def test_the_longest_columns_are_stored(barrier) -> None:
    longest = Record(record_id="r" * 1024, body=b"", parent="p" * 1024, alias="a" * 2048, path="é" * 1024)
    await put(barrier.storage, longest)
    assert [record.path for record in await barrier.storage.records_below("lease", "é")] == ["é" * 1024]


async def test_a_sealed_store_does_not_count(barrier) -> None:
    await barrier.seal()
    storage = barrier.storage
    for refused in (
        lambda: storage.records_below("lease", ""),
        lambda: storage.record_names("lease", ""),
        lambda: storage.count_records("lease"),
        lambda: storage.child_records("lease", "p", limit=1),
    ):
        with pytest.raises(SealedError):
            await refused()


async def test_records_deleted_by_another_process_leave_the_cache(node: Node, barrier) -> None:
    await put_paths(barrier.storage, "root/a", "root/b")
    cache = barrier.storage.record_cache("lease", lambda record: record.path)
    assert await cache.get("id-root/a") == "root/a"
    with Child("revoke", node) as other:
        assert other.hear() == "ready"
        assert other.ask("root/") == "deleted 2"
    barrier.storage.sync()
    assert cache.peek("id-root/a") is None
    assert await cache.get("id-root/a") is None


@given(st.text(max_size=4), st.text(max_size=6))
def test_the_end_of_a_prefix_is_above_all_that_start_with_it_and_nothing_else(prefix: str, path: str) -> None:
    end = prefix_end(prefix)
    inside = path.encode() >= prefix.encode() and (end is None or path.encode() < end.encode())
    assert inside == path.startswith(prefix)
