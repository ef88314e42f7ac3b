"""A version never encrypts more than its limit; before it does, callers are warned and the key rotates by itself."""

import asyncio
import base64
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import structlog

from core.errors import CallerError, HsmGoneError
from core.protocols import AeadInput, StorageView, Transaction
from core.requests import Operation
from tests.unit.transit.transit_mount import Mount
from transit import counters
from transit.errors import SupersededError, UsageExhaustedError
from transit.limits import block_size, is_due, is_near
from transit.store import existing_keyring, replace_keyring

ONE = [(0, AeadInput(b"x"))]


async def until(reached: Callable[[], Awaitable[bool]]) -> None:
    """Let the tasks in the background go on."""
    async with asyncio.timeout(5):
        while not await reached():  # noqa: ASYNC110 - of what is tested, nothing can be told to set an event
            await asyncio.sleep(0)


async def latest(mount: Mount) -> int:
    return int((await mount.read("keys/k"))["latest_version"])


async def usage(mount: Mount) -> dict[str, int]:
    """As stored: what workers reserved."""
    return dict((await mount.other_worker().read("keys/k"))["usage"])


async def make_imported(mount: Mount) -> None:
    """As a key that was imported without allow_rotation."""

    async def write(txn: Transaction) -> None:
        row = await existing_keyring(txn, "k")
        await replace_keyring(txn, "k", row, msgspec.structs.replace(row[0], imported=True))

    await mount.parts.storage.transact(write)


async def key_id(mount: Mount, version: int = 1) -> str:
    key = await mount.parts.store.open("k")
    row = (await mount.parts.store.version(key, version)).key
    assert row is not None
    return row.key_id


@pytest.fixture
async def limited(mount: Mount) -> Mount:
    """A key `k` whose versions encrypt 200 times."""
    await mount.write("keys/k", max_encryptions=200)
    return mount


@pytest.mark.parametrize(
    ("limit", "wanted", "size"),
    [(0, 65536, 65536), (2**32, 65536, 65536), (200, 1024, 6), (31, 1024, 1), (1, 1024, 1), (10**6, 1024, 1024)],
)
def test_blocks_are_small_under_a_low_limit(limit: int, wanted: int, size: int) -> None:
    assert block_size(wanted, limit=limit) == size


@pytest.mark.parametrize(
    ("reserved", "limit", "near", "due"),
    [
        (149, 200, False, False),
        (150, 200, True, False),
        (179, 200, True, False),
        (180, 200, True, True),
        (0, 1, False, False),
        (1, 1, True, True),
        (3 * 2**30, 2**32, True, False),
        (10**12, 0, False, False),
    ],
)
def test_where_warning_and_rotation_begin(reserved: int, limit: int, near: bool, due: bool) -> None:
    assert (is_near(reserved, limit), is_due(reserved, limit)) == (near, due)


async def test_a_key_goes_on_under_new_versions_without_an_error(limited: Mount) -> None:
    made: Counter[int] = Counter()
    for _ in range(1000):
        [answer] = await limited.engine.encrypt("k", ONE)
        assert not isinstance(answer, CallerError)
        made[answer[0]] += 1
    assert len(made) >= 5
    assert max(made.values()) <= 200
    assert limited.meter["key_rotated"] == await latest(limited) - 1


async def test_rotation_comes_before_the_limit(limited: Mount) -> None:
    for _ in range(185):
        await limited.engine.encrypt("k", ONE)

    async def rotated() -> bool:
        return await latest(limited) == 2

    await until(rotated)
    assert (await usage(limited))["1"] < 200


@pytest.mark.parametrize("limit", [1, 2, 3, 20, 97])
async def test_tiny_limits_hold_for_many_at_once(mount: Mount, limit: int) -> None:
    await mount.write("keys/k", max_encryptions=limit)
    other = mount.other_worker()
    opened = [(worker.engine, await worker.parts.store.open("k")) for worker in (mount, other)]
    answers = await asyncio.gather(*(engine.encrypt_one(key, ONE[0]) for engine, key in opened * 16))
    assert max(Counter(version for version, _ in answers).values()) <= limit


