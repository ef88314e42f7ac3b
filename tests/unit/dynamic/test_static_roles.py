"""Static roles: the account stays, its password changes on schedule, and is never lost and never changed twice."""

import asyncio
from typing import Any

import pytest

from core.errors import CallerError, InvalidRequestError, MimirError, NotFoundError, PermissionDeniedError
from dynamic.static_schedule import CLAIM
from dynamic.target import TargetAwayError, TargetRefusedError
from tests.support.memory_target import Server
from tests.unit.dynamic.database_mount import Granted, Mount

CONFIG = {
    "plugin_name": "memory",
    "connection_url": "memory://db",
    "username": "root",
    "password": "first",
    "allowed_roles": "batch*",
    "reconcile_interval": 0,
}
ROLE = {"db_name": "db", "username": "batch", "rotation_period": "1h"}
HOUR = 3600


async def make_mount(server: Server, **role: Any) -> Mount:
    server.accounts |= {"batch": "old", "batch2": "old2"}
    mount = Mount()
    await mount.call("update", "config/db", CONFIG)
    if role.pop("made", True):
        await mount.call("update", "static-roles/batch", ROLE | role)
    return mount


async def password(mount: Mount) -> str:
    return str((await mount.data("read", "static-creds/batch"))["password"])


async def test_making_a_role_changes_the_password_at_once(server: Server) -> None:
    mount = await make_mount(server)
    assert server.accounts["batch"] != "old"
    creds = await mount.data("read", "static-creds/batch")
    assert creds["password"] == server.accounts["batch"]
    assert (creds["username"], creds["ttl"], creds["rotation_period"]) == ("batch", HOUR, HOUR)
    mount.clock.advance(600)
    assert (await mount.data("read", "static-creds/batch"))["ttl"] == HOUR - 600


async def test_a_connection_does_not_become_that_of_a_static_role_s_account(server: Server) -> None:
    """The role would change the password behind the connection's back."""
    mount = await make_mount(server)
    stolen = {"username": "batch", "password": await password(mount)}
    with pytest.raises(InvalidRequestError, match="batch is the account of the static role batch"):
        await mount.call("update", "config/db", CONFIG | stolen)
    assert (await mount.data("read", "config/db"))["connection_details"]["username"] == "root"
    await mount.call("delete", "static-roles/batch")
    await mount.call("update", "config/db", CONFIG | stolen)


async def test_a_role_is_shown_as_vault_shows_it(server: Server) -> None:
    mount = await make_mount(server, rotation_statements="ok")
    shown = await mount.data("read", "static-roles/batch")
    assert shown["last_vault_rotation"] == "2027-01-15T08:00:00.000000Z"
    assert shown["next_vault_rotation"] == "2027-01-15T09:00:00.000000Z"
    assert {name: shown[name] for name in ("db_name", "username", "rotation_statements", "rotation_period")} == {
        "db_name": "db",
        "username": "batch",
        "rotation_statements": ["ok"],
        "rotation_period": HOUR,
    }
    assert server.accounts["batch"] not in str(shown)
    assert await mount.data("list", "static-roles") == {"keys": ["batch"]}


async def test_it_is_rotated_when_it_is_due_and_once(server: Server) -> None:
    mount = await make_mount(server)
    other = mount.other_worker()
    first = await password(mount)
    await mount.engine.housekeep()
    assert await password(mount) == first
    mount.clock.advance(HOUR)
    assert mount.engine.is_due()
    await asyncio.gather(mount.engine.housekeep(), other.engine.housekeep())
    second = await password(other)
    assert second != first
    assert server.accounts["batch"] == second
    assert server.calls.count("set_password") == 2


async def test_whether_it_is_due_is_seen_in_memory(server: Server) -> None:
    mount = await make_mount(server)
    other = mount.other_worker()
    assert other.engine.is_due()  # it does not know yet
    await other.engine.housekeep()
    assert not other.engine.is_due()
    await mount.call("update", "rotate-role/batch")
    assert other.engine.is_due()  # somebody has changed the index
    await other.engine.housekeep()
    assert not other.engine.is_due()


async def test_without_static_roles_nothing_is_due(server: Server) -> None:
    mount = await make_mount(server, made=False)
    await mount.engine.housekeep()
    assert not mount.engine.is_due()


