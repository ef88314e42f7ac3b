"""Reports: which secrets are overdue, without owner, never read or not for long; and who is shown what."""

import base64
import contextlib

import pytest

from core.errors import InvalidRequestError
from kv import walk
from tests.unit.kv.kv_mount import Granted, Mount

DAY = 86400


async def _report(mount: Mount, **query: str) -> dict[str, list[str]]:
    """Reasons by name."""
    data = (await mount.call("read", "report", None, **query)).data or {}  # type: ignore[arg-type]  # no `body` in it
    return {row["name"]: row["reasons"] for row in data["secrets"]}


async def _page(mount: Mount, **query: str) -> tuple[list[str], str]:
    data = (await mount.call("read", "report", None, **query)).data or {}  # type: ignore[arg-type]  # as above
    return [row["name"] for row in data["secrets"]], data["next"]


async def _secret(mount: Mount, name: str, **metadata: object) -> None:
    await mount.put(name, {"a": 1})
    if metadata:
        await mount.call("update", f"metadata/{name}", metadata)


async def _aged() -> Mount:
    """Secrets of each kind of trouble, 100 days old."""
    mount = Mount()
    await _secret(mount, "fine", owner="ann", rotate_every="1000d", expires_at="2099-01-01T00:00:00Z")
    await _secret(mount, "old", owner="ann", rotate_every="30d")
    await _secret(mount, "expired", owner="ann", expires_at="2027-02-01T00:00:00Z")
    await _secret(mount, "ownerless")
    await _secret(mount, "untouched", owner="ann")
    await _secret(mount, "forgotten", owner="ann")
    await mount.get("forgotten")
    mount.clock.advance(100 * DAY)
    for name in ("fine", "old", "expired", "ownerless"):
        await mount.get(name)
    await _secret(mount, "new", owner="ann")
    return mount


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            {},
            {
                "expired": ["overdue"],
                "forgotten": ["unread"],
                "new": ["never_read"],
                "old": ["overdue"],
                "ownerless": ["no_owner"],
                "untouched": ["never_read", "unread"],
            },
        ),
        ({"overdue": "true"}, {"expired": ["overdue"], "old": ["overdue"]}),
        ({"no_owner": "1"}, {"ownerless": ["no_owner"]}),
        ({"never_read": "TRUE"}, {"new": ["never_read"], "untouched": ["never_read"]}),
        ({"unread_for": "100d"}, {"forgotten": ["unread"], "untouched": ["unread"]}),
        ({"unread_for": "8640001"}, {}),
        ({"no_owner": "true", "overdue": "true", "prefix": "o"}, {"old": ["overdue"], "ownerless": ["no_owner"]}),
        ({"overdue": "false", "prefix": "e"}, {}),
        ({"prefix": "old"}, {"old": ["overdue"]}),
    ],
    ids=["all", "overdue", "no_owner", "never_read", "unread", "unread longer", "two", "but overdue", "a name"],
)
async def test_the_report_shows_the_kinds_that_are_asked_for(
    query: dict[str, str], expected: dict[str, list[str]]
) -> None:
    assert await _report(await _aged(), **query) == expected


async def test_a_row_tells_who_is_to_be_asked() -> None:
    mount = Mount()
    await _secret(
        mount, "s", owner="ann", classification="secret", rotate_every="1h", expires_at="2026-01-01T00:00:00Z"
    )
    await mount.get("s")
    data = (await mount.call("read", "report")).data or {}
    [row] = data["secrets"]
    read = row.pop("last_read")
    assert row == {
        "name": "s",
        "reasons": ["overdue"],
        "owner": "ann",
        "classification": "secret",
        "rotate_every": "1h0m0s",
        "expires_at": "2026-01-01T00:00:00Z",
        "current_version": 1,
        "updated_time": "2027-01-15T08:00:00Z",
    }
    assert read == {
        "at": "2027-01-15T08:00:00Z",
        "by": "userpass-ann",
        "entity_id": "ann-id",
        "from": "10.0.0.7",
        "first_at": "2027-01-15T08:00:00Z",
        "days": 1,
    }


