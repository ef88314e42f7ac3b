"""import/: versions that were made elsewhere, with their numbers, times and states; sent again it changes nothing."""

import copy
from typing import Any

import pytest

from core.errors import InvalidRequestError, NotFoundError, RequestTooLargeError
from kv.engine import MAX_VALUE
from kv.store import INLINE
from tests.unit.kv.kv_mount import Mount

Json = dict[str, Any]


def made(second: int) -> str:
    return f"2026-11-02T10:00:{second:02d}.123456789Z"


def version(number: int, **members: Any) -> Json:
    return {"data": {"n": number}, "created_time": made(number), "deletion_time": "", "destroyed": False, **members}


def body(first: int = 1, last: int = 3, **metadata: Any) -> Json:
    return {"metadata": metadata, "versions": {str(number): version(number) for number in range(first, last + 1)}}


async def bring(mount: Mount, given: Json, name: str = "s") -> Json:
    response = await mount.call("update", f"import/{name}", given)
    return response.data or {}


def rows(mount: Mount) -> dict[str, bytes]:
    return {path: entry.value for path, entry in mount.storage._state.entries.items()}


async def secret_of(mount: Mount, name: str = "s") -> Any:
    return (await mount.engine.parts.store.find(name)).secret  # type: ignore[attr-defined]  # of VersionedRoutes


async def metadata_of(mount: Mount, number: int, name: str = "s") -> Json:
    response = await mount.call("read", f"data/{name}", version=str(number))
    return dict((response.data or {})["metadata"])


async def test_versions_keep_numbers_times_and_states() -> None:
    mount = Mount()
    given = body(3, 7)
    given["versions"]["4"] |= {"data": None, "deletion_time": made(30)}
    given["versions"]["5"] |= {"data": None, "destroyed": True}
    given["versions"]["6"] |= {"deletion_time": made(40), "data": {"n": 6}}
    assert await bring(mount, given) == {
        "imported": [3, 4, 5, 6, 7],
        "present": [],
        "dropped": [],
        "created": True,
        "current_version": 7,
        "oldest_version": 3,
    }
    assert await mount.get("s") == {"n": 7}
    assert await mount.get("s", version="3") == {"n": 3}
    seen = await metadata_of(mount, 6)
    assert (seen["created_time"], seen["deletion_time"], seen["destroyed"]) == (made(6), made(40), False)
    for number in (4, 5):
        assert (await metadata_of(mount, number))["destroyed"] is True
    await mount.call("update", "undelete/s", {"versions": [4, 6]})
    assert await mount.get("s", version="6") == {"n": 6}
    assert (await mount.put("s", {"n": 8}))["version"] == 8


async def test_the_secret_keeps_its_metadata() -> None:
    mount = Mount()
    settings: Json = {
        "max_versions": 20,
        "cas_required": True,
        "delete_version_after": "3h0m0s",
        "custom_metadata": {"team": "pay"},
        "owner": "ann",
        "classification": "internal",
        "rotate_every": "720h",
        "expires_at": "2030-01-01T00:00:00Z",
        "created_time": made(0),
        "updated_time": made(50),
        "current_version": 3,
        "versions": {},
    }
    await bring(mount, body(**settings))
    secret = await secret_of(mount)
    assert (secret.max_versions, secret.cas_required, secret.delete_version_after) == (20, True, 10800)
    assert (secret.custom_metadata, secret.owner, secret.classification) == ({"team": "pay"}, "ann", "internal")
    assert (secret.rotate_every, secret.expires_at) == (2592000, 1893456000 * 10**9)
    assert secret.updated_at - secret.created_at == 50 * 10**9
    assert secret.versions[1].deleted_at == 0


async def test_a_secret_may_have_metadata_alone() -> None:
    mount = Mount()
    given = {"metadata": {"owner": "ann", "created_time": made(1)}, "versions": {}}
    assert (await bring(mount, given))["current_version"] == 0
    assert (await bring(mount, given))["created"] is False
    await bring(mount, body())
    assert (await secret_of(mount)).owner == "ann"


@pytest.mark.parametrize("text", ["1.10", "12345678901234567890", "-0.0", "1E5", "0.1000"])
async def test_numbers_of_an_import_keep_their_digits(text: str) -> None:
    mount = Mount()
    sent = b'{"versions":{"1":{"data":{"n":%b,"deep":[{"m":%b}]}}}}' % (text.encode(), text.encode())
    for _ in range(2):
        await mount.call("update", "import/s", body=sent)
    answer = await mount.call("read", "data/s")
    assert answer.data is not None
    assert answer.data.encoded.count(text.encode()) == 2  # type: ignore[attr-defined]  # PreparedData


