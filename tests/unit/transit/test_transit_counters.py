"""Encryptions are counted in blocks, and never too few."""

import asyncio

import pytest

from core.errors import StoreUnavailableError
from core.protocols import AeadInput, Transaction
from tests.unit.transit.transit_mount import Mount
from transit import counters
from transit.errors import SupersededError, UsageExhaustedError
from transit.store import change_usage, existing_keyring, read_version

ONE = [(0, AeadInput(b"x"))]


async def _stored(mount: Mount) -> int:
    """What a worker that starts now would see."""
    return (await mount.other_worker().read("keys/k"))["usage"]["1"]


async def _spend(mount: Mount, count: int) -> None:
    """Count encryptions without making them."""

    async def add(txn: Transaction) -> None:
        row = await existing_keyring(txn, "k")
        version = await read_version(txn, "k", 1, row[0])
        assert version.key is not None
        await change_usage(txn, "k", 1, version.key.key_id, owner=row[0].id, by=count)

    await mount.storage.view("logical/u/").transact(add)


@pytest.fixture
async def keyed(mount: Mount) -> Mount:
    await mount.write("keys/k")
    return mount


async def test_the_worker_itself_shows_the_exact_number(keyed: Mount) -> None:
    for _ in range(3):
        await keyed.engine.encrypt("k", ONE)
    await keyed.engine.encrypt("k", ONE * 100)
    assert (await keyed.read("keys/k"))["usage"] == {"1": 103}


async def test_decrypting_is_not_counted(keyed: Mount) -> None:
    text = (await keyed.write("encrypt/k", plaintext="aGk="))["ciphertext"]
    await keyed.write("decrypt/k", ciphertext=text)
    assert (await keyed.read("keys/k"))["usage"] == {"1": 1}


async def test_rewrap_counts_for_the_new_version(keyed: Mount) -> None:
    text = (await keyed.write("encrypt/k", plaintext="aGk="))["ciphertext"]
    await keyed.write("keys/k/rotate")
    await keyed.write("rewrap/k", ciphertext=text)
    assert (await keyed.read("keys/k"))["usage"] == {"1": 1, "2": 1}


async def test_the_stored_count_is_never_too_low(keyed: Mount) -> None:
    """As after SIGKILL: nothing was given back."""
    for made in (1, 600, 3000):
        await keyed.engine.encrypt("k", ONE * made)
    assert await _stored(keyed) >= 3601


async def test_closing_gives_back_what_was_not_used(keyed: Mount) -> None:
    await keyed.engine.encrypt("k", ONE * 5)
    assert await _stored(keyed) == counters.FIRST_BLOCK
    await keyed.routes.close()
    assert await _stored(keyed) == 5


async def test_two_workers_add_up(keyed: Mount) -> None:
    other = keyed.other_worker()
    await keyed.engine.encrypt("k", ONE * 5)
    await other.engine.encrypt("k", ONE * 7)
    await keyed.routes.close()
    await other.routes.close()
    assert await _stored(keyed) == 12


async def test_encrypting_writes_nothing_within_a_block(keyed: Mount) -> None:
    await keyed.engine.encrypt("k", ONE)
    before = keyed.storage._state.commits
    for _ in range(100):
        await keyed.engine.encrypt("k", ONE)
    assert keyed.storage._state.commits == before