async def test_a_new_version_is_not_overdue() -> None:
    mount = Mount()
    await _secret(mount, "s", owner="ann", rotate_every="30d")
    mount.clock.advance(31 * DAY)
    assert await _report(mount, overdue="true") == {"s": ["overdue"]}
    await mount.put("s", {"a": 2}, stage="pending")
    assert await _report(mount, overdue="true") == {"s": ["overdue"]}
    await mount.call("update", "stages/s", {"stage": "current", "version": 2})
    assert await _report(mount, overdue="true") == {}


async def test_a_read_in_another_worker_shows_once_it_is_written() -> None:
    mount = Mount()
    await _secret(mount, "s", owner="ann")
    other = mount.other_worker()
    await other.get("s")
    assert await _report(mount, never_read="true") == {"s": ["never_read"]}
    assert await _report(other, never_read="true") == {}
    await other.engine.tend()  # type: ignore[attr-defined]  # of VersionedRoutes
    assert await _report(mount, never_read="true") == {}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"overdue": "maybe"}, "overdue must be true or false"),
        ({"unread_for": "soon"}, "unread_for"),
        ({"unread_for": "0"}, "unread_for must be"),
        ({"unread_for": "-5d"}, "unread_for must be"),
        ({"limit": "0"}, "limit must be"),
        ({"limit": "10001"}, "limit must be"),
        ({"limit": "-1"}, "limit must be"),
        ({"limit": "ten"}, "limit must be"),
        ({"limit": "\u0661"}, "limit must be"),
        ({"after": "apps/web"}, "after must be"),
        ({"after": "ä"}, "after must be"),
        ({"after": base64.urlsafe_b64encode(b"x" * 156).decode()}, "after must be"),
        ({"prefix": "x" * 2000}, "at most 1900 bytes"),
        ({"prefix": "a\0b"}, "cannot be printed"),
        ({"prefix": "\udc80"}, "cannot be printed"),
    ],
    ids=[
        "flag",
        "duration",
        "no duration",
        "negative duration",
        "limit 0",
        "limit too large",
        "limit negative",
        "limit word",
        "limit foreign digit",
        "after name",
        "after letter",
        "after forged",
        "prefix long",
        "prefix nul",
        "prefix surrogate",
    ],
)
@pytest.mark.parametrize("has_key", [False, True], ids=["no cursor yet", "cursors"])
async def test_a_query_that_is_none_is_refused(query: dict[str, str], says: str, has_key: bool) -> None:
    mount = Mount()
    await _secret(mount, "s")
    if has_key:
        await _page(mount, limit="1")
    with pytest.raises(InvalidRequestError, match=says):
        await _report(mount, **query)


# --- pages ------------------------------------------------------------------------------------------------------------


async def _all_pages(mount: Mount, **query: str) -> list[list[str]]:
    pages, after = [], ""
    while True:
        names, after = await _page(mount, **query, after=after)
        pages.append(names)
        if not after:
            return pages


