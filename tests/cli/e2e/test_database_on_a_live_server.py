"""The guide's commands for databases as it prints them, against the real server and a real PostgreSQL.

The database listens on a loopback port and asks everybody for a password, so that a login proves something.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.cli.conftest import Mimir, Outcome
from tests.support.appliance import Appliance
from tests.support.postgres import NetworkPostgres

ROOT_PASSWORD = "first's \\ pass"

CREATION = (
    r"CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; "
    r"GRANT SELECT, INSERT ON orders TO \"{{name}}\";"
)
CONFIG_WRITE = r"""
mimir secrets config write database/config/orders-db \
  --plugin postgresql \
  --connection-url "postgresql://{{username}}:{{password}}@db.internal:5432/orders" \
  --allowed-roles "orders-api" \
  --root-rotation-ttl 24h
"""
ROLE_WRITE = rf"""
mimir secrets role write database/roles/orders-api \
  --db-name orders-db \
  --creation-statements "{CREATION}" \
  --default-ttl 1h \
  --max-ttl 4h
"""


class OrdersDatabase(NetworkPostgres):
    """`orders`, and `mimir` who may make roles there."""

    async def prepare(self) -> None:
        quoted = ROOT_PASSWORD.replace("'", "''")
        await self.as_postgres("postgres", "CREATE DATABASE orders")
        await self.as_postgres(
            "orders",
            f"CREATE ROLE mimir LOGIN CREATEROLE PASSWORD '{quoted}'; CREATE TABLE orders(id int);"
            "GRANT ALL ON orders TO mimir WITH GRANT OPTION; CREATE ROLE batch LOGIN",
        )

    async def as_postgres(self, database: str, sql: str) -> None:
        connection = await asyncpg.connect(self.url(database))
        await connection.execute(sql)
        await connection.close()

    async def as_account(self, username: str, password: str, sql: str = "SELECT 1") -> None:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.port, user=username, password=password, database="orders", ssl=False
        )
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    def opens(self, account: dict[str, str]) -> bool:
        """Whether the account gets in."""
        try:
            asyncio.run(self.as_account(account["username"], account["password"]))
        except asyncpg.InvalidPasswordError:
            return False
        return True


@pytest.fixture(scope="module")
def orders() -> Iterator[OrdersDatabase]:
    server = OrdersDatabase()
    try:
        asyncio.run(server.prepare())
        yield server
    finally:
        server.remove()


@dataclass
class User:
    """Someone with a token."""

    call: Mimir
    address: str
    token: str

    def mimir(self, *words: str, code: int = 0, **environ: str) -> Outcome:
        done = self.call(*words, MIMIR_ADDR=self.address, MIMIR_TOKEN=self.token, **environ)
        assert done.code == code, (words, done)
        return done

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.mimir(*words, code=code).out)

    def rows(self, *words: str) -> dict[str, str]:
        lines = [line.split(None, 1) for line in self.mimir(*words).out.splitlines()]
        return {line[0]: line[1] for line in lines if len(line) == 2}


@pytest.fixture
def user(mimir: Mimir, live: Appliance) -> User:
    return User(mimir, live.address, live.root_token)


def taken_apart(printed: str) -> list[str]:
    """The words behind `mimir`, as a shell takes the printed lines apart."""
    return shlex.split(printed.replace("\\\n", " "))[1:]


@pytest.fixture(scope="module")
def done_once() -> list[str]:
    return []


@pytest.fixture
def database(user: User, orders: OrdersDatabase, done_once: list[str]) -> User:
    """The guide was followed."""
    if not done_once:
        user.mimir("secrets", "engine", "enable", "database")
        config = CONFIG_WRITE.replace("db.internal:5432", f"127.0.0.1:{orders.port}")
        login = {"MIMIR_DATABASE_USERNAME": "mimir", "MIMIR_DATABASE_PASSWORD": ROOT_PASSWORD}
        user.mimir(*taken_apart(config), **login)
        user.mimir(*taken_apart(ROLE_WRITE))
        done_once.append("guide")
    return user


def test_the_guide_ends_with_an_account_that_opens_the_database(database: User, orders: OrdersDatabase) -> None:
    shown = database.json("secret", "read", "database/creds/orders-api")
    assert shown["lease_id"].startswith("database/creds/orders-api/")
    assert shown["lease_duration"] == "1h"
    account = shown["data"]
    assert account.keys() == {"username", "password"}
    assert account["username"].startswith("v-orders-api-")
    assert orders.opens(account)
    assert not orders.opens(account | {"password": "guessed"})
    asyncio.run(orders.as_account(**account, sql="INSERT INTO orders VALUES (1)"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        asyncio.run(orders.as_account(**account, sql="DELETE FROM orders"))

    database.mimir("lease", "revoke", shown["lease_id"], "--sync")
    assert not orders.opens(account)


def test_what_was_written_is_shown_without_the_password(database: User) -> None:
    rows = database.rows("secrets", "config", "read", "database/config/orders-db")
    assert (rows["plugin_name"], rows["root_rotation_ttl"], rows["username"]) == ("postgresql", "24h", "mimir")
    assert ROOT_PASSWORD not in database.mimir("secrets", "config", "read", "database/orders-db", "-o", "json").out
    rows = database.rows("secrets", "role", "read", "database/roles/orders-api")
    assert (rows["db_name"], rows["default_ttl"], rows["max_ttl"]) == ("orders-db", "1h", "4h")
    listed = database.mimir("dynamic", "connections").out.splitlines()[2:]
    assert [line.split()[:4] for line in listed] == [["orders-db", "postgresql", "orders-api", "24h"]]
    assert database.json("dynamic", "roles", "-o", "json")["roles"][0]["name"] == "orders-api"


def test_after_rotate_root_the_first_password_is_worth_nothing(database: User, orders: OrdersDatabase) -> None:
    database.mimir("dynamic", "rotate-root", "orders-db")
    assert not orders.opens({"username": "mimir", "password": ROOT_PASSWORD})
    database.mimir("dynamic", "reset", "orders-db")
    account = database.json("dynamic", "creds", "orders-api", "-o", "json")["data"]
    assert orders.opens(account)
    rows = database.rows("secrets", "config", "read", "database/config/orders-db")
    assert rows["last_root_rotation"].endswith("Z")


MISTAKES = [
    (("secrets", "config", "write", "database/config/x", "--plugin", "oracle"), "there is no plugin 'oracle'"),
    (("secrets", "config", "write", "database/config/x", "--plugin", "postgresql"), "connection_url is required"),
    (("secrets", "config", "read", "database/config/nobody"), "nothing is there"),
    (("secrets", "role", "write", "database/roles/x", "--default-ttl", "1h"), "db_name names a connection"),
    (
        ("secrets", "role", "write", "database/roles/x", "--db-name", "orders-db", "--creation-statements", "{{x}}"),
        "x",
    ),
    (("dynamic", "creds", "nobody"), "unknown role: nobody"),
    (("dynamic", "rotate-root", "nobody"), "failed to find entry for connection"),
    (("dynamic", "connections", "-mount=nowhere"), "mimir secrets engine enable"),
]


@pytest.mark.parametrize(("words", "said"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_typical_mistakes_with_databases(database: User, words: tuple[str, ...], said: str) -> None:
    refused = database.mimir(*words, code=1)
    assert refused.out == ""
    assert said in refused.err


def test_a_wrong_password_is_found_when_the_connection_is_written(
    database: User, orders: OrdersDatabase, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("mistyped-secret\n")
    url = f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{orders.port}/orders"
    words = ("secrets", "config", "write", "database/config/x", "--plugin", "postgresql", "--connection-url", url)
    refused = database.mimir(*words, "--username", "mimir", "--password", f"@{file}", code=1)
    assert "verify_connection=false stores it untried" in refused.err
    assert "mistyped-secret" not in refused.err
    database.mimir(*words, "--username", "mimir", "--password", f"@{file}", "--no-verify")
    database.mimir("secrets", "config", "delete", "database/config/x")


def test_a_role_that_is_not_allowed_gets_nothing(database: User) -> None:
    words = ("--db-name", "orders-db", "--creation-statements", 'CREATE ROLE "{{name}}"')
    database.mimir("secrets", "role", "write", "database/roles/stranger", *words)
    assert "allowed_roles" in database.mimir("dynamic", "creds", "stranger", code=1).err
    database.mimir("secrets", "role", "delete", "database/stranger")