async def test_by_hand_and_the_period_begins_anew(server: Server) -> None:
    mount = await make_mount(server)
    mount.clock.advance(1800)
    first = await password(mount)
    await mount.call("update", "rotate-role/batch")
    assert await password(mount) != first
    assert (await mount.data("read", "static-creds/batch"))["ttl"] == HOUR


async def test_a_database_that_dies_before_it_answers(server: Server) -> None:
    """It may have the new password; whoever goes on sets the same one again."""
    mount = await make_mount(server)
    server.fails_after = {"set_password"}
    with pytest.raises(TargetAwayError):
        await mount.call("update", "rotate-role/batch")
    taken = server.accounts["batch"]
    shown = await mount.data("read", "static-roles/batch")
    assert (shown["rotation_phase"], shown["rotation_attempts"]) == ("generated", 1)
    server.fails_after = set()
    mount.clock.advance(11)
    await mount.other_worker().engine.housekeep()
    assert await password(mount) == taken
    assert "rotation_error" not in await mount.data("read", "static-roles/batch")


async def test_who_dies_in_between_leaves_a_rotation_that_another_ends(server: Server) -> None:
    mount = await make_mount(server)
    other = mount.other_worker()
    server.gate, server.visited = asyncio.Event(), asyncio.Event()
    rotating = asyncio.create_task(mount.call("update", "rotate-role/batch"))
    await server.visited.wait()
    rotating.cancel()
    await asyncio.gather(rotating, return_exceptions=True)
    server.gate = None
    await other.engine.housekeep()
    assert server.calls.count("set_password") == 2  # it is still claimed
    mount.clock.advance(CLAIM)
    assert other.engine.is_due()
    await other.engine.housekeep()
    assert await password(other) == server.accounts["batch"]


async def test_a_login_that_is_refused_is_told_and_tried_again_with_the_same_password(server: Server) -> None:
    mount = await make_mount(server)
    before = await password(mount)
    server.refuses = {"login"}
    with pytest.raises(TargetRefusedError):
        await mount.call("update", "rotate-role/batch")
    server.refuses = set()
    assert await password(mount) == before
    await mount.call("update", "rotate-role/batch")
    assert await password(mount) == server.accounts["batch"]


async def test_a_refused_password_is_replaced_three_times(server: Server) -> None:
    mount = await make_mount(server)
    before = await password(mount)
    server.refuses = {"set_password"}
    with pytest.raises(TargetRefusedError):
        await mount.call("update", "rotate-role/batch")
    assert server.calls.count("set_password") == 4
    shown = await mount.data("read", "static-roles/batch")
    assert shown["rotation_error"] == "the database refused set_password"
    assert await password(mount) == before
    measures = await mount.engine.measures()
    assert {measure.name: measure.value for measure in measures}["database_static_roles_failing"] == 1


async def test_an_hour_without_the_database_ends_in_one_rotation(server: Server) -> None:
    mount = await make_mount(server)
    mount.clock.advance(HOUR)
    server.is_away = True
    for _ in range(60):
        mount.clock.advance(60)
        await mount.other_worker().engine.housekeep()
    shown = await mount.data("read", "static-roles/batch")
    assert shown["rotation_attempts"] >= 6
    server.is_away = False
    server.calls.clear()
    mount.clock.advance(60)
    back = mount.other_worker()
    for _ in range(3):  # the first sees that it is back, whenever the next attempt was to be
        await back.engine.housekeep()
    assert server.calls.count("set_password") == 1
    assert await password(mount) == server.accounts["batch"]
    assert not back.engine.is_due()


async def test_two_accounts_take_turns(server: Server) -> None:
    mount = await make_mount(server, alternate_username="batch2")
    first = await mount.data("read", "static-creds/batch")
    await mount.call("update", "rotate-role/batch")
    second = await mount.data("read", "static-creds/batch")
    assert (first["username"], second["username"]) == ("batch", "batch2")
    assert server.accounts["batch"] == first["password"]  # it still opens the database
    await mount.call("update", "rotate-role/batch")
    third = await mount.data("read", "static-creds/batch")
    assert third["username"] == "batch"
    assert server.accounts["batch"] == third["password"] != first["password"]


