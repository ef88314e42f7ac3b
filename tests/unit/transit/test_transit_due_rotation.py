"""Keys with an auto_rotate_period are rotated when it has passed, once, whoever comes to it."""

import asyncio

import msgspec
import pytest

from core.errors import HsmGoneError, IntegrityError, StoreUnavailableError
from core.protocols import Transaction
from tests.unit.transit.transit_mount import Mount
from transit import rotation
from transit.rotation import DueRotations
from transit.schedule import PREFIX, Due, due_keys
from transit.store import existing_keyring, replace_keyring

HOUR = 3600


class Time:
    """The monotonic clock, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def latest(mount: Mount, name: str = "k") -> int:
    return int((await mount.read(f"keys/{name}"))["latest_version"])


def keeping(mount: Mount, time: Time) -> DueRotations:
    parts = mount.parts
    return DueRotations(parts.storage, parts.store, parts.lifecycle, parts.clock, monotonic=time)


@pytest.fixture
async def periodic(mount: Mount) -> Mount:
    """A key `k` that rotates every hour."""
    await mount.write("keys/k", auto_rotate_period="1h")
    return mount


async def test_a_key_is_rotated_when_its_period_has_passed_and_not_before(periodic: Mount) -> None:
    periodic.clock.advance(HOUR - 1)
    await periodic.routes.housekeep()
    assert await latest(periodic) == 1
    periodic.clock.advance(1)
    await periodic.routes.housekeep()
    assert await latest(periodic) == 2
    await periodic.routes.housekeep()
    assert await latest(periodic) == 2
    assert periodic.meter["key_rotated"] == 1


async def test_periods_that_were_slept_through_make_one_version(periodic: Mount) -> None:
    periodic.clock.advance(100 * HOUR)
    await periodic.routes.housekeep()
    await periodic.routes.housekeep()
    assert await latest(periodic) == 2


async def test_a_period_counts_from_the_last_rotation(periodic: Mount) -> None:
    periodic.clock.advance(HOUR - 1)
    await periodic.write("keys/k/rotate")
    periodic.clock.advance(HOUR - 1)
    await periodic.routes.housekeep()
    assert await latest(periodic) == 2


async def test_several_processes_at_once_make_one_version(periodic: Mount) -> None:
    others = [periodic.other_worker() for _ in range(3)]
    periodic.clock.advance(HOUR)
    await asyncio.gather(*(mount.routes.housekeep() for mount in (periodic, *others)))
    assert await latest(periodic) == 2
    assert sum(mount.meter["key_rotated"] for mount in (periodic, *others)) == 1


async def test_a_process_that_dies_before_the_commit_leaves_the_key_due(
    periodic: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    periodic.clock.advance(HOUR)

    async def killed(*_args: object, **_more: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr("transit.lifecycle.replace_keyring", killed)
    with pytest.raises(asyncio.CancelledError):
        await periodic.routes.housekeep()
    monkeypatch.undo()
    assert await periodic.storage.list("logical/u/versions/k/") == ["00000001"]
    await periodic.other_worker().routes.housekeep()
    assert await latest(periodic) == 2


async def test_a_clock_that_steps_back_rotates_nothing(periodic: Mount) -> None:
    periodic.clock.advance(HOUR)
    await periodic.routes.housekeep()
    for step in (-HOUR, -100 * HOUR, 99 * HOUR):
        periodic.clock.advance(step)
        await periodic.routes.housekeep()
    assert await latest(periodic) == 2
    periodic.clock.advance(3 * HOUR)
    await periodic.routes.housekeep()
    assert await latest(periodic) == 3


@pytest.mark.parametrize("change", ["soft-delete", "period"])
async def test_a_key_that_is_no_longer_to_be_rotated_is_not(periodic: Mount, change: str) -> None:
    if change == "soft-delete":
        await periodic.parts.lifecycle.set_soft_deleted("k", deleted=True)
    else:
        await periodic.write("keys/k/config", auto_rotate_period=0)
    periodic.clock.advance(2 * HOUR)
    await periodic.routes.housekeep()
    assert await latest(periodic) == 1
    assert await periodic.storage.list(f"logical/u/{PREFIX}") == []


async def test_a_restored_key_is_rotated_when_it_is_due(periodic: Mount) -> None:
    await periodic.parts.lifecycle.set_soft_deleted("k", deleted=True)
    periodic.clock.advance(2 * HOUR)
    await periodic.parts.lifecycle.set_soft_deleted("k", deleted=False)
    await periodic.routes.housekeep()
    assert await latest(periodic) == 2


async def test_a_deleted_key_leaves_nothing_due(periodic: Mount) -> None:
    await periodic.write("keys/k/config", deletion_allowed=True)
    await periodic.parts.lifecycle.delete("k")
    assert await periodic.storage.list(f"logical/u/{PREFIX}") == []


async def test_without_due_keys_it_is_one_list_of_names(periodic: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    view = periodic.parts.storage
    real = view.list

    async def watched(prefix: str, *, after: str = "", limit: int = 0) -> list[str]:
        asked.append(prefix)
        return await real(prefix, after=after, limit=limit)

    monkeypatch.setattr(view, "list", watched)
    await periodic.routes.housekeep()
    assert asked == [PREFIX]


async def test_many_due_keys_are_all_rotated_in_batches(mount: Mount, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "_BATCH", 3)
    names = [f"k{i}" for i in range(10)]
    for i, name in enumerate(names):
        await mount.write(f"keys/{name}", auto_rotate_period="1h")
        mount.clock.advance(i % 2)
    mount.clock.advance(HOUR)
    await mount.routes.housekeep()
    assert [await latest(mount, name) for name in names] == [2] * 10


async def test_the_longest_due_come_first_and_pages_follow_on(mount: Mount) -> None:
    for name in ("c", "b", "a"):
        await mount.write(f"keys/{name}", auto_rotate_period="1h")
        if name == "b":
            mount.clock.advance(5)
    start, view = int(mount.clock.now()) - 5 + HOUR, mount.parts.storage
    every = [Due(start, "b"), Due(start, "c"), Due(start + 5, "a")]
    assert await due_keys(view, now=start + 5, limit=10) == every
    assert await due_keys(view, now=start + 4, limit=10) == every[:2]
    assert await due_keys(view, now=start - 1, limit=10) == []
    for seen in range(3):
        after = every[seen - 1] if seen else None
        assert await due_keys(view, now=start + 5, limit=1, after=after) == [every[seen]]
    assert await due_keys(view, now=start + 5, limit=1, after=every[2]) == []


async def _forbid_rotation(mount: Mount, name: str) -> None:
    """Imported without allow_rotation, while the index still says that it is due: as a damaged index would."""

    async def forbid(txn: Transaction) -> None:
        row = await existing_keyring(txn, name)
        keyring = row[0]
        await replace_keyring(txn, name, row, msgspec.structs.replace(keyring, imported=True))
        await txn.put(f"{PREFIX}{keyring.rotated_at + HOUR:012d}/{name}", b"")

    await mount.parts.storage.transact(forbid)


async def test_a_row_of_the_index_that_is_out_of_date_rotates_nothing(periodic: Mount) -> None:
    await _forbid_rotation(periodic, "k")
    periodic.clock.advance(HOUR)
    await periodic.routes.housekeep()
    assert await latest(periodic) == 1


class Failing:
    """Makes no keys for a while."""

    def __init__(self, mount: Mount, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
        self.calls = 0
        self.broken = True
        real = mount.keys.generate_key

        async def generate(*args: object, **more: object) -> object:
            self.calls += 1
            if self.broken:
                raise error
            return await real(*args, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(mount.keys, "generate_key", generate)


@pytest.mark.parametrize("error", [HsmGoneError("the HSM is gone"), StoreUnavailableError("the database is away")])
async def test_passing_trouble_ends_the_call_and_the_next_one_goes_on(
    mount: Mount, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for name in ("a", "b", "c"):
        await mount.write(f"keys/{name}", auto_rotate_period="1h")
    mount.clock.advance(HOUR)
    failing = Failing(mount, monkeypatch, error)
    with pytest.raises(type(error)):
        await mount.routes.housekeep()
    assert failing.calls == 1
    failing.broken = False
    await mount.routes.housekeep()
    assert [await latest(mount, name) for name in ("a", "b", "c")] == [2, 2, 2]


async def test_a_key_that_cannot_be_rotated_keeps_no_other_waiting_and_is_tried_again_later(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = Time()
    due = keeping(mount, time)
    await mount.write("keys/a", auto_rotate_period="1h", type="rsa-2048")
    mount.clock.advance(1)
    await mount.write("keys/b", auto_rotate_period="1h")
    mount.clock.advance(HOUR)
    real, tried = mount.parts.lifecycle.rotate, []

    async def rotate(name: str, *, only_from: int | None = None) -> object:
        tried.append(name)
        if name == "a" and len(tried) < 5:
            raise IntegrityError("the entry does not authenticate")
        return await real(name, only_from=only_from)

    monkeypatch.setattr(mount.parts.lifecycle, "rotate", rotate)
    await due.rotate()
    assert tried == ["a", "b"]
    assert await latest(mount, "b") == 2
    await due.rotate()
    assert tried == ["a", "b"]  # not in a tight loop
    for pause in (60, 120):
        time.now += pause - 1
        await due.rotate()
        seen = len(tried)
        time.now += 1
        await due.rotate()
        assert len(tried) == seen + 1
    time.now += HOUR
    await due.rotate()
    assert await latest(mount, "a") == 2
