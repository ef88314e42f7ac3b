"""What the unit tests prove in memory, on both engines; and SIGKILL, which loses no lease."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.leases.jobs import CLAIM as JOB_CLAIM
from appliance.leases.revocation import CLAIM
from appliance.namespaces import ROOT
from core.errors import InvalidRequestError
from tests.unit.leases.world import TEAM, World, build

_ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def child(role: str, node, target: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.leases.child", role, node.url, str(node.ring_path), str(target)]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def heard(process: subprocess.Popen[str], lines: int) -> list[str]:
    assert process.stdout
    found = [process.stdout.readline().strip() for _ in range(lines)]
    process.kill()
    return [line for line in [*found, *(line.strip() for line in process.stdout)] if line]


async def fill(world: World, count: int) -> set[str]:
    token = await world.tokens.add("filler")
    return {(await world.grant(token)).lease_id for _ in range(count)}


async def test_a_lease_s_life(world, accounts):
    token = await world.tokens.add("tok1")
    grant = await world.grant(token)
    renewed, _ = await world.leases.renew(grant.lease_id, within=ROOT, increment=900)
    assert renewed.ttl == 900
    assert await world.leases.names("database/creds/app", within=ROOT) == [grant.lease_id[-24:]]
    assert await world.leases.revoke(grant.lease_id, within=ROOT)
    assert accounts.revoked == [grant.lease_id]
    assert await world.storage.count_records("lease") == 0


async def test_counts_skip_from_mount_to_mount(world):
    world.engines.mount("team/db1/")
    world.engines.mount("team/db2/")
    world.engines.mount("database/", namespace=TEAM.id, accessor="acc_theirs")
    token = await world.tokens.add("tok1")
    for mount, times in (("database/", 3), ("team/db1/", 2), ("team/db2/", 1)):
        for _ in range(times):
            await world.grant(token, mount=mount)
    await world.grant(token, namespace=TEAM.id)
    counts = {"acc_database": 3, "acc_team/db1": 2, "acc_team/db2": 1, "acc_theirs": 1}
    assert await world.counts.by_mount(ROOT, children=True) == counts


async def test_another_worker_refuses_at_once_what_a_job_will_revoke(world, node):
    lease_id = next(iter(await fill(world, 1)))
    other = await node.worker()
    await other.unseal_from_hsm()
    theirs = build(node.clock, other.storage, world.engines)
    assert await theirs.leases.lookup(lease_id, within=ROOT) is not None
    await world.operations.revoke_below("database", within=ROOT, by="ops", wait=False)
    other.storage.sync()  # as at the start of every request
    assert await theirs.leases.lookup(lease_id, within=ROOT) is None
    with pytest.raises(InvalidRequestError, match="lease not found"):
        await theirs.leases.renew(lease_id, within=ROOT)


async def test_two_housekeepers_ask_the_engine_once(world, node, accounts):
    leases = await fill(world, 40)
    other = await node.worker()
    await other.unseal_from_hsm()
    theirs = build(node.clock, other.storage, world.engines)
    node.clock.advance(4000)
    await asyncio.gather(world.leases.expire_due(), theirs.leases.expire_due())
    assert sorted(accounts.revoked) == sorted(leases)
    assert await world.storage.count_records("lease") == 0


async def test_two_processes_that_start_jobs_at_once(world, node):
    await fill(world, 5)
    other = await node.worker()
    await other.unseal_from_hsm()
    theirs = build(node.clock, other.storage, world.engines)
    await asyncio.gather(
        *(
            process.operations.revoke_below(f"database/{n}", within=ROOT, by="ops", wait=False)
            for process in (world, theirs)
            for n in range(3)
        )
    )
    assert len((await world.leases._markers.current()).active) == 6


async def test_a_killed_job_is_resumed(world, node, accounts, tmp_path):
    leases = await fill(world, 1000)
    target = tmp_path / "target"
    await world.operations.revoke_below("database", within=ROOT, by="ops", wait=False)
    with child("work", node, target) as process:
        heard(process, 2)
    world.storage.sync()
    left = await world.storage.count_records("lease")
    assert 0 < left < 1000
    assert not await world.leases.worker.work()
    node.clock.advance(JOB_CLAIM + 1)
    while await world.leases.worker.work():
        pass
    assert await world.storage.count_records("lease") == 0
    assert set(target.read_text().split()) | set(accounts.revoked) == leases
    assert len(accounts.revoked) <= left
    (job,) = await world.operations.jobs(within=ROOT)
    assert (job.done, job.finished > 0) == (1000, True)


async def test_a_killed_housekeeper_loses_no_lease(world, node, accounts, tmp_path):
    leases = await fill(world, 300)
    target = tmp_path / "target"
    with child("expire", node, target) as process:
        heard(process, 2)
    node.clock.advance(4000 + CLAIM + 1)
    while await world.leases.expire_due():
        pass
    assert await world.storage.count_records("lease") == 0
    assert set(target.read_text().split()) | set(accounts.revoked) == leases


async def test_a_lease_that_was_told_is_there(world, node, tmp_path):
    with child("grant", node, tmp_path / "target") as process:
        told = heard(process, 20)
    assert len(told) >= 20
    for lease_id in told:
        assert await world.entry(lease_id) is not None