async def test_a_schedule_with_a_window(server: Server) -> None:
    mount = await make_mount(server, rotation_period=None, rotation_schedule="0 3 * * *", rotation_window="1h")
    assert (await mount.data("read", "static-creds/batch"))["ttl"] == 19 * HOUR  # it is eight in the morning
    mount.clock.advance(19 * HOUR + 1800)
    before = await password(mount)
    await mount.engine.housekeep()
    assert await password(mount) != before


async def test_a_missed_window_waits_for_the_next(server: Server) -> None:
    mount = await make_mount(server, rotation_period=None, rotation_schedule="0 3 * * *", rotation_window="1h")
    before = await password(mount)
    mount.clock.advance(21 * HOUR)
    await mount.engine.housekeep()
    assert await password(mount) == before
    assert (await mount.data("read", "static-creds/batch"))["ttl"] == 22 * HOUR


async def test_a_clock_that_was_set_back_neither_stops_nor_repeats(server: Server) -> None:
    mount = await make_mount(server)
    mount.clock.advance(HOUR)
    await mount.engine.housekeep()
    first = await password(mount)
    mount.clock.advance(-HOUR)
    await mount.engine.housekeep()
    assert await password(mount) == first
    mount.clock.advance(2 * HOUR)
    await mount.engine.housekeep()
    assert await password(mount) != first


async def test_an_account_that_cannot_be_had_makes_no_role(server: Server) -> None:
    mount = await make_mount(server, made=False)
    server.refuses = {"set_password"}
    with pytest.raises(TargetRefusedError):
        await mount.call("update", "static-roles/batch", ROLE)
    with pytest.raises(NotFoundError):
        await mount.call("read", "static-roles/batch")


async def test_a_role_whose_password_is_left_alone_for_now(server: Server) -> None:
    mount = await make_mount(server, skip_import_rotation=True)
    assert server.accounts["batch"] == "old"
    with pytest.raises(InvalidRequestError, match="not known before its first rotation"):
        await mount.call("read", "static-creds/batch")
    mount.clock.advance(HOUR)
    await mount.engine.housekeep()
    assert await password(mount) == server.accounts["batch"]


async def test_a_deleted_role_leaves_the_account_alone(server: Server) -> None:
    mount = await make_mount(server)
    kept = server.accounts["batch"]
    await mount.call("delete", "static-roles/batch")
    mount.clock.advance(2 * HOUR)
    await mount.engine.housekeep()
    assert server.accounts["batch"] == kept
    with pytest.raises(InvalidRequestError, match="unknown role: batch"):
        await mount.call("read", "static-creds/batch")
    assert await mount.view.paths("static-due/") == []


async def test_a_shorter_period_counts_from_the_last_rotation(server: Server) -> None:
    mount = await make_mount(server)
    mount.clock.advance(1200)
    await mount.call("update", "static-roles/batch", {"rotation_period": "30m"})
    assert (await mount.data("read", "static-creds/batch"))["ttl"] == 600


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"db_name": ""}, "database name is required"),
        ({"username": ""}, "username is a required field"),
        ({"username": "a\nb"}, "a username is printable"),
        ({"username": "root"}, "is rotated by rotate-root"),
        ({"rotation_period": None}, "rotation_period or rotation_schedule is required"),
        ({"rotation_period": 4}, "must be 5 seconds or more"),
        ({"rotation_period": "soon"}, "rotation_period"),
        ({"rotation_schedule": "0 3 * * *"}, "and not both"),
        ({"rotation_window": "2h"}, "rotation_window goes with rotation_schedule"),
        ({"rotation_period": None, "rotation_schedule": "0 3 * *"}, "five fields"),
        ({"rotation_period": None, "rotation_schedule": "99 3 * * *"}, "none that ever comes"),
        ({"rotation_period": None, "rotation_schedule": "0 0 30 2 *"}, "none that ever comes"),
        ({"rotation_period": None, "rotation_schedule": "0 3 * * *", "rotation_window": "10m"}, "an hour or more"),
        ({"alternate_username": "batch"}, "must be another account"),
        ({"rotation_statements": "no"}, "rotation_statements: a statement is ok"),
        ({"credential_type": "rsa_private_key"}, "credential_type must be password"),
        ({"credential_config": {"password_policy": "none"}}, "there is no password policy"),
        ({"self_managed_password": "x"}, "self_managed_password is not supported"),
    ],
    ids=lambda value: str(value)[:48],
)
async def test_a_role_that_cannot_be(server: Server, change: dict[str, Any], sentence: str) -> None:
    mount = await make_mount(server, made=False)
    with pytest.raises(CallerError) as caught:
        await mount.call("update", "static-roles/batch", ROLE | change)
    assert sentence in caught.value.sentence
    assert server.accounts["batch"] == "old"


