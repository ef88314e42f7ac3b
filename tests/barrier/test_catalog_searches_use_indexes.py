"""What SQLite says of searches in catalogs: an index serves each, and what is walked along is not sorted."""

from itertools import product
from pathlib import Path

import pytest

from barrier import catalog_search
from core.protocols import CatalogQuery
from tests.barrier.nodes import Node, initialize
from tests.barrier.test_a_million_rows import certificate
from tests.barrier.test_record_searches_use_indexes import plan_of, statements
from tests.support.bulk_rows import insert_rows

QUERIES: dict[str, CatalogQuery] = {
    "all": CatalogQuery(),
    "all by due": CatalogQuery(by_due=True),
    "term": CatalogQuery(terms=("role:role-3",)),
    "term by due": CatalogQuery(terms=("role:role-3",), by_due=True),
    "terms by due": CatalogQuery(terms=("role:role-3", "by:token-3"), states=(1,), by_due=True),
    "prefix": CatalogQuery(terms=("san:web*",), group="issuer-1"),
    "prefix by due": CatalogQuery(terms=("san:web*",), by_due=True),
    "state": CatalogQuery(states=(2,)),
    "due": CatalogQuery(due_from=1_800_000_000, due_before=1_900_000_000, states=(1,), by_due=True),
    "changed": CatalogQuery(states=(2,), group="issuer-1", changed_from=1),
}


@pytest.mark.parametrize(("few", "sorted_"), [(1, 1), (1, 20_000), (2500, 20_000)])
async def test_an_index_serves_each_search_of_a_catalog(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int, sorted_: int
) -> None:
    """Whether it finds few rows or many."""
    monkeypatch.setattr(catalog_search, "FEW", few)
    monkeypatch.setattr(catalog_search, "SORTED", sorted_)
    node = Node(sqlite_url, tmp_path)
    barrier = await node.worker()
    await initialize(barrier)
    await insert_rows(sqlite_url, barrier.storage.keyring, "m/certs", map(certificate, range(2000)))
    for name, query in QUERIES.items():
        with statements(barrier) as sent:
            await barrier.storage.find_rows("m/certs", query)
            await barrier.storage.count_rows("m/certs", states=query.states, group=query.group)
        assert sent
        for statement, parameters in sent:
            plan = await plan_of(barrier, statement, parameters)
            if "MATERIALIZED" in statement:  # the few are scanned, and sorted
                assert "MATERIALIZE few\nSEARCH k" in plan, (name, statement, plan)
                continue
            assert "SCAN k" not in plan, (name, statement, plan)
            assert "SCAN r" not in plan, (name, statement, plan)
            assert "SCAN catalog" not in plan, (name, statement, plan)
            assert "FOR ORDER BY" not in plan, (name, statement, plan)
    await node.close()


async def test_states_and_groups_are_tested_without_the_rows(sqlite_url: str, tmp_path: Path) -> None:
    """One seek for each: to read two thousand rows takes a third of a second, to walk along an index minutes."""
    node = Node(sqlite_url, tmp_path)
    barrier = await node.worker()
    await initialize(barrier)
    await insert_rows(sqlite_url, barrier.storage.keyring, "m/certs", map(certificate, range(300)))
    seek = "SEARCH r USING COVERING INDEX catalog_rows_by_due (catalog=? AND state=? AND due_at=? AND number=?"
    for term, states, group, due_from in product(
        ("san:web*", "role:role-3"), ((1,), (1, 2)), (None, "issuer-1"), (None, 1_800_000_000)
    ):
        query = CatalogQuery(terms=(term,), states=states, group=group, due_from=due_from, by_due=True)
        with statements(barrier) as sent:
            await barrier.storage.find_rows("m/certs", query)
        plans = [await plan_of(barrier, *one) for one in sent]
        with_row = [plan for plan in plans if "SEARCH r" in plan]
        assert with_row, query
        assert all(seek in plan for plan in with_row), (query, with_row)
    await node.close()
