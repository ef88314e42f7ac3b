"""The contract of catalogs (core.protocols), on both engines and on the plain model that unit tests use."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from core.errors import CasMismatchError, InvalidRequestError
from core.protocols import CatalogPage, CatalogQuery, CatalogRow, CoreStorage, Transaction
from tests.barrier.conftest import empty
from tests.barrier.nodes import Node, initialize
from tests.support.memory_storage import memory_storage

CATALOG = "certs"


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def url_or_none(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """An empty store of each engine; None stands for the model."""
    if request.param == "memory":
        return None
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "store.db")
        return f"sqlite:///{tmp_path}/store.db"
    url: str = request.getfixturevalue("postgres").url(request.getfixturevalue("shared_database"))
    asyncio.run(empty(url))
    return url


@pytest.fixture
async def storage(url_or_none: str | None, tmp_path: Path) -> AsyncIterator[CoreStorage]:
    """Three stores of one contract."""
    if url_or_none is None:
        yield memory_storage()
        return
    node = Node(url_or_none, tmp_path)
    barrier = await node.worker()
    await initialize(barrier)
    yield barrier.storage
    await node.close()


def row(row_id: str, **columns: object) -> CatalogRow:
    return CatalogRow(**{"row_id": row_id, "body": f"body of {row_id}".encode(), **columns})


async def put(storage: CoreStorage, *rows: CatalogRow, cas: int | None = None, catalog: str = CATALOG) -> list[int]:
    async def body(txn: Transaction) -> list[int]:
        return [await txn.put_row(catalog, new, cas=cas) for new in rows]

    return await storage.transact(body)


async def delete(storage: CoreStorage, row_ids: Sequence[str], catalog: str = CATALOG) -> int:
    return await storage.transact(lambda txn: txn.delete_rows(catalog, row_ids))


async def find(storage: CoreStorage, **asked: object) -> list[str]:
    """The ids, in the order in which they come."""
    page = await storage.find_rows(CATALOG, CatalogQuery(**asked))
    assert page.next == ""
    return [found.row_id for found in page.rows]


# --- rows ---------------------------------------------------------------------------------------------------------


async def test_what_was_never_written_is_not_there(storage: CoreStorage) -> None:
    assert await storage.row(CATALOG, "a") is None
    assert await storage.row_ids(CATALOG) == []
    assert await storage.find_rows(CATALOG, CatalogQuery()) == CatalogPage(rows=[])
    assert await storage.count_rows(CATALOG) == 0
    assert await delete(storage, ["a"]) == 0
    assert await storage.row(CATALOG, "nul\0") is None


async def test_a_row_comes_back_without_its_terms(storage: CoreStorage) -> None:
    written = row("a", state=3, group="g", due_at=7, changed_at=9, terms=("san:a",))
    assert await put(storage, written) == [1]
    found = await storage.row(CATALOG, "a")
    assert found is not None
    assert found.number > 0
    assert replace(found, number=0) == replace(written, terms=None, revision=1)
    assert (await storage.find_rows(CATALOG, CatalogQuery())).rows == [found]


async def test_later_rows_have_higher_numbers_which_stay(storage: CoreStorage) -> None:
    await put(storage, row("b"), row("a"))
    await put(storage, row("b", state=1))
    numbers = [getattr(await storage.row(CATALOG, name), "number", 0) for name in "ba"]
    assert numbers == sorted(set(numbers))
    assert await find(storage) == ["b", "a"]
    await delete(storage, ["a"])
    await put(storage, row("a"))
    assert (await storage.find_rows(CATALOG, CatalogQuery())).rows[-1].number > numbers[1]


@pytest.mark.parametrize(("present", "cas"), [(0, 1), (1, 0), (1, 2), (2, 1)])
async def test_a_row_of_another_revision_is_not_overwritten(storage: CoreStorage, present: int, cas: int) -> None:
    for _ in range(present):
        await put(storage, row("a"))
    with pytest.raises(CasMismatchError):
        await put(storage, row("a", state=5), cas=cas)
    assert await storage.count_rows(CATALOG, states=[5]) == 0


async def test_the_expected_revision_is_overwritten(storage: CoreStorage) -> None:
    assert await put(storage, row("a"), cas=0) == [1]
    assert await put(storage, row("a", due_at=5), cas=1) == [2]
    assert await put(storage, row("a")) == [3]


async def test_one_of_many_makes_the_row(storage: CoreStorage) -> None:
    made = await asyncio.gather(*(put(storage, row("a", state=i), cas=0) for i in range(9)), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in made) == ["CasMismatchError"] * 8 + ["list"]


async def test_what_one_engine_could_not_store_in_a_row_is_refused(storage: CoreStorage) -> None:
    bad: list[dict[str, object]] = [
        *({"row_id": text} for text in ("", "nul\0", "x" * 2049)),
        *({"terms": terms} for terms in (("",), ("good", "nul\0"), ("é" * 1025,))),
        *({"state": state} for state in (-1, 32_768)),
        *({"due_at": time} for time in (-1, 2**63)),
        {"changed_at": 2**63},
        {"group": "\ud800"},
    ]
    for columns in bad:
        with pytest.raises(InvalidRequestError):
            await put(storage, CatalogRow(**{"row_id": "a", "body": b"", **columns}))
    assert await storage.row_ids(CATALOG) == []


async def test_an_error_undoes_rows_and_terms(storage: CoreStorage) -> None:
    await put(storage, row("old", terms=("t",)))

    async def body(txn: Transaction) -> None:
        await txn.put_row(CATALOG, row("new", terms=("t",)))
        await txn.put_row(CATALOG, row("old", terms=()))
        await txn.delete_rows(CATALOG, ["old"])
        assert await txn.row(CATALOG, "old") is None
        assert await txn.row(CATALOG, "new") is not None
        raise LookupError

    with pytest.raises(LookupError):
        await storage.transact(body)
    assert await find(storage, terms=("t",)) == ["old"]


async def test_ids_come_sorted_in_pages(storage: CoreStorage) -> None:
    await put(storage, *(row(name) for name in ("c", "a", "é", "B")))
    await put(storage, row("z"), catalog="other")
    assert await storage.row_ids(CATALOG) == ["B", "a", "c", "é"]
    assert await storage.row_ids(CATALOG, after="B", limit=2) == ["a", "c"]


async def test_many_rows_are_deleted_with_their_terms(storage: CoreStorage) -> None:
    names = [f"{number:04}" for number in range(600)]
    await put(storage, *(row(name, terms=("all", f"n:{name}")) for name in names))
    assert await delete(storage, [*names[:550], "none", "nul\0"]) == 550
    assert await storage.count_rows(CATALOG) == 50
    assert await find(storage, terms=("all",), by_due=True, limit=1000) == names[550:]
    assert await find(storage, terms=("n:0001",)) == []


# --- terms --------------------------------------------------------------------------------------------------------


async def test_terms_stay_when_none_are_given(storage: CoreStorage) -> None:
    await put(storage, row("a", due_at=5, terms=("t", "u")))
    await put(storage, row("a", state=1, due_at=5))
    assert await find(storage, terms=("t",)) == ["a"]
    await put(storage, row("a", due_at=9))
    assert await find(storage, terms=("t", "u"), by_due=True, due_from=9) == ["a"]
    assert await find(storage, terms=("t",), due_before=9) == []


async def test_given_terms_replace_those_that_were(storage: CoreStorage) -> None:
    await put(storage, row("a", due_at=5, terms=("t", "u", "u")))
    await put(storage, row("a", due_at=6, terms=("u", "v")))
    assert [await find(storage, terms=(term,), by_due=True) for term in "tuv"] == [[], ["a"], ["a"]]
    await put(storage, row("a", due_at=6, terms=()))
    assert await find(storage, terms=("u",)) == []


async def test_any_text_can_be_a_term(storage: CoreStorage) -> None:
    for term in ("a\nb", "a\\nb", "\\", "\\\n", "\n", 'q"', ",", "%_", "é𝄞", "x" * 2048):
        await put(storage, row("a", terms=(term, "beside")), row("b", terms=("beside",)))
        for asked in ((term,), (term, "beside"), ("beside", term), ("beside", term[:1] + "*")):
            assert await find(storage, terms=asked) == ["a"]
            assert await find(storage, terms=asked, by_due=True) == ["a"]
        await put(storage, row("a", due_at=1))
        await put(storage, row("a", due_at=1, terms=()))
        assert await find(storage, terms=(term,)) == []


async def test_a_term_is_not_a_part_of_another(storage: CoreStorage) -> None:
    await put(storage, row("a", terms=("san:web.example",)), row("b", terms=("san:web",)), row("c"))
    assert await find(storage, terms=("san:web",)) == ["b"]
    assert await find(storage, terms=("san:web*",)) == ["a", "b"]
    assert await find(storage, terms=("web*",)) == []
    assert await find(storage, terms=("*",)) == ["a", "b"]


# --- searches -----------------------------------------------------------------------------------------------------

ROWS = [
    row("a", state=1, group="g", due_at=40, terms=("x", "y1")),
    row("b", state=2, group="g", due_at=30, changed_at=5, terms=("x", "y2")),
    row("c", state=1, group="h", due_at=20, terms=("y1", "y2")),
    row("d", state=2, group="h", due_at=20, changed_at=7, terms=("x",)),
    row("e", state=0, due_at=0),
]
SEARCHES: dict[str, tuple[dict[str, object], str, str]] = {
    "all": ({}, "abcde", "ecdba"),
    "a state": ({"states": (1,)}, "ac", "ca"),
    "states": ({"states": (2, 0)}, "bde", "edb"),
    "no such state": ({"states": (9,)}, "", ""),
    "group": ({"group": "g"}, "ab", "ba"),
    "no group": ({"group": ""}, "e", "e"),
    "group and state": ({"group": "h", "states": (2,)}, "d", "d"),
    "due": ({"due_from": 20, "due_before": 40}, "bcd", "cdb"),
    "due, turned round": ({"due_from": 40, "due_before": 20}, "", ""),
    "due before 0": ({"due_before": 0}, "", ""),
    "due in a group": ({"due_from": 30, "group": "g"}, "ab", "ba"),
    "changed": ({"changed_from": 0}, "bd", "db"),
    "changed then": ({"changed_from": 6}, "d", "d"),
    "changed in a group": ({"changed_from": 1, "group": "g", "states": (2,)}, "b", "b"),
    "changed, any state": ({"changed_from": 6, "group": "h"}, "d", "d"),
    "changed, of a state": ({"changed_from": 6, "states": (1,)}, "", ""),
    "term": ({"terms": ("x",)}, "abd", "dba"),
    "terms": ({"terms": ("x", "y2")}, "b", "b"),
    "prefix": ({"terms": ("y*",)}, "abc", "cba"),
    "prefix and term": ({"terms": ("y*", "x")}, "ab", "ba"),
    "prefixes": ({"terms": ("y*", "x*")}, "ab", "ba"),
    "last prefix": ({"terms": ("\U0010ffff*",)}, "", ""),
    "term and due": ({"terms": ("x",), "due_from": 30, "due_before": 40}, "b", "b"),
    "term, group and state": ({"terms": ("x",), "group": "g", "states": (1,)}, "a", "a"),
    "term and change": ({"terms": ("x",), "changed_from": 1}, "bd", "db"),
    "prefix and due": ({"terms": ("y*",), "due_before": 40}, "bc", "cb"),
    "no such term": ({"terms": ("z",)}, "", ""),
}


async def test_searches_in_both_orders(storage: CoreStorage) -> None:
    """Whole, and a row at a time."""
    await put(storage, *ROWS)
    await put(storage, *(replace(other, row_id=f"other {other.row_id}") for other in ROWS), catalog="other")
    for name, (asked, numbered, due) in SEARCHES.items():
        for by_due, expected in ((False, numbered), (True, due)):
            assert "".join(await find(storage, **asked, by_due=by_due)) == expected, name
            assert "".join(await paged(storage, CatalogQuery(**asked, by_due=by_due, limit=1))) == expected, name


async def paged(storage: CoreStorage, query: CatalogQuery) -> list[str]:
    found: list[str] = []
    while True:
        page = await storage.find_rows(CATALOG, query)
        assert len(page.rows) <= query.limit
        found += [each.row_id for each in page.rows]
        if not page.next:
            return found
        query = replace(query, after=page.next)


async def test_rows_are_counted(storage: CoreStorage) -> None:
    await put(storage, *ROWS)
    await put(storage, *ROWS, catalog="other")
    assert await storage.count_rows(CATALOG) == 5
    assert await storage.count_rows(CATALOG, states=[1, 2], group="g") == 2
    assert await storage.count_rows(CATALOG, due_from=20, due_before=40) == 3
    assert await storage.count_rows(CATALOG, states=[2], due_before=30) == 1
    assert await storage.count_rows(CATALOG, states=[7]) == 0


async def test_what_cannot_be_asked_is_refused(storage: CoreStorage) -> None:
    """Also of a catalog that has no rows."""
    bad: list[dict[str, object]] = [
        *({"limit": limit} for limit in (0, 1001)),
        *({"states": (state,)} for state in (-1, 32_768)),
        *({"terms": (term,)} for term in ("", "nul\0")),
        *({"after": after} for after in ("x", "1", "n1", "n1.²", "n1.1 ", "n1.99999999999999999999", "d1.1")),
        {"group": "\ud800"},
        {"due_from": 2**63},
    ]
    for _ in range(2):
        for asked in bad:
            with pytest.raises(InvalidRequestError):
                await storage.find_rows(CATALOG, CatalogQuery(**asked))
        await put(storage, row("a"))


async def test_a_cursor_is_of_one_catalog_and_order(storage: CoreStorage) -> None:
    await put(storage, row("a"), row("b"))
    await put(storage, row("a"), row("b"), catalog="other")
    for by_due in (False, True):
        page = await storage.find_rows(CATALOG, CatalogQuery(limit=1, by_due=by_due))
        assert page.next.isascii()
        assert page.next.isprintable()
        for catalog, order in ((CATALOG, not by_due), ("other", by_due), ("none", by_due)):
            with pytest.raises(InvalidRequestError, match="cursor"):
                await storage.find_rows(catalog, CatalogQuery(after=page.next, by_due=order))


# --- views --------------------------------------------------------------------------------------------------------


async def test_a_view_has_its_own_catalogs(storage: CoreStorage) -> None:
    one, two = storage.view("logical/1/"), storage.view("logical/2/")
    await one.transact(lambda txn: txn.put_row(CATALOG, row("a", terms=("t",))))
    await two.transact(lambda txn: txn.put_row(CATALOG, row("b", terms=("t",))))
    assert await one.row(CATALOG, "b") is None
    assert await one.row_ids(CATALOG) == ["a"]
    assert await one.count_rows(CATALOG) == 1
    assert [r.row_id for r in (await two.find_rows(CATALOG, CatalogQuery(terms=("t",)))).rows] == ["b"]
    assert await two.transact(lambda txn: txn.delete_rows(CATALOG, ["a", "b"])) == 1


async def test_what_removes_a_view_removes_its_catalogs(storage: CoreStorage) -> None:
    views = [storage.view(prefix) for prefix in ("logical/1/", "logical/1/deeper/", "logical/2/", "certs/")]
    for view in views:
        await view.transact(lambda txn: txn.put_row(CATALOG, row("a", terms=("t",))))
    await views[0].transact(lambda txn: txn.delete_prefix("certs"))  # entries, not the catalog of that name
    assert [await view.count_rows(CATALOG) for view in views] == [1, 1, 1, 1]
    await storage.transact(lambda txn: txn.delete_prefix("logical/1/"))
    assert [await view.count_rows(CATALOG) for view in views] == [0, 0, 1, 1]
    assert await views[0].row(CATALOG, "a") is None
    await views[0].transact(lambda txn: txn.put_row(CATALOG, row("a"), cas=0))
    while await storage.transact(lambda txn: txn.sweep_catalogs(limit=1)):
        pass
    assert [await view.row_ids(CATALOG) for view in views] == [["a"], [], ["a"], ["a"]]


# --- caches -------------------------------------------------------------------------------------------------------


async def test_a_cached_row_is_as_new_as_the_last_commit(storage: CoreStorage) -> None:
    view = storage.view("logical/1/")
    cache = view.row_cache(CATALOG, lambda found: found.state)
    assert await cache.get("a") is None
    for state in (1, 2):
        await view.transact(lambda txn, state=state: txn.put_row(CATALOG, row("a", state=state)))
        assert await cache.get("a") == state
        assert cache.peek("a") == state
    await view.transact(lambda txn: txn.delete_rows(CATALOG, ["a"]))
    assert cache.peek("a") is None
    assert await cache.get("a") is None


async def test_a_cached_row_goes_with_its_view(storage: CoreStorage) -> None:
    view = storage.view("logical/1/")
    cache = view.row_cache(CATALOG, lambda found: found.row_id)
    await view.transact(lambda txn: txn.put_row(CATALOG, row("a")))
    assert await cache.get("a") == "a"
    await storage.transact(lambda txn: txn.delete_prefix("logical/"))
    assert cache.peek("a") is None


# --- many rows at once --------------------------------------------------------------------------------------------


async def put_all(storage: CoreStorage, *rows: CatalogRow, cas: int) -> set[str]:
    return await storage.transact(lambda txn: txn.put_rows(CATALOG, rows, cas=cas))


async def test_rows_that_are_new_are_written_together(storage: CoreStorage) -> None:
    assert await put_all(storage, cas=0) == set()
    first = [row(name, state=1, group="g", due_at=7, terms=(f"san:{name}", "role:web")) for name in "cab"]
    assert await put_all(storage, *first, cas=0) == {"a", "b", "c"}
    assert await find(storage, terms=("role:web",)) == ["c", "a", "b"]  # numbered as they were given
    assert await find(storage, terms=("san:a",)) == ["a"]
    found = await storage.row(CATALOG, "b")
    assert found is not None
    assert replace(found, number=0) == replace(first[2], terms=None, revision=1)


async def test_of_new_rows_those_that_exist_are_left_as_they_are(storage: CoreStorage) -> None:
    await put(storage, row("b", terms=("old:b",)))
    written = await put_all(storage, *(row(name, state=5, terms=("new:x",)) for name in "abc"), cas=0)
    assert written == {"a", "c"}
    assert await find(storage, terms=("new:x",)) == ["a", "c"]
    assert await find(storage, states=(0,), terms=("old:b",)) == ["b"]
    assert await put_all(storage, row("a"), cas=0) == set()


async def test_rows_at_the_expected_revision_are_overwritten_together(storage: CoreStorage) -> None:
    await put_all(storage, *(row(name, due_at=7, terms=(f"san:{name}",)) for name in "abcd"), cas=0)
    await put(storage, row("b", due_at=7))
    changed = [row(name, state=1, body=b"new", due_at=7) for name in ("a", "b", "c", "absent")]
    assert await put_all(storage, *changed, cas=1) == {"a", "c"}
    assert await find(storage, states=(1,)) == ["a", "c"]
    assert await find(storage, terms=("san:c",)) == ["c"]
    assert [(await storage.row(CATALOG, name)).revision for name in "abcd"] == [2, 2, 2, 1]  # type: ignore[union-attr]
    assert (await storage.row(CATALOG, "a")).body == b"new"  # type: ignore[union-attr]


async def test_a_row_among_many_may_move_or_get_other_terms(storage: CoreStorage) -> None:
    await put_all(storage, *(row(name, due_at=7, terms=("san:x",)) for name in "abc"), cas=0)
    changed = [row("a", due_at=9), row("b", due_at=7, terms=("san:y",)), row("c", due_at=7)]
    assert await put_all(storage, *changed, cas=1) == {"a", "b", "c"}
    assert await find(storage, terms=("san:x",), due_from=8) == ["a"]
    assert await find(storage, terms=("san:x",)) == ["a", "c"]
    assert await find(storage, terms=("san:y",)) == ["b"]


async def test_one_of_many_batches_makes_each_row(storage: CoreStorage) -> None:
    names = [f"{number:02}" for number in range(12)]
    batches = [[row(name, state=turn) for name in names[turn : turn + 8]] for turn in range(5)]
    made = await asyncio.gather(*(put_all(storage, *batch, cas=0) for batch in batches))
    assert sorted(name for written in made for name in written) == names
    for turn, written in enumerate(made):
        assert set(await find(storage, states=(turn,))) == written


async def test_nothing_is_written_with_a_row_that_cannot_be_stored(storage: CoreStorage) -> None:
    async def carry_on(txn: Transaction) -> None:
        with pytest.raises(InvalidRequestError):
            await txn.put_rows(CATALOG, [row("a"), row("b", terms=("nul\0",))], cas=0)

    await storage.transact(carry_on)
    assert await storage.row_ids(CATALOG) == []


async def test_a_row_stands_in_a_batch_once(storage: CoreStorage) -> None:
    with pytest.raises(RuntimeError):
        await put_all(storage, row("a"), row("a", state=1), cas=0)


async def test_a_cached_row_hears_of_a_batch(storage: CoreStorage) -> None:
    cache = storage.row_cache(CATALOG, lambda found: found.state)
    await put_all(storage, row("a"), row("b"), cas=0)
    assert [await cache.get(name) for name in "ab"] == [0, 0]
    await put_all(storage, row("a", state=1), row("b", state=2), cas=1)
    assert [await cache.get(name) for name in "ab"] == [1, 2]
