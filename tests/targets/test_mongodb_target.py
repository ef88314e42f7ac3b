"""The MongoDB plugin over the wire: against mockupdb with users behind it, or the server of MIMIR_TEST_MONGODB_URL."""

import asyncio
import contextlib
import gc
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pymongo import AsyncMongoClient, errors

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
from dynamic.targets.mongodb import MongoTarget
from tests.support.mongo_server import Mongo
from tests.support.small_ca import SmallCa
from tests.support.tcp_front import TcpFront

ROOT, ROOT_PASSWORD = "mimir@root", "root's p/ass:w%rd"
WHO = "v-orders-1"
PASSWORD = "correct horse ' \" \\ $gt {pwd: 1}"
ROLES = ('{"db": "admin", "roles": [{"role": "readWrite", "db": "foo"}, {"role": "read", "db": "bar"}]}',)
LATER = 4_000_000_000
PATIENT, QUICK = 3000, 100  # milliseconds; pymongo looks for a server that was away every 500 ms


def target_of(mongo: Mongo, *, address: str = "", password: str = ROOT_PASSWORD, query: str = "", **more: Any) -> Any:
    query = f"serverSelectionTimeoutMS={more.pop('wait', PATIENT)}{query}"
    url = f"mongodb://{{{{username}}}}:{{{{password}}}}@{address or mongo.address}/admin?{query}"
    options = {"connection_url": url} | more
    return MongoTarget(ConnectionDetails(name="docs-db", username=ROOT, password=password, options=options))


def account(name: str = WHO, password: str = PASSWORD, **more: Any) -> NewAccount:
    members: dict[str, Any] = {"username": name, "password": password, "expires_at": LATER, "statements": ROLES}
    return NewAccount(**members | more)


@contextlib.asynccontextmanager
async def client(mongo: Mongo, username: str, password: str, db: str = "admin") -> AsyncIterator[Any]:
    found: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        mongo.address, username=username, password=password, authSource=db, serverSelectionTimeoutMS=2000
    )
    try:
        yield found
    finally:
        await found.close()


@contextlib.asynccontextmanager
async def administrator(mongo: Mongo) -> AsyncIterator[Any]:
    async with client(mongo, mongo.admin, mongo.password) as found:
        yield found


async def users(mongo: Mongo) -> set[str]:
    """Those of the tests, as `name@database`."""
    if mongo.imitation:
        known = [user.shown for user in mongo.imitation.users.values() if user.name not in {mongo.admin, ROOT}]
        return {f"{user['user']}@{user['db']}" for user in known}
    async with administrator(mongo) as admin:
        reply = await admin.admin.command(
            {"usersInfo": {"forAllDBs": True}, "filter": {"user": {"$regex": "^(v-|app)"}}}
        )
    return {f"{user['user']}@{user['db']}" for user in reply["users"]}


@pytest.fixture(autouse=True)
async def root(mongo: Mongo) -> AsyncIterator[None]:
    """The user that the target logs in as; after a test no other is left."""
    if mongo.imitation:
        mongo.imitation.reset(ROOT, ROOT_PASSWORD)
        yield
        return
    concern = {"w": 1}
    async with administrator(mongo) as admin:
        command = {"createUser": ROOT, "pwd": ROOT_PASSWORD, "roles": ["root"], "writeConcern": concern}
        await admin.admin.command(command)
        yield
        await admin.admin.command({"dropUser": ROOT})
        for name, _, db in [user.partition("@") for user in await users(mongo)]:
            await admin[db].command({"dropUser": name})


@pytest.fixture
async def target(mongo: Mongo) -> AsyncIterator[MongoTarget]:
    found: MongoTarget = target_of(mongo)
    yield found
    await found.close()


# --- accounts -----------------------------------------------------------------------------------------------------


