"""The MySQL plugin against a real MariaDB, as a user that has only the rights that docs ask for."""

from typing import Any

import aiomysql
import pymysql
import pytest

from core.errors import InvalidRequestError
from dynamic.target import PasswordChange, Removal, Renewal, StatementKind, TargetLoginError, TargetRefusedError
from dynamic.targets.mysql import LEGACY_PLUGIN, PLUGIN, MySqlTarget
from tests.support.mariadb import ThrowAwayMariaDb
from tests.targets.mysql_shop import CREATE, LATER, PASSWORD, ROOT, ROOT_PASSWORD, account, hosts, opened


async def session_of(shop: ThrowAwayMariaDb, name: str) -> aiomysql.Connection:
    return await aiomysql.connect(
        unix_socket=str(shop.socket), user=name, password=PASSWORD, db="shop", autocommit=True
    )


async def ask(session: aiomysql.Connection, statement: str) -> None:
    async with session.cursor() as cursor:
        await cursor.execute(statement)


# --- creation --------------------------------------------------------------------------------------------------------


async def test_an_account_by_the_guides_statements_logs_in(shop_target: MySqlTarget, who: str) -> None:
    await shop_target.create(account(who))
    await shop_target.login(who, PASSWORD)
    with pytest.raises(TargetLoginError):
        await shop_target.login(who, PASSWORD + "x")


async def test_grants_hold(shop_target: MySqlTarget, who: str) -> None:
    await shop_target.create(account(who))
    await shop_target.run_as(who, PASSWORD, ("SELECT id FROM shop.orders",))
    with pytest.raises(TargetRefusedError, match="1142 ER_TABLEACCESS_DENIED_ERROR"):
        await shop_target.run_as(who, PASSWORD, ("SELECT 1; INSERT INTO shop.orders VALUES (8)",))


async def test_nothing_of_verify_statements_is_kept(shop_target: MySqlTarget, shop: ThrowAwayMariaDb, who: str) -> None:
    await shop_target.create(account(who, *CREATE, "GRANT INSERT ON shop.* TO {{name}}@'%'"))
    await shop_target.run_as(who, PASSWORD, ("INSERT INTO orders VALUES (9)",))
    assert shop.run("SELECT id FROM shop.orders") == [(7,)]


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
    shop_target: MySqlTarget, shop: ThrowAwayMariaDb, who: str, statements: tuple[str, ...], code: str
) -> None:
    with pytest.raises(TargetRefusedError, match=code) as caught:
        await shop_target.create(account(who, *statements))
    assert hosts(shop, who) == []
    assert PASSWORD not in caught.value.sentence + caught.value.detail


async def test_rollback_statements_run_when_a_creation_fails(
    shop_target: MySqlTarget, shop: ThrowAwayMariaDb, who: str
) -> None:
    rollback = (f"INSERT INTO shop.orders VALUES ({LATER % 97})",)
    with pytest.raises(TargetRefusedError):
        await shop_target.create(account(who, *CREATE, "GRANT x", rollback=rollback))
    assert hosts(shop, who) == []
    assert (LATER % 97,) in shop.run("SELECT id FROM shop.orders")
    shop.run("DELETE FROM shop.orders WHERE id <> 7")


async def test_an_account_of_somebody_else_is_not_removed(
    shop_target: MySqlTarget, shop: ThrowAwayMariaDb, who: str
) -> None:
    shop.run(f"CREATE USER `{who}`@`%` IDENTIFIED BY 'other'")
    with pytest.raises(TargetRefusedError, match="1396"):
        await shop_target.create(account(who, rollback=("DROP USER '{{name}}'@'%'",)))
    assert hosts(shop, who) == ["%"]