class GatedStorage:
    """Answers a transaction in the very turn of the event loop in which others go on, too."""

    def __init__(self, storage: StorageView) -> None:
        self._storage = storage
        self.gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gate.set_result(None)

    async def transact(self, work: Callable[[Transaction], Awaitable[Any]]) -> Any:
        result = await self._storage.transact(work)
        await self.gate
        return result


async def no_rotation(name: str, version: int) -> None:
    raise AssertionError(f"{name} {version}")


def interrupt(*_: object) -> None:
    raise TimeoutError("the event loop stood still")


async def test_a_block_that_is_used_up_in_the_turn_in_which_it_came_is_followed_by_another(limited: Mount) -> None:
    """Who asked just then went round for ever, and the worker with it."""
    key = await limited.parts.store.open("k")
    storage = GatedStorage(limited.parts.storage)
    taken = counters.UsageCounters(storage, rotate=no_rotation)  # type: ignore[arg-type]  # only this is asked of it
    which = await key_id(limited)
    gate = storage.gate = asyncio.get_running_loop().create_future()

    async def take(*, at_the_gate: bool) -> None:
        if at_the_gate:
            await gate
        await taken.take("k", 1, which, 6, keyring=key.keyring)

    first = asyncio.create_task(take(at_the_gate=False))
    for _ in range(20):
        await asyncio.sleep(0)  # up to the gate, where the reservation waits first
    others = [asyncio.create_task(take(at_the_gate=True)) for _ in range(3)]
    await asyncio.sleep(0)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 5, 0.5)
    try:
        gate.set_result(None)
        await asyncio.gather(first, *others)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert (await usage(limited))["1"] == 24


@pytest.mark.parametrize("seed", range(5))
async def test_two_workers_together_never_pass_the_limit(mount: Mount, seed: int) -> None:
    """Singles, batches, chosen versions and crashes in any order: what was made is never more than was allowed."""
    draw = random.Random(seed)  # noqa: S311 - which request comes when is no secret
    await mount.write("keys/k", max_encryptions=50)
    workers = [mount, mount.other_worker()]
    made: Counter[int] = Counter()

    async def encrypt() -> None:
        worker, count = draw.choice(workers), draw.choice([1, 1, 1, 2, 7, 30, 50, 120])
        asked = draw.choice([0, 0, 0, await latest(mount)])
        for answer in await worker.engine.encrypt("k", [(asked, AeadInput(b"x"))] * count):
            if isinstance(answer, CallerError):
                assert asked
                assert isinstance(answer, UsageExhaustedError)
            else:
                made[answer[0]] += 1

    for _ in range(12):
        await asyncio.gather(*(encrypt() for _ in range(6)))
        crashed = draw.randrange(4)
        if crashed < 2:  # SIGKILL: nothing is given back
            workers[crashed] = mount.other_worker()
    assert max(made.values()) <= 50
    stored = await usage(mount)
    assert all(made[int(version)] <= count <= 50 for version, count in stored.items())


async def test_of_workers_that_pass_the_mark_together_one_rotates(limited: Mount) -> None:
    workers = [limited, *(limited.other_worker() for _ in range(3))]
    for _ in range(60):
        await asyncio.gather(*(worker.engine.encrypt("k", ONE) for worker in workers))
    assert sum(worker.meter["key_rotated"] for worker in workers) == await latest(limited) - 1
    assert await latest(limited) <= 3


