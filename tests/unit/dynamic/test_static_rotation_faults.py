"""Static roles when something breaks: whatever happens, the store knows the password that opens the account."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from core.errors import CallerError, InvalidRequestError, MimirError, NotFoundError, PermissionDeniedError
from dynamic.static_index import MARK
from dynamic.static_role import StaticRole, decode_static_role
from dynamic.static_schedule import CLAIM
from dynamic.target import Target, TargetAwayError, TargetRefusedError
from tests.support.memory_target import MemoryTarget, Server
from tests.unit.dynamic.database_mount import Mount

CONFIG = {
    "plugin_name": "memory",
    "connection_url": "memory://db",
    "username": "root",
    "password": "first",
    "allowed_roles": "*",
    "reconcile_interval": 0,
}
ROLE = {"db_name": "db", "username": "batch", "rotation_period": "1h"}
HOUR = 3600


class Accounts(dict[str, str]):
    """A server's, with all passwords that were ever set."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.history: list[tuple[str, str]] = []

    def __setitem__(self, username: str, password: str) -> None:
        self.history.append((username, password))
        super().__setitem__(username, password)


class Killed(BaseException):
    """The process is gone."""


async def make_mount(server: Server, **role: Any) -> Mount:
    server.accounts = Accounts(server.accounts | {"batch": "old", "batch2": "old2"})
    mount = Mount()
    await mount.call("update", "config/db", CONFIG)
    if role.pop("made", True):
        await mount.call("update", "static-roles/batch", ROLE | role)
    server.calls.clear()
    history(server).clear()
    return mount


def history(server: Server) -> list[tuple[str, str]]:
    assert isinstance(server.accounts, Accounts)
    return server.accounts.history


async def creds(mount: Mount) -> dict[str, Any]:
    return await mount.data("read", "static-creds/batch")


async def shown(mount: Mount) -> dict[str, Any]:
    return await mount.data("read", "static-roles/batch")


async def stored(mount: Mount) -> StaticRole:
    entry = await mount.view.get("static/batch")
    assert entry is not None
    return decode_static_role(entry.value)


async def is_whole(mount: Mount, server: Server) -> bool:
    """Whether what is answered opens the database."""
    answered = await creds(mount)
    return server.accounts[answered["username"]] == answered["password"]


def dies(mount: Mount, commit: int, *, before: bool) -> None:
    """From its n-th commit on, the worker does nothing any more."""
    transact = mount.parts.store.storage.transact
    made = 0

    async def dying(body: Callable[..., Awaitable[Any]]) -> Any:
        nonlocal made
        made += 1
        if made > commit or (made == commit and before):
            raise Killed
        answer = await transact(body)
        if made == commit:
            raise Killed
        return answer

    mount.parts.store.transact = dying  # type: ignore[method-assign]  # a process cannot be killed in a unit test


# --- who dies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("commit", [1, 2, 3, 4])
@pytest.mark.parametrize("before", [True, False], ids=["before", "behind"])
@pytest.mark.parametrize("alternate", ["", "batch2"], ids=["one-account", "two-accounts"])
async def test_who_dies_at_a_step_leaves_a_rotation_that_ends_with_one_password(
    server: Server, commit: int, before: bool, alternate: str
) -> None:
    mount = await make_mount(server, alternate_username=alternate)
    other = mount.other_worker()
    mount.clock.advance(HOUR)
    dies(mount, commit, before=before)
    with pytest.raises(Killed):
        await mount.parts.static_rotation.rotate("batch", is_due=True)
    mount.clock.advance(CLAIM)
    for _ in range(3):
        await other.engine.housekeep()
    assert await is_whole(other, server)
    assert len(set(history(server))) == 1
    assert (await stored(other)).pending is None
    assert (await creds(other))["ttl"] > 0


@pytest.mark.parametrize("method", ["set_password", "login"])
async def test_an_answer_that_never_comes_costs_no_second_password(server: Server, method: str) -> None:
    mount = await make_mount(server)
    server.fails_after = {"set_password"}
    server.refuses = {method} & {"login"}
    for _ in range(3):
        with pytest.raises(MimirError):
            await mount.other_worker().call("update", "rotate-role/batch")
    server.fails_after, server.refuses = set(), set()
    await mount.other_worker().call("update", "rotate-role/batch")
    assert len(set(history(server))) == 1
    assert await is_whole(mount, server)