async def test_a_session_that_statements_changed_is_not_used_again(
    shop_target: MySqlTarget, shop: ThrowAwayMariaDb, who: str
) -> None:
    await shop_target.create(account(who, "SET autocommit = 0; USE mysql", *CREATE))
    await shop_target.create(account(who, "SELECT id FROM orders"))  # in the database of the connection
    await shop_target.drop(Removal(username=who))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        pytest.param("it's", "'{{name}}'", id="quote-in-quotes"),
        pytest.param("it's", "{{name}}", id="quote-bare"),
        pytest.param('double"d', '"{{name}}"', id="double-quote"),
        pytest.param("back\\slash", "'{{name}}'", id="backslash"),
        pytest.param("end\\", '"{{name}}"', id="backslash-at-the-end"),
        pytest.param("end\\", "`{{name}}`", id="backslash-in-backquotes"),
        pytest.param("a\\'b", "'{{name}}'", id="backslash-and-quote"),
        pytest.param("back`tick", "`{{name}}`", id="backquote"),
        pytest.param("'@'%' -- x", "'{{name}}'", id="end-and-comment"),
        pytest.param("größe-日本", "{{name}}", id="unicode"),
        pytest.param("%", "'{{name}}'", id="wildcard"),
        pytest.param("_", "`{{name}}`", id="wildcard-of-one"),
    ],
)
async def test_no_name_and_no_password_injects(
    shop_target: MySqlTarget, shop: ThrowAwayMariaDb, name: str, place: str
) -> None:
    before = shop.run("SELECT User, Host FROM mysql.user ORDER BY 1, 2")
    statements = (f"CREATE USER {place}@'%' IDENTIFIED BY '{{{{password}}}}'",)
    secret = f"{name}; DROP DATABASE shop; -- {name}"
    await shop_target.create(account(name, *statements, password=secret))
    await shop_target.login(name, secret)
    assert hosts(shop, name) == ["%"]
    assert await shop_target.accounts(name) == [name]
    changed = f'{secret}"'
    await shop_target.set_password(PasswordChange(username=name, password=changed))
    await shop_target.login(name, changed)
    assert len(await shop_target.grants(name)) == 1
    await shop_target.drop(Removal(username=name))
    assert shop.run("SELECT User, Host FROM mysql.user ORDER BY 1, 2") == before


async def test_a_name_that_the_server_would_shorten_is_refused(shop_target: MySqlTarget) -> None:
    """Its accounts are CHAR columns: what ends with a space would not be found again."""
    with pytest.raises(TargetRefusedError, match="space"):
        await shop_target.create(account("v-shop "))


# --- renewal, revocation ---------------------------------------------------------------------------------------------


async def test_renewal_runs_statements_or_nothing(shop_target: MySqlTarget, shop: ThrowAwayMariaDb, who: str) -> None:
    await shop_target.create(account(who))
    await shop_target.renew(Renewal(username=who, expires_at=LATER))
    statements = ("ALTER USER '{{name}}'@'%' ACCOUNT LOCK",)
    await shop_target.renew(Renewal(username=who, expires_at=LATER, statements=statements))
    with pytest.raises(TargetLoginError):
        await shop_target.login(who, PASSWORD)
    with pytest.raises(TargetRefusedError, match="renew statements"):
        await shop_target.renew(Renewal(username=f"{who}x", expires_at=LATER, statements=statements))


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
    shop_target: MySqlTarget, shop: ThrowAwayMariaDb, who: str, statements: tuple[str, ...]
) -> None:
    await shop_target.create(account(who))
    session = await session_of(shop, who)
    await ask(session, "SELECT * FROM orders")
    await shop_target.drop(Removal(username=who, statements=statements))
    with pytest.raises(TargetLoginError):
        await shop_target.login(who, PASSWORD)
    with pytest.raises(pymysql.err.OperationalError):
        await ask(session, "SELECT 1")
    session.close()


async def test_an_account_goes_from_all_its_hosts(shop_target: MySqlTarget, shop: ThrowAwayMariaDb, who: str) -> None:
    await shop_target.create(account(who, *CREATE, CREATE[0].replace("'%'", "'127.0.0.1'")))
    assert hosts(shop, who) == ["%", "127.0.0.1"]
    session = await session_of(shop, who)
    await shop_target.drop(Removal(username=who))
    assert hosts(shop, who) == []
    with pytest.raises(pymysql.err.OperationalError):
        await ask(session, "SELECT 1")
    session.close()


@pytest.mark.parametrize("statements", [(), ("DROP USER '{{name}}'@'%'",)], ids=["default", "own"])
async def test_an_account_that_is_gone_is_as_good_as_removed(
    shop_target: MySqlTarget, statements: tuple[str, ...]
) -> None:
    await shop_target.drop(Removal(username="v-nobody", statements=statements))


async def test_revocation_that_is_refused_is_told(shop_target: MySqlTarget, shop: ThrowAwayMariaDb, who: str) -> None:
    await shop_target.create(account(who))
    with pytest.raises(TargetRefusedError, match="revocation statements"):
        await shop_target.drop(Removal(username=who, statements=("DROP USER '{{name}}'@'::1'",)))
    assert hosts(shop, who) == ["%"]


async def test_only_the_very_name_is_removed(shop_target: MySqlTarget, shop: ThrowAwayMariaDb, who: str) -> None:
    """The server's process list compares names without regard to case."""
    await shop_target.create(account(who))
    session = await session_of(shop, who)
    await shop_target.drop(Removal(username=who.upper()))
    await ask(session, "SELECT 1")
    await shop_target.login(who, PASSWORD)
    session.close()


