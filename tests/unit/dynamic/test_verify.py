"""`verify`: an account is made, used, removed, and proved to be shut out; nothing is left behind."""

from typing import Any

import pytest

from core.errors import InvalidRequestError, PermissionDeniedError
from tests.support.memory_target import Server
from tests.unit.dynamic.database_mount import Mount

CONFIG = {
    "plugin_name": "memory",
    "connection_url": "memory://db",
    "username": "root",
    "password": "first",
    "allowed_roles": "web",
}


async def make_mount(**role: Any) -> Mount:
    mount = Mount()
    await mount.call("update", "config/db", CONFIG)
    await mount.call("update", "roles/web", {"db_name": "db", "creation_statements": "ok"} | role)
    return mount


def outcome(found: dict[str, Any]) -> dict[str, Any]:
    return {step["step"]: "skipped" if step.get("skipped") else step["ok"] for step in found["steps"]}


async def test_a_role_that_works(server: Server) -> None:
    mount = await make_mount()
    found = await mount.data("update", "verify/web")
    assert found["ok"] is True
    assert outcome(found) == {"create": True, "login": True, "grants": "skipped", "revoke": True, "refused": True}
    assert (found["role"], found["connection"]) == ("web", "db")
    assert found["username"].startswith("v-web-")
    assert set(server.accounts) == {"root"}
    assert await mount.view.list("intent/") == []


async def test_no_password_is_told(server: Server) -> None:
    mount = await make_mount()
    found = await mount.data("update", "verify/web")
    assert "password" not in str(found)


async def test_a_login_that_fails_ends_in_a_removal_all_the_same(server: Server) -> None:
    mount = await make_mount()
    server.refuses = {"login"}
    found = await mount.data("update", "verify/web")
    assert found["ok"] is False
    assert outcome(found)["login"] is False
    assert set(server.accounts) == {"root"}


async def test_an_account_that_still_gets_in_is_found_out(server: Server) -> None:
    mount = await make_mount()
    server.keeps_dropped = True
    found = await mount.data("update", "verify/web")
    assert found["ok"] is False
    assert outcome(found)["refused"] is False


async def test_what_cannot_be_made_is_told(server: Server) -> None:
    mount = await make_mount()
    server.refuses = {"create"}
    found = await mount.data("update", "verify/web")
    assert outcome(found) == {"create": False}
    assert "the database refused create" in found["steps"][0]["detail"]


async def test_statements_of_the_account_that_a_plugin_cannot_run(server: Server) -> None:
    mount = await make_mount(verify_statements=["ok"])
    found = await mount.data("update", "verify/web")
    assert outcome(found)["statements"] == "skipped"


async def test_an_unknown_role(server: Server) -> None:
    with pytest.raises(InvalidRequestError, match="unknown role: nobody"):
        await (await make_mount()).call("update", "verify/nobody")


async def test_a_role_that_the_connection_does_not_allow(server: Server) -> None:
    mount = await make_mount()
    await mount.call("update", "roles/other", {"db_name": "db", "creation_statements": "ok"})
    with pytest.raises(PermissionDeniedError):
        await mount.call("update", "verify/other")
