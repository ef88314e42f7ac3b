"""Read records: who read a secret last, written seldom, over two workers, without loss but by a crash."""

import contextlib

import pytest

from core.errors import CasMismatchError, IntegrityError, StoreUnavailableError
from core.protocols import Entry
from core.requests import Caller
from kv import reads
from kv.reads import RESOLUTION, ReadLog, ReadRecord
from kv.store import READS, SECRETS
from tests.unit.kv.kv_mount import Mount

ANN = Caller(accessor="a", display_name="userpass-ann", policies=("p",), entity_id="ann-id")
BOB = Caller(accessor="b", display_name="userpass-bob", policies=("p",), entity_id="bob-id")


def _log(mount: Mount) -> ReadLog:
    return mount.engine.parts.reads  # type: ignore[attr-defined,no-any-return]  # of VersionedRoutes


async def _tend(mount: Mount) -> None:
    await mount.engine.tend()  # type: ignore[attr-defined]  # as above


async def _id(mount: Mount, name: str = "s") -> str:
    opened = await mount.engine.parts.store.find(name)  # type: ignore[attr-defined]  # as above
    return str(opened.secret.secret_id)


async def _last(mount: Mount, name: str = "s") -> ReadRecord | None:
    """As a worker that has seen nothing finds it."""
    return await _log(mount.other_worker()).last(await _id(mount, name))


def _rows(mount: Mount) -> dict[str, Entry]:
    return {path: entry for path, entry in mount.storage._state.entries.items() if f"/{READS}" in path}


async def _mount(*names: str, version: str = "2") -> Mount:
    mount = Mount(version=version)
    for name in names or ("s",):
        if version == "2":
            await mount.put(name, {"a": 1})
        else:
            await mount.call("update", name, {"a": 1})
    return mount


async def test_a_read_writes_nothing_until_the_engine_is_tended() -> None:
    mount = await _mount()
    before = mount.storage._state.commits
    await mount.get("s")
    assert mount.storage._state.commits == before
    await _tend(mount)
    record = await _last(mount)
    assert record is not None
    assert (record.by, record.entity_id, record.address) == ("userpass-ann", "ann-id", "10.0.0.7")
    assert record.at == int(mount.clock.now()) * 10**9
    assert record.days == 1


async def test_the_worker_itself_knows_of_a_read_at_once() -> None:
    mount = await _mount()
    await mount.get("s")
    record = await _log(mount).last(await _id(mount))
    assert record is not None
    assert record.by == "userpass-ann"


async def test_many_reads_are_one_write_in_a_quarter_of_an_hour() -> None:
    mount = await _mount()
    for _ in range(20):
        await mount.get("s")
        await mount.get("s", version="1")
        mount.clock.advance(30)
        await _tend(mount)
    [row] = _rows(mount).values()
    assert row.revision == 1
    mount.clock.advance(RESOLUTION)
    await mount.get("s")
    await _tend(mount)
    [row] = _rows(mount).values()
    assert row.revision == 2


async def test_readers_that_take_turns_are_two_writes_in_a_quarter_of_an_hour() -> None:
    mount = await _mount()
    for _ in range(10):
        for caller in (ANN, BOB):
            mount.caller = caller
            await mount.get("s")
            mount.clock.advance(1)
            await _tend(mount)
    [row] = _rows(mount).values()
    assert row.revision == 2
    record = await _last(mount)
    assert record is not None
    assert record.by == "userpass-bob"


async def test_a_change_of_the_secret_does_not_count_its_reader_twice() -> None:
    mount = await _mount()
    await mount.get("s")
    await _tend(mount)
    await mount.put("s", {"a": 2})
    await mount.get("s")
    await _tend(mount)
    [row] = _rows(mount).values()
    assert row.revision == 1


async def test_days_with_reads_are_counted() -> None:
    mount = await _mount()
    first = mount.clock.now()
    for _ in range(3):
        await mount.get("s")
        await _tend(mount)
        mount.clock.advance(86400)
    record = await _last(mount)
    assert record is not None
    assert (record.days, record.first_at) == (3, int(first) * 10**9)


@pytest.mark.parametrize(
    ("operation", "path", "query"),
    [
        ("read", "metadata/s", {}),
        ("read", "subkeys/s", {}),
        ("list", "metadata/", {}),
        ("read", "stages/s", {}),
        ("read", "data/gone", {}),
        ("read", "data/s", {"version": "1"}),
    ],
    ids=["metadata", "subkeys", "list", "stages", "deleted", "destroyed"],
)
async def test_what_gives_no_value_is_no_read(operation: str, path: str, query: dict[str, str]) -> None:
    mount = await _mount("s", "gone")
    await mount.put("s", {"a": 2})
    await mount.call("update", "destroy/s", {"versions": [1]})
    await mount.call("delete", "data/gone")
    await mount.call(operation, path, None, **query)  # type: ignore[arg-type]  # the query holds no `body`
    await _tend(mount)
    assert not _rows(mount)


