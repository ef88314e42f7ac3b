"""Names are refused for a while after too many failed logins; every worker counts together."""

import asyncio

import pytest

from appliance.access.lockouts import DEFAULT_RULES, LockoutRules, Lockouts, LoginName, parse_rules
from core.errors import InvalidRequestError, LoginFailedError, PermissionDeniedError
from tests.support.clock import SettableClock
from tests.support.memory_storage import memory_storage

BOB = LoginName(namespace="root", mount="userpass_1", name="bob")


class Rig:
    """Two workers over one store."""

    def __init__(self) -> None:
        self.storage, self.clock = memory_storage(), SettableClock()
        self.lockouts = Lockouts(self.storage, self.clock)
        self.other = Lockouts(self.storage, self.clock)

    async def login(self, *, right: bool, who: LoginName = BOB, rules: LockoutRules = DEFAULT_RULES) -> str:
        async def attempt() -> str:
            if not right:
                raise LoginFailedError("invalid username or password")
            return "in"

        try:
            return await self.lockouts.guard(who, rules, attempt)
        except LoginFailedError:
            return "wrong"
        except PermissionDeniedError:
            return "locked"

    async def fail(self, times: int, who: LoginName = BOB) -> list[str]:
        return [await self.login(right=False, who=who) for _ in range(times)]

    @property
    def commits(self) -> int:
        return self.storage._state.commits


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_after_five_failures_even_the_right_password_is_refused(rig: Rig) -> None:
    assert await rig.fail(5) == ["wrong"] * 5
    assert await rig.login(right=True) == "locked"


async def test_four_failures_are_forgotten_by_a_success(rig: Rig) -> None:
    await rig.fail(4)
    assert await rig.login(right=True) == "in"
    assert await rig.fail(4) == ["wrong"] * 4
    assert await rig.login(right=True) == "in"


async def test_a_lockout_ends_after_a_quarter_of_an_hour(rig: Rig) -> None:
    await rig.fail(5)
    rig.clock.advance(899)
    assert await rig.login(right=True) == "locked"
    rig.clock.advance(1)
    assert await rig.login(right=True) == "in"


async def test_after_a_lockout_counting_begins_anew(rig: Rig) -> None:
    await rig.fail(5)
    rig.clock.advance(900)
    assert await rig.fail(5) == ["wrong"] * 5
    assert await rig.login(right=True) == "locked"


async def test_failures_long_apart_do_not_add_up(rig: Rig) -> None:
    for _ in range(8):
        await rig.fail(1)
        rig.clock.advance(900)
    assert await rig.login(right=True) == "in"


async def test_a_refused_try_does_not_prolong_the_lockout(rig: Rig) -> None:
    await rig.fail(5)
    rig.clock.advance(800)
    assert await rig.login(right=False) == "locked"
    rig.clock.advance(100)
    assert await rig.login(right=True) == "in"


async def test_the_attempt_is_not_made_for_a_locked_name(rig: Rig) -> None:
    await rig.fail(5)
    made = []

    async def attempt() -> None:
        made.append(1)

    with pytest.raises(PermissionDeniedError):
        await rig.lockouts.guard(BOB, DEFAULT_RULES, attempt)
    assert made == []


async def test_workers_count_together(rig: Rig) -> None:
    for worker in (rig.lockouts, rig.other, rig.lockouts, rig.other):
        assert not await worker.note_failure(BOB, DEFAULT_RULES)
    assert await rig.other.note_failure(BOB, DEFAULT_RULES)
    assert await rig.lockouts.is_locked(BOB)
    await rig.lockouts.unlock(BOB)
    assert not await rig.other.is_locked(BOB)


@pytest.mark.parametrize(
    "other",
    [
        LoginName(namespace="root", mount="userpass_1", name="Bob"),
        LoginName(namespace="root", mount="userpass_2", name="bob"),
        LoginName(namespace="a1B2c3", mount="userpass_1", name="bob"),
    ],
)
async def test_another_name_mount_or_namespace_is_not_locked(rig: Rig, other: LoginName) -> None:
    await rig.fail(5)
    assert await rig.login(right=True, who=other) == "in"


@pytest.mark.parametrize("name", ["a/b", "..", "\x00", "é" * 5000, "\ud800", "hvs.secret"])
async def test_any_name_can_be_counted(rig: Rig, name: str) -> None:
    who = LoginName(namespace="root", mount="approle_1", name=name)
    await rig.fail(5, who)
    assert await rig.lockouts.is_locked(who)
    assert all(name not in path for path in rig.storage._state.entries)
    [shown] = (await rig.lockouts.locked("root"))["approle_1"]
    assert len(shown) <= 1024


