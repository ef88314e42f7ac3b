"""The Redis plugin against a real server, as a user that may change ACLs and read nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

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
from dynamic.targets.redis import RedisTarget
from tests.support.redis_server import ROOT, ROOT_PASSWORD, ThrowAwayRedis
from tests.support.small_ca import SmallCa

WHO = "v-orders-1"
PASSWORD = "correct horse ' \" \\ #>on"
RULES = ('["~cache:*", "+@read", "+set", "(+get ~public:*)"]',)
LATER = 4_000_000_000
NO_PERMISSION = (redis.exceptions.NoPermissionError, redis.exceptions.ResponseError)


def target_of(server: ThrowAwayRedis, *, password: str = ROOT_PASSWORD, **more: Any) -> RedisTarget:
    details = ConnectionDetails(
        name="cache-db", username=more.pop("username", ROOT), password=password, options=server.options(**more)
    )
    return RedisTarget(details)


def account(name: str = WHO, password: str = PASSWORD, **more: Any) -> NewAccount:
    members: dict[str, Any] = {"username": name, "password": password, "expires_at": LATER, "statements": RULES}
    return NewAccount(**members | more)


@contextlib.contextmanager
def client(server: ThrowAwayRedis, username: str = "default", password: str = "") -> Iterator[Any]:
    """A client of redis-py that is not asyncio's: one more way to the server than the product's own."""
    arguments: dict[str, Any] = {"username": username, "password": password, "protocol": 2, "retry": None}
    found = redis.Redis(port=server.port, decode_responses=True, **arguments)
    try:
        yield found
    finally:
        found.close()


def users(server: ThrowAwayRedis) -> set[str]:
    with client(server) as root:
        return set(root.execute_command("ACL", "USERS")) - {"default", ROOT}


@pytest.fixture(autouse=True)
def clean(redis_server: ThrowAwayRedis) -> Iterator[None]:
    yield
    with client(redis_server) as root:
        for name in users(redis_server):
            root.execute_command("ACL", "DELUSER", name)


@pytest.fixture
async def target(redis_server: ThrowAwayRedis) -> AsyncIterator[RedisTarget]:
    target = target_of(redis_server)
    yield target
    await target.close()


# --- accounts -----------------------------------------------------------------------------------------------------


async def test_a_redis_account_may_what_its_rules_say(redis_server: ThrowAwayRedis, target: RedisTarget) -> None:
    await target.create(account())
    await target.login(WHO, PASSWORD)
    with client(redis_server, WHO, PASSWORD) as theirs:
        assert theirs.set("cache:1", "x") is True
        assert theirs.get("cache:1") == "x"
        assert theirs.get("public:1") is None


@pytest.mark.parametrize(
    "command",
    [("GET", "secret"), ("DEL", "cache:1"), ("SET", "public:1", "x"), ("ACL", "LIST"), ("PUBLISH", "news", "x")],
    ids=["another-key", "another-command", "read-only-selector", "acl", "a-channel"],
)
async def test_a_redis_account_may_nothing_else(
    redis_server: ThrowAwayRedis, target: RedisTarget, command: tuple[str, ...]
) -> None:
    await target.create(account())
    with client(redis_server, WHO, PASSWORD) as theirs, pytest.raises(NO_PERMISSION):
        theirs.execute_command(*command)


async def test_rules_that_are_left_out_are_vaults(redis_server: ThrowAwayRedis, target: RedisTarget) -> None:
    await target.create(account(statements=()))
    with client(redis_server, WHO, PASSWORD) as theirs:
        assert theirs.get("anything") is None
        with pytest.raises(NO_PERMISSION):
            theirs.set("anything", "x")


@pytest.mark.parametrize("password", [PASSWORD + "!", "", "x" * 1000, "пароль"], ids=["more", "none", "long", "words"])
async def test_another_redis_password_opens_nothing(target: RedisTarget, password: str) -> None:
    await target.create(account())
    with pytest.raises(TargetLoginError):
        await target.login(WHO, password)


async def test_nobody_logs_in_with_a_name_that_redis_does_not_know(target: RedisTarget) -> None:
    with pytest.raises(TargetLoginError):
        await target.login("v-nobody", PASSWORD)


async def test_the_redis_server_never_sees_the_password(redis_server: ThrowAwayRedis, target: RedisTarget) -> None:
    with client(redis_server) as root:
        root.execute_command("CONFIG", "SET", "slowlog-log-slower-than", 0)
        await target.create(account())
        await target.set_password(PasswordChange(username=WHO, password=PASSWORD))
        assert "correct horse" not in str(root.execute_command("SLOWLOG", "GET", 50))
        root.execute_command("CONFIG", "SET", "slowlog-log-slower-than", 10_000)


async def test_unicode_in_a_redis_password_and_name(target: RedisTarget) -> None:
    await target.create(account("v-заказы-1", "pässwörd 密码"))
    await target.login("v-заказы-1", "pässwörd 密码")


@pytest.mark.parametrize(
    "name",
    ["", "two words", "line\nuser x on nopass", "tab\t", "nul\x00", 'quo"te', "quo'te", "\u00a0", "x" * 257],
    ids=["empty", "space", "newline", "tab", "nul", "double", "single", "nbsp", "long"],
)
async def test_a_bad_redis_name_is_refused_before_the_server_hears_it(
    redis_server: ThrowAwayRedis, target: RedisTarget, name: str
) -> None:
    with pytest.raises(TargetRefusedError, match="a Redis user name has no"):
        await target.create(account(name))
    with pytest.raises(TargetRefusedError):
        await target.set_password(PasswordChange(username=name, password=PASSWORD))
    await target.drop(Removal(username=name))  # there is none
    assert users(redis_server) == set()


async def test_a_user_that_is_there_is_not_taken_over(redis_server: ThrowAwayRedis, target: RedisTarget) -> None:
    await target.create(account())
    with pytest.raises(TargetRefusedError, match="has a user v-orders-1 already"):
        await target.create(account(password="another"))
    await target.login(WHO, PASSWORD)


async def test_wrong_redis_rules_leave_nothing_behind(redis_server: ThrowAwayRedis, target: RedisTarget) -> None:
    with pytest.raises(TargetRefusedError) as caught:
        await target.create(account(statements=('["~*", "+@nothing"]',)))
    assert caught.value.sentence == "the database cache-db refused the role's creation statements (ERR)"
    assert "@nothing" in caught.value.detail
    assert PASSWORD not in caught.value.detail
    assert users(redis_server) == set()


async def test_a_root_that_may_not_make_redis_users_says_so(redis_server: ThrowAwayRedis, target: RedisTarget) -> None:
    with client(redis_server) as root:
        root.execute_command("ACL", "SETUSER", "weak", "on", ">weak-password", "+acl|whoami", "+acl|getuser")
    weak = target_of(redis_server, username="weak", password="weak-password")
    await weak.check()
    with pytest.raises(TargetRefusedError, match="NOPERM"):
        await weak.create(account())
    await weak.close()


async def test_a_renewal_of_a_redis_account_does_nothing(redis_server: ThrowAwayRedis, target: RedisTarget) -> None:
    await target.create(account())
    before = await target.grants(WHO)
    await target.renew(Renewal(username=WHO, expires_at=LATER))
    assert await target.grants(WHO) == before


async def test_a_removed_redis_account_is_gone_with_its_sessions(
    redis_server: ThrowAwayRedis, target: RedisTarget
) -> None:
    await target.create(account())
    with client(redis_server, WHO, PASSWORD) as theirs:
        connection = theirs.connection_pool.get_connection()
        await target.drop(Removal(username=WHO))
        with pytest.raises((redis.exceptions.ConnectionError, OSError)):
            connection.read_response()  # the server has hung up
        theirs.connection_pool.release(connection)
    with pytest.raises(TargetLoginError):
        await target.login(WHO, PASSWORD)
    assert users(redis_server) == set()


async def test_a_redis_account_that_is_not_there_is_as_good_as_removed(target: RedisTarget) -> None:
    await target.drop(Removal(username="v-nobody"))
    await target.drop(Removal(username="v-nobody"))


async def test_the_default_redis_user_is_never_removed(target: RedisTarget) -> None:
    with pytest.raises(TargetRefusedError):
        await target.drop(Removal(username="default"))


async def test_a_static_redis_user_gets_one_new_password(redis_server: ThrowAwayRedis, target: RedisTarget) -> None:
    with client(redis_server) as root:
        root.execute_command("ACL", "SETUSER", "app", "on", ">first-password", ">second-password", "+ping", "~mine")
    for _again in range(2):
        await target.set_password(PasswordChange(username="app", password=PASSWORD))
    await target.login("app", PASSWORD)
    assert "commands: -@all +ping" in await target.grants("app")
    for former in ("first-password", "second-password"):
        with pytest.raises(TargetLoginError):
            await target.login("app", former)


async def test_a_new_password_makes_no_redis_user(redis_server: ThrowAwayRedis, target: RedisTarget) -> None:
    with pytest.raises(TargetRefusedError, match="has no user nobody"):
        await target.set_password(PasswordChange(username="nobody", password=PASSWORD))
    assert users(redis_server) == set()


async def test_redis_changes_the_password_of_its_root(redis_server: ThrowAwayRedis, target: RedisTarget) -> None:
    await target.set_password(PasswordChange(username=ROOT, password="another password"))
    try:
        await target.check()  # the connection that is open stays
        former, later = target_of(redis_server), target_of(redis_server, password="another password")
        with pytest.raises(TargetLoginError) as caught:
            await former.check()
        assert caught.value.sentence == "the database cache-db refuses the user name or the password"
        await later.check()
        await former.close()
        await later.close()
    finally:
        await target.set_password(PasswordChange(username=ROOT, password=ROOT_PASSWORD))


# --- what people read ---------------------------------------------------------------------------------------------


async def test_redis_users_are_listed_by_prefix(target: RedisTarget) -> None:
    for name in ("v-b", "v-a", "w-v-"):
        await target.create(account(name))
    assert await target.accounts("v-") == ["v-a", "v-b"]


async def test_grants_of_a_redis_user_show_no_password(target: RedisTarget) -> None:
    await target.create(account())
    found = await target.grants(WHO)
    assert found[1:] == ["commands: -@all +@read +set", "keys: ~cache:*", "channels:", "selector: -@all +get ~public:*"]
    assert found[0].startswith("flags: on")
    with pytest.raises(TargetRefusedError, match="there is no user v-nobody"):
        await target.grants("v-nobody")


async def test_verify_statements_are_tried_and_not_run(redis_server: ThrowAwayRedis, target: RedisTarget) -> None:
    await target.create(account())
    await target.run_as(WHO, PASSWORD, ("SET cache:dry 'a word'", '["GET", "cache:dry"]'))
    with client(redis_server) as root:
        assert root.get("cache:dry") is None
    with pytest.raises(TargetRefusedError, match="NOPERM"):
        await target.run_as(WHO, PASSWORD, ("GET secret",))
    with pytest.raises(TargetRefusedError):
        await target.run_as(WHO, PASSWORD, ("NOSUCHCOMMAND x",))
    with pytest.raises(TargetLoginError):
        await target.run_as(WHO, "wrong", ("GET cache:1",))


# --- what lasts ---------------------------------------------------------------------------------------------------


async def test_an_acl_file_keeps_redis_users_over_a_restart() -> None:
    server = await asyncio.to_thread(ThrowAwayRedis)
    lasting, passing = target_of(server, persistence_mode="aclfile"), target_of(server)
    try:
        await passing.create(account("v-passing"))
        assert "v-passing" not in (server.directory / "users.acl").read_text()
        await passing.drop(Removal(username="v-passing"))
        await lasting.create(account())
        await lasting.set_password(PasswordChange(username=ROOT, password="another password"))
        server.stop()
        with pytest.raises(TargetAwayError, match="the database cache-db cannot be reached"):
            await passing.check()
        await asyncio.to_thread(server.start)
        await lasting.login(WHO, PASSWORD)
        with pytest.raises(TargetLoginError):
            await passing.check()  # its password is the former one
        later = target_of(server, password="another password", persistence_mode="ACLFILE")
        await later.drop(Removal(username=WHO))
        assert WHO not in (server.directory / "users.acl").read_text()
        await later.close()
    finally:
        await lasting.close()
        await passing.close()
        await asyncio.to_thread(server.remove)


def in_any_order(grants: list[str]) -> list[list[str]]:
    """The server lists the commands of a category in the order of its hash table, whose seed each start draws."""
    return [sorted(grant.split()) for grant in grants]


async def test_redis_conf_keeps_redis_users_over_a_restart() -> None:
    server = await asyncio.to_thread(lambda: ThrowAwayRedis(acl_file=False))
    target, without_file = target_of(server, persistence_mode="REWRITE"), target_of(server, persistence_mode="ACLFILE")
    rules = ('["~a\\\\*[0-9]?:{x}", "%R~jobs:*", "&news", "+@read", "-@dangerous", "(+set ~y)"]',)
    try:
        await target.create(account(statements=rules))
        await target.create(account("v-gone"))
        await target.drop(Removal(username="v-gone"))
        before = in_any_order(await target.grants(WHO))
        server.stop()
        await asyncio.to_thread(server.start)
        await target.login(WHO, PASSWORD)
        assert in_any_order(await target.grants(WHO)) == before
        assert await target.accounts("v-") == [WHO]
        with pytest.raises(TargetRefusedError, match="refused ACL SAVE"):
            await without_file.check()
    finally:
        await target.close()
        await without_file.close()
        await asyncio.to_thread(server.remove)


async def test_a_change_that_cannot_be_made_to_last_is_refused(redis_server: ThrowAwayRedis) -> None:
    """The account goes again; of a new password it is not said that it was refused, for the server has it."""
    server = await asyncio.to_thread(ThrowAwayRedis)
    target = target_of(server, persistence_mode="ACLFILE")
    await target.check()
    users_file = server.directory / "users.acl"
    users_file.unlink()
    users_file.mkdir()
    (users_file / "in the way").touch()
    try:
        with pytest.raises(TargetRefusedError, match="refused ACL SAVE"):
            await target.check()
        with pytest.raises(TargetRefusedError, match="refused ACL SAVE"):
            await target.create(account())
        assert users(server) == set()
        with pytest.raises(TargetAwayError, match="the new password is in force"):
            await target.set_password(PasswordChange(username=ROOT, password=ROOT_PASSWORD))
    finally:
        await target.close()
        await asyncio.to_thread(server.remove)


async def test_redis_comes_back_after_a_restart(redis_server: ThrowAwayRedis) -> None:
    server = await asyncio.to_thread(ThrowAwayRedis)
    target = target_of(server)
    try:
        await target.check()
        server.stop()
        for _again in range(2):
            with pytest.raises(TargetAwayError):
                await target.create(account())
        await asyncio.to_thread(server.start)
        await target.create(account())
        server.stop()
        await asyncio.to_thread(server.start)  # between two calls: nobody notices
        await target.check()
    finally:
        await target.close()
        await asyncio.to_thread(server.remove)


async def test_calls_at_once_share_a_few_redis_connections(redis_server: ThrowAwayRedis) -> None:
    target = target_of(redis_server, max_open_connections=2)
    await asyncio.gather(*(target.create(account(f"v-{number}")) for number in range(20)))
    assert len(await target.accounts("v-")) == 20
    with client(redis_server) as root:
        mine = [one for one in root.execute_command("CLIENT", "LIST").splitlines() if f"user={ROOT} " in one]
    assert len(mine) == 2
    await target.close()


async def test_a_redis_call_that_is_cut_off_answers_nobody_else(
    redis_server: ThrowAwayRedis, target: RedisTarget
) -> None:
    await target.check()
    with client(redis_server) as root:
        root.execute_command("CLIENT", "PAUSE", 100, "ALL")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await target.accounts("")
    assert await target.grants("default")
    assert "default" in await target.accounts("")


async def test_close_closes_redis_connections(redis_server: ThrowAwayRedis) -> None:
    target = target_of(redis_server)
    await target.check()
    await target.close()
    await target.close()
    with client(redis_server) as root:
        assert f"user={ROOT} " not in root.execute_command("CLIENT", "LIST")
    await target.check()  # opens anew
    await target.close()


# --- several hosts ------------------------------------------------------------------------------------------------


async def test_the_redis_master_is_found_and_followed(redis_server: ThrowAwayRedis) -> None:
    replica = await asyncio.to_thread(lambda: ThrowAwayRedis(extra=f"replicaof 127.0.0.1 {redis_server.port}"))
    hosts = f"127.0.0.1:{replica.port},127.0.0.1:{redis_server.port}"
    target = target_of(redis_server, host=hosts)
    try:
        await target.create(account())
        await target.login(WHO, PASSWORD)
        assert WHO in users(redis_server)
        with client(replica) as there, client(redis_server) as here:
            assert WHO not in users(replica)
            there.execute_command("REPLICAOF", "NO", "ONE")
            here.execute_command("REPLICAOF", "127.0.0.1", replica.port)
            await target.create(account("v-after"))
            here.execute_command("REPLICAOF", "NO", "ONE")
        assert "v-after" in users(replica)
        replica.stop()
        await target.create(account("v-later"))
        assert "v-later" in users(redis_server)
    finally:
        await target.close()
        await asyncio.to_thread(replica.remove)


async def test_redis_replicas_alone_are_no_database(redis_server: ThrowAwayRedis) -> None:
    replica = await asyncio.to_thread(lambda: ThrowAwayRedis(extra=f"replicaof 127.0.0.1 {redis_server.port}"))
    target = target_of(redis_server, host=f"127.0.0.1:{replica.port},127.0.0.1:1")
    try:
        with pytest.raises(TargetAwayError, match=r"no host is a master: 127\.0\.0\.1:\d+: it is a slave; "):
            await target.create(account())
        assert users(replica) == set()
    finally:
        await target.close()
        await asyncio.to_thread(replica.remove)


# --- TLS ----------------------------------------------------------------------------------------------------------


def _write_tls(directory: Path, ca: SmallCa) -> str:
    """A server certificate for 127.0.0.1; answers the lines of redis.conf for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = ca.sign(key.public_key(), "redis", now=datetime.now(UTC), extensions=(names,))
    (directory / "tls.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
    (directory / "tls.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (directory / "ca.crt").write_text(ca.pem)
    return (
        f"tls-cert-file {directory}/tls.crt\ntls-key-file {directory}/tls.key\ntls-ca-cert-file {directory}/ca.crt\n"
        "tls-auth-clients optional\n"
    )


async def test_redis_asks_for_a_client_certificate(tmp_path: Path) -> None:
    ca = SmallCa.root("Redis CA", now=datetime.now(UTC))
    extra = _write_tls(tmp_path, ca).replace("optional", "yes")
    server = await asyncio.to_thread(lambda: ThrowAwayRedis(extra=extra, tls=True))
    pair = {
        name: (tmp_path / file).read_text()
        for name, file in (("tls_certificate", "tls.crt"), ("private_key", "tls.key"))
    }
    known = target_of(server, tls=True, ca_cert=ca.pem, **pair)
    unknown = target_of(server, tls=True, ca_cert=ca.pem)
    try:
        await known.check()
        with pytest.raises(TargetAwayError):
            await unknown.check()
    finally:
        await known.close()
        await unknown.close()
        await asyncio.to_thread(server.remove)


async def test_redis_by_tls(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ca, stranger = SmallCa.root("Redis CA", now=now), SmallCa.root("Another CA", now=now)
    extra = _write_tls(tmp_path, ca)
    server = await asyncio.to_thread(lambda: ThrowAwayRedis(extra=extra, tls=True))
    try:
        good = target_of(server, tls=True, ca_cert=ca.pem)
        await good.create(account())
        await good.login(WHO, PASSWORD)
        await good.close()
        any_ca = target_of(server, tls="true", insecure_tls="true")
        await any_ca.check()
        await any_ca.close()
        for options in ({"tls": True, "ca_cert": stranger.pem}, {"tls": True}):
            bad = target_of(server, **options)
            with pytest.raises(TargetAwayError, match=r"(?i)certificate verify failed"):
                await bad.check()
            await bad.close()
        other_name = target_of(server, host="localhost", tls=True, ca_cert=ca.pem)
        with pytest.raises(TargetAwayError, match=r"(?i)certificate verify failed|mismatch|not valid"):
            await other_name.check()
        await other_name.close()
        clear = target_of(server)
        with pytest.raises(TargetAwayError):
            await clear.check()
        await clear.close()
    finally:
        await asyncio.to_thread(server.remove)
