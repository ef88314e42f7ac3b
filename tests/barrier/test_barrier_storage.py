"""The store's contract (core.protocols), on both engines."""

import asyncio

import pytest

from barrier.seal import Barrier
from core.errors import CasMismatchError, InvalidRequestError, SealedError
from core.protocols import CoreTransaction, Record, Transaction


async def test_an_absent_entry_is_none(barrier: Barrier) -> None:
    assert await barrier.storage.get("no/such") is None


async def test_an_entry_comes_back_with_its_revision(barrier: Barrier) -> None:
    assert await barrier.storage.put("a", b"one") == 1
    assert await barrier.storage.put("a", b"two") == 2
    entry = await barrier.storage.get("a")
    assert entry is not None
    assert (entry.value, entry.revision) == (b"two", 2)


async def test_a_deleted_entry_starts_again_at_one(barrier: Barrier) -> None:
    await barrier.storage.put("a", b"one")
    assert await barrier.storage.delete("a")
    assert not await barrier.storage.delete("a")
    assert await barrier.storage.put("a", b"again") == 1


@pytest.mark.parametrize(("present", "cas"), [(0, 1), (1, 0), (1, 2), (2, 1)])
async def test_cas_refuses_another_revision(barrier: Barrier, present: int, cas: int) -> None:
    for _ in range(present):
        await barrier.storage.put("a", b"kept")
    with pytest.raises(CasMismatchError):
        await barrier.storage.put("a", b"lost", cas=cas)
    entry = await barrier.storage.get("a")
    assert (entry.revision if entry else 0) == present


async def test_cas_zero_creates(barrier: Barrier) -> None:
    assert await barrier.storage.put("a", b"one", cas=0) == 1
    assert await barrier.storage.put("a", b"two", cas=1) == 2


@pytest.mark.parametrize("path", ["", "nul\0", "\ud800", "x" * 2049, "é" * 1025])
async def test_what_one_engine_could_not_store_is_refused(barrier: Barrier, path: str) -> None:
    with pytest.raises(InvalidRequestError):
        await barrier.storage.put(path, b"x")


async def test_the_longest_path_is_stored(barrier: Barrier) -> None:
    await barrier.storage.put("é" * 1024, b"x")
    assert await barrier.storage.list("") == ["é" * 1024]


async def test_values_of_any_size_come_back(barrier: Barrier) -> None:
    for size in (0, 1, 65_537, 3_000_000):
        await barrier.storage.put("a", b"\0" * size)
        entry = await barrier.storage.get("a")
        assert entry is not None
        assert len(entry.value) == size


async def test_an_error_undoes_the_whole_transaction(barrier: Barrier) -> None:
    async def body(transaction: CoreTransaction) -> None:
        await transaction.put("a", b"x")
        await transaction.put_record("token", Record(record_id="t", body=b"x"))
        raise LookupError

    with pytest.raises(LookupError):
        await barrier.storage.transact(body)
    assert await barrier.storage.list("") == []
    assert await barrier.storage.get_record("token", "t") is None


async def test_a_transaction_sees_its_own_writes(barrier: Barrier) -> None:
    async def body(transaction: CoreTransaction) -> list[str]:
        await transaction.put("a/1", b"x")
        await transaction.put("a/2", b"x")
        await transaction.delete("a/1")
        assert await transaction.get("a/1") is None
        return await transaction.list("a/")

    assert await barrier.storage.transact(body) == ["2"]


async def test_increments_from_many_tasks_all_count(barrier: Barrier) -> None:
    async def increment(transaction: CoreTransaction) -> None:
        entry = await transaction.get("counter")
        await transaction.put("counter", str(int(entry.value if entry else 0) + 1).encode())

    await asyncio.gather(*(barrier.storage.transact(increment) for _ in range(20)))
    entry = await barrier.storage.get("counter")
    assert entry is not None
    assert (entry.value, entry.revision) == (b"20", 20)


async def test_two_entries_never_disagree(barrier: Barrier) -> None:
    """Write skew: each transaction reads both and writes one. Serialisable means at most one may see zero and zero."""

    async def take(mine: str, transaction: CoreTransaction) -> bool:
        taken = [await transaction.get(path) for path in ("left", "right")]
        if any(taken):
            return False
        await transaction.put(mine, b"x")
        return True

    won = await asyncio.gather(
        *(barrier.storage.transact(lambda t, side=side: take(side, t)) for side in ("left", "right"))
    )
    assert sorted(won) == [False, True]


async def test_a_cancelled_caller_does_not_tear_a_transaction(barrier: Barrier) -> None:
    inside = asyncio.Event()

    async def body(transaction: CoreTransaction) -> None:
        await transaction.put("a", b"x")
        inside.set()
        await asyncio.sleep(0)
        await transaction.put("b", b"x")

    task = asyncio.create_task(barrier.storage.transact(body))
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await barrier.storage.close()
    assert await barrier.storage.list("") == ["a", "b"]


# --- listing ------------------------------------------------------------------------------------------------------


async def test_list_folds_folders_in_byte_order(barrier: Barrier) -> None:
    for path in ("m/b/c", "m/b/d", "m/b", "m/b-", "m/b.", "m/Z", "m/é", "m/𝄞/x", "m/\uffff", "mz", "l"):
        await barrier.storage.put(path, b"x")
    assert await barrier.storage.list("m/") == ["Z", "b", "b-", "b.", "b/", "é", "\uffff", "𝄞/"]


