"""Static roles on two workers with a real PostgreSQL that asks for passwords, and the way into KV."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import hvac.exceptions
import pytest

from tests.support.appliance import Appliance
from tests.support.postgres import NetworkPostgres

ROOT_PASSWORD = "root-password-of-the-test"


class Orders(NetworkPostgres):
    """A server with a root user for Mimir and accounts for static roles."""

    def sql(self, text: str) -> None:
        async def run() -> None:
            connection = await asyncpg.connect(self.url("postgres"))
            await connection.execute(text)
            await connection.close()

        asyncio.run(run())

    def lets_in(self, username: str, password: str) -> bool:
        async def run() -> None:
            connection = await asyncpg.connect(
                host="127.0.0.1", port=self.port, user=username, password=password, database="postgres", ssl=False
            )
            await connection.close()

        try:
            asyncio.run(run())
        except asyncpg.InvalidPasswordError:
            return False
        return True


@pytest.fixture(scope="module")
def orders() -> Iterator[Orders]:
    server = Orders()
    server.sql(
        f"CREATE ROLE mimir LOGIN CREATEROLE PASSWORD '{ROOT_PASSWORD}';"
        "CREATE ROLE batch LOGIN; CREATE ROLE blue LOGIN; CREATE ROLE green LOGIN; CREATE ROLE quick LOGIN;"
        "CREATE ROLE own LOGIN"
    )
    yield server
    server.remove()


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory, orders: Orders) -> Iterator[Appliance]:
    running = Appliance(tmp_path_factory.mktemp("appliance") / "data").start()
    client = running.client()
    client.sys.enable_secrets_engine("database")
    client.secrets.database.configure(
        "orders-db",
        "postgresql",
        allowed_roles=["*"],
        connection_url=f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{orders.port}/postgres",
        username="mimir",
        password=ROOT_PASSWORD,
    )
    yield running
    assert running.stop() == 0


@pytest.fixture
def engine(appliance: Appliance) -> Any:
    return appliance.client().secrets.database


def credentials(engine: Any, role: str) -> tuple[str, str]:
    data = engine.get_static_credentials(role)["data"]
    return data["username"], data["password"]


def test_the_password_is_changed_by_hand_and_opens_the_database(engine: Any, orders: Orders) -> None:
    engine.create_static_role("batch", "orders-db", "batch", [], rotation_period=3600)
    first = credentials(engine, "batch")
    assert orders.lets_in(*first)
    engine.rotate_static_role_credentials("batch")
    second = credentials(engine, "batch")
    assert orders.lets_in(*second)
    assert not orders.lets_in(*first)
    shown = engine.read_static_role("batch")["data"]
    assert (shown["username"], shown["rotation_period"], shown["db_name"]) == ("batch", 3600, "orders-db")


def test_many_at_once_change_it_one_by_one(appliance: Appliance, engine: Any, orders: Orders) -> None:
    engine.create_static_role("batch", "orders-db", "batch", [], rotation_period=3600)

    def rotate(_: int) -> int:
        return appliance.request("POST", "database/rotate-role/batch", {}).status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(rotate, range(16)))
    assert set(statuses) <= {204, 400}
    assert 204 in statuses
    assert orders.lets_in(*credentials(engine, "batch"))


def test_two_accounts_overlap(appliance: Appliance, engine: Any, orders: Orders) -> None:
    role = {"db_name": "orders-db", "username": "blue", "alternate_username": "green", "rotation_period": "1h"}
    assert appliance.request("POST", "database/static-roles/app", role).status == 204
    first = credentials(engine, "app")
    engine.rotate_static_role_credentials("app")
    second = credentials(engine, "app")
    assert {first[0], second[0]} == {"blue", "green"}
    assert orders.lets_in(*first)
    assert orders.lets_in(*second)


def test_the_housekeeper_changes_it_in_time_and_leaves_it_in_kv(appliance: Appliance, orders: Orders) -> None:
    role = {"db_name": "orders-db", "username": "quick", "rotation_period": "5s", "kv_path": "secret/apps/quick"}
    assert appliance.request("POST", "database/static-roles/quick", role).status == 204
    kv = appliance.client().secrets.kv.v2

    def latest() -> dict[str, Any]:
        return dict(kv.read_secret_version("apps/quick", raise_on_deleted_version=True)["data"])

    first = latest()
    assert first["metadata"]["version"] == 1
    limit = time.monotonic() + 20
    while latest()["metadata"]["version"] == 1:
        assert time.monotonic() < limit
        time.sleep(0.2)
    second = latest()["data"]
    assert second["password"] != first["data"]["password"]
    appliance.client().secrets.database.delete_static_role("quick")
    assert orders.lets_in(*credentials_of(kv))


def credentials_of(kv: Any) -> tuple[str, str]:
    data = kv.read_secret_version("apps/quick", raise_on_deleted_version=True)["data"]["data"]
    return data["username"], data["password"]


def test_whoever_may_not_write_the_secret_cannot_have_it_written(appliance: Appliance) -> None:
    client = appliance.client()
    client.sys.create_or_update_policy("dba", 'path "database/*" { capabilities = ["create", "update", "read"] }')
    token = client.auth.token.create(policies=["dba"])["auth"]["client_token"]
    role = {"db_name": "orders-db", "username": "own", "rotation_period": "1h", "kv_path": "secret/apps/taken"}
    assert appliance.request("POST", "database/static-roles/taken", role, token=token).status == 403
    del role["kv_path"]
    assert appliance.request("POST", "database/static-roles/taken", role, token=token).status == 204


def test_an_account_that_there_is_none_of_makes_no_role(engine: Any) -> None:
    with pytest.raises(hvac.exceptions.InvalidRequest, match="42704 undefined_object"):
        engine.create_static_role("ghost", "orders-db", "ghost", [], rotation_period=3600)
    with pytest.raises(hvac.exceptions.InvalidPath):
        engine.read_static_role("ghost")
