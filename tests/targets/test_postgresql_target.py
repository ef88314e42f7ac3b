"""The PostgreSQL plugin against a real server, as a user that has CREATEROLE and is no superuser."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import InvalidRequestError
from dynamic.target import (
    ConnectionDetails,
    NewAccount,
    PasswordChange,
    Removal,
    Renewal,
    TargetAwayError,
    TargetLoginError,
    TargetRefusedError,
)
from dynamic.targets.postgresql import PLUGIN, PostgresTarget
from tests.support.postgres import ThrowAwayPostgres

CREATE = (
    "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'",
    'GRANT SELECT, INSERT ON orders TO "{{name}}"; GRANT USAGE, CREATE ON SCHEMA public TO {{name}}',
)
PASSWORD = "correct horse"
LATER = 4_000_000_000
QUICK = {"scram_iterations": 1}


class Database:
    """A database of its own, with a table that the target's user may grant on."""

    def __init__(self, server: ThrowAwayPostgres, name: str) -> None:
        self.server = server
        self.name = name
        self.root = f"mimir_{name}"
        self.prefix = f"v-{name}-"  # roles belong to the whole server
        self.who = f"{self.prefix}a"
        self.password = "root's \\ \"pass"

    def target(self, **options: Any) -> PostgresTarget:
        url = f"postgresql://{{{{username}}}}:{{{{password}}}}@/{self.name}?host={self.server.directory}"
        details = ConnectionDetails(
            name="orders-db",
            username=self.root,
            password=options.pop("password", self.password),
            options={"connection_url": url} | QUICK | options,
        )
        return PostgresTarget(details)

    async def sql(self, text: str, *arguments: Any, **connect: Any) -> list[Any]:
        connection = await asyncpg.connect(self.server.url(self.name), **connect)
        try:
            return list(await connection.fetch(text, *arguments))
        finally:
            await connection.close()

    async def script(self, text: str, database: str = "") -> None:
        connection = await asyncpg.connect(self.server.url(database or self.name))
        try:
            await connection.execute(text)
        finally:
            await connection.close()

    async def roles(self, prefix: str) -> list[str]:
        return [row[0] for row in await self.sql("SELECT rolname FROM pg_roles WHERE starts_with(rolname, $1)", prefix)]


Made = Callable[..., Awaitable[None]]


@pytest.fixture
async def database(postgres: ThrowAwayPostgres) -> Database:
    name = await asyncio.to_thread(postgres.create_database)
    found = Database(postgres, name)
    password = found.password.replace("'", "''")
    await found.script(
        f"CREATE ROLE {found.root} LOGIN CREATEROLE PASSWORD '{password}'; CREATE TABLE orders(id int);"
        f"GRANT ALL ON orders TO {found.root} WITH GRANT OPTION;"
        f"GRANT ALL ON SCHEMA public TO {found.root} WITH GRANT OPTION"
    )
    return found


@pytest.fixture
async def target(database: Database) -> AsyncIterator[PostgresTarget]:
    target = database.target()
    yield target
    await target.close()


def account(name: str, password: str = PASSWORD, **more: Any) -> NewAccount:
    return NewAccount(**{"username": name, "password": password, "expires_at": LATER, "statements": CREATE} | more)


async def test_a_name_that_the_server_would_cut_is_refused(database: Database, target: PostgresTarget) -> None:
    """Else the role of the shorter name gets the password."""
    short = database.who.ljust(63, "x")
    await target.create(account(short))
    for call in (
        target.create(account(f"{short}y")),
        target.set_password(PasswordChange(username=f"{short}y", password="another password")),
        target.renew(Renewal(username=f"{short}y", expires_at=LATER)),
    ):
        with pytest.raises(TargetRefusedError, match="at most 63 bytes"):
            await call
    await target.login(short, PASSWORD)
    await target.drop(Removal(username=f"{short}y"))
    await target.login(short, PASSWORD)
    await target.drop(Removal(username=short))


async def test_an_account_opens_the_database_and_may_what_was_granted(
    database: Database, target: PostgresTarget
) -> None:
    await target.create(account(database.who))
    await target.login(database.who, PASSWORD)
    await target.run_as(database.who, PASSWORD, ("INSERT INTO orders VALUES (1)", "SELECT * FROM orders"))
    assert await database.sql("SELECT * FROM orders") == []  # rolled back
    assert await target.grants(database.who) == [
        "attributes: LOGIN",
        "INSERT, SELECT on public.orders",
        "CREATE, USAGE on schema public",
    ]