@pytest.mark.parametrize("query", [{}, {"version": "1"}, {"stage": "current"}], ids=["plain", "version", "stage"])
async def test_what_gives_a_value_is_a_read(query: dict[str, str]) -> None:
    mount = await _mount()
    await mount.get("s", **query)
    await _tend(mount)
    assert len(_rows(mount)) == 1


async def test_a_read_of_version_1_counts_and_stays_after_an_upgrade() -> None:
    mount = await _mount(version="1")
    await mount.call("read", "s")
    await _tend(mount)
    record = await _last(mount.other_worker(version="2"))
    assert record is not None
    assert record.by == "userpass-ann"


@pytest.mark.parametrize("first_to_write", [0, 1], ids=["earlier", "later"])
async def test_of_two_workers_the_later_read_wins(first_to_write: int) -> None:
    mount = await _mount()
    other = mount.other_worker()
    other.caller = BOB
    await mount.get("s")
    mount.clock.advance(5)
    await other.get("s")
    both = [mount, other]
    await _tend(both[first_to_write])
    await _tend(both[1 - first_to_write])
    record = await _last(mount)
    assert record is not None
    assert record.by == "userpass-bob"


async def test_two_workers_with_one_reader_write_once() -> None:
    mount = await _mount()
    other = mount.other_worker()
    for worker in (mount, other):
        await worker.get("s")
        mount.clock.advance(5)
        await _tend(worker)
    [row] = _rows(mount).values()
    assert row.revision == 1


@pytest.mark.parametrize("made_again", [False, True], ids=["gone", "made again"])
async def test_a_read_of_what_was_deleted_meanwhile_leaves_no_row(made_again: bool) -> None:
    mount = await _mount()
    await mount.get("s")
    await mount.call("delete", "metadata/s")
    if made_again:
        await mount.put("s", {"a": 2})
    await _tend(mount)
    assert not _rows(mount)


async def test_a_deleted_secret_takes_its_row_along() -> None:
    mount = await _mount()
    await mount.get("s")
    await _tend(mount)
    await mount.call("delete", "metadata/s")
    assert not _rows(mount)


async def test_what_waits_is_written_in_small_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "_BATCH", 3)
    monkeypatch.setattr(reads, "_PAUSE", 0.0)
    names = [f"s{number}" for number in range(7)]
    mount = await _mount(*names)
    for name in names:
        await mount.get(name)
    before = mount.storage._state.commits
    await _tend(mount)
    assert mount.storage._state.commits == before + 3
    assert len(_rows(mount)) == 7
    await _tend(mount)
    assert mount.storage._state.commits == before + 3


async def test_what_could_not_be_written_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = await _mount()
    await mount.get("s")

    async def refuse(_body: object) -> None:
        raise StoreUnavailableError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(mount.view, "transact", refuse)
        with pytest.raises(StoreUnavailableError):
            await _tend(mount)
    await _tend(mount)
    assert len(_rows(mount)) == 1


async def test_a_row_that_was_tampered_with_does_not_keep_the_others_from_being_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mount = await _mount("a", "b", "c")
    for name in "abc":
        await mount.get(name)
    bad, whole = {READS + await _id(mount, "a"), SECRETS + "b"}, mount.view.get

    async def get(path: str) -> Entry | None:
        if path in bad:
            raise IntegrityError("entry does not authenticate")
        return await whole(path)

    monkeypatch.setattr(mount.view, "get", get)
    await _tend(mount)
    assert len(_rows(mount)) == 2


@pytest.mark.parametrize("times", [1, 99], ids=["once", "always"])
async def test_a_worker_that_another_one_outruns_reads_anew(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    mount = await _mount()
    await mount.get("s")
    whole, lost = mount.view.transact, []

    async def transact(body: object) -> object:
        if len(lost) < times:
            lost.append(1)
            raise CasMismatchError("the entry is at revision 1, not at 0")
        return await whole(body)  # type: ignore[arg-type]  # handed on

    with monkeypatch.context() as patched:
        patched.setattr(mount.view, "transact", transact)
        with contextlib.nullcontext() if times == 1 else pytest.raises(StoreUnavailableError):
            await _tend(mount)
    await _tend(mount)
    assert len(_rows(mount)) == 1


async def test_what_waits_has_a_bound_and_the_next_read_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "MAX_WAITING", 2)
    mount = await _mount("a", "b", "c")
    for name in "abc":
        await mount.get(name)
    await _tend(mount)
    assert len(_rows(mount)) == 2
    await mount.get("c")
    await _tend(mount)
    assert len(_rows(mount)) == 3


async def test_readers_that_are_remembered_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "_MAX_REMEMBERED", 2)
    mount = await _mount("a", "b", "c")
    for name in "abc":
        await mount.get(name)
    assert len(_log(mount)._until) == 2


async def test_a_clock_that_is_set_back_does_not_end_the_notes() -> None:
    mount = await _mount()
    mount.clock.advance(10 * 86400)
    await mount.get("s")
    await _tend(mount)
    mount.clock.advance(-10 * 86400)
    await mount.get("s")
    await _tend(mount)
    record = await _last(mount)
    assert record is not None
    assert record.at == int(mount.clock.now()) * 10**9