@pytest.mark.parametrize("size", [1, INLINE, INLINE * 3], ids=["small", "at the edge", "large"])
async def test_sent_again_it_changes_nothing(size: int) -> None:
    mount = Mount()
    given = body(4, 9, owner="ann", updated_time=made(20))
    for row in given["versions"].values():
        row["data"]["v"] = "x" * size
    given["versions"]["5"] |= {"data": None, "deletion_time": made(30)}
    given["versions"]["6"] |= {"data": None, "destroyed": True}
    given["versions"]["7"] |= {"deletion_time": "2099-01-01T00:00:00Z"}
    await bring(mount, given)
    before, events = rows(mount), len(mount.storage._state.events)
    again = await bring(mount, given)
    assert (again["imported"], again["present"]) == ([], [4, 5, 6, 7, 8, 9])
    assert (rows(mount), len(mount.storage._state.events)) == (before, events)


async def test_several_requests_append() -> None:
    mount = Mount()
    await bring(mount, body(1, 3))
    await bring(mount, body(2, 5))
    assert (await bring(mount, body(6, 6)))["imported"] == [6]
    assert [(await mount.get("s", version=str(number)))["n"] for number in range(1, 7)] == [1, 2, 3, 4, 5, 6]
    assert (await secret_of(mount)).labels == {"current": 6, "previous": 5}
    assert [event.metadata.get("versions") for event in mount.storage._state.events] == ["1,2,3", "4,5", "6"]
    assert {event.type for event in mount.storage._state.events} == {"kv-v2/import"}


async def test_old_versions_are_dropped_as_puts_would() -> None:
    mount = Mount()
    first = await bring(mount, body(1, 12))
    assert (first["dropped"], first["oldest_version"]) == ([1, 2], 3)
    again = await bring(mount, body(1, 12))
    assert (again["dropped"], again["present"]) == ([1, 2], list(range(3, 13)))
    assert sorted((await secret_of(mount)).values) == list(range(3, 13))
    kept = await bring(mount, body(1, 12, max_versions=12), "other")
    assert (kept["dropped"], kept["oldest_version"]) == ([], 0)


async def test_labels_are_those_that_are_said() -> None:
    mount = Mount()
    stages = {"stages": {"current": 4, "AWSPENDING": 5, "golden": 1}}
    await bring(mount, body(1, 3))
    await bring(mount, body(1, 5) | stages)
    assert (await secret_of(mount)).labels == {"current": 4, "pending": 5, "golden": 1}
    assert await mount.get("s") == {"n": 4}
    await bring(mount, body(1, 5) | stages)
    with pytest.raises(InvalidRequestError, match="differs in its stages"):
        await bring(mount, body(1, 5) | {"stages": {"current": 5}})


async def test_the_importer_is_the_author() -> None:
    mount = Mount()
    mount.headers = {"X-Mimir-Reason": "move of 2026"}
    await bring(mount, body())
    author = (await secret_of(mount)).versions[2].author
    assert (author.name, author.reason) == ("userpass-ann", "move of 2026")


async def test_a_version_without_a_time_is_of_now_and_not_compared() -> None:
    mount = Mount()
    given: Json = {"versions": {"1": {"data": {"a": 1}}}}
    await bring(mount, given)
    mount.clock.advance(100)
    assert (await bring(mount, given))["present"] == [1]
    assert (await secret_of(mount)).versions[1].created_at == 1_800_000_000 * 10**9


CHANGES: list[tuple[str, Json, str]] = [
    ("value", {"data": {"n": 9}}, "version 2 is there already and differs: data"),
    ("digits", {"data": {"n": 2.0}}, "version 2 .* data"),
    ("names", {"data": {"n": 2, "m": 2}}, "version 2 .* data"),
    ("created", {"created_time": made(9)}, "version 2 .* created_time"),
    ("deleted", {"deletion_time": made(9)}, "version 2 .* deletion_time"),
    ("destroyed", {"data": None, "destroyed": True}, "version 2 .* destroyed"),
    ("disabled", {"state": "disabled"}, "version 2 .* state"),
]


@pytest.mark.parametrize(("change", "says"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES])
async def test_a_version_that_differs_is_refused_and_nothing_is_written(change: Json, says: str) -> None:
    mount = Mount()
    await bring(mount, body())
    before = rows(mount)
    given = body(1, 5)
    given["versions"]["2"] |= change
    with pytest.raises(InvalidRequestError, match=says):
        await bring(mount, given)
    assert rows(mount) == before


SETTINGS: list[Json] = [
    {"owner": "bob"},
    {"max_versions": 5},
    {"cas_required": True},
    {"delete_version_after": "1s"},
    {"custom_metadata": {"a": "c"}},
    {"created_time": made(3)},
]


@pytest.mark.parametrize("change", SETTINGS, ids=lambda row: next(iter(row)))
async def test_metadata_that_differs_is_refused(change: Json) -> None:
    mount = Mount()
    settings: Json = {"owner": "ann", "custom_metadata": {"a": "b"}, "created_time": made(1)}
    await bring(mount, body(**settings))
    before = rows(mount)
    with pytest.raises(InvalidRequestError, match=f"differs in its metadata: {next(iter(change))}"):
        await bring(mount, body(1, 4, **settings | change))
    assert rows(mount) == before