async def test_a_database_that_takes_no_password_twice(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has taken the pending one, refuses it now, and lets it in."""
    mount = await make_mount(server)
    server.fails_after = {"set_password"}
    with pytest.raises(TargetAwayError):
        await mount.call("update", "rotate-role/batch")
    server.fails_after, server.refuses = set(), {"set_password"}
    await mount.other_worker().call("update", "rotate-role/batch")
    assert await is_whole(mount, server)


async def test_a_password_that_is_refused_is_replaced(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = await make_mount(server)
    tried: list[str] = []

    async def picky(self: MemoryTarget, change: Any) -> None:
        tried.append(change.password)
        if len(tried) < 3:
            raise TargetRefusedError("the database wants another password")
        server.accounts[change.username] = change.password

    monkeypatch.setattr(MemoryTarget, "set_password", picky)
    await mount.call("update", "rotate-role/batch")
    assert len(set(tried)) == 3
    assert (await creds(mount))["password"] == tried[-1]


async def test_a_password_that_was_set_before_the_refusal_is_kept(server: Server) -> None:
    """MySQL commits each statement: the first one changes the password, the second is refused."""
    mount = await make_mount(server, rotation_statements="ok")
    server.refuses_after = {"set_password"}
    await mount.call("update", "rotate-role/batch")
    assert len(history(server)) == 1
    assert await is_whole(mount, server)


async def test_a_plugin_without_logins_replaces_a_refused_password_too(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = await make_mount(server)
    monkeypatch.setattr(MemoryTarget, "login", Target.login)
    server.fails_after = {"set_password"}
    with pytest.raises(TargetAwayError):
        await mount.call("update", "rotate-role/batch")
    server.fails_after, server.refuses = set(), {"set_password"}
    with pytest.raises(TargetRefusedError):
        await mount.other_worker().call("update", "rotate-role/batch")
    server.refuses = set()
    await mount.other_worker().call("update", "rotate-role/batch")
    assert await is_whole(mount, server)


async def test_a_rotation_whose_password_is_on_its_way_to_kv_is_not_due_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has listed the role as due, and comes to it between the end of the rotation and the deposit."""
    mount = await make_mount(server, kv_path="secret/apps/orders")
    other = mount.other_worker()
    write = mount.places.write

    async def meanwhile(path: str, data: Any, *, by: str) -> None:
        await other.parts.static_rotation.rotate("batch", is_due=True)
        await write(path, data, by=by)

    monkeypatch.setattr(mount.places, "write", meanwhile)
    mount.clock.advance(HOUR)
    await mount.engine.housekeep()
    assert len(history(server)) == 1
    assert await is_whole(mount, server)


async def test_who_dies_before_there_is_a_password_is_not_looked_at_all_the_time(server: Server) -> None:
    mount = await make_mount(server)
    dies(mount, 1, before=False)
    with pytest.raises(Killed):
        await mount.parts.static_rotation.rotate("batch")
    mount.clock.advance(CLAIM)
    other = mount.other_worker()
    for _ in range(2):
        await other.engine.housekeep()
    assert not other.engine.is_due()
    assert history(server) == []


async def test_a_kv_path_that_is_taken_away_takes_its_error_along(server: Server) -> None:
    mount = await make_mount(server)
    mount.places.trouble = InvalidRequestError("there is no kv engine")
    await mount.call("update", "static-roles/batch", {"kv_path": "secret/apps/orders"})
    await mount.call("update", "static-roles/batch", {"kv_path": ""})
    mount.clock.advance(61)
    for _ in range(2):
        await mount.engine.housekeep()
    assert not mount.engine.is_due()
    assert "rotation_error" not in await shown(mount)


async def test_a_claim_that_was_lost_ends_the_rotation_of_who_held_it(server: Server) -> None:
    """A process that stood still for longer than its claim must not write over what came after."""
    mount = await make_mount(server)
    other = mount.other_worker()
    server.gate, server.visited = asyncio.Event(), asyncio.Event()
    slow = asyncio.create_task(mount.call("update", "rotate-role/batch"))
    await server.visited.wait()
    gate, server.gate = server.gate, None
    mount.clock.advance(CLAIM)
    await other.call("update", "rotate-role/batch")
    gate.set()
    with pytest.raises(InvalidRequestError, match="another process has taken it up"):
        await slow
    assert len(set(history(server))) == 1
    assert await is_whole(other, server)
    assert "rotation_error" not in await shown(other)


@pytest.mark.parametrize("workers", [1, 2], ids=["one-worker", "two-workers"])
async def test_requests_at_once_change_one_password(server: Server, workers: int) -> None:
    mount = await make_mount(server)
    mounts = [mount, mount.other_worker()][:workers] * (8 // workers)
    answers = await asyncio.gather(
        *(each.call("update", "rotate-role/batch") for each in mounts), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, InvalidRequestError)]
    assert len(refused) == 7
    assert all("is being rotated right now" in exc.sentence for exc in refused)
    assert len(history(server)) == 1
    assert await is_whole(mount, server)


async def test_making_one_role_at_once_changes_one_password(server: Server) -> None:
    mount = await make_mount(server, made=False)
    calls = [each.call("update", "static-roles/batch", ROLE) for each in (mount, mount.other_worker()) for _ in "1234"]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(answer, InvalidRequestError) for answer in answers) == 7
    assert len(history(server)) == 1
    assert await is_whole(mount, server)


