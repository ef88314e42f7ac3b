"""Labels and states of versions: promoted, moved, removed, disabled; and what is refused."""

import asyncio

import pytest

from core.errors import InvalidRequestError, NotFoundError
from core.requests import Operation, Request
from kv.secret import MAX_LABELS
from tests.unit.kv.kv_mount import Mount


async def _mount(versions: int = 3, name: str = "s") -> Mount:
    mount = Mount()
    for number in range(1, versions + 1):
        await mount.put(name, {"n": number})
    return mount


async def _stages(mount: Mount, name: str = "s") -> dict[str, int]:
    return dict(((await mount.call("read", f"stages/{name}")).data or {})["stages"])


async def test_a_promotion_moves_current_and_ends_pending() -> None:
    mount = await _mount(1)
    await mount.put("s", {"n": 2}, stage="pending")
    assert await _stages(mount) == {"current": 1, "pending": 2}
    answer = await mount.call("update", "stages/s", {"stage": "current", "version": 2, "cas": 1})
    assert answer.data == {"stages": {"current": 2, "previous": 1}}
    assert await _stages(mount.other_worker()) == {"current": 2, "previous": 1}
    assert await mount.get("s") == {"n": 2}
    assert await mount.get("s", stage="previous") == {"n": 1}


async def test_current_goes_back_to_an_older_version() -> None:
    mount = await _mount(3)
    await mount.call("update", "stages/s", {"stage": "AWSCURRENT", "version": "1"})
    assert await _stages(mount) == {"current": 1, "previous": 3}
    assert await mount.get("s") == {"n": 1}


async def test_to_give_a_label_to_the_version_that_has_it_changes_nothing() -> None:
    mount = await _mount(2)
    before = len(mount.storage.events)
    await mount.call("update", "stages/s", {"stage": "current", "version": 2})
    assert await _stages(mount) == {"current": 2, "previous": 1}
    assert len(mount.storage.events) == before


async def test_a_label_is_removed() -> None:
    mount = await _mount(2)
    await mount.call("update", "stages/s", {"stage": "golden", "version": 1})
    await mount.call("delete", "stages/s", stage="golden")
    assert await _stages(mount) == {"current": 2, "previous": 1}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"stage": "current", "version": 9}, "no version 9"),
        ({"stage": "current"}, "No version number"),
        ({"stage": "current", "version": 0}, "counted from 1"),
        ({"stage": "current", "version": -1}, "not negative"),
        ({"stage": "current", "version": "one"}, "whole numbers"),
        ({"stage": "current", "version": 1.5}, "whole numbers"),
        ({"stage": "current", "version": [1, 2]}, "names one version"),
        ({"version": 1}, "stage is missing"),
        ({"stage": "", "version": 1}, "stage is missing"),
        ({"stage": "My Label", "version": 1}, "a stage is"),
        ({"stage": "x" * 65, "version": 1}, "a stage is"),
        ({"stage": ["current"], "version": 1}, "stage"),
        ({"stage": "current", "version": 1, "cas": 2}, "did not match"),
        ({"stage": "current", "version": 1, "cas": 0}, "did not match"),
        ({"stage": "current", "version": 1, "cas": -1}, "cas must not be negative"),
        ({"stage": "golden", "version": 1, "cas": 3}, "did not match"),
        ({"stage": "current", "version": 2}, "deleted or disabled"),
        ({"stage": "golden", "version": 4}, "destroyed"),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value),
)
async def test_a_label_that_cannot_be_moved_stays(body: dict[str, object], says: str) -> None:
    mount = await _mount(5)
    await mount.call("update", "delete/s", {"versions": [2]})
    await mount.call("update", "destroy/s", {"versions": [4]})
    before = await _stages(mount)
    with pytest.raises(InvalidRequestError, match=says):
        await mount.call("update", "stages/s", body)
    assert await _stages(mount) == before


async def test_a_label_other_than_current_may_stand_on_a_disabled_version() -> None:
    mount = await _mount(2)
    await mount.call("update", "states/s", {"versions": 1, "state": "disabled"})
    await mount.call("update", "stages/s", {"stage": "golden", "version": 1})
    assert (await mount.call("read", "data/s", stage="golden")).status == 404


async def test_labels_have_a_limit() -> None:
    mount = await _mount(1)
    for number in range(MAX_LABELS - 1):
        await mount.call("update", "stages/s", {"stage": f"l{number}", "version": 1})
    with pytest.raises(InvalidRequestError, match="at most 20 labels"):
        await mount.call("update", "stages/s", {"stage": "more", "version": 1})
    await mount.call("update", "stages/s", {"stage": "l1", "version": 1})  # one that is there moves still


@pytest.mark.parametrize(
    ("stage", "error"),
    [
        ("current", InvalidRequestError),
        ("pending", NotFoundError),
        ("", InvalidRequestError),
        ("A B", InvalidRequestError),
    ],
    ids=["current", "absent", "none", "bad"],
)
async def test_a_label_that_cannot_be_removed_is_refused(stage: str, error: type[Exception]) -> None:
    mount = await _mount(2)
    with pytest.raises(error):
        await mount.call("delete", "stages/s", stage=stage)
    assert await _stages(mount) == {"current": 2, "previous": 1}


