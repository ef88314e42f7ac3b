"""Revoking many leases: refused by one write, worked off in batches by whoever is alive."""

import asyncio

import pytest

from appliance.leases import worker
from appliance.leases.jobs import CLAIM, JobKind
from appliance.leases.markers import TABLE
from appliance.namespaces import ROOT
from core.errors import InvalidRequestError, StoreUnavailableError
from tests.unit.leases.world import INNER, OTHER, TEAM


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(worker, "BATCH", 8)


async def revoke_below(world, prefix="database/creds", *, within=ROOT, wait=False, force=False):
    return await world.operations.revoke_below(prefix, within=within, by="token-ops", wait=wait, force=force)


async def work_off(world):
    while await world.leases.worker.work():
        pass


async def test_a_prefix_is_refused_before_any_lease_is_touched(world, token, accounts):
    grants = [await world.grant(token) for _ in range(20)]
    rows = [await world.entry(grant.lease_id) for grant in grants]
    await revoke_below(world)
    assert [await world.entry(grant.lease_id) for grant in grants] == rows
    for process in (world, world.another()):
        for grant in grants:
            assert await process.leases.lookup(grant.lease_id, within=ROOT) is None
            with pytest.raises(InvalidRequestError, match="lease not found"):
                await process.leases.renew(grant.lease_id, within=ROOT)
    assert accounts.renewed == []


async def test_a_renewal_under_way_finds_the_job(world, token, accounts):
    grant = await world.grant(token)
    renew = accounts.renew_lease

    async def job_meanwhile(lease, *, increment):
        await revoke_below(world)
        return await renew(lease, increment=increment)

    accounts.renew_lease = job_meanwhile
    with pytest.raises(InvalidRequestError, match="lease not found"):
        await world.leases.renew(grant.lease_id, within=ROOT)


async def test_a_job_is_worked_off_in_batches(world, token, accounts):
    for _ in range(20):
        await world.grant(token)
    started = await revoke_below(world)
    assert (started.total, started.done, started.by, started.prefix) == (20, 0, "token-ops", "database/creds/")
    seen = []
    while await world.leases.worker.work():
        (job,) = await world.operations.jobs(within=ROOT)
        seen.append(job.done)
    assert seen == [8, 16, 20]
    assert len(set(accounts.revoked)) == 20
    assert await world.storage.count_records("lease") == 0
    (job,) = await world.operations.jobs(within=ROOT)
    assert job.finished
    assert job.failed == 0


async def test_what_is_granted_while_a_job_runs_lives(world, token, accounts):
    for _ in range(20):
        await world.grant(token)
    await revoke_below(world)
    await world.leases.worker.work()
    fresh = await world.grant(token)
    assert await world.leases.lookup(fresh.lease_id, within=ROOT) is not None
    await work_off(world)
    assert fresh.lease_id not in accounts.revoked
    assert await world.leases.lookup(fresh.lease_id, within=ROOT) is not None
    await revoke_below(world)
    assert await world.leases.lookup(fresh.lease_id, within=ROOT) is None


async def test_a_prefix_ends_at_a_slash(world, token, accounts):
    await world.grant(token, "creds/app")
    await world.grant(token, "creds/apple")
    await revoke_below(world, "database/creds/app", wait=True)
    assert [lease.split("/")[2] for lease in accounts.revoked] == ["app"]
    await revoke_below(world, "database/cred", wait=True)
    assert len(accounts.revoked) == 1


async def test_the_id_of_a_lease_is_no_prefix(world, token, accounts):
    grant, other = await world.grant(token), await world.grant(token)
    assert await revoke_below(world, grant.lease_id, wait=True) is None
    assert accounts.revoked == [grant.lease_id]
    assert await world.leases.lookup(other.lease_id, within=ROOT) is not None


@pytest.mark.parametrize("within", [ROOT, INNER, OTHER])
async def test_a_prefix_stays_in_its_namespace(world, token, within):
    theirs = world.engines.mount("database/", namespace=TEAM.id)
    grant = await world.grant(await world.tokens.add("t2", namespace=TEAM.id), namespace=TEAM.id)
    for prefix in ("database", "database/creds/app", "team-a/database", "teamA1/database", "../teamA1/database"):
        await revoke_below(world, prefix, within=within, wait=True)
    assert theirs.revoked == []
    assert await world.leases.lookup(grant.lease_id, within=TEAM) is not None
    await revoke_below(world, "database", within=TEAM, wait=True)
    assert theirs.revoked == [grant.lease_id]


