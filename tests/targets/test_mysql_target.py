"""The MySQL plugin against a real MariaDB, as a user that has only the rights that docs ask for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import aiomysql
import pymysql
import pytest
import uvloop

from core.errors import InvalidRequestError
from dynamic.target import (
    ConnectionDetails,
    NewAccount,
    PasswordChange,
    Removal,
    Renewal,
    StatementKind,
    TargetAwayError,
    TargetLoginError,
    TargetRefusedError,
)
from dynamic.targets.mysql import LEGACY_PLUGIN, PLUGIN, MySqlTarget
from tests.support.mariadb import ThrowAwayMariaDb

CREATE = (
    "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}';GRANT SELECT ON shop.* TO '{{name}}'@'%';",
)  # as Vault's guide prints it
ROOT = "mimir"
ROOT_PASSWORD = "root's \\ \"pass"
PASSWORD = "correct horse-1A"
LATER = 4_000_000_000
_NAMES = count(1)


@pytest.fixture(scope="module")
def server(mariadb: ThrowAwayMariaDb) -> Iterator[ThrowAwayMariaDb]:
    mariadb.run(
        f"CREATE OR REPLACE USER {ROOT}@'%' IDENTIFIED BY 'root''s \\\\ \"pass'",
        f"GRANT CREATE USER, PROCESS, CONNECTION ADMIN ON *.* TO {ROOT}@'%'",
        f"GRANT SELECT ON mysql.* TO {ROOT}@'%'",
        "CREATE OR REPLACE DATABASE shop",
        "CREATE TABLE shop.orders (id INT PRIMARY KEY)",
        "INSERT INTO shop.orders VALUES (7)",
        f"GRANT SELECT, INSERT ON shop.* TO {ROOT}@'%' WITH GRANT OPTION",
    )
    yield mariadb
    mariadb.run("DROP DATABASE shop")


def opened(server: ThrowAwayMariaDb, **options: Any) -> MySqlTarget:
    details = ConnectionDetails(
        name="shop-db",
        username=options.pop("username", ROOT),
        password=options.pop("password", ROOT_PASSWORD),
        options={"connection_url": server.dsn("shop"), "tls_ca": server.ca.pem} | options,
    )
    return MySqlTarget(details)


@pytest.fixture
async def target(server: ThrowAwayMariaDb) -> AsyncIterator[MySqlTarget]:
    found = opened(server, connection_url=f"{{{{username}}}}:{{{{password}}}}@unix({server.socket})/shop", tls_ca="")
    yield found
    await found.close()


@pytest.fixture
def who(server: ThrowAwayMariaDb) -> Iterator[str]:
    name = f"v-shop-{next(_NAMES)}"
    yield name
    for host in hosts(server, name):
        server.run(f"DROP USER `{name}`@`{host}`")


def hosts(server: ThrowAwayMariaDb, name: str) -> list[Any]:
    connection = pymysql.connect(unix_socket=str(server.socket), user="root", charset="utf8mb4")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT Host FROM mysql.user WHERE User = %s ORDER BY 1", (name,))
        return [row[0] for row in cursor.fetchall()]


def account(name: str, *statements: str, **more: Any) -> NewAccount:
    return NewAccount(username=name, expires_at=LATER, statements=statements or CREATE, **{"password": PASSWORD} | more)


async def session_of(server: ThrowAwayMariaDb, name: str) -> aiomysql.Connection:
    return await aiomysql.connect(
        unix_socket=str(server.socket), user=name, password=PASSWORD, db="shop", autocommit=True
    )


async def ask(session: aiomysql.Connection, statement: str) -> None:
    async with session.cursor() as cursor:
        await cursor.execute(statement)


# --- creation --------------------------------------------------------------------------------------------------------


async def test_an_account_by_the_guides_statements_logs_in(target: MySqlTarget, who: str) -> None:
    await target.create(account(who))
    await target.login(who, PASSWORD)
    with pytest.raises(TargetLoginError):
        await target.login(who, PASSWORD + "x")


async def test_grants_hold(target: MySqlTarget, who: str) -> None:
    await target.create(account(who))
    await target.run_as(who, PASSWORD, ("SELECT id FROM shop.orders",))
    with pytest.raises(TargetRefusedError, match="1142 ER_TABLEACCESS_DENIED_ERROR"):
        await target.run_as(who, PASSWORD, ("SELECT 1; INSERT INTO shop.orders VALUES (8)",))


async def test_nothing_of_verify_statements_is_kept(target: MySqlTarget, server: ThrowAwayMariaDb, who: str) -> None:
    await target.create(account(who, *CREATE, "GRANT INSERT ON shop.* TO {{name}}@'%'"))
    await target.run_as(who, PASSWORD, ("INSERT INTO orders VALUES (9)",))
    assert server.run("SELECT id FROM shop.orders") == [(7,)]


@pytest.mark.parametrize(
    ("statements", "code"),
    [
        pytest.param((*CREATE, "GRANT SELECT ON other.* TO '{{name}}'@'%'"), "3 of 3.*1044 ER_DBACCESS", id="no-right"),
        pytest.param((*CREATE, "GRANT SELECTT ON shop.* TO '{{name}}'@'%'"), "1064 ER_PARSE_ERROR", id="typing-error"),
        pytest.param((*CREATE, "GRANT ALL ON *.* TO '{{name}}'@'%'"), "1045 ER_ACCESS_DENIED", id="all-rights"),
        pytest.param((*CREATE, "GRANT SELECT ON shop.* TO '{{name}}'@'::1'"), r"\(1133 ", id="host-without-account"),
        pytest.param((*CREATE, "GRANT SELECT ON shop.nowhere TO '{{name}}'@'%'"), r"\(1146 ", id="no-such-table"),
        pytest.param((CREATE[0].replace("'%'", "'::1'"), *CREATE, "GRANT x"), r"\(1064 ", id="two-hosts"),
    ],
)
async def test_wrong_grants_leave_nothing_behind(
    target: MySqlTarget, server: ThrowAwayMariaDb, who: str, statements: tuple[str, ...], code: str
) -> None:
    with pytest.raises(TargetRefusedError, match=code) as caught:
        await target.create(account(who, *statements))
    assert hosts(server, who) == []
    assert PASSWORD not in caught.value.sentence + caught.value.detail


async def test_rollback_statements_run_when_a_creation_fails(
    target: MySqlTarget, server: ThrowAwayMariaDb, who: str
) -> None:
    rollback = (f"INSERT INTO shop.orders VALUES ({LATER % 97})",)
    with pytest.raises(TargetRefusedError):
        await target.create(account(who, *CREATE, "GRANT x", rollback=rollback))
    assert hosts(server, who) == []
    assert (LATER % 97,) in server.run("SELECT id FROM shop.orders")
    server.run("DELETE FROM shop.orders WHERE id <> 7")


async def test_an_account_of_somebody_else_is_not_removed(
    target: MySqlTarget, server: ThrowAwayMariaDb, who: str
) -> None:
    server.run(f"CREATE USER `{who}`@`%` IDENTIFIED BY 'other'")
    with pytest.raises(TargetRefusedError, match="1396"):
        await target.create(account(who, rollback=("DROP USER '{{name}}'@'%'",)))
    assert hosts(server, who) == ["%"]


async def test_a_session_that_statements_changed_is_not_used_again(
    target: MySqlTarget, server: ThrowAwayMariaDb, who: str
) -> None:
    await target.create(account(who, "SET autocommit = 0; USE mysql", *CREATE))
    await target.create(account(who, "SELECT id FROM orders"))  # in the database of the connection
    await target.drop(Removal(username=who))


@pytest.mark.parametrize("host", ["'%'", "`%`", '"%"'])
@pytest.mark.parametrize(
    "name",
    ["it's", 'double"d', "back\\slash", "back`tick", "end\\", "'@'%' --", "größe-日本", "a\\'b", "%", "_"],
)
async def test_no_name_and_no_password_injects(
    target: MySqlTarget, server: ThrowAwayMariaDb, name: str, host: str
) -> None:
    before = server.run("SELECT User, Host FROM mysql.user ORDER BY 1, 2")
    statements = (f"CREATE USER {{{{name}}}}@{host} IDENTIFIED BY '{{{{password}}}}'",)
    secret = f"{name}; DROP DATABASE shop; -- {name}"
    await target.create(account(name, *statements, password=secret))
    await target.login(name, secret)
    assert hosts(server, name) == ["%"]
    assert await target.accounts(name) == [name]
    changed = f'{secret}"'
    await target.set_password(PasswordChange(username=name, password=changed))
    await target.login(name, changed)
    assert len(await target.grants(name)) == 1
    await target.drop(Removal(username=name))
    assert server.run("SELECT User, Host FROM mysql.user ORDER BY 1, 2") == before


# --- renewal, revocation ---------------------------------------------------------------------------------------------


async def test_renewal_runs_statements_or_nothing(target: MySqlTarget, server: ThrowAwayMariaDb, who: str) -> None:
    await target.create(account(who))
    await target.renew(Renewal(username=who, expires_at=LATER))
    statements = ("ALTER USER '{{name}}'@'%' ACCOUNT LOCK",)
    await target.renew(Renewal(username=who, expires_at=LATER, statements=statements))
    with pytest.raises(TargetLoginError):
        await target.login(who, PASSWORD)
    with pytest.raises(TargetRefusedError, match="renew statements"):
        await target.renew(Renewal(username=f"{who}x", expires_at=LATER, statements=statements))


@pytest.mark.parametrize(
    "statements",
    [
        pytest.param((), id="default"),
        pytest.param(
            ("REVOKE ALL PRIVILEGES, GRANT OPTION FROM '{{name}}'@'%'; DROP USER '{{name}}'@'%'",), id="vaults"
        ),
    ],
)
async def test_after_revocation_no_login_and_no_open_session(
    target: MySqlTarget, server: ThrowAwayMariaDb, who: str, statements: tuple[str, ...]
) -> None:
    await target.create(account(who))
    session = await session_of(server, who)
    await ask(session, "SELECT * FROM orders")
    await target.drop(Removal(username=who, statements=statements))
    with pytest.raises(TargetLoginError):
        await target.login(who, PASSWORD)
    with pytest.raises(pymysql.err.OperationalError):
        await ask(session, "SELECT 1")
    session.close()


async def test_an_account_goes_from_all_its_hosts(target: MySqlTarget, server: ThrowAwayMariaDb, who: str) -> None:
    await target.create(account(who, *CREATE, CREATE[0].replace("'%'", "'127.0.0.1'")))
    assert hosts(server, who) == ["%", "127.0.0.1"]
    session = await session_of(server, who)
    await target.drop(Removal(username=who))
    assert hosts(server, who) == []
    with pytest.raises(pymysql.err.OperationalError):
        await ask(session, "SELECT 1")
    session.close()


@pytest.mark.parametrize("statements", [(), ("DROP USER '{{name}}'@'%'",)], ids=["default", "own"])
async def test_an_account_that_is_gone_is_as_good_as_removed(target: MySqlTarget, statements: tuple[str, ...]) -> None:
    await target.drop(Removal(username="v-nobody", statements=statements))


async def test_revocation_that_is_refused_is_told(target: MySqlTarget, server: ThrowAwayMariaDb, who: str) -> None:
    await target.create(account(who))
    with pytest.raises(TargetRefusedError, match="revocation statements"):
        await target.drop(Removal(username=who, statements=("DROP USER '{{name}}'@'::1'",)))
    assert hosts(server, who) == ["%"]


async def test_only_the_very_name_is_removed(target: MySqlTarget, server: ThrowAwayMariaDb, who: str) -> None:
    """The server's process list compares names without regard to case."""
    await target.create(account(who))
    session = await session_of(server, who)
    await target.drop(Removal(username=who.upper()))
    await ask(session, "SELECT 1")
    await target.login(who, PASSWORD)
    session.close()