# --- what the database and the operator do meanwhile ------------------------------------------------------------------


async def test_a_role_is_deleted_while_it_is_rotated(server: Server) -> None:
    mount = await make_mount(server)
    server.gate, server.visited = asyncio.Event(), asyncio.Event()
    rotating = asyncio.create_task(mount.call("update", "rotate-role/batch"))
    await server.visited.wait()
    await mount.other_worker().call("delete", "static-roles/batch")
    server.gate.set()
    with pytest.raises(InvalidRequestError, match="no static role found"):
        await rotating
    left = await mount.view.paths("static")
    assert left in ([], [MARK.removeprefix("static")])


async def test_a_role_that_was_deleted_while_it_was_rotated_is_made_anew_behind_the_rotation(server: Server) -> None:
    """Else the rotation that is under way sets its password over that of the new role."""
    mount = await make_mount(server)
    server.gate, server.visited = asyncio.Event(), asyncio.Event()
    rotating = asyncio.create_task(mount.call("update", "rotate-role/batch"))
    await server.visited.wait()
    await asyncio.sleep(0)  # to the gate
    gate, server.gate = server.gate, None
    await mount.call("delete", "static-roles/batch")
    with pytest.raises(InvalidRequestError, match="was deleted while it was rotated"):
        await mount.call("update", "static-roles/again", ROLE)
    gate.set()
    with pytest.raises(InvalidRequestError):
        await rotating
    await mount.call("update", "static-roles/batch", ROLE)
    assert await is_whole(mount, server)


async def test_a_role_is_changed_while_it_is_rotated(server: Server) -> None:
    mount = await make_mount(server)
    server.gate, server.visited = asyncio.Event(), asyncio.Event()
    rotating = asyncio.create_task(mount.call("update", "rotate-role/batch"))
    await server.visited.wait()
    await mount.other_worker().call("update", "static-roles/batch", {"rotation_period": "2h"})
    server.gate.set()
    await rotating
    assert (await creds(mount))["ttl"] == 2 * HOUR
    assert await is_whole(mount, server)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("delete", "config/db", None), "failed to find entry for connection"),
        (("update", "config/db", {"allowed_roles": ["other"]}), "is not an allowed role"),
    ],
    ids=["deleted", "not-allowed"],
)
async def test_a_connection_that_is_taken_away(server: Server, change: Any, reason: str) -> None:
    """The rotation waits, and the password is answered to nobody, as in Vault."""
    mount = await make_mount(server)
    await mount.call(*change)
    mount.clock.advance(HOUR)
    await mount.engine.housekeep()
    assert reason in (await shown(mount))["rotation_error"]
    assert server.calls.count("set_password") == 0
    with pytest.raises((InvalidRequestError, PermissionDeniedError)):
        await creds(mount)