@pytest.mark.parametrize(("within", "seen"), [(ROOT, 1), (TEAM, 1), (INNER, 0), (OTHER, 0)])
async def test_jobs_are_shown_to_their_namespace_and_those_above(world, within, seen):
    world.engines.mount("database/", namespace=TEAM.id)
    await revoke_below(world, within=TEAM)
    assert len(await world.operations.jobs(within=within)) == seen


async def test_waiting_ends_when_all_is_revoked(world, token, accounts):
    for _ in range(20):
        await world.grant(token)
    job = await revoke_below(world, wait=True)
    assert job.finished
    assert len(accounts.revoked) == 20


async def test_failures_are_counted_told_and_tried_again(world, token, accounts):
    grants = [await world.grant(token) for _ in range(20)]
    accounts.trouble = InvalidRequestError("no such role")
    with pytest.raises(InvalidRequestError, match="failed to revoke 20 of 20 leases"):
        await revoke_below(world, wait=True)
    assert await world.leases.lookup(grants[0].lease_id, within=ROOT) is None  # the job is over, its mark stays
    accounts.trouble = None
    world.clock.advance(100)
    assert await world.leases.expire_due() == 20
    assert await world.storage.count_records("lease") == 0


async def test_force_forgets_what_engines_could_not_take_back(world, token, accounts):
    for _ in range(20):
        await world.grant(token)
    accounts.trouble = InvalidRequestError("no such role")
    world.clock.advance(100_000)
    for _ in range(6):
        await world.leases.expire_due()
        world.clock.advance(1000)
    assert len(await world.counts.irrevocable(ROOT, children=False)) == 20
    job = await revoke_below(world, wait=True, force=True)
    assert (job.done, job.failed, job.finished > 0) == (0, 20, True)
    assert await world.storage.count_records("lease") == 0
    assert await world.counts.irrevocable(ROOT, children=False) == []
    assert await world.storage.list("core/lease-irrevocable/") == []


async def test_force_on_one_lease(world, token, accounts):
    grant = await world.grant(token)
    accounts.trouble = InvalidRequestError("no such role")
    await revoke_below(world, grant.lease_id, wait=True, force=True)
    assert await world.entry(grant.lease_id) is None


async def test_a_killed_worker_s_job_goes_on_behind_its_cursor(world, token, accounts):
    for _ in range(20):
        await world.grant(token)
    await revoke_below(world)
    await world.leases.worker.work()
    accounts.gate = asyncio.Event()
    accounts.entered.clear()
    killed = asyncio.create_task(world.leases.worker.work())
    await accounts.entered.wait()
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    accounts.gate = None
    heir = world.another()
    assert not await heir.leases.worker.work()  # the claim stands for a while
    world.clock.advance(CLAIM + 1)
    await work_off(heir)
    (job,) = await heir.operations.jobs(within=ROOT)
    assert (job.done, job.finished > 0) == (20, True)
    assert sorted(set(accounts.revoked)) == sorted(accounts.revoked)
    assert len(accounts.revoked) == 20


async def test_a_clock_set_back_does_not_keep_a_dead_process_s_claim(world, token):
    await world.grant(token)
    await revoke_below(world)
    job_id = (await world.operations.jobs(within=ROOT))[0].job_id
    assert await world.leases.jobs.claim(job_id) is not None
    world.clock.advance(-3600)
    assert await world.another().leases.jobs.claim(job_id) is not None


async def test_two_processes_do_not_work_on_one_job(world, token, accounts):
    for _ in range(40):
        await world.grant(token)
    await revoke_below(world)
    await asyncio.gather(work_off(world), work_off(world.another()))
    await work_off(world)
    assert len(accounts.revoked) == len(set(accounts.revoked)) == 40


async def test_a_long_batch_keeps_its_claim(world, token, accounts, monkeypatch):
    monkeypatch.setattr(worker, "_BEAT", 0.001)
    await world.grant(token)
    await revoke_below(world)
    (before,) = await world.operations.jobs(within=ROOT)
    accounts.gate = asyncio.Event()
    working = asyncio.create_task(world.leases.worker.work())
    await accounts.entered.wait()
    world.clock.advance(CLAIM - 1)
    async with asyncio.timeout(5):
        while (await world.leases.jobs.find(before.job_id)).claimed_until < world.clock.now() + CLAIM:  # noqa: ASYNC110 - the beat sets no event
            await asyncio.sleep(0.001)
    world.clock.advance(CLAIM - 1)
    assert await world.another().leases.jobs.claim(before.job_id) is None
    accounts.gate.set()
    await working


async def test_who_waits_for_a_job_of_another_process_gets_its_end(world, token, monkeypatch):
    monkeypatch.setattr(worker, "_LOOK", 0.0)
    for _ in range(20):
        await world.grant(token)
    job = await revoke_below(world)
    other = world.another()
    assert await other.leases.jobs.claim(job.job_id) is not None
    waiting = asyncio.create_task(world.leases.worker.finish(job.job_id))
    await work_off(other)
    async with asyncio.timeout(5):
        assert (await waiting).done == 20


