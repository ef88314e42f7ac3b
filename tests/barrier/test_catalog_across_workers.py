"""Catalogs and several workers: races for a row, caches that hear of commits, and what stays behind a removal."""

import asyncio

import pytest
from sqlalchemy import text

from barrier.seal import Barrier
from core.errors import CasMismatchError
from core.protocols import CatalogRow
from tests.barrier.nodes import Node
from tests.barrier.processes import Child

VIEW = "logical/1/"


async def put(barrier: Barrier, row_id: str, state: int = 0, *, cas: int | None = None) -> int:
    new = CatalogRow(row_id=row_id, body=b"", state=state, terms=(f"n:{row_id}", "x"))
    return await barrier.storage.view(VIEW).transact(lambda txn: txn.put_row("certs", new, cas=cas))


async def second(node: Node) -> Barrier:
    other = await node.worker()
    await other.unseal_from_hsm()
    return other


async def test_a_row_made_by_two_workers_at_once_is_made_by_one(node: Node, barrier: Barrier) -> None:
    """Also the first one of a catalog, for which the catalog itself is raced for."""
    other = await second(node)
    for number in range(10):
        row_id = str(number // 2)
        wanted = number % 2
        made = await asyncio.gather(
            *(put(worker, row_id, cas=wanted) for worker in (barrier, other)), return_exceptions=True
        )
        assert [outcome for outcome in made if isinstance(outcome, int)] == [wanted + 1]
        assert [type(outcome) for outcome in made if not isinstance(outcome, int)] == [CasMismatchError]
    assert await barrier.storage.view(VIEW).count_rows("certs") == 5


async def test_rows_made_at_once_by_two_workers_all_stay(node: Node, barrier: Barrier) -> None:
    other = await second(node)
    await asyncio.gather(*(put((barrier, other)[number % 2], str(number), cas=0) for number in range(60)))
    await asyncio.gather(*(put((barrier, other)[number % 2], str(number), 1, cas=1) for number in range(60)))
    assert await other.storage.view(VIEW).count_rows("certs", states=[1]) == 60


async def test_a_change_of_a_row_is_seen_by_the_other_process_before_its_next_request(
    node: Node, barrier: Barrier
) -> None:
    with Child("rows", node) as reader:
        assert reader.hear() == "ready"
        assert reader.ask("a") == "absent"
        for state in range(1, 20):
            await put(barrier, "a", state)
            assert reader.ask("a") == f"{state} cached"
        await barrier.storage.view(VIEW).transact(lambda txn: txn.delete_rows("certs", ["a"]))
        assert reader.ask("a") == "absent"
        await put(barrier, "b", 1)
        assert reader.ask("b") == "1 cached"
        await barrier.storage.transact(lambda txn: txn.delete_prefix("logical/"))
        assert reader.ask("b") == "absent"


@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_a_removed_catalog_is_swept_to_the_last_row(barrier: Barrier, limit: int) -> None:
    for number in range(10):
        await put(barrier, str(number))
    await barrier.storage.view("logical/2/").transact(
        lambda txn: txn.put_row("certs", CatalogRow(row_id="kept", body=b"", terms=("x",)))
    )
    await barrier.storage.transact(lambda txn: txn.delete_prefix(VIEW))
    steps = 0
    while await barrier.storage.sweep_catalogs(limit=limit):
        steps += 1
    assert steps >= 30 / limit
    for table, left in {"catalog_rows": 1, "catalog_terms": 1, "catalogs": 1, "catalogs_dropped": 0}.items():
        counted = text(f"SELECT count(*) FROM {table}")
        found = await barrier._database.read(lambda connection, counted=counted: connection.execute(counted))
        assert found.scalar() == left
