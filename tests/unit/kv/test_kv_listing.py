"""LIST and SCAN of names and of metadata."""

from typing import Any

import pytest

from core.errors import InvalidRequestError, NotFoundError, RequestTooLargeError
from core.requests import PreparedData
from kv import listing
from tests.unit.kv.kv_mount import Mount

NAMES = ["a", "a/b", "a/b/c", "a/d", "ab", "z/ü/y"]


async def filled() -> Mount:
    mount = Mount()
    for name in NAMES:
        await mount.put(name, {"n": 1})
    return mount


async def keys(mount: Mount, operation: str, path: str, **query: str) -> list[str]:
    return list(((await mount.call(operation, path, **query)).data or {})["keys"])


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("metadata", ["a", "a/", "ab", "z/"]),
        ("metadata/", ["a", "a/", "ab", "z/"]),
        ("metadata/a", ["b", "b/", "d"]),
        ("metadata/a/", ["b", "b/", "d"]),
        ("metadata/a//b/", ["c"]),
        ("metadata/z/ü", ["y"]),
    ],
)
async def test_a_list_has_the_names_of_one_folder(path: str, found: list[str]) -> None:
    assert await keys(await filled(), "list", path) == found


async def test_a_scan_has_all_names_below() -> None:
    mount = await filled()
    assert await keys(mount, "scan", "metadata") == NAMES
    assert await keys(mount, "scan", "metadata/a") == ["b", "b/c", "d"]
    assert await keys(mount, "scan", "metadata/z/") == ["ü/y"]


@pytest.mark.parametrize("operation", ["list", "scan"])
@pytest.mark.parametrize("path", ["metadata/none", "metadata/ab", "detailed-metadata/none"])
async def test_a_folder_without_names_is_not_found(operation: str, path: str) -> None:
    with pytest.raises(NotFoundError):
        await (await filled()).call(operation, path)


@pytest.mark.parametrize("path", ["metadata", "detailed-metadata"])
@pytest.mark.parametrize("operation", ["list", "scan"])
async def test_pages_make_the_whole(path: str, operation: str) -> None:
    mount = await filled()
    whole = await keys(mount, operation, path)
    pages: list[str] = []
    while len(pages) < len(whole):
        pages += await keys(mount, operation, path, limit="2", after=pages[-1] if pages else "")
    assert pages == whole
    with pytest.raises(NotFoundError):
        await keys(mount, operation, path, limit="2", after=pages[-1])


@pytest.mark.parametrize("limit", ["x", "1.5", "9999999999", "٣"])
async def test_a_limit_that_is_none_is_refused(limit: str) -> None:
    mount = await filled()
    for path in ("metadata", "detailed-metadata"):
        with pytest.raises(InvalidRequestError, match="limit"):
            await mount.call("list", path, limit=limit)
    assert await keys(mount, "list", "metadata", limit="-1") == ["a", "a/", "ab", "z/"]


@pytest.mark.parametrize("after", ["\0", "a\n", "\udcff"], ids=["NUL", "line", "surrogate"])
async def test_a_page_behind_what_is_no_name_is_refused(after: str) -> None:
    mount = await filled()
    for path in ("metadata", "detailed-metadata"):
        with pytest.raises(InvalidRequestError, match="after must be a name"):
            await mount.call("list", path, after=after)


async def test_a_folder_name_that_cannot_be_one_is_refused() -> None:
    with pytest.raises((InvalidRequestError, RequestTooLargeError), match="at most 1900 bytes"):
        await Mount().call("list", "metadata/" + "x" * 1901)


async def test_details_are_the_metadata_of_each_secret() -> None:
    mount = await filled()
    data: dict[str, Any] = (await mount.call("list", "detailed-metadata/a")).data or {}
    assert data["keys"] == ["b", "b/", "d"]
    assert (list(data["key_info"]), data["key_info"]["b/"]) == (["b", "b/", "d"], {})
    assert data["key_info"]["d"] == (await mount.call("read", "metadata/a/d")).data
    data = (await mount.call("scan", "detailed-metadata/")).data or {}
    assert list(data["key_info"]) == data["keys"] == NAMES


@pytest.mark.parametrize(
    ("path", "operation", "most"),
    [("metadata", "scan", "MAX_SCANNED"), ("detailed-metadata", "list", "MAX_DETAILED")],
)
async def test_an_answer_has_an_end(monkeypatch: pytest.MonkeyPatch, path: str, operation: str, most: str) -> None:
    """And says so: otherwise names would be missing unseen."""
    monkeypatch.setattr(listing, most, 3)
    mount = await filled()
    answer = await mount.call(operation, path)
    assert len((answer.data or {})["keys"]) == 3
    assert answer.warnings
    assert (await mount.call(operation, path, limit="3")).warnings is None
    assert len(await keys(mount, operation, path, limit="100")) == 3


async def test_an_answer_is_made_once_until_something_changes() -> None:
    mount = await filled()
    first = (await mount.call("list", "metadata")).data
    assert isinstance(first, PreparedData)
    assert first.encoded == b'{"keys":["a","a/","ab","z/"]}'
    assert (await mount.call("list", "metadata/")).data is first
    assert (await mount.call("list", "metadata", limit="9")).data is not first
    await mount.other_worker().put("new", {"n": 1})
    assert await keys(mount, "list", "metadata") == ["a", "a/", "ab", "new", "z/"]
    await mount.other_worker().call("delete", "metadata/new")
    assert (await mount.call("list", "metadata")).data == first


async def test_what_changed_while_it_was_read_is_not_kept() -> None:
    mount = await filled()
    kept = listing.KeptAnswers(mount.view)
    key = ("list", "", "", 0)
    _, sequence = kept.find(key)
    await mount.put("new", {"n": 1})
    kept.keep(key, PreparedData({}, b"{}"), sequence)
    assert kept.find(key)[0] is None


async def test_few_answers_are_kept() -> None:
    mount = await filled()
    kept = listing.KeptAnswers(mount.view)
    for number in range(200):
        key = ("list", str(number), "", 0)
        _, sequence = kept.find(key)
        kept.keep(key, PreparedData({}, b"x" * 100_000), sequence)
    found = sum(kept.find(("list", str(number), "", 0))[0] is not None for number in range(200))
    assert 0 < found <= 40


async def test_a_page_with_details_ends_before_it_shows_too_many_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_VERSIONS", 3)
    mount = Mount()
    for name in ("a", "b", "b", "c", "c", "c", "c", "d"):
        await mount.put(name, {"n": 1})
    seen, after = [], ""
    while after != "d":
        answer = await mount.call("list", "detailed-metadata", after=after)
        seen.append(list((answer.data or {})["keys"]))
        after = seen[-1][-1]
        assert bool(answer.warnings) == (after != "d")
    assert seen == [["a", "b"], ["c"], ["d"]]