async def test_what_was_not_granted_is_refused(database: Database, target: PostgresTarget) -> None:
    await target.create(account(database.who))
    with pytest.raises(TargetRefusedError, match="42501 insufficient_privilege"):
        await target.run_as(database.who, PASSWORD, ("DELETE FROM orders",))


async def test_the_server_sees_a_verifier_and_never_the_password(database: Database, target: PostgresTarget) -> None:
    await target.create(account(database.who))
    stored = (await database.sql("SELECT rolpassword FROM pg_authid WHERE rolname = $1", database.who))[0][0]
    assert stored.startswith("SCRAM-SHA-256$1:")


async def test_the_password_itself_is_sent_where_that_is_asked_for(database: Database) -> None:
    target = database.target(password_authentication="password")
    await target.create(account(database.who))
    stored = (await database.sql("SELECT rolpassword FROM pg_authid WHERE rolname = $1", database.who))[0][0]
    assert stored.startswith("SCRAM-SHA-256$4096:")
    await target.close()


async def test_the_default_is_as_slow_as_rfc_7677_recommends(database: Database) -> None:
    target = database.target(scram_iterations=4096)
    await target.create(account(database.who))
    stored = (await database.sql("SELECT rolpassword FROM pg_authid WHERE rolname = $1", database.who))[0][0]
    assert stored.startswith("SCRAM-SHA-256$4096:")
    await target.close()


async def test_a_renewal_moves_the_end(database: Database, target: PostgresTarget) -> None:
    await target.create(account(database.who))
    await target.renew(Renewal(username=database.who, expires_at=LATER + 3600))
    until = (await database.sql("SELECT rolvaliduntil FROM pg_roles WHERE rolname = $1", database.who))[0][0]
    assert until.timestamp() == LATER + 3600


async def test_a_removed_account_is_gone_with_its_sessions(database: Database, target: PostgresTarget) -> None:
    await target.create(account(database.who))
    session = await asyncpg.connect(database.server.url(database.name), user=database.who)
    await target.drop(Removal(username=database.who))
    assert await database.roles(database.prefix) == []
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await session.fetch("SELECT 1")
    await session.close()


