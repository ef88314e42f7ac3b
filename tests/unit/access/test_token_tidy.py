"""auth/token/tidy: clears away what should not be there, and nothing else."""

import asyncio
from dataclasses import replace

import pytest

from appliance.access.token_entry import KIND
from appliance.access.token_tidy import Tidied, TokenTidy
from appliance.access.tokens import TokenStore
from core.protocols import Record
from tests.unit.access.token_calls import TokenCalls


async def take_cubbyhole(txn, record_id):
    await txn.delete_prefix(f"core/cubbyhole/{record_id}/")
    return True


async def take_leases(txn, record_id):
    for lease in await txn.child_records("lease", record_id):
        await txn.delete_record("lease", lease.record_id)
    return True


@pytest.fixture
async def tidy(access):
    access.tokens = TokenStore(access.storage, access.clock, attachments=(take_cubbyhole, take_leases))
    await access.tokens.open()
    return TokenTidy(access.storage, access.tokens)


async def edit(access, body):
    await access.storage.transact(body)


async def test_nothing_is_done_where_nothing_is_wrong(access, tidy):
    _, parent = await access.child()
    _, child = await access.child(parent)
    await access.storage.put(f"core/cubbyhole/{child.record_id}/a", b"x")
    before = await access.storage.list_records(KIND)
    assert await tidy.run() == Tidied(tokens=3)
    assert await access.storage.list_records(KIND) == before
    assert await access.storage.get(f"core/cubbyhole/{child.record_id}/a")


async def test_tokens_of_a_lost_parent_go_with_all_below_them(access, tidy):
    _, top = await access.child()
    _, middle = await access.child(top)
    for _ in range(3):
        await access.child(middle)

    async def lose(txn):
        await txn.delete_record(KIND, top.record_id)

    await edit(access, lose)
    assert (await tidy.run()).lost == 1
    assert [record.record_id for record in await access.storage.list_records(KIND)] == [(await access.root()).record_id]
    assert await tidy.run() == Tidied(tokens=1)


async def test_columns_that_differ_from_what_is_sealed_are_written_anew(access, tidy):
    token, entry = await access.child()
    right = await access.storage.get_record(KIND, entry.record_id)

    async def spoil(txn):
        await txn.put_record(KIND, replace(right, alias="0" * 64, path=""))

    await edit(access, spoil)
    assert await access.tokens.find_accessor(entry.accessor) is None
    assert (await tidy.run()).mended == 1
    assert (await access.tokens.find_accessor(entry.accessor)) == entry
    mended = await access.storage.get_record(KIND, entry.record_id)
    assert replace(mended, revision=right.revision) == right
    assert await access.tokens.find(token)


async def test_what_hangs_on_tokens_that_are_not_there_is_taken_away(access, tidy):
    gone = "f" * 64

    async def leave(txn):
        await txn.put(f"core/cubbyhole/{gone}/a", b"x")
        await txn.put(f"core/cubbyhole/{gone}/b/c", b"x")
        await txn.put_record("lease", Record(record_id="l1", body=b"", parent=gone, path="root/x/l1"))
        await txn.put_record("lease", Record(record_id="l2", body=b"", path="root/x/l2"))

    await edit(access, leave)
    assert (await tidy.run()).detached >= 1
    assert await access.storage.list("core/cubbyhole/") == []
    assert [record.record_id for record in await access.storage.list_records("lease")] == ["l2"]


async def test_expired_tokens_are_left_to_the_housekeeper(access, tidy):
    await access.child(ttl=60)
    access.clock.advance(60)
    assert await tidy.run() == Tidied(tokens=2)


async def test_it_answers_202_runs_beside_and_once_at_a_time(access, tidy, monkeypatch):
    go = asyncio.Event()

    async def waiting(_self):
        await go.wait()
        return Tidied()

    monkeypatch.setattr(TokenTidy, "run", waiting)
    call = TokenCalls(access)
    first, second = [await call(access.root_token, "tidy") for _ in range(2)]
    assert (first.status, second.status) == (202, 202)
    assert "successfully started" in first.warnings[0]
    assert second.warnings == ["Tidy operation already in progress."]
    go.set()
    await call.engine.close()
    assert "successfully started" in (await call(access.root_token, "tidy")).warnings[0]
    await call.engine.close()


async def test_a_run_that_fails_ends_quietly(access, tidy, monkeypatch):
    async def failing(_self):
        raise RuntimeError("s3cret")

    monkeypatch.setattr(TokenTidy, "run", failing)
    assert tidy.start()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert tidy.start()
    await tidy.close()
    await tidy.close()