async def test_a_mongodb_account_may_what_its_roles_say(mongo: Mongo, target: MongoTarget) -> None:
    await target.create(account())
    await target.login(WHO, PASSWORD)
    async with client(mongo, WHO, PASSWORD) as theirs:
        assert (await theirs.foo.command({"insert": "c", "documents": [{"_id": 1, "x": 1}]}))["n"] in {0, 1}
        assert await theirs.bar.c.find_one({}) is None
        for db, command in (
            ("bar", {"insert": "c", "documents": [{"x": 1}]}),
            ("other", {"find": "c"}),
            ("admin", {"createUser": "v-more", "pwd": "x", "roles": ["root"], "writeConcern": {"w": 1}}),
        ):
            with pytest.raises(errors.OperationFailure) as caught:
                await theirs[db].command(command)
            assert caught.value.code == 13


async def test_mongodb_roles_without_a_database_are_of_the_user_s(mongo: Mongo, target: MongoTarget) -> None:
    await target.create(account(statements=('{"db": "foo", "roles": ["readWrite", {"role": "read"}]}',)))
    assert await users(mongo) == {f"{WHO}@foo"}
    await target.login(WHO, PASSWORD)  # it is found in foo
    assert await target.grants(WHO) == ["read on foo (user of foo)", "readWrite on foo (user of foo)"]


@pytest.mark.parametrize("password", [PASSWORD + "!", "x" * 1000, "пароль"], ids=["more", "long", "words"])
async def test_another_mongodb_password_opens_nothing(target: MongoTarget, password: str) -> None:
    await target.create(account())
    with pytest.raises(TargetLoginError):
        await target.login(WHO, password)


async def test_nobody_logs_in_with_a_name_that_mongodb_does_not_know(target: MongoTarget) -> None:
    with pytest.raises(TargetLoginError):
        await target.login("v-nobody", PASSWORD)


@pytest.mark.parametrize("name", ["v-заказы", "v-\"quoted'", "v-two words", "v-{$gt: 1}", "v-,=n=x"])
async def test_odd_names_of_mongodb_are_names(mongo: Mongo, target: MongoTarget, name: str) -> None:
    await target.create(account(name, "pässwörd 密码"))
    await target.login(name, "pässwörd 密码")
    assert await target.accounts("v-") == [name]
    await target.drop(Removal(username=name))
    assert await users(mongo) == set()


@pytest.mark.parametrize("name", ["", " v-a", "v-a ", "v-\n", "v-\x00", "v" * 257])
async def test_a_bad_mongodb_name_is_refused_before_the_server_hears_it(
    mongo: Mongo, target: MongoTarget, name: str
) -> None:
    with pytest.raises(TargetRefusedError, match="a MongoDB user name has no"):
        await target.create(account(name))
    with pytest.raises(TargetRefusedError):
        await target.set_password(PasswordChange(username=name, password=PASSWORD))
    assert await users(mongo) == set()


async def test_a_mongodb_user_that_is_there_is_not_taken_over(target: MongoTarget) -> None:
    await target.create(account())
    with pytest.raises(TargetRefusedError, match=r"refused the role's creation statements \(51003 "):
        await target.create(account(password="another"))
    await target.login(WHO, PASSWORD)


async def test_wrong_mongodb_roles_leave_nothing_behind(mongo: Mongo, target: MongoTarget) -> None:
    with pytest.raises(TargetRefusedError) as caught:
        await target.create(account(statements=('{"roles": [{"role": "nothing", "db": "foo"}]}',)))
    assert caught.value.sentence == ("the database docs-db refused the role's creation statements (31 RoleNotFound)")
    assert "nothing@foo" in caught.value.detail
    assert PASSWORD not in caught.value.detail
    assert await users(mongo) == set()


async def test_a_root_that_may_not_make_mongodb_users_says_so(mongo: Mongo, target: MongoTarget) -> None:
    await target.create(account())
    options = {"connection_url": f"mongodb://{mongo.address}"}
    weak = MongoTarget(ConnectionDetails(name="docs-db", username=WHO, password=PASSWORD, options=options))
    await weak.check()
    for call in (
        weak.create(account("v-2")),
        weak.drop(Removal(username=ROOT)),
        weak.set_password(PasswordChange(username=ROOT, password="mine")),
        weak.accounts("v-"),
    ):
        with pytest.raises(TargetRefusedError, match="13 Unauthorized"):
            await call
    await weak.close()