async def test_without_a_look_at_mysql_user_any_host_is_meant(server: ThrowAwayMariaDb, who: str) -> None:
    server.run("CREATE OR REPLACE USER poor@'%' IDENTIFIED BY 'poor'", "GRANT CREATE USER ON *.* TO poor@'%'")
    poor = opened(server, username="poor", password="poor", connection_url=server.dsn())
    try:
        await poor.create(account(who, "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'"))
        await poor.set_password(PasswordChange(username=who, password=PASSWORD + "2"))
        await poor.login(who, PASSWORD + "2")
        await poor.drop(Removal(username=who))
        with pytest.raises(TargetRefusedError, match=r"mysql\.user"):
            await poor.accounts("v-")
    finally:
        await poor.close()
        server.run("DROP USER poor@'%'")
    assert hosts(server, who) == []


# --- passwords -------------------------------------------------------------------------------------------------------


async def test_a_password_is_set_for_every_host_and_may_be_set_again(
    target: MySqlTarget, server: ThrowAwayMariaDb, who: str
) -> None:
    await target.create(account(who, *CREATE, CREATE[0].replace("'%'", "'127.0.0.1'")))
    for _ in range(2):
        await target.set_password(PasswordChange(username=who, password="another one"))
    near = opened(server)
    for by_host in (target, near):
        await by_host.login(who, "another one")
        with pytest.raises(TargetLoginError):
            await by_host.login(who, PASSWORD)
    await near.close()


