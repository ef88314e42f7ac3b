"""The database engine with the MySQL plugin, against a real MariaDB: from the configuration to the revocation."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from dynamic.target import TargetAwayError, TargetLoginError, TargetRefusedError
from tests.support.mariadb import ThrowAwayMariaDb
from tests.targets.mysql_shop import CREATE, hosts, opened
from tests.unit.dynamic.database_mount import Mount

PASSWORD = "root of the mount"


@pytest.fixture
async def mount(shop: ThrowAwayMariaDb) -> AsyncIterator[Mount]:
    shop.run(
        f"CREATE OR REPLACE USER mount@'%' IDENTIFIED BY '{PASSWORD}'",
        "GRANT CREATE USER, PROCESS, CONNECTION ADMIN ON *.* TO mount@'%'",
        "GRANT SELECT ON mysql.* TO mount@'%'",
        "GRANT SELECT ON shop.* TO mount@'%' WITH GRANT OPTION",
    )
    found = Mount()
    config = {
        "plugin_name": "mysql-legacy-database-plugin",
        "connection_url": shop.dsn("shop"),
        "username": "mount",
        "password": PASSWORD,
        "tls_ca": shop.ca.pem,
        "allowed_roles": "*",
    }
    await found.call("update", "config/shop-db", config)
    role = {"db_name": "shop-db", "creation_statements": CREATE, "default_ttl": "1h", "max_ttl": "4h"}
    await found.call("update", "roles/orders", role)
    yield found
    await found.close()
    shop.run("DROP USER mount@'%'")


async def test_credentials_from_creation_to_revocation(mount: Mount, shop: ThrowAwayMariaDb) -> None:
    """With the names of at most 16 characters that MySQL had before 5.7.8."""
    lease = await mount.lease("orders")
    name = lease.internal["username"]
    assert len(name) <= 16
    target = opened(shop)
    await target.login(name, mount.passwords[name])
    await mount.engine.revoke_lease(lease)
    assert hosts(shop, name) == []
    with pytest.raises(TargetLoginError):
        await target.login(name, mount.passwords[name])
    await target.close()


async def test_after_root_rotation_only_the_mount_knows_the_password(mount: Mount, shop: ThrowAwayMariaDb) -> None:
    await mount.call("update", "rotate-root/shop-db")
    former = opened(shop, username="mount", password=PASSWORD)
    with pytest.raises(TargetLoginError):
        await former.check()
    name = (await mount.lease("orders")).internal["username"]
    assert hosts(shop, name) == ["%"]
    shop.run(f"DROP USER `{name}`@'%'")


async def test_wrong_grants_leave_no_account_and_no_intent(mount: Mount, shop: ThrowAwayMariaDb) -> None:
    role = {"db_name": "shop-db", "creation_statements": [*CREATE, "GRANT INSERT ON shop.* TO '{{name}}'@'%'"]}
    await mount.call("update", "roles/wrong", role)
    with pytest.raises(TargetRefusedError, match=r"statement 3 of 3 .*request id r"):
        await mount.lease("wrong")
    assert shop.run("SELECT User FROM mysql.user WHERE User LIKE 'v-wrong%'") == []
    assert await mount.view.list("intent/") == []


async def test_a_database_that_is_killed_is_a_503_and_back_when_it_is_back(
    mount: Mount, shop: ThrowAwayMariaDb
) -> None:
    lease = await mount.lease("orders")
    await asyncio.to_thread(shop.stop)
    try:
        with pytest.raises(TargetAwayError, match="cannot be reached"):
            await mount.engine.revoke_lease(lease)
    finally:
        await asyncio.to_thread(shop.start)
    await mount.call("update", "reset/shop-db")  # its rest is over
    await mount.engine.revoke_lease(lease)
    assert hosts(shop, lease.internal["username"]) == []