async def test_what_a_removed_account_owned_stays(database: Database, target: PostgresTarget) -> None:
    await target.create(account(database.who))
    await database.sql("CREATE TABLE theirs AS SELECT 7 AS x", user=database.who)
    await database.sql("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC", user=database.who)
    await target.drop(Removal(username=database.who))
    assert await database.roles(database.prefix) == []
    assert (await database.sql("SELECT x FROM theirs"))[0][0] == 7
    owner = (await database.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'theirs'"))[0][0]
    assert owner == database.root


async def test_what_it_owned_in_another_database_stays_too(database: Database, target: PostgresTarget) -> None:
    other = await asyncio.to_thread(database.server.create_database)
    await target.create(account(database.who))
    await database.script(
        f"GRANT ALL ON SCHEMA public TO {database.root} WITH GRANT OPTION; SET ROLE {database.root};"
        f'GRANT ALL ON SCHEMA public TO "{database.who}"; RESET ROLE;'
        f'SET ROLE "{database.who}"; CREATE TABLE far(x int)',
        other,
    )
    await target.drop(Removal(username=database.who))
    assert await database.roles(database.prefix) == []


async def test_what_cannot_be_removed_can_log_in_no_more(database: Database, target: PostgresTarget) -> None:
    other = await asyncio.to_thread(database.server.create_database)
    await target.create(account(database.who))
    await database.script(
        f'GRANT ALL ON SCHEMA public TO "{database.who}"', other
    )  # by somebody whom the target cannot overrule
    with pytest.raises(TargetRefusedError) as caught:
        await target.drop(Removal(username=database.who))
    assert "dependent_objects_still_exist" in caught.value.sentence
    assert other in caught.value.detail
    assert (await database.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = $1", database.who))[0][0] is False


async def test_an_account_that_is_not_there_is_as_good_as_removed(target: PostgresTarget) -> None:
    await target.drop(Removal(username="v-nobody"))
    await target.drop(Removal(username="v-nobody"))


async def test_statements_of_the_role_remove_it_instead(database: Database, target: PostgresTarget) -> None:
    await target.create(account(database.who, statements=("CREATE ROLE {{name}} LOGIN",)))
    await target.drop(Removal(username=database.who, statements=("ALTER ROLE {{name}} NOLOGIN",)))
    assert (await database.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = $1", database.who))[0][0] is False


async def test_statements_of_the_role_for_an_account_that_is_gone(database: Database, target: PostgresTarget) -> None:
    """Who was killed behind the removal asks for it again."""
    removal = Removal(username=database.who, statements=('DROP ROLE "{{name}}"',))
    await target.drop(removal)
    await target.create(account(database.who, statements=(CREATE[0], 'GRANT SELECT ON orders TO "{{name}}"')))
    with pytest.raises(TargetRefusedError, match="2BP01"):
        await target.drop(removal)


async def test_what_statements_set_of_their_session_ends_with_them(database: Database) -> None:
    owner = f"{database.prefix}owner"
    await database.script(f'CREATE ROLE "{owner}"; GRANT "{owner}" TO {database.root}')
    target = database.target(max_open_connections=1)
    sets = (CREATE[0], f'SET ROLE "{owner}"', "SET statement_timeout = 1")
    await target.create(account(database.who, statements=sets))
    await target.create(account(f"{database.prefix}b"))  # as the connection's user, and in its time
    await target.close()


async def test_wrong_grants_leave_nothing_behind_and_tell_no_secret(database: Database, target: PostgresTarget) -> None:
    wrong = (*CREATE, "GRANT SELECT ON nothing TO {{name}}")
    with pytest.raises(TargetRefusedError) as caught:
        await target.create(account(database.who, password="s3cr3t-password", statements=wrong))
    assert caught.value.sentence == (
        "the database orders-db refused the role's creation statements (42P01 undefined_table)"
    )
    assert 'relation "nothing" does not exist' in caught.value.detail
    assert await database.roles(database.prefix) == []


async def test_an_account_whose_making_lost_its_answer_is_not_called_refused(
    database: Database, target: PostgresTarget
) -> None:
    """The statements are run again, and meet the account that they have made: the engine must come back for it."""
    ends_itself = "COMMIT; SELECT pg_terminate_backend(pg_backend_pid())"
    with pytest.raises(TargetAwayError, match="42710"):
        await target.create(account(database.who, statements=(CREATE[0], ends_itself)))
    assert await database.roles(database.prefix) == [database.who]
    await target.drop(Removal(username=database.who))
    assert await database.roles(database.prefix) == []


async def test_what_was_committed_before_the_refusal_is_removed(database: Database, target: PostgresTarget) -> None:
    with pytest.raises(TargetRefusedError):
        await target.create(account(database.who, statements=(CREATE[0], "COMMIT", 'GRANT nobody TO "{{name}}"')))
    assert await database.roles(database.prefix) == []


async def test_the_database_s_text_is_scrubbed(database: Database) -> None:
    target = database.target(password_authentication="password")
    with pytest.raises(TargetRefusedError) as caught:
        await target.create(
            account(database.who, password="s3cr3t-password", statements=("SELECT '{{password}}'::int",))
        )
    assert "s3cr3t" not in caught.value.detail + caught.value.sentence
    assert "***" in caught.value.detail
    await target.close()


async def test_rollback_statements_run_after_a_failure(database: Database, target: PostgresTarget) -> None:
    with pytest.raises(TargetRefusedError):
        await target.create(
            account(database.who, statements=("SELECT 1/0 AS {{name}}",), rollback=("CREATE TABLE {{name}}(x int)",))
        )
    assert (await database.sql("SELECT count(*) FROM pg_tables WHERE tablename = $1", database.who))[0][0] == 1


async def test_the_target_changes_its_own_password(database: Database, target: PostgresTarget) -> None:
    await target.set_password(PasswordChange(username=database.root, password="another"))
    stored = await database.sql("SELECT rolpassword FROM pg_authid WHERE rolname = $1", database.root)
    assert stored[0][0].startswith("SCRAM-SHA-256$")


async def test_accounts_are_listed_by_prefix(database: Database, target: PostgresTarget) -> None:
    for name in (database.prefix + "b", database.who, "w" + database.prefix):
        await target.create(account(name, statements=("CREATE ROLE {{name}}",)))
    assert await target.accounts(database.prefix) == [database.who, database.prefix + "b"]


async def test_grants_of_nobody(target: PostgresTarget) -> None:
    with pytest.raises(TargetRefusedError, match="no role v-nobody"):
        await target.grants("v-nobody")


async def test_a_server_that_is_stopped_and_started_again(database: Database) -> None:
    target = database.target()
    await target.check()
    await asyncio.to_thread(database.server.stop)
    try:
        with pytest.raises(TargetAwayError) as caught:
            await target.check()
        assert database.password not in caught.value.sentence
    finally:
        await asyncio.to_thread(database.server.start)
    await target.check()
    await target.close()


async def test_a_user_that_cannot_log_in(database: Database) -> None:
    await database.script(f"ALTER ROLE {database.root} NOLOGIN")
    target = database.target()
    with pytest.raises(TargetLoginError) as caught:
        await target.check()
    assert caught.value.sentence == "the database orders-db refuses the user name or the password"


_texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), min_size=1, max_size=20)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=_texts.filter(lambda text: len(text.encode()) < 60), password=_texts)
async def test_no_name_and_no_password_ends_its_quotes(name: str, password: str, database: Database) -> None:
    """What was asked for exists under exactly that name and password, and nothing else does."""
    target = database.target(password_authentication="password")
    before = len(await database.roles(""))
    name = "p" + name  # PostgreSQL refuses names that begin with pg_, and names of no character
    statements = ("CREATE ROLE \"{{name}}\" PASSWORD '{{password}}'; COMMENT ON ROLE {{name}} IS {{password}}",)
    comment = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = $1"
    try:
        await target.create(account(name, password, statements=statements))
        assert [row[0] for row in await database.sql(comment, name)] == [password]
        assert len(await database.roles("")) == before + 1
    finally:
        await database.script('DROP ROLE IF EXISTS "{}"'.format(name.replace('"', '""')))
        await target.close()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"connection_url": ""}, "connection_url is required"),
        ({"connection_url": 7}, "connection_url is required"),
        ({"connection_url": "mysql://h/d"}, "must begin with postgresql://"),
        ({"connection_url": "postgresql://h\n/d"}, "characters that no URL has"),
        ({"connection_url": "postgresql://[::1/d"}, "is no URL"),
        ({"connection_url": "postgresql://h:port/d"}, "is no URL"),
        ({"connection_url": "postgresql://h/d?sslmode=maybe"}, "sslmode must be one of"),
        ({"connection_url": "postgresql://h/d?sslrootcert=/etc/passwd"}, "names a file of this machine"),
        ({"connection_url": "host=h passfile=/etc/passwd"}, "must be a URL"),
        ({"connection_url": "postgresql://h/d", "tls_ca": "no PEM"}, "tls_ca must be certificates in PEM"),
        ({"connection_url": "postgresql://h/d", "tls_certificate": "x"}, "belong together"),
        ({"connection_url": "postgresql://h/d", "max_open_connections": 0}, "between 1 and 100"),
        ({"connection_url": "postgresql://h/d", "max_open_connections": "many"}, "must be a whole number"),
        ({"connection_url": "postgresql://h/d", "password_authentication": "md5"}, "must be scram-sha-256 or password"),
    ],
    ids=str,
)
def test_details_that_are_not_understood(options: dict[str, Any], sentence: str) -> None:
    details = ConnectionDetails(name="orders-db", username="u", password="very-secret", options=options)
    with pytest.raises(InvalidRequestError) as caught:
        PLUGIN.open(details)
    assert sentence in caught.value.sentence
    assert "very-secret" not in caught.value.sentence