async def test_rotation_by_statements(target: MySqlTarget, who: str) -> None:
    await target.create(account(who))
    statements = ("ALTER USER '{{username}}'@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('{{password}}')",)
    await target.set_password(PasswordChange(username=who, password="by statement", statements=statements))
    await target.login(who, "by statement")


async def test_a_password_of_nobody(target: MySqlTarget) -> None:
    with pytest.raises(TargetRefusedError, match="no account v-nobody"):
        await target.set_password(PasswordChange(username="v-nobody", password="x"))


async def test_the_root_user_changes_its_own_password(server: ThrowAwayMariaDb, target: MySqlTarget) -> None:
    try:
        await target.set_password(PasswordChange(username=ROOT, password="new root's \\ pass"))
        renewed, former = opened(server, password="new root's \\ pass"), opened(server)
        await renewed.check()
        with pytest.raises(TargetLoginError) as caught:
            await former.check()
        assert ROOT_PASSWORD not in str(caught.value)
        await renewed.close()
    finally:
        await target.set_password(PasswordChange(username=ROOT, password=ROOT_PASSWORD))


# --- listing ---------------------------------------------------------------------------------------------------------


async def test_accounts_by_prefix(target: MySqlTarget, server: ThrowAwayMariaDb, who: str) -> None:
    both = (*CREATE, CREATE[0].replace("'%'", "'127.0.0.1'"))
    await target.create(account(who, *both))
    assert await target.accounts(who) == [who]
    assert await target.accounts(who.upper()) == []
    assert await target.accounts(who[:3] + "%") == []


