"""Searches of catalogs against the plain model, on SQLite; the bounds are chosen so that all ways occur."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from barrier import catalog_search
from core.protocols import CatalogQuery, CatalogRow, StorageView
from tests.barrier.nodes import Node, initialize
from tests.support.memory_storage import memory_storage

TERMS = [f"{kind}:{name}" for kind in ("san", "role") for name in ("a", "ab", "b", "ba", "c")]


@pytest.fixture
async def stores(sqlite_url: str, tmp_path: Path) -> AsyncIterator[list[StorageView]]:
    node = Node(sqlite_url, tmp_path)
    barrier = await node.worker()
    await initialize(barrier)
    yield [memory_storage().view("m/"), barrier.storage.view("m/")]
    await node.close()


def any_row(chance: random.Random, *, with_terms: bool) -> CatalogRow:
    return CatalogRow(
        row_id=f"{chance.randrange(120):03}",
        body=b"",
        state=chance.choice((0, 1, 1, 1, 2)),
        group=chance.choice(("", "g", "h")),
        due_at=chance.randrange(12),
        changed_at=chance.choice((0, 0, 0, 3, 5)),
        terms=tuple(chance.sample(TERMS, chance.randrange(4))) if with_terms else None,
    )


def any_query(chance: random.Random) -> CatalogQuery:
    def perhaps(*values: object) -> object:
        return chance.choice((None, None, *values))

    terms = [*TERMS, "san:*", "san:a*", "role:b*", "*", "none"]
    return CatalogQuery(
        states=tuple(chance.sample((0, 1, 2, 3), chance.choice((0, 0, 1, 2)))),
        group=perhaps("g", "h", ""),
        due_from=perhaps(0, 3, 6),
        due_before=perhaps(2, 6, 9),
        changed_from=perhaps(0, 4),
        terms=tuple(chance.sample(terms, chance.choice((0, 1, 1, 2, 3)))),
        by_due=chance.random() < 0.5,
        limit=chance.choice((1, 3, 1000)),
    )


async def everything(view: StorageView, query: CatalogQuery) -> list[CatalogRow]:
    """All pages; the numbers are the stores' own."""
    found: list[CatalogRow] = []
    for _ in range(500):
        page = await view.find_rows("certs", query)
        assert len(page.rows) <= query.limit
        found += page.rows
        if not page.next:
            return [replace(row, number=0) for row in found]
        assert page.next != query.after
        query = replace(query, after=page.next)
    raise AssertionError("the pages do not end")


async def change(chance: random.Random, view: StorageView, known: set[str]) -> None:
    new = any_row(chance, with_terms=True)
    if new.row_id in known and chance.random() < 0.6:
        new = replace(new, terms=None)
    await view.transact(lambda txn: txn.put_row("certs", new))


@pytest.mark.parametrize(("few", "sorted_", "many"), [(2, 2, 3), (2, 9, 3), (15, 30, 40), (2500, 20_000, 50_000)])
async def test_searches_agree_with_the_model(
    stores: list[StorageView], monkeypatch: pytest.MonkeyPatch, few: int, sorted_: int, many: int
) -> None:
    monkeypatch.setattr(catalog_search, "FEW", few)
    monkeypatch.setattr(catalog_search, "SORTED", sorted_)
    monkeypatch.setattr(catalog_search, "MANY", many)
    seed = 2026 + few + sorted_
    chances = [random.Random(seed) for _ in stores]  # noqa: S311 - the same changes for both, guards nothing
    for _ in range(3):
        known = set(await stores[0].row_ids("certs"))
        gone = sorted(known)[::7]
        for chance, view in zip(chances, stores, strict=True):
            await asyncio.gather(*(change(chance, view, known) for _ in range(70)))
            await view.transact(lambda txn, gone=gone: txn.delete_rows("certs", gone))
        asked = random.Random(seed)  # noqa: S311 - as above
        assert await stores[0].row_ids("certs") == await stores[1].row_ids("certs")
        for _ in range(40):
            query = any_query(asked)
            expected, found = [await everything(view, query) for view in stores]
            assert found == expected, query
            columns = {name: getattr(query, name) for name in ("states", "group", "due_from", "due_before")}
            model, real = [await view.count_rows("certs", **columns) for view in stores]
            assert real == model, columns