async def test_a_job_survives_trouble_with_the_store(world, token, monkeypatch):
    await world.grant(token)
    await revoke_below(world)
    transact, failures = world.storage.transact, [True]

    async def failing(body):
        if failures:
            failures.pop()
            raise StoreUnavailableError("away")
        return await transact(body)

    monkeypatch.setattr(world.storage, "transact", failing)
    with pytest.raises(StoreUnavailableError):
        await world.leases.worker.work()
    await work_off(world)
    assert await world.storage.count_records("lease") == 0


async def test_finished_jobs_are_forgotten_after_a_day(world):
    await revoke_below(world, wait=True)
    world.clock.advance(86_401)
    await revoke_below(world, wait=True)
    assert len(await world.operations.jobs(within=ROOT)) == 1
    assert (await world.leases._markers.current()).active == ()


async def test_the_table_of_jobs_is_never_deleted(world, token):
    """A lease's generation is its revision: were it to begin anew, a later job would spare old leases."""
    await revoke_below(world, wait=True)
    await revoke_below(world, wait=True)
    assert (await world.storage.get(TABLE)).revision == 4
    grant = await world.grant(token)
    assert (await world.entry(grant.lease_id)).generation == 4


async def test_a_whole_namespace_can_be_revoked(world):
    theirs = world.engines.mount("database/", namespace=TEAM.id)
    token = await world.tokens.add("t2", namespace=TEAM.id)
    await world.grant(token, namespace=TEAM.id)
    await revoke_below(world, "", within=TEAM, wait=True)
    assert len(theirs.revoked) == 1


# --- tokens and tidy ------------------------------------------------------------------------------------------------


async def test_below_auth_tokens_are_revoked(world, accounts):
    logged_in = [await world.tokens.add(f"l{n}", path="auth/approle/login") for n in range(20)]
    other = await world.tokens.add("other", path="auth/approle-two/login")
    grant = await world.grant(logged_in[0])
    spared = await world.grant(other)
    await revoke_below(world, "auth/approle", wait=True)
    assert await world.storage.count_records("token", "root/auth/approle/") == 0
    assert await world.storage.get_record("token", "other") is not None
    assert await world.leases.lookup(grant.lease_id, within=ROOT) is None
    assert await world.leases.lookup(spared.lease_id, within=ROOT) is not None


async def test_a_token_s_own_lease_id(world):
    await world.tokens.add("l1", path="auth/approle/login")
    await world.tokens.add("l2", path="auth/approle/login")
    found = await world.operations.lookup("auth/approle/login/l1", within=ROOT)
    assert found.record_id == "l1"
    with pytest.raises(InvalidRequestError, match="tokens cannot be renewed through this endpoint"):
        await world.operations.renew("auth/approle/login/l1", within=ROOT, increment=0)
    await world.operations.revoke("auth/approle/login/l1", within=ROOT, wait=True)
    assert await world.operations.lookup("auth/approle/login/l1", within=ROOT) is None
    assert await revoke_below(world, "auth/approle/login/l2", wait=True) is None
    assert await world.storage.count_records("token") == 0


@pytest.mark.parametrize("lease_id", ["auth/l1", "auth/userpass/login/l1", "auth/approle/login/", "auth/approle/login"])
async def test_a_token_at_another_place_is_not_found(world, lease_id):
    await world.tokens.add("l1", path="auth/approle/login")
    assert await world.operations.lookup(lease_id, within=ROOT) is None
    with pytest.raises(InvalidRequestError, match="lease not found"):
        await world.operations.renew(lease_id, within=ROOT, increment=0)
    await world.operations.revoke(lease_id, within=ROOT, wait=True)
    assert await world.storage.count_records("token") == 1


@pytest.mark.parametrize("within", [ROOT, INNER, OTHER])
async def test_tokens_of_another_namespace_are_not_reached(world, within):
    await world.tokens.add("l1", path="auth/approle/login", namespace=TEAM.id)
    await world.tokens.put(await world.tokens.add("l1", path="auth/approle/login"), TEAM.id)
    await world.operations.revoke("auth/approle/login/l1", within=within, wait=True)
    await revoke_below(world, "auth/approle", within=within, wait=True)
    assert await world.operations.names("auth/approle/login", within=within) == []
    assert await world.storage.count_records("token") == 1