async def test_without_a_look_at_mysql_user_any_host_is_meant(shop: ThrowAwayMariaDb, who: str) -> None:
    shop.run("CREATE OR REPLACE USER poor@'%' IDENTIFIED BY 'poor'", "GRANT CREATE USER ON *.* TO poor@'%'")
    poor = opened(shop, username="poor", password="poor", connection_url=shop.dsn())
    try:
        await poor.create(account(who, "CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'"))
        await poor.set_password(PasswordChange(username=who, password=PASSWORD + "2"))
        await poor.login(who, PASSWORD + "2")
        await poor.drop(Removal(username=who))
        with pytest.raises(TargetRefusedError, match=r"mysql\.user"):
            await poor.accounts("v-")
    finally:
        await poor.close()
        shop.run("DROP USER poor@'%'")
    assert hosts(shop, who) == []


# --- passwords -------------------------------------------------------------------------------------------------------


async def test_a_password_is_set_for_every_host_and_may_be_set_again(
    shop_target: MySqlTarget, shop: ThrowAwayMariaDb, who: str
) -> None:
    await shop_target.create(account(who, *CREATE, CREATE[0].replace("'%'", "'127.0.0.1'")))
    for _ in range(2):
        await shop_target.set_password(PasswordChange(username=who, password="another one"))
    near = opened(shop)
    for by_host in (shop_target, near):
        await by_host.login(who, "another one")
        with pytest.raises(TargetLoginError):
            await by_host.login(who, PASSWORD)
    await near.close()


async def test_rotation_by_statements(shop_target: MySqlTarget, who: str) -> None:
    await shop_target.create(account(who))
    statements = ("ALTER USER '{{username}}'@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('{{password}}')",)
    await shop_target.set_password(PasswordChange(username=who, password="by statement", statements=statements))
    await shop_target.login(who, "by statement")


async def test_a_password_of_nobody(shop_target: MySqlTarget) -> None:
    with pytest.raises(TargetRefusedError, match="no account v-nobody"):
        await shop_target.set_password(PasswordChange(username="v-nobody", password="x"))


async def test_the_root_user_changes_its_own_password(shop: ThrowAwayMariaDb, shop_target: MySqlTarget) -> None:
    try:
        await shop_target.set_password(PasswordChange(username=ROOT, password="new root's \\ pass"))
        renewed, former = opened(shop, password="new root's \\ pass"), opened(shop)
        await renewed.check()
        with pytest.raises(TargetLoginError) as caught:
            await former.check()
        assert ROOT_PASSWORD not in str(caught.value)
        await renewed.close()
    finally:
        await shop_target.set_password(PasswordChange(username=ROOT, password=ROOT_PASSWORD))


# --- listing ---------------------------------------------------------------------------------------------------------


async def test_accounts_by_prefix(shop_target: MySqlTarget, shop: ThrowAwayMariaDb, who: str) -> None:
    both = (*CREATE, CREATE[0].replace("'%'", "'127.0.0.1'"))
    await shop_target.create(account(who, *both))
    assert await shop_target.accounts(who) == [who]
    assert await shop_target.accounts(who.upper()) == []
    assert await shop_target.accounts(who[:3] + "%") == []


async def test_grants_are_listed_without_hashes(shop_target: MySqlTarget, who: str) -> None:
    await shop_target.create(account(who))
    assert await shop_target.grants(who) == [
        f"GRANT USAGE ON *.* TO `{who}`@`%`",
        f"GRANT SELECT ON `shop`.* TO `{who}`@`%`",
    ]
    with pytest.raises(TargetRefusedError, match="no account"):
        await shop_target.grants(f"{who}x")


# --- errors hold no secrets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", range(58, 80, 3))
async def test_a_password_is_not_in_an_error_in_whole_or_in_part(
    shop_target: MySqlTarget, who: str, length: int
) -> None:
    """The server quotes 80 characters of the statement, and so may cut a password in the middle."""
    secret = "Sup3rS3cret" + "abcdefghij"
    statement = "CREATE USER {{name}} IDENTIFIEDD " + "x" * length + " BY '{{password}}'"
    with pytest.raises(TargetRefusedError, match="1064") as caught:
        await shop_target.create(account(who, statement, password=secret))
    assert secret[:4] not in caught.value.sentence + caught.value.detail


async def test_the_servers_text_reaches_the_operator(shop_target: MySqlTarget, who: str) -> None:
    with pytest.raises(TargetRefusedError) as caught:
        await shop_target.create(account(who, *CREATE, "GRANT SELECT ON nowhere.* TO {{name}}@'%'"))
    assert "nowhere" in caught.value.detail
    assert "nowhere" not in caught.value.sentence


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
        pytest.param(StatementKind.CREATION, (CREATE[0] + "PREPARE s FROM 'x'",), id="prepare"),
        pytest.param(StatementKind.CREATION, (CREATE[0] + "execute  immediate 'x'",), id="execute-immediate"),
        pytest.param(StatementKind.ROTATION, ("ALTER USER '{{name}}'@'%' ACCOUNT LOCK",), id="rotation-of-nothing"),
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