async def test_grants_are_listed_without_hashes(target: MySqlTarget, who: str) -> None:
    await target.create(account(who))
    assert await target.grants(who) == [
        f"GRANT USAGE ON *.* TO `{who}`@`%`",
        f"GRANT SELECT ON `shop`.* TO `{who}`@`%`",
    ]
    with pytest.raises(TargetRefusedError, match="no account"):
        await target.grants(f"{who}x")


# --- errors hold no secrets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", range(58, 80, 3))
async def test_a_password_is_not_in_an_error_in_whole_or_in_part(target: MySqlTarget, who: str, length: int) -> None:
    """The server quotes 80 characters of the statement, and so may cut a password in the middle."""
    secret = "Sup3rS3cret" + "abcdefghij"
    statement = "CREATE USER {{name}} IDENTIFIEDD " + "x" * length + " BY '{{password}}'"
    with pytest.raises(TargetRefusedError, match="1064") as caught:
        await target.create(account(who, statement, password=secret))
    assert secret[:4] not in caught.value.sentence + caught.value.detail


async def test_the_servers_text_reaches_the_operator(target: MySqlTarget, who: str) -> None:
    with pytest.raises(TargetRefusedError) as caught:
        await target.create(account(who, *CREATE, "GRANT SELECT ON nowhere.* TO {{name}}@'%'"))
    assert "nowhere" in caught.value.detail
    assert "nowhere" not in caught.value.sentence


# --- the connection --------------------------------------------------------------------------------------------------


async def test_tls_is_verified(server: ThrowAwayMariaDb, target: MySqlTarget, who: str) -> None:
    """By address and by the name that tls_server_name gives; the server proves that the session is encrypted."""
    await target.create(account(who, *CREATE, "ALTER USER '{{name}}'@'%' REQUIRE SSL"))
    for options in ({}, {"tls_server_name": "db.example"}):
        secure = opened(server, **options)
        await secure.login(who, PASSWORD)
        await secure.close()


def test_tls_on_the_loop_of_the_product(server: ThrowAwayMariaDb) -> None:
    async def reach() -> None:
        secure = opened(server)
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
    server: ThrowAwayMariaDb, options: dict[str, str], reason: str
) -> None:
    if options.get("tls_ca"):
        options = {"tls_ca": type(server.ca).root("Other").pem}
    unproven = opened(server, **options)
    with pytest.raises(TargetAwayError, match=reason):
        await unproven.check()
    await unproven.close()


@pytest.mark.parametrize("options", [{"tls_skip_verify": True}, {"connection_url": "?tls=skip-verify"}])
async def test_the_operator_may_say_that_nothing_is_verified(server: ThrowAwayMariaDb, options: dict[str, Any]) -> None:
    if "connection_url" in options:
        options = {"connection_url": server.dsn("shop") + options["connection_url"]}
    careless = opened(server, tls_ca="", **options)
    await careless.check()
    await careless.close()