async def test_a_renewal_of_a_mongodb_account_does_nothing(target: MongoTarget) -> None:
    await target.create(account())
    await target.renew(Renewal(username=WHO, expires_at=LATER))
    await target.login(WHO, PASSWORD)


async def test_a_removed_mongodb_account_is_gone_with_its_sessions(mongo: Mongo, target: MongoTarget) -> None:
    await target.create(account())
    async with client(mongo, WHO, PASSWORD) as theirs:
        await theirs.foo.command({"find": "c"})
        await target.drop(Removal(username=WHO))
        with pytest.raises(errors.PyMongoError):
            await theirs.foo.command({"find": "c"})
    with pytest.raises(TargetLoginError):
        await target.login(WHO, PASSWORD)
    assert await users(mongo) == set()
    if mongo.imitation:
        assert mongo.imitation.killed[-1] == {"user": WHO, "db": "admin"}


async def test_a_mongodb_account_that_is_not_there_is_as_good_as_removed(target: MongoTarget) -> None:
    await target.drop(Removal(username="v-nobody"))
    await target.drop(Removal(username="v-nobody", statements=('{"db": "foo"}',)))


async def test_a_mongodb_account_is_removed_where_it_is(mongo: Mongo, target: MongoTarget) -> None:
    """Vault's plugin looks into admin alone, and leaves such an account alive."""
    await target.create(account(statements=('{"db": "foo", "roles": ["read"]}',)))
    await target.drop(Removal(username=WHO))
    assert await users(mongo) == set()


async def test_revocation_statements_of_mongodb_say_where(mongo: Mongo, target: MongoTarget) -> None:
    for db in ("foo", "bar"):
        await target.create(account(statements=(f'{{"db": "{db}", "roles": ["read"]}}',)))
    with pytest.raises(TargetRefusedError, match="in several databases"):
        await target.drop(Removal(username=WHO))
    await target.drop(Removal(username=WHO, statements=('{"db": "foo"}',)))
    assert await users(mongo) == {f"{WHO}@bar"}


async def test_a_static_mongodb_user_gets_a_new_password(mongo: Mongo, target: MongoTarget) -> None:
    await target.create(account("app", "first", statements=('{"db": "foo", "roles": ["read"]}',)))
    for _again in range(2):
        await target.set_password(PasswordChange(username="app", password=PASSWORD))
    await target.login("app", PASSWORD)
    with pytest.raises(TargetLoginError):
        await target.login("app", "first")
    with pytest.raises(TargetRefusedError, match="11 UserNotFound"):
        await target.set_password(PasswordChange(username="app", password="x", statements=('{"db": "bar"}',)))


async def test_a_new_password_makes_no_mongodb_user(mongo: Mongo, target: MongoTarget) -> None:
    with pytest.raises(TargetRefusedError, match="11 UserNotFound"):
        await target.set_password(PasswordChange(username="v-nobody", password=PASSWORD))
    assert await users(mongo) == set()


async def test_mongodb_changes_the_password_of_its_root(mongo: Mongo, target: MongoTarget) -> None:
    await target.set_password(PasswordChange(username=ROOT, password="another password"))
    former, later = target_of(mongo), target_of(mongo, password="another password")
    with pytest.raises(TargetLoginError) as caught:
        await former.check()
    assert caught.value.sentence == "the database docs-db refuses the user name or the password"
    await later.check()
    await former.close()
    await later.close()


async def test_mongodb_users_are_listed_by_prefix(target: MongoTarget) -> None:
    for name in ("v-b", "v-a", "app-v-", "v.c"):
        await target.create(account(name))
    assert await target.accounts("v-") == ["v-a", "v-b"]
    await target.drop(Removal(username="v.c"))


