"""Processes and a PostgreSQL that are killed in the middle: no account is left, and no lease is lost. Real servers."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from tests.support.appliance import Appliance
from tests.support.postgres import NetworkPostgres
from tests.support.tcp_front import TcpFront

pytestmark = pytest.mark.heavy

ROOT_PASSWORD = "root-password-of-the-test"
CREATE = 'CREATE ROLE "{{name}}" LOGIN PASSWORD \'{{password}}\'; GRANT SELECT ON orders TO "{{name}}"'
PATIENCE = 150  # seconds: an account without a lease is given up after a minute


class Orders(NetworkPostgres):
    """The database that credentials are for."""

    def __init__(self) -> None:
        super().__init__()
        self.name = self.create_database()

    async def sql(self, text: str) -> list[str]:
        connection = await asyncpg.connect(self.url(self.name))
        try:
            return [row[0] for row in await connection.fetch(text)]
        finally:
            await connection.close()

    async def prepare(self) -> None:
        connection = await asyncpg.connect(self.url(self.name))
        await connection.execute(
            f"CREATE ROLE mimir LOGIN CREATEROLE PASSWORD '{ROOT_PASSWORD}'; CREATE TABLE orders(id int);"
            "GRANT SELECT ON orders TO mimir WITH GRANT OPTION"
        )
        await connection.close()

    async def accounts(self) -> set[str]:
        return set(await self.sql("SELECT rolname FROM pg_roles WHERE starts_with(rolname, 'v-')"))


@pytest.fixture
def orders() -> Iterator[Orders]:
    server = Orders()
    yield server
    server.remove()


@pytest.fixture
async def front(orders: Orders) -> AsyncIterator[TcpFront]:
    made = TcpFront(f"127.0.0.1:{orders.port}")
    await made.start()
    yield made
    made.answers.set()
    await made.stop()


@pytest.fixture
async def appliance(tmp_path: Any, orders: Orders, front: TcpFront) -> AsyncIterator[Appliance]:
    await orders.prepare()
    running = Appliance(tmp_path / "data")
    await asyncio.to_thread(running.start)
    url = f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{front.port}/{orders.name}?sslmode=disable"
    await ask(running, "POST", "sys/mounts/database", {"type": "database"})
    connection = {"plugin_name": "postgresql", "connection_url": url, "username": "mimir", "password": ROOT_PASSWORD}
    await ask(running, "POST", "database/config/orders-db", {**connection, "allowed_roles": "*"})
    for role, ttl in (("long", "1h"), ("short", "4s")):
        body = {"db_name": "orders-db", "creation_statements": CREATE, "default_ttl": ttl, "max_ttl": ttl}
        await ask(running, "POST", f"database/roles/{role}", body)
    yield running
    await asyncio.to_thread(running.stop)


async def ask(server: Appliance, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    reply = await asyncio.to_thread(server.request, method, path, body)
    assert reply.status < 300, reply
    return reply.json if reply.body else None


async def until_none_is_left(orders: Orders, gone: set[str]) -> None:
    limit = time.monotonic() + PATIENCE
    while left := gone & await orders.accounts():
        assert time.monotonic() < limit, left
        await asyncio.sleep(0.5)


async def leases(server: Appliance) -> int:
    counts = await ask(server, "GET", "sys/leases/count?type=all")
    return int(counts["data"]["lease_count"])


async def test_a_kill_between_the_account_and_its_lease_leaves_no_account(
    appliance: Appliance, orders: Orders, front: TcpFront
) -> None:
    for _ in range(12):  # both workers have open connections now
        await ask(appliance, "GET", "database/creds/long")
    kept = await orders.accounts()
    assert len(kept) == 12
    front.answers.clear()
    asked = [asyncio.create_task(asyncio.to_thread(appliance.request, "GET", "database/creds/long")) for _ in range(6)]
    limit = time.monotonic() + 10
    while not (orphans := await orders.accounts() - kept):
        assert time.monotonic() < limit
        await asyncio.sleep(0.05)
    appliance.kill()
    front.answers.set()
    await asyncio.gather(*asked, return_exceptions=True)
    await asyncio.to_thread(appliance.start)
    orphans |= await orders.accounts() - kept
    assert await leases(appliance) == 12
    await until_none_is_left(orders, orphans)
    assert await orders.accounts() == kept
    found = await ask(appliance, "POST", "database/reconcile/orders-db", {})
    assert (found["data"]["orphan_account_count"], found["data"]["orphan_lease_count"]) == (0, 0)


async def test_a_database_that_is_killed_during_creations_and_revocations_loses_none(
    appliance: Appliance, orders: Orders
) -> None:
    answered: set[str] = set()
    is_over = False

    async def keep_asking() -> None:
        while not is_over:
            reply = await asyncio.to_thread(appliance.request, "GET", "database/creds/short")
            assert reply.status in {200, 503}, reply
            if reply.status == 200:
                answered.add(reply.json["data"]["username"])
            else:
                await asyncio.sleep(0.05)

    asking = [asyncio.create_task(keep_asking()) for _ in range(4)]
    for away in (0.5, 6, 3):
        await asyncio.sleep(4)
        await asyncio.to_thread(orders.stop)  # at once, as a crash
        await asyncio.sleep(away)
        await asyncio.to_thread(orders.start)
    await asyncio.sleep(4)
    is_over = True
    await asyncio.gather(*asking)
    assert len(answered) > 50
    await until_none_is_left(orders, await orders.accounts() | answered)
    limit = time.monotonic() + 30
    while await leases(appliance):
        assert time.monotonic() < limit
        await asyncio.sleep(0.5)
    found = await ask(appliance, "GET", "sys/leases?type=irrevocable")
    assert found["data"]["lease_count"] == 0