@pytest.mark.parametrize("prefix", ["", "s", "s1"], ids=["all", "half a name", "a name and a folder"])
@pytest.mark.parametrize("limit", ["1", "2", "7", "1000"], ids=str)
async def test_pages_hold_each_secret_once_and_in_order(
    prefix: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_SLICE", 3)
    mount = Mount()
    names = ["s", "s1", "s1/a", "s1/b/c", "s10", "s2", "t", "é"]
    for name in names:
        await _secret(mount, name)
    pages = await _all_pages(mount.other_worker(), prefix=prefix, limit=limit)
    found = [name for page in pages for name in page]
    assert found == sorted(name for name in names if name.startswith(prefix))
    assert all(len(page) <= int(limit) for page in pages)


async def test_a_page_is_of_secrets_that_were_looked_at() -> None:
    mount = Mount()
    for number in range(4):
        await _secret(mount, f"s{number}", **({"owner": "ann"} if number < 3 else {}))
    assert await _all_pages(mount, no_owner="true", limit="3") == [[], ["s3"]]


async def test_a_page_has_a_limited_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MAX_ROWS", 2)
    mount = Mount()
    for number in range(3):
        await _secret(mount, f"s{number}")
    assert await _all_pages(mount, limit="10000") == [["s0", "s1"], ["s2"]]


async def test_a_secret_that_goes_away_between_pages_leaves_no_gap() -> None:
    mount = Mount()
    for name in "abcd":
        await _secret(mount, name)
    first, after = await _page(mount, limit="2")
    await mount.call("delete", "metadata/b")
    second, _ = await _page(mount, limit="2", after=after)
    assert (first, second) == (["a", "b"], ["c", "d"])


async def test_a_cursor_is_of_one_prefix() -> None:
    mount = Mount()
    for name in ("a/1", "a/2", "b/1"):
        await _secret(mount, name)
    _, after = await _page(mount, prefix="a/", limit="1")
    with pytest.raises(InvalidRequestError, match="another prefix"):
        await _page(mount, prefix="b/", after=after)


# --- who is shown what ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "shown"),
    [
        ({"": {"read"}}, ["apps/a", "apps/b", "ops/c"]),
        ({"metadata/": {"read"}}, ["apps/a", "apps/b", "ops/c"]),
        ({"metadata/apps/": {"read"}}, ["apps/a", "apps/b"]),
        ({"metadata/apps/b": {"read"}}, ["apps/b"]),
        ({"data/": {"read"}}, []),
        ({"metadata/": {"list", "update", "delete"}}, []),
        ({}, []),
    ],
    ids=["all", "metadata", "a folder", "one", "values alone", "list alone", "nothing"],
)
async def test_the_report_shows_what_the_caller_may_read(table: dict[str, set[str]], shown: list[str]) -> None:
    mount = Mount()
    for name in ("apps/a", "apps/b", "ops/c"):
        await _secret(mount, name)
    mount.access = Granted(table)
    assert await _all_pages(mount) == [shown]


async def test_what_the_caller_may_not_see_does_not_count() -> None:
    """Whether there are hidden secrets or not, the pages are the same."""
    outcomes = []
    for hidden in (0, 30):
        mount = Mount()
        for number in range(hidden):
            await _secret(mount, f"a{number}")
            await _secret(mount, f"z{number}")
        for name in ("m1", "m2", "m3"):
            await _secret(mount, name)
        mount.access = Granted({"metadata/m": {"read"}})
        outcomes.append(await _all_pages(mount, limit="2"))
    assert outcomes == [[["m1", "m2"], ["m3"]]] * 2


async def test_a_cursor_tells_nothing_of_the_name_it_stands_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "MAX_NAMES", 1)
    mount = Mount()
    mount.access = Granted({})
    cursors: list[str] = []
    for name in ("a", "a-much-longer-name-than-the-other-one"):
        await _secret(mount, name)
        names, after = await _page(mount, after=cursors[-1] if cursors else "")
        assert names == []
        cursors.append(after)
    assert len({len(cursor) for cursor in cursors}) == 1
    with contextlib.suppress(UnicodeDecodeError):
        assert "name" not in base64.urlsafe_b64decode(cursors[1] + "==").decode()
    assert (await _page(mount))[1] != cursors[0]  # nor whether it stands where another stood


async def test_a_caller_without_access_sees_nothing() -> None:
    mount = Mount()
    await _secret(mount, "s")
    mount.access = None  # type: ignore[assignment]  # a pipeline that forgot to tell
    assert await _report(mount) == {}


async def test_looking_at_all_secrets_keeps_none_of_them_in_memory() -> None:
    mount = Mount()
    await _secret(mount, "s")
    fresh = mount.other_worker()
    await _report(fresh)
    assert fresh.engine.parts.store.peek("s") is None  # type: ignore[attr-defined]  # of VersionedRoutes
