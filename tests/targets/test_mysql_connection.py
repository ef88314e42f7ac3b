"""How the MySQL plugin connects, to a real MariaDB: TLS, several hosts, sessions that die, servers that are none."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvloop

from dynamic.target import Removal, TargetAwayError, TargetRefusedError
from dynamic.targets.mysql import MySqlTarget
from tests.support.mariadb import ThrowAwayMariaDb
from tests.targets.mysql_shop import CREATE, PASSWORD, ROOT, account, hosts, opened


async def test_tls_is_verified(shop: ThrowAwayMariaDb, shop_target: MySqlTarget, who: str) -> None:
    """By address and by the name that tls_server_name gives; the server proves that the session is encrypted."""
    await shop_target.create(account(who, *CREATE, "ALTER USER '{{name}}'@'%' REQUIRE SSL"))
    for options in ({}, {"tls_server_name": "db.example"}):
        secure = opened(shop, **options)
        await secure.login(who, PASSWORD)
        await secure.close()


def test_tls_on_the_loop_of_the_product(shop: ThrowAwayMariaDb) -> None:
    async def reach() -> None:
        secure = opened(shop)
        await secure.check()
        await secure.close()

    uvloop.run(reach())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param({"tls_ca": "other"}, "certificate is not accepted", id="wrong-ca"),
        pytest.param({"tls_ca": "", "tls_server_name": "db.example"}, "certificate is not accepted", id="no-ca"),
        pytest.param({"tls_server_name": "other.example"}, "certificate is not accepted", id="wrong-name"),
    ],
)
async def test_a_server_that_does_not_prove_who_it_is(
    shop: ThrowAwayMariaDb, options: dict[str, str], reason: str
) -> None:
    if options.get("tls_ca"):
        options = {"tls_ca": type(shop.ca).root("Other").pem}
    unproven = opened(shop, **options)
    with pytest.raises(TargetAwayError, match=reason):
        await unproven.check()
    await unproven.close()


@pytest.mark.parametrize("options", [{"tls_skip_verify": True}, {"connection_url": "?tls=skip-verify"}])
async def test_the_operator_may_say_that_nothing_is_verified(shop: ThrowAwayMariaDb, options: dict[str, Any]) -> None:
    if "connection_url" in options:
        options = {"connection_url": shop.dsn("shop") + options["connection_url"]}
    careless = opened(shop, tls_ca="", **options)
    await careless.check()
    await careless.close()


async def test_the_first_host_that_serves(shop: ThrowAwayMariaDb) -> None:
    url = f"mysql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:1,127.0.0.1:{shop.port}/shop"
    several = opened(shop, connection_url=url)
    await several.check()
    shop.run("SET GLOBAL read_only = 1")
    try:
        with pytest.raises(TargetAwayError):  # the one that refuses connections, or the one that takes no writes
            await several.create(account("v-never"))
    finally:
        shop.run("SET GLOBAL read_only = 0")
    await several.check()
    await several.close()


async def test_a_database_that_is_not_there(shop: ThrowAwayMariaDb) -> None:
    wrong = opened(shop, connection_url=shop.dsn("nowhere"))
    with pytest.raises(TargetRefusedError, match=r"104[49]"):
        await wrong.create(account("v-never"))
    await wrong.close()


async def test_a_kept_session_that_died_is_replaced(shop_target: MySqlTarget, shop: ThrowAwayMariaDb, who: str) -> None:
    await shop_target.check()
    for (thread,) in shop.run(f"SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{ROOT}'"):
        shop.run(f"KILL {thread}")
    await shop_target.create(account(who))
    await shop_target.login(who, PASSWORD)


async def test_no_more_sessions_than_were_allowed(shop: ThrowAwayMariaDb) -> None:
    shop.run("CREATE OR REPLACE USER narrow@'%' IDENTIFIED BY 'narrow'")
    narrow = opened(shop, username="narrow", password="narrow", connection_url=shop.dsn(), max_open_connections=2)
    await asyncio.gather(*(narrow.check() for _ in range(12)))
    assert shop.run("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'narrow'") == [(2,)]
    await narrow.close()


@pytest.mark.parametrize("options", [{"max_idle_connections": 1}, {"max_connection_lifetime": "1h"}], ids=str)
async def test_how_many_sessions_are_kept(shop: ThrowAwayMariaDb, options: dict[str, Any]) -> None:
    shop.run("CREATE OR REPLACE USER idle@'%' IDENTIFIED BY 'idle'")
    idle = opened(shop, username="idle", password="idle", connection_url=shop.dsn(), **options)
    for _ in range(3):
        await idle.check()
    assert shop.run("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'idle'") == [(1,)]
    await idle.close()


async def test_a_call_that_is_cut_off_gives_its_place_back(shop: ThrowAwayMariaDb) -> None:
    narrow = opened(shop, max_open_connections=1)
    await narrow.check()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await narrow.create(account("v-never", "SELECT SLEEP(3)"))
    await narrow.check()
    await narrow.close()


@contextlib.asynccontextmanager
async def impostor(speech: bytes) -> AsyncIterator[tuple[int, bytearray]]:
    """A port that says this and hears the rest."""
    heard, tasks = bytearray(), []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        writer.write(speech)
        heard.extend(await reader.read())
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heard
        await asyncio.gather(*tasks)


async def test_what_does_not_speak_the_protocol(shop: ThrowAwayMariaDb) -> None:
    for speech in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x01\0\0\0\x0a", b"\x05\0\0\0\x0a8.0\0"):
        async with impostor(speech) as (port, _heard):
            wrong = opened(shop, connection_url=f"mysql://127.0.0.1:{port}/")
            with pytest.raises(TargetAwayError, match="cannot be reached"):
                await wrong.check()


@pytest.mark.parametrize(
    ("tls", "reason"),
    [("tls=true", "offers no TLS"), ("tls=false", "password in clear"), ("tls=preferred", "password in clear")],
)
async def test_a_server_that_asks_for_the_password_in_clear_gets_nothing(
    shop: ThrowAwayMariaDb, tls: str, reason: str
) -> None:
    async with impostor(greeting(b"mysql_clear_password")) as (port, heard):
        url = f"mysql://127.0.0.1:{port}/?{tls}&allowCleartextPasswords=true"
        robbed = opened(shop, connection_url=url, tls_ca="")
        with pytest.raises(TargetAwayError, match=reason):
            await robbed.check()
    assert not heard


def greeting(method: bytes) -> bytes:
    """Protocol::HandshakeV10, without CLIENT_SSL."""
    capabilities = 0x00080000 | 0x8000 | 0x0200
    payload = (
        b"\x0a8.0.30\0" + b"\x01\0\0\0" + b"12345678\0" + (capabilities & 0xFFFF).to_bytes(2, "little") + b"\x2d\x02\0"
        + (capabilities >> 16).to_bytes(2, "little") + b"\x15" + bytes(10) + b"123456789012\0" + method + b"\0"
    )  # fmt: skip
    return len(payload).to_bytes(3, "little") + b"\0" + payload


async def test_a_server_that_stopped_and_came_back(shop: ThrowAwayMariaDb, shop_target: MySqlTarget, who: str) -> None:
    await shop_target.create(account(who))
    await asyncio.to_thread(shop.stop)
    for call in (shop_target.check(), shop_target.create(account("v-never")), shop_target.drop(Removal(username=who))):
        with pytest.raises(TargetAwayError, match="cannot be reached"):
            await call
    await asyncio.to_thread(shop.start)
    await shop_target.drop(Removal(username=who))
    assert hosts(shop, who) == []
