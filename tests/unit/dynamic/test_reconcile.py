"""Accounts on the database beside leases: orphans of either side, and nothing that only looks like one."""

import asyncio
from typing import Any

import pytest

from core.errors import InvalidRequestError, NotFoundError
from dynamic.connection import Connection
from dynamic.reconcile import prefix_of
from dynamic.target import TargetAwayError
from tests.support.memory_target import Server
from tests.unit.dynamic.database_mount import Mount

CONFIG = {
    "plugin_name": "memory",
    "connection_url": "memory://db",
    "username": "v-root",
    "password": "first",
    "allowed_roles": "*",
}


async def make_mount(server: Server, **more: Any) -> Mount:
    server.accounts["v-root"] = "first"
    mount = Mount()
    await mount.call("update", "config/db", CONFIG | more)
    await mount.call("update", "roles/web", {"db_name": "db", "creation_statements": "ok"})
    return mount


async def reconcile(mount: Mount, **body: Any) -> dict[str, Any]:
    return await mount.data("update", "reconcile/db", body)


async def orphan(mount: Mount, server: Server) -> str:
    """An account that was made by this mount, and that neither lease nor intent knows: of a store from a backup."""
    lease = await mount.lease("web")
    del mount.book.leases[lease.lease_id]
    return str(lease.internal["username"])


async def test_all_is_well(server: Server) -> None:
    mount = await make_mount(server)
    await mount.lease("web")
    server.accounts["v-batch"] = "x"
    await mount.call("update", "static-roles/fix", {"db_name": "db", "username": "v-batch", "rotation_period": "1h"})
    found = await reconcile(mount)
    assert (found["checked_accounts"], found["checked_leases"]) == (3, 1)
    assert found["orphan_accounts"] == found["foreign_accounts"] == found["orphan_leases"] == []


async def test_an_account_without_a_lease_is_removed_when_asked(server: Server) -> None:
    mount = await make_mount(server)
    await mount.lease("web")
    name = await orphan(mount, server)
    found = await reconcile(mount)
    assert (found["orphan_accounts"], found["orphan_account_count"], found["removed_accounts"]) == ([name], 1, 0)
    assert name in server.accounts
    found = await reconcile(mount, apply=True)
    assert found["removed_accounts"] == 1
    assert name not in server.accounts
    assert len(server.accounts) == 3  # root, v-root, and the one with a lease


async def test_a_lease_without_an_account_is_revoked_when_asked(server: Server) -> None:
    mount = await make_mount(server)
    lease = await mount.lease("web")
    del server.accounts[lease.internal["username"]]
    found = await reconcile(mount)
    assert found["orphan_leases"] == [lease.lease_id]
    found = await reconcile(mount, apply=True)
    assert found["revoked_leases"] == 1
    assert mount.book.leases == {}


async def test_accounts_of_others_are_foreign_and_left_alone(server: Server) -> None:
    mount = await make_mount(server)
    elsewhere = Mount()
    await elsewhere.call("update", "config/db", CONFIG)
    await elsewhere.call("update", "roles/web", {"db_name": "db", "creation_statements": "ok"})
    name = (await elsewhere.lease("web")).internal["username"]
    found = await reconcile(mount, apply=True)
    assert (found["foreign_accounts"], found["removed_accounts"]) == ([name], 0)
    found = await reconcile(mount, apply=True, include_foreign=True)
    assert found["removed_accounts"] == 1


async def test_accounts_of_the_mount_s_other_connections_to_the_same_server_are_no_orphans(server: Server) -> None:
    """Their leases are of another connection, and their accounts on the same server."""
    mount = await make_mount(server)
    server.accounts |= {"v-other": "first", "v-fixed": "x"}
    await mount.call("update", "config/other", CONFIG | {"username": "v-other"})
    await mount.call("update", "roles/other", {"db_name": "other", "creation_statements": "ok"})
    role = {"db_name": "other", "username": "v-fixed", "rotation_period": "1h"}
    await mount.call("update", "static-roles/fixed", role)
    name = (await mount.lease("other")).internal["username"]
    found = await reconcile(mount, apply=True, include_foreign=True)
    assert (found["orphan_accounts"], found["foreign_accounts"], found["removed_accounts"]) == ([], [], 0)
    assert {name, "v-other", "v-fixed"} <= set(server.accounts)
    assert found["checked_leases"] == 0


async def test_an_account_that_is_being_made_is_no_orphan(server: Server) -> None:
    mount = await make_mount(server)
    lease = await mount.lease("web", stored=False)
    found = await reconcile(mount, apply=True)
    assert (found["orphan_accounts"], found["foreign_accounts"]) == ([], [])
    assert lease.internal["username"] in server.accounts


async def test_an_account_that_goes_meanwhile_is_no_orphan(server: Server) -> None:
    mount = await make_mount(server)
    lease = await mount.lease("web")
    server.gate, server.visited = asyncio.Event(), asyncio.Event()
    comparing = asyncio.create_task(reconcile(mount))
    await server.visited.wait()
    server.gate.set()
    for _ in range(3):  # the accounts were listed
        await asyncio.sleep(0)
    del mount.book.leases[lease.lease_id]
    del server.accounts[lease.internal["username"]]
    assert (await comparing)["orphan_accounts"] == []


async def test_what_cannot_be_removed_is_told(server: Server) -> None:
    mount = await make_mount(server)
    name = await orphan(mount, server)
    server.refuses = {"drop"}
    found = await reconcile(mount, apply=True)
    assert found["failures"] == [{"what": name, "reason": "the database refused drop"}]


async def test_the_housekeeper_looks_each_hour_and_removes_nothing(server: Server) -> None:
    mount = await make_mount(server)
    name = await orphan(mount, server)
    with pytest.raises(NotFoundError):
        await mount.call("read", "reconcile/db")
    await mount.engine.housekeep()
    assert (await mount.data("read", "reconcile/db"))["orphan_accounts"] == [name]
    assert name in server.accounts
    looked = server.calls.count("accounts")
    mount.clock.advance(3500)
    await mount.other_worker().engine.housekeep()
    assert server.calls.count("accounts") == looked
    mount.clock.advance(200)
    await mount.other_worker().engine.housekeep()
    assert server.calls.count("accounts") > looked
    measures = {(one.name, one.labels.get("side")): one.value for one in await mount.engine.measures()}
    assert measures["database_orphans", "accounts"] == 1
    assert measures["database_orphans", "leases"] == 0


async def test_never_by_itself_when_told_so(server: Server) -> None:
    mount = await make_mount(server, reconcile_interval=0)
    await mount.engine.housekeep()
    assert "accounts" not in server.calls


async def test_a_database_that_is_away(server: Server) -> None:
    mount = await make_mount(server)
    server.is_away = True
    with pytest.raises(TargetAwayError):
        await reconcile(mount)
    await mount.engine.housekeep()


async def test_an_unknown_connection() -> None:
    with pytest.raises(InvalidRequestError, match="failed to find entry"):
        await Mount().call("update", "reconcile/nothing", {})


@pytest.mark.parametrize(
    ("template", "prefix"),
    [
        ("", "v-"),
        ("app-{{ random 10 }}", "app-"),
        ('{{ printf "v-%s-%s" .RoleName (random 10) }}', "v-"),
        ("{{ .RoleName }}-x", None),
    ],
)
def test_how_names_begin(template: str, prefix: str | None) -> None:
    connection = Connection(name="db", plugin_name="memory", username_template=template)
    if prefix is None:
        with pytest.raises(InvalidRequestError, match="begins with nothing that all its accounts share"):
            prefix_of(connection)
    else:
        assert prefix_of(connection) == prefix
