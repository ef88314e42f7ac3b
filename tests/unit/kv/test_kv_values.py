"""Versions of values: put, read, patch, delete, destroy; labels; compare-and-set."""

import random
import tracemalloc
from typing import Any

import pytest

from core.errors import InvalidRequestError, NotFoundError, RequestTooLargeError
from core.requests import Operation, Request
from kv import exact_json, store
from kv.engine import MAX_VALUE
from kv.secret import State
from kv.store import INLINE
from tests.unit.kv.kv_mount import Mount


async def test_a_version_is_read_back_by_number_and_without() -> None:
    mount = Mount()
    assert (await mount.put("apps/web", {"a": 1}))["version"] == 1
    assert (await mount.put("apps/web", {"a": 2}))["version"] == 2
    assert await mount.get("apps/web") == {"a": 2}
    assert await mount.get("apps/web", version="1") == {"a": 1}
    assert await mount.other_worker().get("apps/web") == {"a": 2}


@pytest.mark.parametrize("size", [1, INLINE - 20, INLINE, INLINE * 3], ids=["tiny", "fits", "too large", "large"])
async def test_every_version_is_found_wherever_its_value_is_kept(size: int) -> None:
    mount = Mount()
    for number in range(1, 5):
        await mount.put("s", {"v": str(number) * size})
    for number in range(1, 5):
        assert await mount.get("s", version=str(number)) == {"v": str(number) * size}
    await mount.call("update", "destroy/s", {"versions": [2, 4]})
    assert await mount.get("s", version="3") == {"v": "3" * size}
    left = [path for path in mount.storage._state.entries if "/v/" in path]
    assert len(left) <= 2


@pytest.mark.parametrize(
    "text", ["1.10", "1e400", "12345678901234567890", "9007199254740993", "-0.0", "1E5", "0.1000"], ids=str
)
async def test_numbers_keep_their_digits(text: str) -> None:
    mount = Mount()
    body = b'{"data":{"n":%b,"deep":[{"m":%b}]}}' % (text.encode(), text.encode())
    await mount.call("update", "data/s", body=body) if text != "1e400" else await _put_large(mount, body)
    answer = await mount.call("read", "data/s")
    assert answer.data is not None
    assert b'"n":' + text.encode() in answer.data.encoded  # type: ignore[attr-defined]  # PreparedData
    assert b'[{"m":' + text.encode() in answer.data.encoded  # type: ignore[attr-defined]  # as above


async def _put_large(mount: Mount, body: bytes) -> None:
    """What the generic decoder of this test refuses, the pipeline takes."""
    from core.requests import Operation, Request
    from kv.bodies import PutBody

    found = mount.routes.find("data/s")
    assert found is not None
    request = Request(
        request_id="r", operation=Operation.UPDATE, mount_path="secret/", path="data/s", params=found[1], body=body
    )
    await found[0].methods[Operation.UPDATE].handler(request, PutBody())


async def test_a_value_at_the_limit_is_taken_and_one_above_is_not() -> None:
    mount = Mount()
    value = "x" * (MAX_VALUE - len('{"v":""}'))
    await mount.put("s", {"v": value})
    with pytest.raises(RequestTooLargeError, match="at most 1048576 bytes"):
        await mount.put("s", {"v": value + "x"})
    assert await mount.get("s") == {"v": value}


async def test_a_deleted_version_answers_404_with_its_metadata() -> None:
    mount = Mount()
    await mount.put("s", {"a": 1})
    await mount.call("delete", "data/s")
    answer = await mount.call("read", "data/s")
    assert answer.status == 404
    assert answer.data is not None
    assert answer.data["data"] is None
    assert answer.data["metadata"]["deletion_time"]
    await mount.call("update", "undelete/s", {"versions": "1"})
    assert await mount.get("s") == {"a": 1}