async def test_whoever_finds_the_version_used_up_waits_for_the_rotation(
    limited: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, real = asyncio.Event(), limited.keys.generate_key

    async def slow(*args: object, **more: object) -> object:
        await gate.wait()
        return await real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(limited.keys, "generate_key", slow)
    for _ in range(200):
        await limited.engine.encrypt("k", ONE)
    waiting = [asyncio.create_task(limited.write("encrypt/k", plaintext="aGk=")) for _ in range(10)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    gate.set()
    assert [answer["key_version"] for answer in await asyncio.gather(*waiting)] == [2] * 10
    assert limited.meter["key_rotated"] == 1


async def test_a_used_up_version_is_refused_to_who_asks_for_it(limited: Mount) -> None:
    first = [(1, AeadInput(b"x"))]
    assert not any(isinstance(answer, CallerError) for answer in await limited.engine.encrypt("k", first * 200))
    with pytest.raises(SupersededError, match="leave out key_version"):
        await limited.write("encrypt/k", plaintext="aGk=", key_version=1)
    assert (await limited.write("encrypt/k", plaintext="aGk="))["key_version"] == 2


async def test_a_batch_over_the_limit_is_spread_over_versions(limited: Mount) -> None:
    answers = await limited.engine.encrypt("k", ONE * 1000)
    versions = Counter(answer[0] for answer in answers if not isinstance(answer, CallerError))
    assert sum(versions.values()) == 1000
    assert max(versions.values()) <= 200
    opened = await limited.engine.decrypt("k", [(a[0], AeadInput(a[1])) for a in answers if isinstance(a, tuple)])
    assert opened == [b"x"] * 1000


async def test_rewrap_and_data_keys_rotate_as_well(limited: Mount) -> None:
    text = (await limited.write("encrypt/k", plaintext="aGk="))["ciphertext"]
    await limited.engine.encrypt("k", [(1, AeadInput(b"x"))] * 199)
    text = (await limited.write("rewrap/k", ciphertext=text))["ciphertext"]
    assert text.startswith("mimir:v2:")
    await limited.engine.encrypt("k", [(2, AeadInput(b"x"))] * 199)
    assert (await limited.write("datakey/wrapped/k"))["key_version"] == 3


async def test_derived_keys_rotate_as_well(mount: Mount) -> None:
    await mount.write("keys/k", derived=True, max_encryptions=10)
    context = base64.b64encode(b"tenant").decode()
    versions = [(await mount.write("encrypt/k", plaintext="aGk=", context=context))["key_version"] for _ in range(35)]
    assert max(Counter(versions).values()) <= 10
    assert max(versions) >= 4


# --- keys that cannot rotate ------------------------------------------------------------------------------------------


async def test_an_imported_key_is_refused_at_its_limit(limited: Mount) -> None:
    await make_imported(limited)
    for _ in range(200):
        await limited.write("encrypt/k", plaintext="aGk=")
    for _ in range(2):
        with pytest.raises(UsageExhaustedError, match="import a new version"):
            await limited.write("encrypt/k", plaintext="aGk=")
    assert await latest(limited) == 1
    assert limited.meter["encryption_limit_reached"] == 2


# --- rotations that fail ----------------------------------------------------------------------------------------------


async def test_a_rotation_that_fails_is_logged_and_tried_again_later(
    limited: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, broken, real = [], True, limited.keys.generate_key

    async def generate(*args: object, **more: object) -> object:
        tried.append(args)
        if broken:
            raise HsmGoneError("the HSM is gone")
        return await real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(limited.keys, "generate_key", generate)
    with structlog.testing.capture_logs() as logged:
        for _ in range(200):
            await limited.write("encrypt/k", plaintext="aGk=")
        for _ in range(5):
            with pytest.raises(HsmGoneError):
                await limited.write("encrypt/k", plaintext="aGk=")
    assert len(tried) == 1  # the next attempt is a second away
    assert [line["key"] for line in logged] == ["k"]
    broken = False
    monkeypatch.setattr(counters, "_RETRY_PAUSE", 0.0)
    limited.counters._blocks[await key_id(limited)].rotate_again_at = 0.0
    assert (await limited.write("encrypt/k", plaintext="aGk="))["key_version"] == 2


async def test_closing_while_a_rotation_hangs(limited: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_args: object, **_more: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(limited.keys, "generate_key", hang)
    for _ in range(190):
        await limited.engine.encrypt("k", ONE)
    async with asyncio.timeout(5):
        await limited.routes.close()
    assert await usage(limited) == {"1": 190}


# --- the limit is changed ---------------------------------------------------------------------------------------------


async def test_a_lowered_limit_holds_from_the_next_reservation_in_every_worker(mount: Mount) -> None:
    await mount.write("keys/k")
    other = mount.other_worker()
    await other.engine.encrypt("k", ONE)
    await mount.write("keys/k/config", max_encryptions=1024)
    made: Counter[int] = Counter()
    for _ in range(1500):
        [answer] = await other.engine.encrypt("k", ONE)
        assert isinstance(answer, tuple)
        made[answer[0]] += 1
    assert made[1] <= 1023  # and the one before


async def test_a_raised_limit_lets_a_version_go_on(limited: Mount) -> None:
    await make_imported(limited)
    for _ in range(200):
        await limited.write("encrypt/k", plaintext="aGk=")
    await limited.write("keys/k/config", max_encryptions=400)
    assert (await limited.write("encrypt/k", plaintext="aGk="))["key_version"] == 1


# --- warnings ---------------------------------------------------------------------------------------------------------


async def test_there_is_no_warning_far_from_the_limit(limited: Mount) -> None:
    await limited.engine.encrypt("k", ONE * 140)
    assert limited.counters.warnings == {}
    assert (await limited.call(Operation.UPDATE, "encrypt/k", {"plaintext": "aGk="})).warnings is None
    assert limited.meter["encryption_limit_near"] == 0


async def test_a_key_that_will_rotate_says_so(limited: Mount) -> None:
    await limited.engine.encrypt("k", ONE * 150)
    said = "key k version 1 has used 75 % of the 200 encryptions allowed to it; it rotates by itself at 90 %"
    assert limited.counters.warnings_of("k", [1, 2]) == [said]
    assert limited.counters.warnings_of("other", [1]) == []


async def test_every_response_that_encrypts_carries_the_warning(limited: Mount) -> None:
    await limited.engine.encrypt("k", ONE * 160)
    text = (await limited.write("encrypt/k", plaintext="aGk="))["ciphertext"]
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("encrypt/k", {"plaintext": "aGk="}),
        ("encrypt/k", {"batch_input": [{"plaintext": "aGk="}, {"plaintext": "aGk="}]}),
        ("encrypt/k", {"batch_input": [{"plaintext": "aGk="}, {"plaintext": "!"}]}),
        ("rewrap/k", {"ciphertext": text}),
        ("rewrap/k", {"batch_input": [{"ciphertext": text}]}),
        ("datakey/plaintext/k", {}),
        ("datakey/wrapped/k", {"batch_input": [{}, {"bits": 7}]}),
    ]
    for path, body in bodies:
        [said] = (await limited.call(Operation.UPDATE, path, body)).warnings or ()
        assert "it rotates by itself" in said
    assert (await limited.call(Operation.UPDATE, "decrypt/k", {"ciphertext": text})).warnings is None


async def test_a_key_that_cannot_rotate_says_so(limited: Mount) -> None:
    await make_imported(limited)
    await limited.engine.encrypt("k", ONE * 200)
    [said] = limited.counters.warnings_of("k", [1])
    assert said == (
        "key k version 1 has used 100 % of the 200 encryptions allowed to it; it cannot rotate by itself, since it was "
        "imported without allow_rotation: import a new version"
    )


async def test_warnings_are_counted_once_a_reservation(limited: Mount) -> None:
    await limited.engine.encrypt("k", ONE * 160)
    assert limited.meter["encryption_limit_near"] == 1
    before = limited.counters.held(await key_id(limited))
    for _ in range(before // 2):
        await limited.engine.encrypt("k", ONE)
    assert limited.meter["encryption_limit_near"] == 1


# --- blocks in memory -------------------------------------------------------------------------------------------------


async def test_the_oldest_blocks_are_given_back_when_there_are_too_many(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters, "_CAPACITY", 8)
    monkeypatch.setattr(counters, "_AT_ONCE", 4)
    for i in range(20):
        await mount.write(f"keys/k{i}")
        await mount.engine.encrypt(f"k{i}", ONE)
    assert len(mount.counters._blocks) <= 8
    await mount.engine.encrypt("k0", ONE)
    await mount.routes.close()
    other = mount.other_worker()
    used = [(await other.read(f"keys/k{i}"))["usage"]["1"] for i in range(20)]
    assert used == [2] + [1] * 19