@pytest.mark.parametrize(
    ("operation", "path", "body"),
    [
        ("read", "stages/none", None),
        ("update", "stages/none", {"stage": "current", "version": 1}),
        ("update", "states/none", {"versions": [1], "state": "disabled"}),
    ],
    ids=["stages", "move", "state"],
)
async def test_a_secret_that_is_not_there_is_not_found(operation: str, path: str, body: object) -> None:
    with pytest.raises(NotFoundError):
        await Mount().call(operation, path, body)


async def test_labels_of_a_secret_that_is_not_there_are_not_removed() -> None:
    with pytest.raises(NotFoundError):
        await Mount().call("delete", "stages/none", stage="pending")


@pytest.mark.parametrize("path", ["stages/", "states/"], ids=str)
@pytest.mark.parametrize(("name", "is_there"), [("s", True), ("none", False)], ids=["there", "absent"])
async def test_a_write_to_what_is_not_there_is_checked_as_create(path: str, name: str, is_there: bool) -> None:
    mount = await _mount(1)
    found = mount.routes.find(path + name)
    assert found is not None
    route, params = found
    assert route.exists is not None
    request = Request(request_id="r", operation=Operation.UPDATE, mount_path="secret/", path=path + name, params=params)
    assert await route.exists(request) is is_there


async def test_a_mount_that_asks_for_cas_asks_for_it_at_a_promotion_too() -> None:
    mount = await _mount(2)
    change = mount.engine.parts.engine.change_settings  # type: ignore[attr-defined]  # of VersionedRoutes
    await change(lambda settings: type(settings)(cas_required=True))
    with pytest.raises(InvalidRequestError, match="check-and-set parameter required"):
        await mount.call("update", "stages/s", {"stage": "current", "version": 1})
    await mount.call("update", "stages/s", {"stage": "current", "version": 1, "cas": 2})
    assert await mount.get("s") == {"n": 1}


async def test_of_promotions_over_two_workers_exactly_one_wins() -> None:
    mount = await _mount(4)
    other = mount.other_worker()
    outcomes = await asyncio.gather(
        *(
            worker.call("update", "stages/s", {"stage": "current", "version": number, "cas": 4})
            for number in (1, 2, 3)
            for worker in (mount, other)
        ),
        return_exceptions=True,
    )
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1
    assert all(isinstance(o, InvalidRequestError) for o in outcomes if isinstance(o, Exception))
    stages = await _stages(mount)
    assert stages == await _stages(other)
    assert stages["previous"] == 4


# --- states -----------------------------------------------------------------------------------------------------------


async def test_a_disabled_version_is_not_read_until_it_is_enabled() -> None:
    mount = await _mount(2)
    answer = await mount.call("update", "states/s", {"versions": [2], "state": "disabled"})
    assert answer.data == {"states": {"2": "disabled"}}
    gone = await mount.call("read", "data/s")
    assert gone.status == 404
    assert gone.data is not None
    assert gone.data["metadata"]["state"] == "disabled"
    await mount.call("update", "states/s", {"versions": "1,2", "state": "ENABLED"})
    assert await mount.get("s") == {"n": 2}


async def test_a_deleted_version_is_enabled_again() -> None:
    mount = await _mount(1)
    await mount.call("delete", "data/s")
    await mount.call("update", "states/s", {"versions": [1], "state": "enabled"})
    assert await mount.get("s") == {"n": 1}


async def test_a_destroyed_version_does_not_come_back() -> None:
    mount = await _mount(2)
    await mount.call("update", "states/s", {"versions": [1], "state": "destroyed"})
    for state in ("enabled", "disabled"):
        with pytest.raises(InvalidRequestError, match="version 1 is destroyed"):
            await mount.call("update", "states/s", {"versions": [1, 2], "state": state})
    await mount.call("update", "states/s", {"versions": [1], "state": "destroyed"})
    assert (await mount.call("read", "data/s", version="1")).status == 404
    assert await mount.get("s") == {"n": 2}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"versions": [1]}, "state must be"),
        ({"versions": [1], "state": "gone"}, "state must be"),
        ({"versions": [1], "state": 1}, "state"),
        ({"state": "disabled"}, "No version number"),
        ({"versions": [], "state": "disabled"}, "No version number"),
        ({"versions": [1, 7, 8], "state": "disabled"}, "no version 7, 8"),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value),
)
async def test_a_state_that_is_none_is_refused(body: dict[str, object], says: str) -> None:
    mount = await _mount(1)
    with pytest.raises(InvalidRequestError, match=says):
        await mount.call("update", "states/s", body)
    assert await mount.get("s") == {"n": 1}


async def test_changes_of_labels_and_states_are_announced() -> None:
    mount = await _mount(2)
    await mount.call("update", "stages/s", {"stage": "current", "version": 1})
    await mount.call("update", "states/s", {"versions": [2], "state": "disabled"})
    stage, state = mount.storage.events[-2:]
    assert (stage.type, stage.path, stage.metadata["current_version"]) == ("kv-v2/stage", "stages/s", "1")
    assert (state.type, state.path, state.metadata["versions"]) == ("kv-v2/state", "states/s", "2")