async def test_blocks_double_up_to_a_bound(keyed: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = counters.change_usage

    async def watched(txn: Transaction, *args: object, **more: int) -> tuple[int, int] | None:
        sizes.append(more["by"])
        return await real(txn, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(counters, "change_usage", watched)
    for _ in range(200):
        assert len(await keyed.engine.encrypt("k", ONE * 1000)) == 1000
    assert sizes[:3] == [1024, 2048, 4096]
    assert max(sizes) == counters.LARGEST_BLOCK


async def test_the_next_block_is_reserved_when_half_is_used(keyed: Mount) -> None:
    await keyed.engine.encrypt("k", ONE * 500)
    assert await _stored(keyed) == 1024
    await keyed.engine.encrypt("k", ONE * 50)
    await asyncio.sleep(0)  # the task in the background
    await asyncio.sleep(0)
    assert await _stored(keyed) == 1024 + 2048


async def test_without_the_store_a_block_is_used_up_and_then_refused(keyed: Mount) -> None:
    await keyed.engine.encrypt("k", ONE)

    async def broken(_body: object) -> None:
        raise StoreUnavailableError("the database is away")

    real, keyed.counters._storage.transact = keyed.counters._storage.transact, broken  # type: ignore[method-assign]
    made = 1
    with pytest.raises(StoreUnavailableError):  # noqa: PT012 - it is the loop that ends
        while True:
            await keyed.engine.encrypt("k", ONE)
            made += 1
    assert made == 1024
    keyed.counters._storage.transact = real  # type: ignore[method-assign]
    await keyed.engine.encrypt("k", ONE)
    assert (await keyed.read("keys/k"))["usage"] == {"1": 1025}


async def test_requests_that_wait_for_one_block_share_its_reservation(keyed: Mount) -> None:
    before = keyed.storage._state.commits
    await asyncio.gather(*(keyed.engine.encrypt("k", ONE) for _ in range(50)))
    assert keyed.storage._state.commits == before + 1


async def test_a_cancelled_waiter_harms_nobody(keyed: Mount) -> None:
    tasks = [asyncio.create_task(keyed.engine.encrypt("k", ONE)) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert [len(result) for result in results[1:] if isinstance(result, list)] == [1, 1]


async def test_a_version_stops_at_its_limit(keyed: Mount) -> None:
    """NIST SP 800-38D, 8.3: at most 2^32 invocations with random 96-bit nonces."""
    await _spend(keyed, 2**32 - 10)
    first = [(1, AeadInput(b"x"))]  # under version 1 and no other
    assert len(await keyed.engine.encrypt("k", first * 8)) == 8
    refused = await keyed.engine.encrypt("k", first * 3)
    assert [type(answer) for answer in refused] == [SupersededError] * 3
    assert not isinstance((await keyed.engine.encrypt("k", first * 2))[0], UsageExhaustedError)
    with pytest.raises(UsageExhaustedError, match="leave out key_version"):
        await keyed.write("encrypt/k", plaintext="aGk=", key_version=1)
    assert (await keyed.write("encrypt/k", plaintext="aGk="))["key_version"] == 2


async def test_the_count_never_passes_the_limit(keyed: Mount) -> None:
    await _spend(keyed, 2**32 - 1)
    await _spend(keyed, 1000)
    assert await _stored(keyed) == 2**32


async def test_a_block_of_a_deleted_key_goes_nowhere(keyed: Mount) -> None:
    other = keyed.other_worker()
    await other.engine.encrypt("k", ONE)
    await keyed.write("keys/k/config", deletion_allowed=True)
    await keyed.parts.lifecycle.delete("k")
    await keyed.write("keys/k")
    await keyed.engine.encrypt("k", ONE * 4)
    await keyed.routes.close()
    await other.routes.close()
    assert await _stored(keyed) == 4


async def test_closing_ends_in_time_and_gives_back_first_what_limits_feel(
    keyed: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keyed.engine.encrypt("k", ONE)
    await keyed.write("keys/limited", max_encryptions=100_000)
    await keyed.engine.encrypt("limited", ONE)
    monkeypatch.setattr(counters, "_AT_ONCE", 1)
    monkeypatch.setattr(counters, "_CLOSING_SECONDS", 0.0)
    await keyed.routes.close()
    assert await _stored(keyed) == 1024  # the rest stays counted
    assert (await keyed.other_worker().read("keys/limited"))["usage"]["1"] == 1


async def test_closing_while_a_block_is_being_reserved(keyed: Mount) -> None:
    await keyed.engine.encrypt("k", ONE * 1000)  # a refill is under way
    await keyed.routes.close()
    assert await _stored(keyed) == 1000


async def test_closing_without_the_store_keeps_the_count(keyed: Mount) -> None:
    await keyed.engine.encrypt("k", ONE)
    keyed.storage._state.sealed = True
    await keyed.routes.close()
    keyed.storage._state.sealed = False
    assert await _stored(keyed) == 1024