async def test_tidy_revokes_leases_whose_token_is_gone(world, token, accounts):
    kept = await world.grant(token)
    orphans = [await world.grant(await world.tokens.add(f"gone{n}")) for n in range(10)]

    async def lose(txn):
        for n in range(10):
            await txn.delete_record("token", f"gone{n}")

    await world.storage.transact(lose)
    job = await world.operations.tidy(within=ROOT, by="token-ops")
    assert job.kind is JobKind.TIDY
    with pytest.raises(InvalidRequestError, match="already in progress"):
        await world.operations.tidy(within=ROOT, by="token-ops")
    assert await world.leases.lookup(kept.lease_id, within=ROOT) is not None
    await work_off(world)
    await world.leases.expire_due()
    assert sorted(accounts.revoked) == sorted(grant.lease_id for grant in orphans)
    assert await world.leases.lookup(kept.lease_id, within=ROOT) is not None
    (done,) = await world.operations.jobs(within=ROOT)
    assert done.done == 10


# --- counts ---------------------------------------------------------------------------------------------------------


async def test_counts_by_mount(world, token):
    world.engines.mount("team/db1/")
    world.engines.mount("team/db2/")
    world.engines.mount("database/", namespace=TEAM.id, accessor="acc_theirs")
    for mount, times in (("database/", 3), ("team/db1/", 2), ("team/db2/", 1)):
        for _ in range(times):
            await world.grant(token, mount=mount)
    await world.grant(token, namespace=TEAM.id)
    counts = {"acc_database": 3, "acc_team/db1": 2, "acc_team/db2": 1}
    assert await world.counts.by_mount(ROOT, children=False) == counts
    assert await world.counts.by_mount(ROOT, children=True) == counts | {"acc_theirs": 1}
    assert await world.counts.by_mount(TEAM, children=False) == {"acc_theirs": 1}
    assert await world.counts.by_mount(OTHER, children=True) == {}


async def revoke_selected(world, *, within=ROOT, wait=True, **selection):
    return await world.operations.revoke_selected(within=within, by="token-ops", wait=wait, **selection)


async def test_leases_of_a_target_are_refused_at_once_and_others_are_not(world, token):
    grants = {name: await world.grant(token, target=name) for name in ("orders-db", "users-db")}
    await revoke_selected(world, mount="database/", target="orders-db", wait=False)
    for process in (world, world.another()):
        assert await process.leases.lookup(grants["orders-db"].lease_id, within=ROOT) is None
        assert await process.leases.lookup(grants["users-db"].lease_id, within=ROOT) is not None


async def test_leases_of_an_entity_are_revoked_wherever_they_are(world, accounts):
    ann = await world.tokens.add("ann", entity_id="e-ann")
    bob = await world.tokens.add("bob", entity_id="e-bob")
    world.engines.mount("other/")
    mine = [await world.grant(ann), await world.grant(ann, mount="other/")]
    his = await world.grant(bob)
    job = await revoke_selected(world, entity="e-ann")
    assert (job.done, job.failed, job.scanned) == (2, 0, 3)
    assert [await world.entry(grant.lease_id) for grant in mine] == [None, None]
    assert await world.leases.lookup(his.lease_id, within=ROOT) is not None


async def test_few_among_many_are_found_and_the_job_goes_on_behind_its_cursor(world, token, accounts, monkeypatch):
    monkeypatch.setattr(worker, "_LOOKED", 16)
    for number in range(100):
        await world.grant(token, path=f"creds/r{number:03}", target="rare" if number % 30 == 0 else "common")
    job = await revoke_selected(world, mount="database/", target="rare", wait=False)
    await world.leases.worker.work()
    halfway = await world.leases.jobs.find(job.job_id)
    assert 0 < halfway.scanned < 100
    world.clock.advance(CLAIM + 1)
    await work_off(world.another())
    done = await world.leases.jobs.find(job.job_id)
    assert (done.done, done.scanned, bool(done.finished)) == (4, 100, True)
    assert len(accounts.revoked) == 4


async def test_what_is_granted_after_the_job_began_is_left_alone(world, token):
    await world.grant(token, target="orders-db")
    await revoke_selected(world, mount="database/", target="orders-db", wait=False)
    later = await world.grant(token, target="orders-db")
    await work_off(world)
    assert await world.leases.lookup(later.lease_id, within=ROOT) is not None


async def test_an_entity_of_another_namespace_keeps_its_leases(world):
    world.engines.mount("database/", namespace=TEAM.id)
    ann = await world.tokens.add("ann", entity_id="e-ann", namespace=TEAM.id)
    grant = await world.grant(ann, namespace=TEAM.id)
    await revoke_selected(world, within=OTHER, entity="e-ann")
    assert await world.leases.lookup(grant.lease_id, within=TEAM) is not None
    await revoke_selected(world, within=TEAM, entity="e-ann")
    assert await world.leases.lookup(grant.lease_id, within=TEAM) is None
