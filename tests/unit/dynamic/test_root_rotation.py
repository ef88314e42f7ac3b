"""The connection's own password: changed, known to nobody, and never lost between the database and the store."""

import asyncio

import pytest

from core.errors import InvalidRequestError
from dynamic.target import TargetAwayError, TargetLoginError, TargetRefusedError
from tests.support.memory_target import Server
from tests.unit.dynamic.database_mount import Mount

CONFIG = {
    "plugin_name": "memory",
    "connection_url": "memory://db",
    "username": "root",
    "password": "first",
    "allowed_roles": "*",
}
CLAIM = 61  # seconds after which a rotation that was cut off is taken up


async def make_mount(**more: object) -> Mount:
    mount = Mount()
    await mount.call("update", "config/db", CONFIG | more)
    await mount.call("update", "roles/web", {"db_name": "db", "creation_statements": "ok"})
    return mount


async def stored(mount: Mount) -> tuple[str, str]:
    connection = await mount.parts.store.connection("db")
    assert connection is not None
    return connection.password, connection.pending_password


async def test_the_new_password_opens_the_database_for_every_worker(server: Server) -> None:
    mount = await make_mount()
    other = mount.other_worker()
    await other.lease("web")
    await mount.call("update", "rotate-root/db")
    assert server.accounts["root"] != "first"
    assert await stored(mount) == (server.accounts["root"], "")
    await mount.lease("web")
    await other.lease("web")
    assert "first" not in str(await mount.data("read", "config/db"))
    assert server.accounts["root"] not in str(await mount.data("read", "config/db"))


async def test_a_database_that_dies_before_it_answers_has_taken_the_password(server: Server) -> None:
    mount = await make_mount()
    server.fails_after = {"set_password"}
    with pytest.raises(TargetAwayError):
        await mount.call("update", "rotate-root/db")
    password, pending = await stored(mount)
    assert (password, pending) == ("first", server.accounts["root"])
    server.fails_after = set()
    other = mount.other_worker()
    await other.lease("web")  # by the pending one
    mount.clock.advance(CLAIM)
    await other.engine.housekeep()
    assert await stored(mount) == (server.accounts["root"], "")


async def test_a_database_that_was_never_reached_keeps_the_old_password(server: Server) -> None:
    mount = await make_mount()
    server.is_away = True
    with pytest.raises(TargetAwayError):
        await mount.call("update", "rotate-root/db")
    server.is_away = False
    other = mount.other_worker()
    await other.lease("web")
    mount.clock.advance(CLAIM)
    await other.engine.housekeep()
    assert await stored(mount) == ("first", "")


async def test_a_worker_with_the_old_password_finds_the_new_one(server: Server) -> None:
    mount = await make_mount()
    other = mount.other_worker()
    await other.lease("web")
    server.gate, server.visited = asyncio.Event(), asyncio.Event()
    rotating = asyncio.create_task(mount.call("update", "rotate-root/db"))
    await server.visited.wait()
    _, pending = await stored(mount)
    server.accounts["root"] = pending  # the database has it, and nobody has written so
    server.gate.set()
    await other.lease("web")
    await rotating


async def test_a_refused_password_is_replaced(server: Server) -> None:
    mount = await make_mount()
    server.refuses = {"set_password"}
    with pytest.raises(TargetRefusedError):
        await mount.call("update", "rotate-root/db")
    assert server.calls.count("set_password") == 3
    assert await stored(mount) == ("first", "")
    assert (await mount.data("read", "config/db"))["root_rotation_error"] == "the database refused set_password"


async def test_a_password_that_was_set_before_the_refusal_is_kept(server: Server) -> None:
    """MySQL commits each statement: the first one changes the password, the second is refused."""
    mount = await make_mount()
    server.refuses_after = {"set_password"}
    await mount.call("update", "rotate-root/db")
    assert server.accounts["root"] != "first"
    assert await stored(mount) == (server.accounts["root"], "")


async def begun(mount: Mount, server: Server) -> "asyncio.Task[object]":
    """A rotation that waits for the database, with its password stored as pending."""
    server.gate, server.visited = asyncio.Event(), asyncio.Event()
    rotating = asyncio.create_task(mount.call("update", "rotate-root/db"))
    await server.visited.wait()
    await asyncio.sleep(0)  # to the gate
    return rotating


async def test_a_rotation_that_is_taken_for_dead_and_goes_on_loses_no_password(server: Server) -> None:
    """A process that stood still for a minute: meanwhile another has found that the old password is in force."""
    mount = await make_mount()
    rotating = await begun(mount, server)
    gate, server.gate = server.gate, None
    mount.clock.advance(CLAIM)
    await mount.other_worker().engine.housekeep()
    assert await stored(mount) == ("first", "")
    assert gate is not None
    gate.set()
    await rotating
    other = mount.other_worker()
    await other.lease("web")
    await other.engine.housekeep()
    assert await stored(other) == (server.accounts["root"], "")


