"""Rows of catalogs edited or moved behind the barrier's back are refused by name; terms may hide, they never forge."""

import pytest

from barrier.seal import Barrier
from core.errors import IntegrityError
from core.protocols import CatalogQuery, CatalogRow, StorageView
from tests.barrier.nodes import Node, execute

FIRST = "number = (SELECT min(number) FROM catalog_rows)"


async def fill(barrier: Barrier) -> tuple[StorageView, StorageView]:
    """Rows "a" and "b" of two mounts."""
    views = barrier.storage.view("logical/1/"), barrier.storage.view("logical/2/")
    for view in views:
        for name in ("a", "b"):
            columns = {"state": 1, "group": "g", "due_at": 7, "changed_at": 9, "terms": (f"n:{name}",)}
            new = CatalogRow(row_id=name, body=name.encode(), **columns)
            await view.transact(lambda txn, new=new: txn.put_row("certs", new))
    return views


@pytest.mark.parametrize(
    "change",
    [
        "state = 2",
        "row_group = ''",
        "due_at = 8",
        "changed_at = 0",
        "revision = 2",
        "row_id = 'moved'",
        "catalog = (SELECT catalog FROM catalogs WHERE path = 'logical/2/certs'), row_id = 'moved'",
        "sealed = (SELECT sealed FROM catalog_rows WHERE row_id = 'b' ORDER BY number LIMIT 1)",
        "sealed = substr(sealed, 1, 20)",
    ],
)
async def test_an_edited_column_of_a_row_is_refused(node: Node, barrier: Barrier, change: str) -> None:
    one, two = await fill(barrier)
    await execute(node.url, f"UPDATE catalog_rows SET {change} WHERE {FIRST}")
    view = two if "logical/2/" in change else one
    name = "moved" if "moved" in change else "a"
    for by_due in (False, True):
        with pytest.raises(IntegrityError, match=f"row '{name}' of catalog"):
            await view.find_rows("certs", CatalogQuery(by_due=by_due))
    with pytest.raises(IntegrityError, match=f"row '{name}' of catalog"):
        await view.row("certs", name)
    with pytest.raises(IntegrityError):
        await view.transact(lambda txn: txn.row("certs", name))


async def test_a_catalog_that_was_given_to_another_view_is_refused(node: Node, barrier: Barrier) -> None:
    _one, two = await fill(barrier)
    await execute(node.url, "DELETE FROM catalogs WHERE path = 'logical/2/certs'")
    await execute(node.url, "UPDATE catalogs SET path = 'logical/2/certs' WHERE path = 'logical/1/certs'")
    with pytest.raises(IntegrityError, match="row 'a' of catalog 'logical/2/certs'"):
        await two.row("certs", "a")


async def test_a_term_that_leads_elsewhere_finds_nothing_of_another_catalog(node: Node, barrier: Barrier) -> None:
    one, _two = await fill(barrier)
    last = "(SELECT max(number) FROM catalog_rows)"
    await execute(node.url, f"UPDATE catalog_terms SET number = {last} WHERE term = 'n:a' AND {FIRST}")
    for by_due in (False, True):
        assert (await one.find_rows("certs", CatalogQuery(terms=("n:a",), by_due=by_due))).rows == []


async def test_what_an_edited_index_finds_is_still_tested(node: Node, barrier: Barrier) -> None:
    """The due time of a term was edited: the row itself says when it is due."""
    one, _two = await fill(barrier)
    await execute(node.url, "UPDATE catalog_terms SET due_at = 5")
    assert (await one.find_rows("certs", CatalogQuery(terms=("n:a",), due_before=6, by_due=True))).rows == []