async def test_a_login_without_failures_writes_nothing(rig: Rig) -> None:
    await rig.login(right=True)  # the first at the mount
    before = rig.commits
    rig.storage._state.sealed = True  # nor does it read
    assert await rig.login(right=True) == "in"
    rig.storage._state.sealed = False
    assert await rig.login(right=True, who=LoginName(namespace="root", mount="userpass_1", name="new")) == "in"
    assert rig.commits == before


async def test_many_guesses_at_once_do_not_outrun_the_count(rig: Rig) -> None:
    made = 0

    async def attempt() -> None:
        nonlocal made
        made += 1
        await asyncio.sleep(0)
        raise LoginFailedError("invalid username or password")

    tries = [rig.lockouts.guard(BOB, DEFAULT_RULES, attempt) for _ in range(50)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert made < 2 * DEFAULT_RULES.threshold
    assert sum(isinstance(answer, PermissionDeniedError) for answer in answers) == 50 - made
    assert rig.lockouts._trying == {}


async def test_other_errors_of_an_attempt_do_not_count(rig: Rig) -> None:
    async def attempt() -> None:
        raise InvalidRequestError("missing password")

    for _ in range(9):
        with pytest.raises(InvalidRequestError, match="missing password"):
            await rig.lockouts.guard(BOB, DEFAULT_RULES, attempt)
    assert await rig.login(right=True) == "in"


async def test_a_mount_can_do_without(rig: Rig) -> None:
    rules = parse_rules({"lockout_disable": "true"})
    for _ in range(9):
        assert await rig.login(right=False, rules=rules) == "wrong"
    assert rig.commits == 0


async def test_a_clock_that_steps_back_unlocks_nobody(rig: Rig) -> None:
    await rig.fail(5)
    rig.clock.advance(-7200)
    assert await rig.login(right=True) == "locked"


def test_rules_come_as_a_mount_has_them() -> None:
    found = parse_rules({"lockout_threshold": "3", "lockout_duration": "1h", "lockout_counter_reset": "600"})
    assert found == LockoutRules(threshold=3, duration=3600, counter_reset=600)
    assert parse_rules(None) == parse_rules({}) == LockoutRules(threshold=5, duration=900, counter_reset=900)


@pytest.mark.parametrize(
    "config",
    [
        {"lockout_threshold": "0"},
        {"lockout_threshold": "-1"},
        {"lockout_threshold": "²"},
        {"lockout_threshold": "9" * 5000},
        {"lockout_threshold": "five"},
        {"lockout_duration": "-1s"},
        {"lockout_duration": "soon"},
        {"lockout_counter_reset": "0"},
        {"lockout_disable": "perhaps"},
    ],
)
def test_rules_that_make_no_sense_are_refused(config: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(config))):
        parse_rules(config)


async def test_locked_names_are_listed_by_mount(rig: Rig) -> None:
    for name in ("zoe", "bob"):
        await rig.fail(5, LoginName(namespace="root", mount="userpass_1", name=name))
    await rig.fail(4, LoginName(namespace="root", mount="userpass_1", name="ann"))
    await rig.fail(5, LoginName(namespace="root", mount="approle_1", name="role-id"))
    await rig.fail(5, LoginName(namespace="a1B2c3", mount="userpass_9", name="eve"))
    assert await rig.lockouts.locked("root") == {"approle_1": ["role-id"], "userpass_1": ["bob", "zoe"]}
    rig.clock.advance(900)
    assert await rig.lockouts.locked("root") == {}


async def test_tidy_removes_what_no_longer_counts(rig: Rig) -> None:
    await rig.fail(5)
    rig.clock.advance(600)
    ann = LoginName(namespace="root", mount="userpass_1", name="ann")
    await rig.fail(1, ann)
    rig.clock.advance(300)
    assert await rig.lockouts.tidy("root") == 1
    assert rig.storage._state.entries.keys() == {ann.path, ann.folder + "epoch"}
    assert await rig.lockouts.tidy("root") == 0


async def test_a_mount_that_is_gone_leaves_nothing(rig: Rig) -> None:
    await rig.fail(5)
    await rig.lockouts.forget_mount("root", "userpass_1")
    assert rig.storage._state.entries == {}