async def test_the_order_of_names_is_not_compared_and_truth_is_no_number() -> None:
    mount = Mount()
    await bring(mount, {"versions": {"1": {"data": {"a": 1, "b": {"c": 1, "d": 2}}}}})
    assert (await bring(mount, {"versions": {"1": {"data": {"b": {"d": 2, "c": 1}, "a": 1}}}}))["present"] == [1]
    with pytest.raises(InvalidRequestError, match="differs: data"):
        await bring(mount, {"versions": {"1": {"data": {"a": True, "b": {"c": 1, "d": 2}}}}})


async def test_a_version_missing_below_the_latest_is_refused() -> None:
    mount = Mount()
    await bring(mount, {"versions": {"1": version(1), "5": version(5)}})
    with pytest.raises(InvalidRequestError, match="version 3 is not there"):
        await bring(mount, {"versions": {"3": version(3)}})


def with_version(number: str = "1", **members: Any) -> Json:
    return {"versions": {number: version(1) | members}}


REFUSED: list[tuple[str, Json, str]] = [
    ("nothing", {}, "give versions"),
    ("number 0", with_version("0"), "named by their numbers"),
    ("leading zero", with_version("01"), "named by their numbers"),
    ("minus", with_version("-1"), "named by their numbers"),
    ("word", with_version("latest"), "named by their numbers"),
    ("huge", with_version("4294967296"), "named by their numbers"),
    ("list", {"versions": [1]}, "versions must be an object"),
    ("version null", {"versions": {"1": None}}, "must be an object"),
    ("data list", with_version(data=[1]), "data must be an object"),
    ("no data", with_version(data=None), "no data, and is neither"),
    ("no data yet to go", with_version(data=None, deletion_time="2099-01-01T00:00:00Z"), "no data, and is neither"),
    ("destroyed with data", with_version(destroyed=True), "destroyed and has data"),
    ("state", with_version(state="asleep"), "state is enabled"),
    ("time", with_version(created_time="yesterday"), r"versions.1.created_time must be a time"),
    ("no such time", with_version(created_time="2026-02-30T00:00:00Z"), "not a time that exists"),
    ("future", with_version(created_time="2027-02-01T00:00:00Z"), "created_time lies in the future"),
    ("deletion", with_version(deletion_time="x"), "deletion_time must be a time"),
    ("deletion in 9999", with_version(deletion_time="9999-12-31T23:59:59Z"), "between 1970 and 2262"),
    ("expires in 9999", body(expires_at="9999-12-31T23:59:59Z"), "between 1970 and 2262"),
    ("long ago", with_version(created_time="1969-01-01T00:00:00Z"), "between 1970 and 2262"),
    ("secret in the future", body(created_time="2030-01-01T00:00:00Z"), "metadata.created_time lies in the future"),
    ("max_versions", body(max_versions=-1), "max_versions must be from 0"),
    ("duration", body(delete_version_after="soon"), "delete_version_after"),
    ("rotate", body(rotate_every=[1]), "rotate_every"),
    ("expires", body(expires_at="never"), "expires_at"),
    ("custom", body(custom_metadata={"a": 1}), "custom_metadata"),
    ("stage", body() | {"stages": {"A B": 1}}, "a stage is"),
    ("stage twice", body() | {"stages": {"current": 1, "AWSCURRENT": 2}}, "one twice"),
    ("stage of nothing", body() | {"stages": {"golden": 9}}, "names version 9"),
    ("many", {"versions": {str(n): {"data": {}} for n in range(1, 1002)}}, "at most 1000 versions"),
]


@pytest.mark.parametrize(("given", "says"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_an_import_that_is_none_is_refused(given: Json, says: str) -> None:
    mount = Mount()
    with pytest.raises(InvalidRequestError, match=says):
        await bring(mount, copy.deepcopy(given))
    assert rows(mount) == {}


async def test_each_value_has_the_limit_of_a_put() -> None:
    mount = Mount()
    fits = "x" * (MAX_VALUE - len('{"v":""}'))
    given = {"versions": {"1": {"data": {"v": fits}}, "2": {"data": {"v": fits + "x"}}}}
    with pytest.raises(RequestTooLargeError):
        await bring(mount, given)
    with pytest.raises(NotFoundError):
        await mount.get("s")
    del given["versions"]["2"]
    await bring(mount, given)
    assert await mount.get("s") == {"v": fits}


async def test_a_clock_that_is_a_little_ahead_is_borne() -> None:
    mount = Mount()
    await bring(mount, with_version(created_time="2027-01-15T08:00:30Z"))
    assert (await secret_of(mount)).versions[1].created_at == (1_800_000_000 + 30) * 10**9