async def test_the_first_host_that_serves(server: ThrowAwayMariaDb) -> None:
    url = f"mysql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:1,127.0.0.1:{server.port}/shop"
    several = opened(server, connection_url=url)
    await several.check()
    server.run("SET GLOBAL read_only = 1")
    try:
        with pytest.raises(TargetAwayError):  # the one that refuses connections, or the one that takes no writes
            await several.create(account("v-never"))
    finally:
        server.run("SET GLOBAL read_only = 0")
    await several.check()
    await several.close()


async def test_a_database_that_is_not_there(server: ThrowAwayMariaDb) -> None:
    wrong = opened(server, connection_url=server.dsn("nowhere"))
    with pytest.raises(TargetRefusedError, match=r"104[49]"):
        await wrong.create(account("v-never"))
    await wrong.close()


async def test_a_kept_session_that_died_is_replaced(target: MySqlTarget, server: ThrowAwayMariaDb, who: str) -> None:
    await target.check()
    for (thread,) in server.run(f"SELECT ID FROM information_schema.PROCESSLIST WHERE USER = '{ROOT}'"):
        server.run(f"KILL {thread}")
    await target.create(account(who))
    await target.login(who, PASSWORD)


async def test_no_more_sessions_than_were_allowed(server: ThrowAwayMariaDb) -> None:
    narrow = opened(server, max_open_connections=2)
    await asyncio.gather(*(narrow.check() for _ in range(12)))
    query = f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = '{ROOT}' AND HOST <> 'localhost'"
    assert server.run(query) == [(2,)]
    await narrow.close()


async def test_a_call_that_is_cut_off_gives_its_place_back(server: ThrowAwayMariaDb) -> None:
    narrow = opened(server, max_open_connections=1)
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


async def test_what_does_not_speak_the_protocol(server: ThrowAwayMariaDb) -> None:
    for speech in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x01\0\0\0\x0a", b"\x05\0\0\0\x0a8.0\0"):
        async with impostor(speech) as (port, _heard):
            wrong = opened(server, connection_url=f"mysql://127.0.0.1:{port}/")
            with pytest.raises(TargetAwayError, match="cannot be reached"):
                await wrong.check()


@pytest.mark.parametrize(
    ("tls", "reason"),
    [("tls=true", "offers no TLS"), ("tls=false", "password in clear"), ("tls=preferred", "password in clear")],
)
async def test_a_server_that_asks_for_the_password_in_clear_gets_nothing(
    server: ThrowAwayMariaDb, tls: str, reason: str
) -> None:
    async with impostor(greeting(b"mysql_clear_password")) as (port, heard):
        url = f"mysql://127.0.0.1:{port}/?{tls}&allowCleartextPasswords=true"
        robbed = opened(server, connection_url=url, tls_ca="")
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


async def test_a_server_that_stopped_and_came_back(server: ThrowAwayMariaDb, target: MySqlTarget, who: str) -> None:
    await target.create(account(who))
    await asyncio.to_thread(server.stop)
    for call in (target.check(), target.create(account("v-never")), target.drop(Removal(username=who))):
        with pytest.raises(TargetAwayError, match="cannot be reached"):
            await call
    await asyncio.to_thread(server.start)
    await target.drop(Removal(username=who))
    assert hosts(server, who) == []


# --- what is written --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "statements"),
    [
        pytest.param(StatementKind.CREATION, (), id="none"),
        pytest.param(StatementKind.CREATION, ("CREATE USER x",), id="no-name"),
        pytest.param(StatementKind.REVOCATION, ("DROP USER x",), id="revocation-without-name"),
        pytest.param(StatementKind.CREATION, ("CREATE USER '{{name}}",), id="open-quote"),
        pytest.param(StatementKind.CREATION, ("SET sql_mode = 'ANSI_QUOTES'", *CREATE), id="sql-mode"),
        pytest.param(StatementKind.CREATION, ("set  names gbk", *CREATE), id="set-names"),
        pytest.param(StatementKind.CREATION, ("SET character_set_client = gbk", *CREATE), id="character-set"),
        pytest.param(StatementKind.CREATION, (*CREATE, "PREPARE s FROM 'x'"), id="prepare"),
    ],
)
def test_statements_that_cannot_be(kind: StatementKind, statements: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRequestError, match=kind.value):
        PLUGIN.check_statements(kind, statements)


@pytest.mark.parametrize("plugin", [PLUGIN, LEGACY_PLUGIN], ids=["mysql", "legacy"])
def test_default_statements_are_fit_to_be_written(plugin: Any) -> None:
    PLUGIN.check_statements(StatementKind.CREATION, CREATE)
    for kind, statements in plugin.default_statements.items():
        plugin.check_statements(kind, statements)