async def test_a_password_policy_that_is_gone_is_told_and_tried_again_less_and_less_often(server: Server) -> None:
    mount = await make_mount(server)

    async def generate(policy: str = "") -> str:
        raise NotFoundError("there is no such policy")

    mount.parts.static_rotation._passwords.generate = generate  # type: ignore[method-assign]  # it is deleted
    mount.clock.advance(HOUR)
    for attempts in range(1, 4):
        await mount.engine.housekeep()
        assert (await shown(mount))["rotation_attempts"] == attempts
        await mount.engine.housekeep()
        mount.clock.advance(10 * 2 ** (attempts - 1))
    assert await is_whole(mount, server)


async def test_a_plugin_that_breaks_delays_no_other_role(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = await make_mount(server)
    await mount.call("update", "static-roles/fine", ROLE | {"username": "batch2"})
    work = MemoryTarget.set_password

    async def broken(self: MemoryTarget, change: Any) -> None:
        if change.username == "batch":
            raise ValueError(change.password)
        await work(self, change)

    monkeypatch.setattr(MemoryTarget, "set_password", broken)
    before = server.accounts["batch2"]
    mount.clock.advance(HOUR)
    await mount.engine.housekeep()
    assert (await shown(mount))["rotation_error"] == "an internal error"
    assert server.accounts["batch2"] != before


async def test_a_database_that_hangs_delays_no_other_connection(server: Server) -> None:
    mount = await make_mount(server)
    there = Server("there")
    there.accounts["batch"] = "old"
    await mount.call("update", "config/there", CONFIG | {"connection_url": "memory://there"})
    await mount.call("update", "static-roles/there", ROLE | {"db_name": "there"})
    mount.clock.advance(HOUR)
    server.gate = asyncio.Event()
    there.calls.clear()
    there.visited = asyncio.Event()
    keeping = asyncio.create_task(mount.engine.housekeep())
    await asyncio.wait_for(there.visited.wait(), 5)
    assert "set_password" in there.calls
    server.gate.set()
    await keeping
    assert await is_whole(mount, server)


async def test_an_account_belongs_to_one_role(server: Server) -> None:
    mount = await make_mount(server)
    for body in (ROLE, ROLE | {"username": "batch2", "alternate_username": "batch"}):
        with pytest.raises(InvalidRequestError, match="belongs to one static role: batch rotates it already"):
            await mount.call("update", "static-roles/second", body)
    await mount.call("delete", "static-roles/batch")
    await mount.call("update", "static-roles/second", ROLE)


async def test_an_account_that_could_not_be_had_is_free_again(server: Server) -> None:
    mount = await make_mount(server, made=False)
    server.refuses = {"set_password"}
    with pytest.raises(TargetRefusedError):
        await mount.call("update", "static-roles/batch", ROLE)
    server.refuses = set()
    assert await mount.view.paths("static") == []
    await mount.call("update", "static-roles/batch", ROLE)
    assert await is_whole(mount, server)


async def test_who_died_making_a_role_holds_the_account_for_minutes_only(server: Server) -> None:
    mount = await make_mount(server, made=False)
    dies(mount, 1, before=False)
    with pytest.raises(Killed):
        await mount.call("update", "static-roles/batch", ROLE)
    other = mount.other_worker()
    with pytest.raises(InvalidRequestError, match="batch is being made"):
        await other.call("update", "static-roles/batch", ROLE)
    mount.clock.advance(2 * CLAIM)
    await other.call("update", "static-roles/batch", ROLE)
    assert await is_whole(other, server)


# --- clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [-30, -HOUR, -365 * 24 * HOUR], ids=["half-a-minute", "an-hour", "a-year"])
async def test_a_clock_that_is_set_back_costs_a_period_at_most(server: Server, step: int) -> None:
    mount = await make_mount(server)
    await mount.engine.housekeep()
    assert not mount.engine.is_due()
    mount.clock.advance(step)
    for _ in range(2):
        await mount.engine.housekeep()
    assert history(server) == []
    mount.clock.advance(HOUR - 1 - max(step, -31) % 31)
    await mount.engine.housekeep()
    mount.clock.advance(60)
    await mount.engine.housekeep()
    assert len(history(server)) == 1


async def test_a_year_ahead_and_back_again_is_found_by_a_process_that_saw_neither(server: Server) -> None:
    mount = await make_mount(server)
    year = 365 * 24 * HOUR
    mount.clock.advance(year)
    await mount.engine.housekeep()
    assert len(history(server)) == 1
    mount.clock.advance(-year)
    other = mount.other_worker()
    await other.engine.housekeep()
    assert (await creds(other))["ttl"] == HOUR
    mount.clock.advance(HOUR)
    await other.engine.housekeep()
    assert len(history(server)) == 2


async def test_a_claim_from_the_future_holds_nobody_up(server: Server) -> None:
    mount = await make_mount(server)
    dies(mount, 2, before=False)
    with pytest.raises(Killed):
        await mount.parts.static_rotation.rotate("batch")
    mount.clock.advance(-24 * HOUR)
    other = mount.other_worker()
    for _ in range(2):
        await other.engine.housekeep()
    assert await is_whole(other, server)
    assert len(history(server)) == 1


# --- windows ----------------------------------------------------------------------------------------------------------


async def test_a_rotation_that_failed_in_its_window_is_not_tried_behind_it(server: Server) -> None:
    mount = await make_mount(server, rotation_period=None, rotation_schedule="0 3 * * *", rotation_window="1h")
    mount.clock.advance(19 * HOUR)
    server.refuses = {"set_password"}
    await mount.engine.housekeep()
    server.refuses = set()
    server.calls.clear()
    mount.clock.advance(2 * HOUR)
    for _ in range(2):
        await mount.engine.housekeep()
    assert server.calls.count("set_password") == 0
    assert not mount.engine.is_due()
    mount.clock.advance(22 * HOUR)
    await mount.engine.housekeep()
    assert await is_whole(mount, server)
    assert "rotation_error" not in await shown(mount)


async def test_a_rotation_that_was_begun_in_its_window_is_ended_behind_it(server: Server) -> None:
    mount = await make_mount(server, rotation_period=None, rotation_schedule="0 3 * * *", rotation_window="1h")
    mount.clock.advance(19 * HOUR)
    server.fails_after = {"set_password"}
    await mount.engine.housekeep()
    server.fails_after = set()
    mount.clock.advance(2 * HOUR)
    for _ in range(3):
        await mount.other_worker().engine.housekeep()
    assert await is_whole(mount, server)


# --- what is told -----------------------------------------------------------------------------------------------------


async def test_what_happens_is_announced_without_a_password(server: Server) -> None:
    mount = await make_mount(server)
    mount.storage._state.events.clear()
    server.fails_after = {"set_password"}
    with pytest.raises(TargetAwayError):
        await mount.call("update", "rotate-role/batch")
    server.fails_after = set()
    await mount.other_worker().call("update", "rotate-role/batch")
    events = mount.storage._state.events
    assert [event.type for event in events] == ["database/static-creds-rotate-fail", "database/static-creds-rotate"]
    assert all((event.metadata["name"], event.metadata["username"]) == ("batch", "batch") for event in events)
    assert (await creds(mount))["password"] not in str(events)


async def test_how_many_fail_is_measured_by_an_index(server: Server) -> None:
    mount = await make_mount(server)

    async def failing() -> float:
        found = {measure.name: measure.value for measure in await mount.engine.measures()}
        return float(found["database_static_roles_failing"])

    assert await failing() == 0
    server.refuses = {"set_password"}
    with pytest.raises(CallerError):
        await mount.call("update", "rotate-role/batch")
    assert await failing() == 1
    server.refuses = set()
    await mount.call("update", "rotate-role/batch")
    assert await failing() == 0