async def test_grants_of_a_mongodb_user(target: MongoTarget) -> None:
    await target.create(account())
    assert await target.grants(WHO) == ["read on bar (user of admin)", "readWrite on foo (user of admin)"]
    with pytest.raises(TargetRefusedError, match="there is no user v-nobody"):
        await target.grants("v-nobody")


async def test_options_that_mongodb_s_driver_refuses_are_named(mongo: Mongo) -> None:
    target = target_of(mongo, address=f"{mongo.address},localhost:1", query="&directConnection=true")
    with pytest.raises(InvalidRequestError, match="connection_url: Cannot specify multiple hosts"):
        await target.check()
    await target.close()


async def test_close_ends_the_mongodb_client(mongo: Mongo) -> None:
    target = target_of(mongo)
    await target.check()
    before = len(asyncio.all_tasks())
    await target.close()
    await target.close()
    assert len(asyncio.all_tasks()) < before
    await target.check()  # opens anew
    await target.close()


async def test_calls_at_once_share_a_few_mongodb_connections(mongo: Mongo) -> None:
    target = target_of(mongo, max_open_connections=2)
    await asyncio.gather(*(target.create(account(f"v-{number}")) for number in range(8)))
    assert len(await target.accounts("v-")) == 8
    await target.close()


# --- faults -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def front(mongo: Mongo) -> AsyncIterator[TcpFront]:
    found = TcpFront(mongo.address)
    await found.start()
    yield found
    await found.stop()


async def test_mongodb_comes_back_after_a_stop(mongo: Mongo, front: TcpFront) -> None:
    query = "&directConnection=true"
    target = target_of(mongo, address=f"127.0.0.1:{front.port}", query=query, wait=1000)
    await target.check()
    await front.stop()
    with pytest.raises(TargetAwayError, match="the database docs-db cannot be reached") as caught:
        await target.create(account())
    assert ROOT_PASSWORD not in caught.value.sentence
    assert "Topology" not in caught.value.sentence
    await front.start()
    await target.create(account())
    await target.close()
    assert await users(mongo) == {f"{WHO}@admin"}


async def test_dead_mongodb_connections_are_not_noticed(mongo: Mongo, front: TcpFront) -> None:
    target = target_of(mongo, address=f"127.0.0.1:{front.port}", query="&directConnection=true")
    await target.check()
    await front.cut()
    await target.create(account())
    await front.cut()
    await target.drop(Removal(username=WHO))
    assert await users(mongo) == set()
    await target.close()


def _imitation(mongo: Mongo) -> Any:
    if mongo.imitation is None:
        pytest.skip("faults are made in the imitation")
    return mongo.imitation


async def test_a_mongodb_user_whose_making_was_cut_off_is_recognised(mongo: Mongo, target: MongoTarget) -> None:
    """The server made it, and the answer never came: no second user, no orphan, no error."""
    imitation = _imitation(mongo)

    def cut_off(command: dict[str, Any]) -> dict[str, Any] | None:
        if "createUser" not in command:
            return None
        imitation._add("admin", command["createUser"], command["pwd"], command["roles"])
        return {"hang up": True}

    imitation.faults.append(cut_off)
    await target.create(account())
    assert await users(mongo) == {f"{WHO}@admin"}
    await target.login(WHO, PASSWORD)


async def test_a_foreign_mongodb_user_is_not_taken_for_one_s_own(mongo: Mongo, target: MongoTarget) -> None:
    await target.create(account())
    _imitation(mongo).faults.append(lambda command: {"hang up": True} if "createUser" in command else None)
    with pytest.raises(TargetRefusedError, match="has a user v-orders-1 already"):
        await target.create(account(password="another"))
    await target.login(WHO, PASSWORD)


