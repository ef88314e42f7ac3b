"""Rows that are written together: every request hears how its own row fared, whatever becomes of the others."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from core.errors import CasMismatchError, InvalidRequestError, SealedError
from core.protocols import CatalogQuery, CatalogRow, StorageView, Transaction
from pki.certificates import CATALOG
from pki.row_writer import MOST, RowWriter
from tests.support.memory_storage import MemoryStorage, memory_storage
from tests.unit.pki.pki_mount import Mount
from tests.unit.pki.test_pki_intents import issue

T = TypeVar("T")


class SlowStorage(MemoryStorage):
    """Counts its transactions, and holds them up before their COMMIT while the gate is closed."""

    gate: asyncio.Event
    begun = 0

    async def transact(self, body: Callable[[Transaction], Awaitable[T]]) -> T:
        self.begun += 1

        async def held_up(txn: Transaction) -> T:
            result = await body(txn)
            await self.gate.wait()
            return result

        return await super().transact(held_up)


@pytest.fixture
def storage() -> SlowStorage:
    slow = SlowStorage(memory_storage()._state)
    slow.gate = asyncio.Event()
    slow.gate.set()
    return slow


def row(row_id: str, state: int = 0) -> CatalogRow:
    return CatalogRow(row_id=row_id, body=b"", state=state)


async def ids(storage: StorageView, *states: int) -> list[str]:
    page = await storage.find_rows(CATALOG, CatalogQuery(states=states))
    return [found.row_id for found in page.rows]


async def settle() -> None:
    """Let everybody run who can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_rows_that_come_together_are_one_transaction_in_their_order(storage: SlowStorage) -> None:
    writer = RowWriter(storage)
    await asyncio.gather(*(writer.put(row(name), cas=0) for name in "dbac"))
    assert await ids(storage) == ["d", "b", "a", "c"]
    assert storage.begun == 1


async def test_what_comes_during_a_commit_is_the_next_batch(storage: SlowStorage) -> None:
    writer = RowWriter(storage)
    storage.gate.clear()
    first = asyncio.create_task(writer.put(row("a"), cas=0))
    await settle()
    others = [asyncio.create_task(writer.put(row(name), cas=0)) for name in "bcd"]
    await settle()
    assert not first.done()
    assert storage.begun == 1
    storage.gate.set()
    await asyncio.gather(first, *others)
    assert storage.begun == 2


async def test_nobody_goes_on_before_his_row_is_committed(storage: SlowStorage) -> None:
    writer = RowWriter(storage)
    storage.gate.clear()
    waiting = [asyncio.create_task(writer.put(row(name), cas=0)) for name in "ab"]
    await settle()
    assert not any(task.done() for task in waiting)
    storage.gate.set()
    await asyncio.gather(*waiting)
    assert storage.sequence == 1


async def test_new_rows_and_changes_share_a_transaction(storage: SlowStorage) -> None:
    writer = RowWriter(storage)
    await writer.put(row("a"), cas=0)
    await asyncio.gather(writer.put(row("a", state=1), cas=1), writer.put(row("b"), cas=0))
    assert storage.begun == 2
    assert (await ids(storage, 1), await ids(storage, 0)) == (["a"], ["b"])


async def test_one_that_lost_does_not_take_the_others_along(storage: SlowStorage) -> None:
    writer = RowWriter(storage)
    await writer.put(row("b"), cas=0)
    fared = await asyncio.gather(*(writer.put(row(name), cas=0) for name in "abc"), return_exceptions=True)
    assert [type(one) for one in fared] == [type(None), CasMismatchError, type(None)]
    assert await ids(storage) == ["b", "a", "c"]


async def test_one_that_cannot_be_stored_does_not_take_the_others_along(storage: SlowStorage) -> None:
    writer = RowWriter(storage)
    puts = (writer.put(row(name), cas=0) for name in ("a", "nul\0", "c"))
    fared = await asyncio.gather(*puts, return_exceptions=True)
    assert [type(one) for one in fared] == [type(None), InvalidRequestError, type(None)]
    assert await ids(storage) == ["a", "c"]
    with pytest.raises(InvalidRequestError):
        await writer.put(row("nul\0"), cas=0)


async def test_two_of_one_row_are_not_in_one_batch(storage: SlowStorage) -> None:
    writer = RowWriter(storage)
    fared = await asyncio.gather(*(writer.put(row("a"), cas=0) for _ in range(2)), return_exceptions=True)
    assert [type(one) for one in fared] == [type(None), CasMismatchError]
    await asyncio.gather(writer.put(row("a", state=1), cas=1), writer.put(row("a", state=2), cas=2))
    assert await ids(storage, 2) == ["a"]


async def test_a_client_that_goes_away_takes_no_row_along(storage: SlowStorage) -> None:
    writer = RowWriter(storage)
    storage.gate.clear()
    waiting = [asyncio.create_task(writer.put(row(name), cas=0)) for name in "abcd"]
    await settle()
    late = asyncio.create_task(writer.put(row("e"), cas=0))
    await settle()
    for gone in (waiting[0], waiting[2], late):
        gone.cancel()
    storage.gate.set()
    await asyncio.gather(waiting[1], waiting[3])
    await writer.close()
    assert await ids(storage) == ["a", "b", "c", "d", "e"]


async def test_an_error_of_the_transaction_reaches_all_and_the_writer_goes_on(storage: SlowStorage) -> None:
    writer = RowWriter(storage)
    storage._state.sealed = True
    fared = await asyncio.gather(*(writer.put(row(name), cas=0) for name in "abc"), return_exceptions=True)
    assert [type(one) for one in fared] == [SealedError] * 3
    storage._state.sealed = False
    await writer.put(row("a"), cas=0)
    assert await ids(storage) == ["a"]


async def test_a_batch_has_a_bound(storage: SlowStorage) -> None:
    writer = RowWriter(storage)
    await asyncio.gather(*(writer.put(row(f"{number:03}"), cas=0) for number in range(MOST + 1)))
    assert len(await ids(storage)) == 100
    assert storage.begun == 2


async def test_closing_waits_for_what_is_being_written(storage: SlowStorage) -> None:
    writer = RowWriter(storage)
    await writer.close()
    storage.gate.clear()
    put = asyncio.create_task(writer.put(row("a"), cas=0))
    await settle()
    closing = asyncio.create_task(writer.close())
    await settle()
    assert not closing.done()
    storage.gate.set()
    await closing
    assert await ids(storage) == ["a"]
    await put


async def test_nobody_is_left_waiting_when_the_loop_ends(storage: SlowStorage) -> None:
    writer = RowWriter(storage)
    storage.gate.clear()
    waiting = [asyncio.create_task(writer.put(row("a"), cas=0))]
    await settle()
    waiting.append(asyncio.create_task(writer.put(row("b"), cas=0)))
    await settle()
    assert writer._writing is not None
    writer._writing.cancel()
    fared = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in fared] == [asyncio.CancelledError] * 2


async def test_certificates_that_are_asked_for_together_share_their_commits() -> None:
    mount = Mount()
    await mount.seed_root()
    before = mount.view.sequence
    made = await asyncio.gather(*(issue(mount) for _ in range(8)))
    assert mount.view.sequence - before <= 3  # the intents, the certificates, and one that came late
    for issued in made:
        known = await mount.parts.store.certificate(issued.serial)
        assert known is not None
        assert known.body.certificate == issued.der