def test_a_template_without_credentials() -> None:
    details = ConnectionDetails(name="o", options={"connection_url": "postgresql://{{username}}:{{password}}@h/d"})
    with pytest.raises(InvalidRequestError, match="no username was given"):
        PLUGIN.open(details)


@pytest.mark.parametrize(
    ("url", "verified"),
    [
        ("postgresql://u:p@db.internal/d", True),
        ("postgresql://u:p@10.0.0.7/d", True),
        ("postgresql://u:p@localhost,db.internal/d", True),
        ("postgresql://u:p@db.internal/d?sslmode=verify-ca", True),
        ("postgresql://u:p@db.internal/d?sslmode=require", False),
        ("postgresql://u:p@db.internal/d?sslmode=disable", False),
        ("postgresql://u:p@127.0.0.1/d", False),
        ("postgresql://u:p@[::1]:5433/d", False),
        ("postgresql://u:p@/d?host=/run/postgresql", False),
        ("host=db.internal user=u password=p dbname=d", True),
    ],
)
def test_tls_is_verified_where_a_network_lies_between(url: str, verified: bool) -> None:
    tls = PostgresTarget(ConnectionDetails(name="o", options={"connection_url": url})).address.ssl
    assert (getattr(tls, "verify_mode", 0) != 0) is verified
