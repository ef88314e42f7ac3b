"""The PostgreSQL plugin over the network: TLS that is verified, passwords that count, several hosts."""

import asyncio
import datetime as dt
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from core.errors import MimirError
from dynamic.target import ConnectionDetails, NewAccount, Removal, TargetAwayError, TargetLoginError
from dynamic.targets.postgresql import PostgresTarget
from tests.support.appliance import free_port
from tests.support.postgres import NetworkPostgres
from tests.support.small_ca import SmallCa, pem

PASSWORD = "p@ss:w/rd?#%"
CREATE = ("CREATE ROLE {{name}} LOGIN PASSWORD '{{password}}'",)


@dataclass
class Site:
    """A server with a certificate for 127.0.0.1, whose CA is known."""

    server: NetworkPostgres
    ca: str

    def target(self, *, hosts: str = "", password: str = PASSWORD, query: str = "", **options: Any) -> PostgresTarget:
        hosts = hosts or f"127.0.0.1:{self.server.port}"
        url = f"postgresql://{{{{username}}}}:{{{{password}}}}@{hosts}/postgres{query}"
        options = {"connection_url": url, "tls_ca": self.ca, "scram_iterations": 1} | options
        return PostgresTarget(ConnectionDetails(name="db", username="mimir", password=password, options=options))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    now = dt.datetime.now(dt.UTC)
    ca = SmallCa.root(now=now)
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = ca.sign(key.public_key(), "db", now=now, extensions=(names,))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    server = NetworkPostgres(certificate=pem(certificate), key=private)
    asyncio.run(_prepare(server))
    yield Site(server, ca.pem)
    server.remove()


async def _prepare(server: NetworkPostgres) -> None:
    connection = await asyncpg.connect(server.url("postgres"))
    await connection.execute(f"CREATE ROLE mimir LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
    await connection.close()


async def test_a_verified_connection_makes_accounts_whose_passwords_open_it(site: Site) -> None:
    target = site.target()
    try:
        account = NewAccount(username="v-a", password="correct horse", expires_at=4_000_000_000, statements=CREATE)
        await target.create(account)
        await target.login("v-a", "correct horse")
        with pytest.raises(TargetLoginError):
            await target.login("v-a", "wrong horse")
        await target.drop(Removal(username="v-a"))
        with pytest.raises(TargetLoginError):
            await target.login("v-a", "correct horse")
    finally:
        await target.close()


async def test_it_is_encrypted(site: Site) -> None:
    target = site.target()
    await target.check()
    connection = await asyncpg.connect(site.server.url("postgres"))
    rows = await connection.fetch(
        "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'mimir'"
    )
    assert [row["ssl"] for row in rows] == [True]
    await connection.close()
    await target.close()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"password": "another"}, TargetLoginError),
        ({"tls_ca": SmallCa.root("Somebody else").pem}, TargetAwayError),
        ({"hosts": "localhost:{port}", "query": "?sslmode=verify-full"}, TargetAwayError),
        ({"query": "?sslmode=verify-full", "tls_ca": ""}, TargetAwayError),
    ],
    ids=["password", "another CA", "another name", "CAs of the system"],
)
async def test_what_is_not_as_it_must_be_is_refused(
    site: Site, change: dict[str, str], error: type[MimirError]
) -> None:
    change = {name: value.replace("{port}", str(site.server.port)) for name, value in change.items()}
    target = site.target(**change)
    with pytest.raises(error) as caught:
        await target.check()
    assert PASSWORD not in caught.value.sentence
    await target.close()


@pytest.mark.parametrize("query", ["?sslmode=verify-ca", "?sslmode=require"])
async def test_an_operator_may_ask_for_less(site: Site, query: str) -> None:
    target = site.target(hosts=f"localhost:{site.server.port}", query=query)
    await target.check()
    await target.close()


async def test_the_next_host_serves_when_the_first_is_dead(site: Site) -> None:
    target = site.target(hosts=f"127.0.0.1:{free_port()},127.0.0.1:{site.server.port}")
    await target.check()
    await target.close()


async def test_no_host_at_all(site: Site) -> None:
    target = site.target(hosts=f"127.0.0.1:{free_port()},127.0.0.1:{free_port()}")
    with pytest.raises(TargetAwayError, match="the database db cannot be reached"):
        await target.check()
    await target.close()


async def test_only_so_many_connections_are_open(site: Site) -> None:
    target = site.target(max_open_connections=2)
    await asyncio.gather(*(target.check() for _ in range(20)))
    connection = await asyncpg.connect(site.server.url("postgres"))
    count = await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = 'mimir'")
    assert count <= 2
    await connection.close()
    await target.close()
