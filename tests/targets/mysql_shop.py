"""A shop's database on a real MariaDB, and a user that has only the rights on it that the plugin needs."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import pymysql
import pytest

from dynamic.target import ConnectionDetails, NewAccount
from dynamic.targets.mysql import MySqlTarget
from tests.support.mariadb import ThrowAwayMariaDb

CREATE = (
    "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}';GRANT SELECT ON shop.* TO '{{name}}'@'%';",
)  # as Vault's guide prints it
ROOT = "mimir"
ROOT_PASSWORD = "root's \\ \"pass"
PASSWORD = "correct horse-1A"
LATER = 4_000_000_000
_NAMES = count(1)


@pytest.fixture(scope="session")
def shop(mariadb: ThrowAwayMariaDb) -> ThrowAwayMariaDb:
    mariadb.run(
        f"CREATE OR REPLACE USER {ROOT}@'%' IDENTIFIED BY 'root''s \\\\ \"pass'",
        f"GRANT CREATE USER, PROCESS, CONNECTION ADMIN ON *.* TO {ROOT}@'%'",
        f"GRANT SELECT ON mysql.* TO {ROOT}@'%'",
        "CREATE OR REPLACE DATABASE shop",
        "CREATE TABLE shop.orders (id INT PRIMARY KEY)",
        "INSERT INTO shop.orders VALUES (7)",
        f"GRANT SELECT, INSERT ON shop.* TO {ROOT}@'%' WITH GRANT OPTION",
    )
    return mariadb


def opened(server: ThrowAwayMariaDb, **options: Any) -> MySqlTarget:
    details = ConnectionDetails(
        name="shop-db",
        username=options.pop("username", ROOT),
        password=options.pop("password", ROOT_PASSWORD),
        options={"connection_url": server.dsn("shop"), "tls_ca": server.ca.pem} | options,
    )
    return MySqlTarget(details)


def hosts(server: ThrowAwayMariaDb, name: str) -> list[Any]:
    connection = pymysql.connect(unix_socket=str(server.socket), user="root", charset="utf8mb4")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT Host FROM mysql.user WHERE User = %s ORDER BY 1", (name,))
        return [row[0] for row in cursor.fetchall()]


@pytest.fixture(name="shop_target")
async def a_target(shop: ThrowAwayMariaDb) -> AsyncIterator[MySqlTarget]:
    found = opened(shop, connection_url=f"{{{{username}}}}:{{{{password}}}}@unix({shop.socket})/shop", tls_ca="")
    yield found
    await found.close()


@pytest.fixture
def who(shop: ThrowAwayMariaDb) -> Iterator[str]:
    name = f"v-shop-{next(_NAMES)}"
    yield name
    for host in hosts(shop, name):
        shop.run(f"DROP USER `{name}`@`{host}`")


def account(name: str, *statements: str, **more: Any) -> NewAccount:
    return NewAccount(username=name, expires_at=LATER, statements=statements or CREATE, **{"password": PASSWORD} | more)