async def test_a_version_that_is_deleted_by_time_is_gone_on_time() -> None:
    mount = Mount()
    change = mount.engine.parts.engine.change_settings  # type: ignore[attr-defined]  # of VersionedRoutes
    await change(lambda settings: type(settings)(delete_version_after=60))
    await mount.put("s", {"a": 1})
    assert await mount.get("s") == {"a": 1}
    mount.clock.advance(61)
    assert (await mount.call("read", "data/s")).status == 404


async def test_a_destroyed_value_is_nowhere() -> None:
    mount = Mount()
    await mount.put("s", {"a": "needle"})
    await mount.put("s", {"a": "needle"})
    await mount.call("update", "destroy/s", {"versions": [1, 2]})
    assert (await mount.call("read", "data/s")).status == 404
    assert not any(b"needle" in entry.value for entry in mount.storage._state.entries.values())


@pytest.mark.parametrize("operation", ["update", "patch"])
@pytest.mark.parametrize("cas", [None, "", False, True, "1", "-2"], ids=repr)
async def test_a_cas_that_is_loosely_another_version_holds_back(cas: object, operation: str) -> None:
    mount = Mount()
    await mount.put("s", {"a": 1})
    await mount.put("s", {"a": 2})
    with pytest.raises(InvalidRequestError, match="did not match the current version"):
        await mount.call(operation, "data/s", {"data": {"a": 3}, "options": {"cas": cas}})
    assert await mount.get("s") == {"a": 2}


@pytest.mark.parametrize(("before", "cas"), [(0, None), (0, ""), (0, False), (1, True), (2, "2")], ids=repr)
async def test_a_cas_that_is_loosely_the_current_version_is_taken(before: int, cas: object) -> None:
    mount = Mount()
    for number in range(before):
        await mount.put("s", {"n": number})
    assert (await mount.put("s", {"a": 3}, cas=cas))["version"] == before + 1


@pytest.mark.parametrize(("cas", "taken"), [(0, False), (1, False), (2, True), (3, False)], ids=str)
async def test_a_write_with_cas_needs_the_current_version(cas: int, taken: bool) -> None:
    mount = Mount()
    await mount.put("s", {"a": 1})
    await mount.put("s", {"a": 2})
    if taken:
        assert (await mount.put("s", {"a": 3}, cas=cas))["version"] == 3
        return
    with pytest.raises(InvalidRequestError, match="did not match the current version"):
        await mount.put("s", {"a": 3}, cas=cas)
    assert await mount.get("s") == {"a": 2}


async def test_a_pending_version_is_read_by_its_label_alone_until_it_is_promoted() -> None:
    mount = Mount()
    await mount.put("s", {"a": 1})
    await mount.put("s", {"a": 2}, stage="pending", cas=0)
    assert await mount.get("s") == {"a": 1}
    assert await mount.get("s", stage="pending") == {"a": 2}
    with pytest.raises(InvalidRequestError):
        await mount.put("s", {"a": 3}, stage="pending", cas=0)
    engine = mount.engine.parts.engine  # type: ignore[attr-defined]  # of VersionedRoutes
    await engine.set_label("s", "current", 2)
    assert await mount.get("s") == {"a": 2}
    assert await mount.get("s", stage="previous") == {"a": 1}
    with pytest.raises(NotFoundError):
        await mount.get("s", stage="pending")


