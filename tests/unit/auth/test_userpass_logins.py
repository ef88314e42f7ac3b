"""userpass: who gets in, who does not, and what a flood of logins can take."""

import asyncio
import threading

import pytest

from auth.userpass.passwords import Argon2Parameters, HashingThreads, Passwords
from core.errors import IntegrityError, InvalidRequestError, LoginFailedError, PermissionDeniedError, QuotaExceededError
from core.requests import LoginAlias
from tests.unit.auth.login_mount import CHEAP, UserpassMount


async def test_a_login_brings_what_the_user_has(userpass: UserpassMount) -> None:
    await userpass.user(token_policies="ops,Audit", token_ttl=60)
    login = await userpass.login("Bob", "builder")
    assert (login.display_name, login.policies, login.ttl) == ("bob", ("ops", "audit"), 60)
    assert (login.metadata, login.alias) == ({"username": "bob"}, LoginAlias(name="bob"))
    assert login.renewal == {"username": "bob", "policies": "audit,ops"}


async def failed(userpass: UserpassMount, name: str, password: str) -> str:
    with pytest.raises(LoginFailedError) as refused:
        await userpass.login(name, password)
    return refused.value.sentence


async def test_every_wrong_credential_is_answered_alike(userpass: UserpassMount) -> None:
    await userpass.user()
    cases = [("bob", "wrong"), ("alice", "builder"), ("-bob", "builder"), ("bob ", "builder"), ("bob", "Builder")]
    assert {await failed(userpass, *case) for case in cases} == {"invalid username or password"}


async def test_an_unknown_user_costs_one_hash_like_a_known_one(
    userpass: UserpassMount, monkeypatch: pytest.MonkeyPatch
) -> None:
    await userpass.user()
    made: list[str] = []
    hasher = userpass.engine._engine._passwords._hasher
    original = type(hasher).verify

    def counting(self: object, encoded: str, password: str) -> bool:
        made.append(encoded.rsplit("$", 2)[0])
        return bool(original(self, encoded, password))

    monkeypatch.setattr(type(hasher), "verify", counting)
    for name in ("bob", "alice", "-"):
        await failed(userpass, name, "wrong")
    assert made == ["$argon2id$v=19$m=8,t=1,p=1"] * 3


@pytest.mark.parametrize("change", ["password", "deletion", "policies"])
async def test_what_changes_while_a_login_waits_for_its_hash_counts(
    userpass: UserpassMount, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    await userpass.user(token_policies="ops")
    passwords = userpass.engine._engine._passwords
    original = passwords.is_right

    async def slow(password: str, encoded: str | None) -> bool:
        found = await original(password, encoded)
        if change == "password":
            await userpass.write("users/bob/password", password="another one")
        elif change == "deletion":
            await userpass.delete("users/bob")
        else:
            await userpass.write("users/bob/policies", token_policies="fewer")
        return bool(found)

    monkeypatch.setattr(passwords, "is_right", slow)
    if change == "policies":
        assert (await userpass.login("bob", "builder")).policies == ("fewer",)
    else:
        await failed(userpass, "bob", "builder")


async def test_nobodys_hash_lets_nobody_in() -> None:
    threads = HashingThreads()
    assert await Passwords(threads, CHEAP).is_right("", None) is False
    threads.close()


@pytest.mark.parametrize(("password", "sentence"), [("", "missing password"), ("a" * 1025, "1024 bytes")])
async def test_what_cannot_be_a_password_is_not_hashed(userpass: UserpassMount, password: str, sentence: str) -> None:
    await userpass.user()
    for name in ("bob", "alice"):
        with pytest.raises(InvalidRequestError, match=sentence):
            await userpass.login(name, password)


async def test_every_byte_of_a_long_password_counts(userpass: UserpassMount) -> None:
    """bcrypt would cut it off after 72."""
    await userpass.user(password="a" * 1023 + "x")
    await failed(userpass, "bob", "a" * 1023 + "y")
    await userpass.login("bob", "a" * 1023 + "x")


async def test_bound_networks_hold_for_the_login_too(userpass: UserpassMount) -> None:
    await userpass.user(token_bound_cidrs="10.0.0.0/8")
    await userpass.login("bob", "builder", address="10.1.1.1")
    with pytest.raises(PermissionDeniedError):
        await userpass.login("bob", "builder", address="11.1.1.1")
    await failed(userpass, "bob", "wrong")


class DearerMount(UserpassMount):
    """A worker of a later version."""

    parameters = Argon2Parameters(time_cost=2, memory_cost=16)


async def test_a_hash_of_former_parameters_is_made_anew_at_the_next_login(userpass: UserpassMount) -> None:
    await userpass.user()
    later = DearerMount(userpass.storage)
    await failed(later, "bob", "wrong")
    commits = later.storage._state.commits
    await later.login("bob", "builder")
    assert (await later.engine._engine.user("bob")).password_hash.startswith("$argon2id$v=19$m=16,t=2,p=1$")
    await later.login("bob", "builder")
    assert later.storage._state.commits == commits + 1


async def test_a_login_without_news_writes_nothing(userpass: UserpassMount) -> None:
    await userpass.user()
    commits = userpass.storage._state.commits
    await userpass.login("bob", "builder")
    assert userpass.storage._state.commits == commits


async def test_a_stored_hash_that_is_none_is_our_fault() -> None:
    threads = HashingThreads()
    with pytest.raises(IntegrityError):
        await Passwords(threads, CHEAP).is_right("x", "garbage")
    threads.close()


async def test_a_flood_is_refused_beyond_those_that_wait_and_the_loop_goes_on() -> None:
    threads, gate = HashingThreads(running=1, waiting=2), threading.Event()
    calls = [asyncio.ensure_future(threads.run(lambda: gate.wait(10))) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(QuotaExceededError):
        await threads.run(lambda: True)
    gate.set()
    assert await asyncio.gather(*calls) == [True, True, True]
    assert await threads.run(lambda: True)
    threads.close()


async def test_a_caller_who_goes_away_leaves_no_room_taken() -> None:
    threads, entered, gate = HashingThreads(running=1, waiting=0), threading.Event(), threading.Event()

    def work() -> bool:
        entered.set()
        return gate.wait(10)

    call = asyncio.ensure_future(threads.run(work))
    await asyncio.to_thread(entered.wait, 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    with pytest.raises(QuotaExceededError):  # the thread is busy still
        await threads.run(lambda: True)
    gate.set()
    threads.close()


async def test_a_renewal_needs_the_same_policies(userpass: UserpassMount) -> None:
    await userpass.user(token_policies="b,a", token_ttl=60)
    renewal = (await userpass.login("bob", "builder")).renewal
    await userpass.write("users/bob", token_policies="a,b", token_ttl=90)
    assert (await userpass.engine.renew_login(renewal)).ttl == 90
    await userpass.write("users/bob/policies", token_policies="a")
    with pytest.raises(InvalidRequestError, match="policies have changed, not renewing"):
        await userpass.engine.renew_login(renewal)


async def test_a_user_who_is_gone_renews_nothing(userpass: UserpassMount) -> None:
    await userpass.user()
    renewal = (await userpass.login("bob", "builder")).renewal
    await userpass.delete("users/bob")
    with pytest.raises(InvalidRequestError, match="does not exist during renewal"):
        await userpass.engine.renew_login(renewal)


async def test_the_defaults_are_owasps() -> None:
    threads = HashingThreads()
    passwords = Passwords(threads)
    encoded = await passwords.hash("builder")
    assert encoded.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await passwords.is_right("builder", encoded)
    assert not passwords.is_outdated(encoded)
    threads.close()