@pytest.mark.parametrize("change", [{"username": "batch2"}, {"alternate_username": "batch2"}, {"db_name": "other"}])
async def test_what_cannot_be_changed_any_more(server: Server, change: dict[str, str]) -> None:
    mount = await make_mount(server)
    with pytest.raises(InvalidRequestError, match="cannot update static account"):
        await mount.call("update", "static-roles/batch", change)


async def test_names_are_of_one_kind_of_role(server: Server) -> None:
    mount = await make_mount(server)
    role = {"db_name": "db", "creation_statements": "ok"}
    with pytest.raises(InvalidRequestError, match="must be unique"):
        await mount.call("update", "roles/batch", role)
    await mount.call("update", "roles/batch-2", role)
    with pytest.raises(InvalidRequestError, match="must be unique"):
        await mount.call("update", "static-roles/batch-2", ROLE)


@pytest.mark.parametrize("error", [PermissionDeniedError])
async def test_a_role_that_the_connection_does_not_allow(server: Server, error: type[MimirError]) -> None:
    mount = await make_mount(server, made=False)
    with pytest.raises(error):
        await mount.call("update", "static-roles/other", ROLE)
    assert server.accounts["batch"] == "old"


@pytest.mark.parametrize("path", ["rotate-role/nothing", "static-creds/nothing"])
async def test_what_is_not_there(server: Server, path: str) -> None:
    mount = await make_mount(server)
    with pytest.raises(InvalidRequestError):
        await mount.call("update" if path.startswith("rotate") else "read", path)


async def test_each_password_is_left_in_kv_too(server: Server) -> None:
    mount = await make_mount(server, kv_path="/secret/apps/orders/")
    await mount.call("update", "rotate-role/batch")
    assert [path for path, _, _ in mount.places.left] == ["secret/apps/orders"] * 2
    _, data, by = mount.places.left[-1]
    assert data == {"username": "batch", "password": server.accounts["batch"]}
    assert by == "static-role-batch"
    assert (await mount.data("read", "static-roles/batch"))["kv_path"] == "secret/apps/orders"
    await mount.engine.housekeep()
    assert len(mount.places.left) == 2


async def test_what_could_not_be_left_there_is_left_later(server: Server) -> None:
    mount = await make_mount(server)
    mount.places.trouble = InvalidRequestError("there is no kv engine")
    await mount.call("update", "static-roles/batch", {"kv_path": "secret/apps/orders"})
    shown = await mount.data("read", "static-roles/batch")
    assert shown["rotation_error"] == "not written to secret/apps/orders: there is no kv engine"
    mount.places.trouble = None
    await mount.engine.housekeep()
    assert mount.places.left == []
    mount.clock.advance(61)
    other = mount.other_worker()
    assert other.engine.is_due()
    await other.engine.housekeep()
    assert [data["password"] for _, data, _ in mount.places.left] == [server.accounts["batch"]]
    assert server.calls.count("set_password") == 1
    assert "rotation_error" not in await mount.data("read", "static-roles/batch")


async def test_who_may_not_write_the_secret_cannot_have_it_written(server: Server) -> None:
    mount = await make_mount(server)
    mount.access = Granted(elsewhere=False)
    with pytest.raises(PermissionDeniedError):
        await mount.call("update", "static-roles/batch", {"kv_path": "secret/apps/orders"})
    await mount.call("update", "static-roles/batch", {"rotation_period": "2h"})
    assert mount.places.left == []


async def test_a_place_that_takes_no_secrets(server: Server) -> None:
    mount = await make_mount(server)
    with pytest.raises(InvalidRequestError, match="there is no kv engine"):
        await mount.call("update", "static-roles/batch", {"kv_path": "transit/keys/a"})