async def test_a_patch_merges_and_keeps_what_it_does_not_name() -> None:
    mount = Mount()
    await mount.put("s", {"a": {"b": 1, "c": 2}, "d": 3})
    await mount.call("patch", "data/s", {"data": {"a": {"b": None, "x": 9}, "e": [1]}})
    assert await mount.get("s") == {"a": {"c": 2, "x": 9}, "d": 3, "e": [1]}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{}", "no data provided"),
        (b'{"data":null}', "no data provided"),
        (b'{"data":[1]}', "data must be"),
        (b'{"data":"x"}', "data must be"),
        (b'{"data":{},"options":{"cas":-1}}', "check-and-set parameter did not match"),
        (b'{"data":{},"options":{"cas":"x"}}', "error parsing check-and-set parameter"),
        (b'{"data":{},"options":{"cas":0.0}}', "error parsing check-and-set parameter"),
        (b'{"data":{},"options":{"cas":[]}}', "options.cas must be"),
        (b'{"data":{},"options":{"stage":"A B"}}', "a stage is"),
    ],
    ids=["none", "null", "list", "text", "negative", "word", "float", "list", "label"],
)
async def test_a_put_that_is_not_one_is_refused(body: bytes, says: str) -> None:
    mount = Mount()
    with pytest.raises(InvalidRequestError, match=says):
        await mount.call("update", "data/s", body=body)
    with pytest.raises(NotFoundError):
        await mount.call("read", "data/s")


@pytest.mark.parametrize("versions", [None, [], "", "x", [0], [-1], [1.5], {"a": 1}, "1,,2"], ids=repr)
async def test_versions_that_are_none_are_refused(versions: object) -> None:
    mount = Mount()
    await mount.put("s", {"a": 1})
    for path in ("delete", "undelete", "destroy"):
        with pytest.raises(InvalidRequestError):
            await mount.call("update", f"{path}/s", {"versions": versions})
    assert await mount.get("s") == {"a": 1}


async def test_old_versions_are_dropped_but_not_those_with_a_label() -> None:
    mount = Mount()
    await mount.put("s", {"n": 1})
    engine = mount.engine.parts.engine  # type: ignore[attr-defined]  # of VersionedRoutes
    await engine.set_label("s", "golden", 1)
    for number in range(2, 15):
        await mount.put("s", {"n": number})
    assert await mount.get("s", stage="golden") == {"n": 1}
    assert await mount.get("s", version="5") == {"n": 5}
    with pytest.raises(NotFoundError):
        await mount.get("s", version="4")
    opened = await mount.engine.parts.store.find("s")  # type: ignore[attr-defined]  # of VersionedRoutes
    assert sorted(opened.secret.values) == [1, *range(5, 15)]


async def test_who_wrote_a_version_is_kept_with_it() -> None:
    mount = Mount()
    mount.headers = {"X-Mimir-Reason": "rotation 17"}
    await mount.put("s", {"a": 1})
    opened = await mount.engine.parts.store.find("s")  # type: ignore[attr-defined]  # of VersionedRoutes
    author = opened.secret.versions[1].author
    assert (author.name, author.entity_id, author.address, author.reason) == (
        "userpass-ann",
        "ann-id",
        "10.0.0.7",
        "rotation 17",
    )


@pytest.mark.parametrize("version", [0, 1], ids=["current", "by number"])
async def test_a_read_during_which_the_secret_was_made_anew_mixes_no_two_secrets(version: int) -> None:
    mount = Mount()
    other = mount.other_worker()
    await mount.put("s", {"v": "old" * INLINE})
    parts = mount.engine.parts  # type: ignore[attr-defined]  # of VersionedRoutes
    opened = await parts.store.find("s")  # the row is read, the value is not yet
    await other.call("delete", "metadata/s")
    mount.clock.advance(60)
    for _ in range(1 if version else 12):  # the number is one that the old secret never had
        await other.put("s", {"v": "new" * INLINE})
    found = await parts.engine.read(opened, version=version)
    assert found.value.startswith(b'{"v":"new')
    assert found.secret.secret_id != opened.secret.secret_id
    assert found.secret.versions[found.number].created_at > opened.secret.created_at


async def test_a_version_that_is_to_be_deleted_after_ages_is_stored_and_read() -> None:
    mount = Mount()
    await mount.call("update", "metadata/s", {"delete_version_after": 2**53})
    written = await mount.put("s", {"a": 1})
    assert written["deletion_time"] == "2262-04-11T23:47:16Z"
    assert await mount.get("s") == {"a": 1}


