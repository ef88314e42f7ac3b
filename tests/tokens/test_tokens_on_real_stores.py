"""What the unit tests prove in memory, on both engines: races between workers, and SIGKILL in a large tree."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from appliance.access.token_entry import TokenEntry, as_record
from appliance.access.token_tidy import Tidied, TokenTidy
from appliance.access.tokens import TokenSpec
from core.errors import InvalidRequestError, PermissionDeniedError

_ROOT = Path(__file__).resolve().parents[2]
SPEC = TokenSpec(policies=("default",), path="auth/token/create")


@contextmanager
def child(node, record_id: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.tokens.child", node.url, str(node.ring_path), record_id]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def grow(desk, parent: TokenEntry, count: int) -> list[str]:
    """Record ids of so many children, written many at a time."""
    made = [
        msgspec.structs.replace(
            parent, record_id=f"{number:064x}", accessor=f"a{number}", parent=parent.record_id, depth=1
        )
        for number in range(count)
    ]
    for start in range(0, count, 2000):

        async def write(txn, start=start):
            for entry in made[start : start + 2000]:
                await txn.put_record("token", as_record(entry, desk.tokens.hashes), cas=0)

        await desk.storage.transact(write)
    return [entry.record_id for entry in made]


async def test_exactly_num_uses_are_granted_by_two_workers(desk, second):
    token, _ = await desk.tokens.create(msgspec.structs.replace(SPEC, num_uses=5), parent=None)
    second.storage.sync()
    outcomes = await asyncio.gather(
        *(worker.tokens.authenticate(token) for worker in [desk, second] * 10), return_exceptions=True
    )
    assert sum(isinstance(outcome, TokenEntry) for outcome in outcomes) == 5
    assert {type(outcome) for outcome in outcomes} == {TokenEntry, PermissionDeniedError}


async def test_two_workers_use_a_token_up_once(desk, second):
    token, _ = await desk.tokens.create(SPEC, parent=None)

    async def body(txn, entry):
        await txn.put("core/used", entry.record_id.encode())
        return True

    outcomes = await asyncio.gather(
        *(worker.tokens.consume(token, body) for worker in [desk, second] * 5), return_exceptions=True
    )
    assert outcomes.count(True) == 1
    assert {type(outcome) for outcome in outcomes} == {bool, InvalidRequestError}


async def test_a_batch_token_ends_with_its_parent_at_the_other_worker(desk, second):
    _, parent = await desk.tokens.create(SPEC, parent=None)
    token, _ = await desk.tokens.create(msgspec.structs.replace(SPEC, type="batch"), parent=parent)
    second.storage.sync()
    await second.tokens.find(token)
    assert second.tokens.peek(token)
    await desk.tokens.revoke(parent.record_id)
    second.storage.sync()
    assert second.tokens.peek(token) is None
    with pytest.raises(PermissionDeniedError):
        await second.tokens.authenticate(token)


async def test_batch_tokens_end_at_every_worker_when_their_key_is_taken_away(desk, second):
    token, _ = await desk.tokens.create(msgspec.structs.replace(SPEC, type="batch"), parent=None)
    await second.tokens.find(token)
    assert second.tokens.peek(token)
    await desk.tokens.rotate_batch_key(end_all=True)
    second.storage.sync()
    assert second.tokens.peek(token) is None
    assert await second.tokens.find(token) is None


async def test_a_killed_revocation_is_refused_at_once_and_resumed(desk, node):
    _, top = await desk.tokens.create(SPEC, parent=None)
    token, inner = await desk.tokens.create(SPEC, parent=top)
    await grow(desk, inner, 1000)
    with child(node, top.record_id) as process:
        assert process.stdout
        for _ in range(3):
            assert process.stdout.readline().startswith("step")
        process.kill()
    desk.storage.sync()
    with pytest.raises(PermissionDeniedError):
        await desk.tokens.authenticate(token)
    assert 200 < await desk.count() < 1003
    while await desk.tokens.revoke_expired():
        pass
    assert await desk.count() == 1


@pytest.mark.heavy
@pytest.mark.timeout(600)
async def test_a_hundred_thousand_children_are_revoked_in_bounded_memory(desk, node):
    _, top = await desk.tokens.create(SPEC, parent=None)
    await grow(desk, top, 100_000)
    with child(node, top.record_id) as process:
        assert process.stdout
        lines = [line.split() for line in process.stdout]
    assert lines[-1] == ["done"]
    assert await desk.count() == 1
    assert int(lines[-2][1]) < 20_000  # KiB more than before


async def test_tidy_finds_nothing_in_a_sound_store(desk):
    _, top = await desk.tokens.create(SPEC, parent=None)
    await grow(desk, top, 10)
    assert await TokenTidy(desk.storage, desk.tokens).run() == Tidied(tokens=12)