@pytest.mark.parametrize(
    ("after", "limit", "names"),
    [
        ("", 2, ["a", "b/"]),
        ("a", 2, ["b/", "c"]),
        ("b/", 1, ["c"]),
        ("b/9", 0, ["c", "d/"]),
        ("aa", 1, ["b/"]),
        ("d/", 5, []),
        ("", 0, ["a", "b/", "c", "d/"]),
    ],
)
async def test_list_in_pages(barrier: Barrier, after: str, limit: int, names: list[str]) -> None:
    for path in ("m/a", "m/b/1", "m/b/2", "m/c", "m/d/e/f", "n/x"):
        await barrier.storage.put(path, b"x")
    assert await barrier.storage.list("m/", after=after, limit=limit) == names


async def test_delete_prefix_takes_the_subtree_only(barrier: Barrier) -> None:
    for path in ("m/a", "m/b/c", "m0", "l"):
        await barrier.storage.put(path, b"x")
    assert await barrier.storage.transact(lambda transaction: transaction.delete_prefix("m/")) == 2
    assert await barrier.storage.list("") == ["l", "m0"]


# --- views --------------------------------------------------------------------------------------------------------


async def test_a_view_sees_its_prefix_only(barrier: Barrier) -> None:
    await barrier.storage.put("other/secret", b"x")
    view = barrier.storage.view("logical/1/")
    await view.put("../other/secret", b"mine")
    assert await view.list("") == ["../"]
    assert await view.get("secret") is None
    assert await barrier.storage.list("logical/1/") == ["../"]

    async def wipe(transaction: Transaction) -> int:
        return await transaction.delete_prefix("")

    assert await view.transact(wipe) == 1
    assert await barrier.storage.list("") == ["other/"]


async def test_a_view_has_no_records(barrier: Barrier) -> None:
    async def body(transaction: Transaction) -> bool:
        return hasattr(transaction, "get_record")

    assert not await barrier.storage.view("logical/1/").transact(body)


# --- records ------------------------------------------------------------------------------------------------------


async def put_records(barrier: Barrier, *records: Record) -> None:
    async def body(transaction: CoreTransaction) -> None:
        for record in records:
            await transaction.put_record("token", record)

    await barrier.storage.transact(body)


async def test_a_record_is_found_by_id_alias_and_parent(barrier: Barrier) -> None:
    child = Record(record_id="c", body=b"body", expires_at=7, parent="p", alias="acc-c")
    await put_records(barrier, Record(record_id="p", body=b""), child)
    storage = barrier.storage
    found = await storage.get_record("token", "c")
    assert found == Record(record_id="c", body=b"body", expires_at=7, parent="p", alias="acc-c", revision=1)
    assert await storage.record_by_alias("token", "acc-c") == found
    assert await storage.child_records("token", "p") == [found]
    assert await storage.get_record("lease", "c") is None
    assert await storage.record_by_alias("token", "") is None


async def test_expired_records_come_oldest_first(barrier: Barrier) -> None:
    times = {"d": 40, "a": 30, "b": 10, "c": 20}
    await put_records(
        barrier,
        Record(record_id="never", body=b""),
        *(Record(record_id=i, body=b"", expires_at=t) for i, t in times.items()),
    )
    found = await barrier.storage.expired_records("token", before=30, limit=2)
    assert [record.record_id for record in found] == ["b", "c"]
    assert len(await barrier.storage.expired_records("token", before=30, limit=9)) == 3


async def test_records_are_listed_in_pages(barrier: Barrier) -> None:
    await put_records(barrier, *(Record(record_id=i, body=b"") for i in "cab"))
    assert [record.record_id for record in await barrier.storage.list_records("token", limit=2)] == ["a", "b"]
    assert [record.record_id for record in await barrier.storage.list_records("token", after="b")] == ["c"]


async def test_an_alias_belongs_to_one_record(barrier: Barrier) -> None:
    await put_records(barrier, Record(record_id="a", body=b"", alias="same"))
    with pytest.raises(CasMismatchError):
        await put_records(barrier, Record(record_id="b", body=b"", alias="same"))
    await put_records(barrier, Record(record_id="a", body=b"new", alias="same"))


async def test_an_alias_raced_for_belongs_to_one(barrier: Barrier) -> None:
    outcomes = await asyncio.gather(
        *(put_records(barrier, Record(record_id=i, body=b"", alias="same")) for i in "abcd"), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["CasMismatchError"] * 3 + ["NoneType"]


async def test_record_cas(barrier: Barrier) -> None:
    await put_records(barrier, Record(record_id="a", body=b""))
    with pytest.raises(CasMismatchError):
        await barrier.storage.transact(lambda t: t.put_record("token", Record(record_id="a", body=b"x"), cas=0))
    assert await barrier.storage.transact(lambda t: t.put_record("token", Record(record_id="a", body=b"x"), cas=1)) == 2


async def test_a_removed_record_is_gone(barrier: Barrier) -> None:
    await put_records(barrier, Record(record_id="a", body=b""))
    assert await barrier.storage.transact(lambda t: t.delete_record("token", "a"))
    assert not await barrier.storage.transact(lambda t: t.delete_record("token", "a"))


# --- sealed -------------------------------------------------------------------------------------------------------


async def test_a_sealed_store_refuses_everything(barrier: Barrier) -> None:
    await barrier.storage.put("a", b"x")
    await barrier.seal()
    storage = barrier.storage
    for refused in (
        lambda: storage.get("a"),
        lambda: storage.list(""),
        lambda: storage.put("a", b"y"),
        lambda: storage.delete("a"),
        lambda: storage.get_record("token", "a"),
        lambda: storage.record_by_alias("token", "a"),
        lambda: storage.list_records("token"),
        lambda: storage.view("x/").get("a"),
        barrier.rotate,
        barrier.key_status,
    ):
        with pytest.raises(SealedError):
            await refused()