async def test_an_event_names_the_versions_that_are_there() -> None:
    mount = Mount()
    for _ in range(3):
        await mount.put("s", {"a": 1})
    await mount.call("update", "destroy/s", {"versions": list(range(2, 10_000))})
    assert mount.storage.events[-1].metadata["versions"] == "2,3"


@pytest.mark.parametrize("space", [b"\x0b", b"\x0c"], ids=["VT", "FF"])
def test_a_form_that_begins_with_what_only_python_takes_for_a_space_is_no_json(space: bytes) -> None:
    form = Request(
        request_id="r",
        operation=Operation.UPDATE,
        mount_path="kv/",
        path="s",
        data={"a": "b"},
        body=space + b'{"data":{},"a=b"}',
    )
    assert exact_json.whole_body(form) == {"a": "b"}
    with pytest.raises(InvalidRequestError, match="no data provided"):
        exact_json.data_member(form)


@pytest.mark.parametrize(
    ("value", "metadata"),
    [({"v": ["a"] * 3000}, {}), ({"v": [[]] * 3000}, {}), ({}, {f"{n:0128}": "v" * 512 for n in range(64)})],
    ids=["strings", "lists", "custom metadata"],
)
async def test_the_cache_weighs_what_a_secret_takes_in_memory(value: dict[str, Any], metadata: dict[str, str]) -> None:
    mount = Mount()
    await mount.put("s", value)
    if metadata:
        await mount.call("update", "metadata/s", {"custom_metadata": metadata})
    find = mount.engine.parts.store.find  # type: ignore[attr-defined]  # of VersionedRoutes
    tracemalloc.start()
    opened = await find("s")
    await mount.get("s")
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert opened.answer is not None
    assert store._weigh(opened) > taken > 50_000


async def test_a_secret_with_too_many_versions_takes_no_more_until_fewer_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "MAX_ROW", 360)
    mount = Mount()
    for _ in range(5):
        await mount.put("s", {"a": 1})
    with pytest.raises(RequestTooLargeError, match="lower its max_versions"):
        await mount.put("s", {"a": 1})
    await mount.call("update", "destroy/s", {"versions": [1]})
    await mount.call("update", "metadata/s", {"max_versions": 3})
    assert (await mount.put("s", {"a": 2}))["version"] == 6


async def test_whatever_is_done_each_value_has_one_place() -> None:
    """Against a model: what can be read, and rows of their own for values that the secret's row has no room for."""
    mount, dice = Mount(), random.Random(7)  # noqa: S311 - sizes, not keys
    engine = mount.engine.parts.engine  # type: ignore[attr-defined]  # of VersionedRoutes
    store_ = mount.engine.parts.store  # type: ignore[attr-defined]  # as above
    model: dict[int, str] = {}
    for _ in range(150):
        what = dice.choice(["put", "put", "put", "pending", "promote", "destroy", "delete"])
        alive = sorted(model)
        if what in {"put", "pending"} or not alive:
            value = dice.choice("abc") * dice.choice([1, 5000, 9000, INLINE, INLINE * 2])
            written = await mount.put("s", {"v": value}, **({"stage": "pending"} if what == "pending" else {}))
            model[written["version"]] = value
        elif what == "promote":
            await engine.set_state("s", [alive[0]], State.ENABLED)
            await engine.set_label("s", "current", alive[0])
        else:
            await engine.set_state("s", [dice.choice(alive)], State.DESTROYED if what == "destroy" else State.DISABLED)
        secret = (await store_.find("s")).secret
        model = {number: value for number, value in model.items() if secret.has_value(number)}
        rows = {int(path[-8:]) for path in mount.storage._state.entries if "/v/" in path}
        assert rows == set(model) - set(secret.values)
        assert sum(map(len, secret.values.values())) <= INLINE
    await engine.set_state("s", sorted(model), State.ENABLED)
    for number, value in model.items():
        assert await mount.get("s", version=str(number)) == {"v": value}
