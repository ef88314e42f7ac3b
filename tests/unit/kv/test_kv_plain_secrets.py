"""Version 1: what was put is what is read; and its upgrade to version 2."""

from typing import Any

import pytest

from core.errors import InvalidRequestError, NotFoundError, RequestTooLargeError
from core.requests import PreparedData
from kv.engine import MAX_VALUE
from kv.store import INLINE
from kv.unversioned_routes import keep_for
from tests.unit.kv.kv_mount import Mount


def plain() -> Mount:
    return Mount(version="1")


async def read(mount: Mount, path: str) -> dict[str, Any]:
    return dict((await mount.call("read", path)).data or {})


async def test_what_was_put_is_read_with_every_digit() -> None:
    mount = plain()
    body = b'{"n":1.10,"large":12345678901234567890,"deep":{"x":[1E5]},"ttl":"30m"}'
    answer = await mount.call("update", "apps/web", body=body)
    assert (answer.data, answer.status) == (None, None)
    answer = await mount.other_worker().call("read", "apps/web")
    assert isinstance(answer.data, PreparedData)
    assert answer.data.encoded == body
    assert answer.keep_for == 1800
    again = await mount.call("read", "apps/web")
    assert again.data == answer.data


@pytest.mark.parametrize("sizes", [(1, INLINE * 2, 5), (INLINE * 2, 1, INLINE * 3)], ids=["small first", "large first"])
async def test_a_new_value_takes_the_place_of_the_old_one(sizes: tuple[int, ...]) -> None:
    mount = plain()
    for number, size in enumerate(sizes):
        value = {"v": str(number) * size}
        await mount.call("update", "s", value)
        assert await read(mount, "s") == value
        assert await read(mount.other_worker(), "s") == value
        stored = sum(len(entry.value) for entry in mount.storage._state.entries.values())
        assert stored < size + 400
    await mount.call("delete", "s")
    assert mount.storage._state.entries == {}


async def test_a_delete_may_be_repeated() -> None:
    mount = plain()
    await mount.call("update", "s", {"a": 1})
    for _ in range(2):
        assert (await mount.call("delete", "s")).data is None
    with pytest.raises(NotFoundError):
        await mount.call("read", "s")


@pytest.mark.parametrize("body", [b"", b"{}"], ids=["none", "empty"])
async def test_a_put_of_nothing_is_refused(body: bytes) -> None:
    mount = plain()
    with pytest.raises(InvalidRequestError, match="missing data fields"):
        await mount.call("update", "s", body=body)
    with pytest.raises(InvalidRequestError, match="names no secret"):
        await mount.call("update", "", {"a": 1})
    with pytest.raises(NotFoundError):
        await mount.call("read", "s")


async def test_a_value_above_the_limit_leaves_the_old_one() -> None:
    mount = plain()
    await mount.call("update", "s", {"a": 1})
    with pytest.raises(RequestTooLargeError):
        await mount.call("update", "s", {"a": "x" * MAX_VALUE})
    assert await read(mount, "s") == {"a": 1}


async def test_names_are_listed_by_folder_and_recursively() -> None:
    mount = plain()
    for name in ("a", "a/b", "c/d/e"):
        await mount.call("update", name, {"x": 1})
    assert await read_keys(mount, "list", "") == ["a", "a/", "c/"]
    assert await read_keys(mount, "list", "a/") == ["b"]
    assert await read_keys(mount, "scan", "") == ["a", "a/b", "c/d/e"]
    assert await read_keys(mount, "list", "", after="a", limit="1") == ["a/"]
    with pytest.raises(NotFoundError):
        await mount.call("list", "none")


async def read_keys(mount: Mount, operation: str, path: str, **query: str) -> list[str]:
    return list(((await mount.call(operation, path, **query)).data or {})["keys"])


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        ({}, 77),
        ({"ttl": 5}, 5),
        ({"ttl": "1h"}, 3600),
        ({"lease": "90"}, 90),
        ({"ttl": "5s", "lease": "1h"}, 5),
        ({"ttl": "soon"}, 77),
        ({"ttl": None, "lease": "1h"}, 0),
        ({"ttl": True}, 77),
        ({"ttl": [1]}, 77),
        ({"ttl": 1 << 70}, 77),
        ({"ttl": -5}, 0),
    ],
    ids=repr,
)
def test_a_secret_says_for_how_long_it_holds(data: dict[str, Any], seconds: int) -> None:
    assert keep_for(data, 77) == seconds


async def test_changes_are_announced_without_values() -> None:
    mount = plain()
    await mount.call("update", "s", {"a": "needle"})
    await mount.call("delete", "s")
    await mount.call("delete", "s")
    assert [(event.type, event.path) for event in mount.storage.events] == [("kv-v1/write", "s"), ("kv-v1/delete", "s")]
    assert mount.storage.events[0].metadata["path"] == "secret/s"
    assert "needle" not in repr(mount.storage.events)


@pytest.mark.parametrize("size", [1, INLINE * 2], ids=["small", "large"])
async def test_an_upgrade_keeps_every_secret_as_its_first_version(size: int) -> None:
    mount = plain()
    for text in ("old", "new"):
        await mount.call("update", "apps/web", {"v": text * size})
    await mount.call("update", "data/x", {"v": "data is a name like any other"})
    upgraded = mount.other_worker(version="2")
    assert await upgraded.get("apps/web") == {"v": "new" * size}
    assert await upgraded.get("data/x") == {"v": "data is a name like any other"}
    data = (await upgraded.call("read", "metadata/apps/web")).data or {}
    assert (data["current_version"], list(data["versions"])) == (1, ["1"])
    assert data["versions"]["1"]["created_by"]["name"] == "userpass-ann"
    assert (await upgraded.put("apps/web", {"v": "newer"}, cas=1))["version"] == 2
    assert await upgraded.get("apps/web", version="1") == {"v": "new" * size}


@pytest.mark.parametrize("operation", ["update", "delete"])
async def test_a_worker_that_still_serves_version_1_takes_no_version_away(operation: str) -> None:
    """A request that was under way while the mount was upgraded."""
    mount = plain()
    await mount.call("update", "s", {"n": 1})
    upgraded = mount.other_worker(version="2")
    await upgraded.put("s", {"n": 2})
    with pytest.raises(InvalidRequestError, match="upgraded to version 2 meanwhile"):
        await mount.call(operation, "s", {"n": 3})
    assert await upgraded.get("s") == {"n": 2}
    assert await upgraded.get("s", version="1") == {"n": 1}