@pytest.mark.parametrize("command", ["createUser", "updateUser", "dropUser"])
async def test_what_too_few_mongodb_members_have_is_in_doubt(mongo: Mongo, target: MongoTarget, command: str) -> None:
    lag = {"ok": 1, "writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}}
    _imitation(mongo).faults.append(lambda given: lag if command in given else None)
    call = {
        "createUser": lambda: target.create(account()),
        "updateUser": lambda: target.set_password(PasswordChange(username=ROOT, password="x")),
        "dropUser": lambda: target.drop(Removal(username=WHO)),
    }[command]
    with pytest.raises(TargetAwayError, match="enough members: waiting for replication timed out"):
        await call()


async def test_the_text_of_mongodb_is_scrubbed(mongo: Mongo, target: MongoTarget) -> None:
    told = {"ok": 0, "code": 2, "codeName": "BadValue", "errmsg": f"bad pwd {PASSWORD} for {ROOT_PASSWORD}"}
    _imitation(mongo).faults.append(lambda command: told if "createUser" in command else None)
    with pytest.raises(TargetRefusedError) as caught:
        await target.create(account())
    assert caught.value.detail == "2 BadValue: bad pwd *** for ***"


async def test_a_mongodb_primary_that_steps_down_is_asked_once_more(mongo: Mongo, target: MongoTarget) -> None:
    gone = {"ok": 0, "code": 10107, "codeName": "NotWritablePrimary", "errmsg": "not primary"}
    _imitation(mongo).faults.append(lambda command: gone if "createUser" in command else None)
    await target.create(account())
    await target.login(WHO, PASSWORD)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("", {"w": "majority", "wtimeout": 10_000}),
        ('{"wmode": "majority", "wtimeout": 5000}', {"w": "majority", "wtimeout": 5000}),
        ('{"w": 1, "j": true}', {"w": 1, "j": True}),
    ],
    ids=["default", "vaults", "one"],
)
async def test_mongodb_is_told_the_write_concern(mongo: Mongo, given: str, sent: dict[str, Any]) -> None:
    imitation = _imitation(mongo)
    target = target_of(mongo, write_concern=given)
    await target.create(account())
    assert imitation.write_concerns[-1] == sent
    await target.close()


# --- TLS ----------------------------------------------------------------------------------------------------------


def _server_tls(directory: Path, ca: SmallCa) -> ssl.SSLContext:
    """For 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = ca.sign(key.public_key(), "mongo", now=datetime.now(UTC), extensions=(names,))
    pair = directory / "pair.pem"
    pair.write_bytes(
        certificate.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair)
    return context


async def _refused(target: MongoTarget, sentence: str) -> None:
    with pytest.raises(TargetAwayError, match=sentence):
        await target.check()
    await target.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pymongo leaves refused sockets to GC
async def test_mongodb_by_tls(mongo: Mongo, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ca, stranger = SmallCa.root("Mongo CA", now=now), SmallCa.root("Another CA", now=now)
    front = TcpFront(mongo.address, tls=_server_tls(tmp_path, ca))
    await front.start()
    address, direct = f"127.0.0.1:{front.port}", "&directConnection=true"
    try:
        good = target_of(mongo, address=address, query=direct, tls_ca=ca.pem)
        await good.create(account())
        await good.login(WHO, PASSWORD)
        await good.close()
        pair = (tmp_path / "pair.pem").read_text()
        with_pair = target_of(mongo, address=address, query=direct, tls_ca=ca.pem, tls_certificate_key=pair)
        await with_pair.check()
        await with_pair.close()
        anybody = target_of(mongo, address=address, query=f"{direct}&tls=true&tlsInsecure=true")
        await anybody.check()
        await anybody.close()
        await asyncio.gather(  # pymongo takes half a second for each
            _refused(target_of(mongo, address=address, query=direct, tls_ca=stranger.pem, wait=QUICK), "certificate"),
            _refused(target_of(mongo, address=address, query=f"{direct}&tls=true", wait=QUICK), "certificate"),
            _refused(
                target_of(mongo, address=f"localhost:{front.port}", query=direct, tls_ca=ca.pem, wait=QUICK),
                "certificate",
            ),
            _refused(target_of(mongo, address=address, query=direct, wait=QUICK), "cannot be reached"),
        )
    finally:
        await front.stop()
        gc.collect()  # so that those sockets are this test's