@pytest.mark.parametrize(
    "written", [{"password": "other"}, {"connection_url": "memory://moved"}], ids=["password", "url"]
)
async def test_a_write_during_a_rotation_loses_no_password(server: Server, written: dict[str, str]) -> None:
    """What was written is kept, and so is what the database has taken: which of them is right is found out."""
    mount = await make_mount()
    moved = Server("moved")
    rotating = await begun(mount, server)
    await mount.call("update", "config/db", {**written, "verify_connection": False})
    assert server.gate is not None
    server.gate.set()
    await rotating
    other = mount.other_worker()
    await other.lease("web")
    await other.engine.housekeep()
    there = moved if "connection_url" in written else server
    assert await stored(other) == (there.accounts["root"], "")


async def test_a_rotation_from_before_the_clock_was_set_back_is_settled(server: Server) -> None:
    mount = await make_mount()
    server.fails_after = {"set_password"}
    with pytest.raises(TargetAwayError):
        await mount.call("update", "rotate-root/db")
    server.fails_after = set()
    mount.clock.advance(-86400)
    await mount.other_worker().engine.housekeep()
    assert await stored(mount) == (server.accounts["root"], "")


async def test_two_at_once_rotate_once(server: Server) -> None:
    mount = await make_mount()
    other = mount.other_worker()
    results = await asyncio.gather(
        *(worker.call("update", "rotate-root/db") for worker in (mount, other)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, InvalidRequestError)]
    assert len(refused) == 1
    assert "right now" in refused[0].sentence
    assert await stored(mount) == (server.accounts["root"], "")


async def test_who_was_slower_has_not_failed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have seen that nobody rotates; what the slower one is told is no failure of the connection."""
    mount = await make_mount()
    other = mount.other_worker()
    faster = []

    class Slow:
        async def generate(self, policy: str) -> str:
            faster.append(await begun(mount, server))
            return await mount.parts.passwords.generate(policy)

    monkeypatch.setattr(other.parts.root_rotation, "_passwords", Slow())
    with pytest.raises(InvalidRequestError, match="by another request right now"):
        await other.call("update", "rotate-root/db")
    assert server.gate is not None
    server.gate.set()
    await faster[0]
    assert [event.type for event in mount.storage._state.events] == ["database/rotate-root"]


async def test_it_rotates_when_it_is_due(server: Server) -> None:
    mount = await make_mount(root_rotation_ttl="24h")
    await mount.engine.housekeep()
    assert server.accounts["root"] == "first"
    mount.clock.advance(86401)
    await mount.engine.housekeep()
    second = server.accounts["root"]
    assert second != "first"
    await mount.other_worker().engine.housekeep()
    assert server.accounts["root"] == second
    mount.clock.advance(86401)
    await mount.engine.housekeep()
    assert server.accounts["root"] not in {"first", second}


async def test_a_due_rotation_that_fails_is_not_tried_every_minute(server: Server) -> None:
    mount = await make_mount(root_rotation_ttl="24h")
    mount.clock.advance(86401)
    server.refuses = {"set_password"}
    for _ in range(4):
        await mount.engine.housekeep()
        mount.clock.advance(60)
    assert server.calls.count("set_password") == 3
    server.refuses = set()
    mount.clock.advance(300)
    await mount.engine.housekeep()
    assert server.accounts["root"] != "first"
    assert "root_rotation_error" not in await mount.data("read", "config/db")


async def test_neither_password_opens_it(server: Server) -> None:
    mount = await make_mount()
    server.fails_after = {"set_password"}
    with pytest.raises(TargetAwayError):
        await mount.call("update", "rotate-root/db")
    server.fails_after = set()
    server.accounts["root"] = "somebody else's"
    mount.clock.advance(CLAIM)
    other = mount.other_worker()
    with pytest.raises(TargetLoginError, match="neither the old nor the new"):
        await other.call("update", "rotate-root/db")
    await mount.call("update", "config/db", {"password": "somebody else's"})
    await other.lease("web")
    assert await stored(mount) == ("somebody else's", "")


@pytest.mark.parametrize("missing", ["username", "password"])
async def test_without_credentials_there_is_nothing_to_rotate(server: Server, missing: str) -> None:
    mount = Mount()
    server.accounts[""] = ""
    config = {name: value for name, value in CONFIG.items() if name != missing}
    await mount.call("update", "config/db", {**config, "verify_connection": False})
    with pytest.raises(InvalidRequestError, match=f"no {missing} in configuration"):
        await mount.call("update", "rotate-root/db")


async def test_an_unknown_connection() -> None:
    with pytest.raises(InvalidRequestError, match="failed to find entry for connection"):
        await Mount().call("update", "rotate-root/db")
