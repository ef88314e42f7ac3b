"""Leases are granted, looked up and renewed; what is dead stays dead."""

import asyncio

import msgspec
import pytest

from appliance.leases import revocation
from appliance.leases.entries import LeaseState
from appliance.namespaces import ROOT
from core.errors import InvalidRequestError, PermissionDeniedError, StoreUnavailableError, UnsupportedPathError
from core.requests import LeaseGrant
from tests.unit.leases.world import INNER, OTHER, TEAM


async def test_a_lease_is_stored_when_its_id_is_told(world, token):
    grant = await world.grant(token)
    assert grant.lease_id.startswith("database/creds/app/")
    assert (grant.ttl, grant.max_ttl, grant.renewable, grant.internal) == (3600, 86400, True, {})
    record = await world.storage.get_record("lease", grant.lease_id[-24:])
    assert record.parent == "tok1"
    assert record.path == f"root/{grant.lease_id}"
    assert record.expires_at == int(world.clock.now()) + 3600


async def test_a_lease_in_a_namespace_names_it(world):
    world.engines.mount("database/", namespace=TEAM.id)
    token = await world.tokens.add("t2", namespace=TEAM.id)
    grant = await world.grant(token, namespace=TEAM.id)
    assert grant.lease_id.endswith(f".{TEAM.id}")
    assert (await world.entry(grant.lease_id)).namespace == TEAM.id


async def test_a_batch_token_s_lease_hangs_on_its_parent_and_ends_with_it(world):
    await world.tokens.add("parent")
    end = int(world.clock.now()) + 60
    token = await world.tokens.add("", type="batch", parent="parent", expires_at=end)
    grant = await world.grant(token)
    assert grant.ttl == 60
    assert (await world.entry(grant.lease_id)).token == "parent"
    world.clock.advance(30)
    renewed, _ = await world.leases.renew(grant.lease_id, within=ROOT, increment=3600)
    assert renewed.ttl == 30


async def test_an_orphan_batch_token_needs_no_record(world):
    token = await world.tokens.add("", type="batch", expires_at=int(world.clock.now()) + 60)
    assert (await world.grant(token)).ttl == 60


async def test_no_lease_for_a_token_that_was_revoked_while_the_engine_worked(world, token, accounts):
    await world.tokens.revoke("tok1")
    mount = world.engines.mounted["root", "database/"][0]
    with pytest.raises(PermissionDeniedError):
        await world.leases.register_or_undo(
            LeaseGrant(ttl=60, internal={"n": 7}),
            namespace="root",
            mount=mount,
            path="creds/a",
            token=token,
            engine=accounts,
        )
    assert accounts.revoked == [""]  # taken back before it had an id
    assert await world.storage.count_records("lease") == 0


@pytest.mark.parametrize(
    "change",
    [None, {"tainted": True}, {"path": "archive/"}, {"namespace": TEAM.id}],
    ids=["gone", "tainted", "moved", "away"],
)
async def test_no_lease_below_a_mount_that_goes_while_the_engine_works(world, token, accounts, change):
    """Nobody would revoke it: what revokes the leases of the mount has done so, or has looked already."""
    mount = world.engines.mounted["root", "database/"][0]
    if change is not None:
        await world.storage.put(mount.row, msgspec.json.encode(msgspec.structs.replace(mount, **change)))
    with pytest.raises(UnsupportedPathError):
        await world.leases.register_or_undo(
            LeaseGrant(ttl=60), namespace="root", mount=mount, path="creds/a", token=token, engine=accounts
        )
    assert accounts.revoked == [""]
    assert await world.storage.count_records("lease") == 0


async def test_a_marked_token_gets_no_lease(world, token):
    await world.tokens.put(msgspec.structs.replace(token, revoked=True))
    with pytest.raises(PermissionDeniedError):
        await world.grant(token)


async def test_the_last_use_of_a_token_gets_no_lease(world):
    """Vault's answer, word for word: its token is revoked, so the secret would be, too."""
    token = await world.tokens.add("once", num_uses=1, revoked=True)
    with pytest.raises(InvalidRequestError, match="token had one use left"):
        await world.grant(token)


async def test_what_cannot_be_taken_back_does_not_hide_why_it_should_be(world, token, accounts):
    await world.tokens.revoke("tok1")
    accounts.trouble = ValueError("the password is hunter2")
    mount = world.engines.mounted["root", "database/"][0]
    with pytest.raises(PermissionDeniedError):
        await world.leases.register_or_undo(
            LeaseGrant(ttl=60), namespace="root", mount=mount, path="creds/a", token=token, engine=accounts
        )


# --- lookup ---------------------------------------------------------------------------------------------------------


async def test_lookup_shows_a_live_lease(world, token):
    grant = await world.grant(token)
    assert (await world.leases.lookup(grant.lease_id, within=ROOT)).lease_id == grant.lease_id


@pytest.mark.parametrize(
    "wrong",
    [
        lambda lease_id: lease_id.replace("app", "ops"),
        lambda lease_id: lease_id + ".teamA1",
        lambda lease_id: lease_id[-24:],
        lambda lease_id: "/" + lease_id,
        lambda lease_id: lease_id + "/",
        lambda _: "",
        lambda _: "no/such/lease",
    ],
)
async def test_only_the_exact_id_finds_a_lease(world, token, accounts, wrong):
    grant = await world.grant(token)
    lease_id = wrong(grant.lease_id)
    assert await world.leases.lookup(lease_id, within=ROOT) is None
    assert not await world.leases.revoke(lease_id, within=ROOT)
    with pytest.raises(InvalidRequestError, match="lease not found"):
        await world.leases.renew(lease_id, within=ROOT)
    assert accounts.revoked == []


@pytest.mark.parametrize(("within", "reaches"), [(ROOT, True), (TEAM, True), (INNER, False), (OTHER, False)])
async def test_a_namespace_reaches_its_own_and_those_below(world, within, reaches):
    accounts = world.engines.mount("database/", namespace=TEAM.id)
    token = await world.tokens.add("t2", namespace=TEAM.id)
    grant = await world.grant(token, namespace=TEAM.id)
    assert (await world.leases.lookup(grant.lease_id, within=within) is not None) is reaches
    assert await world.leases.revoke(grant.lease_id, within=within) is reaches
    assert bool(accounts.revoked) is reaches


async def test_names_below_a_prefix_are_those_of_the_namespace(world, token):
    world.engines.mount("database/", namespace=TEAM.id)
    theirs = await world.tokens.add("t2", namespace=TEAM.id)
    await world.grant(theirs, "creds/secret", namespace=TEAM.id)
    mine = await world.grant(token)
    assert await world.leases.names("", within=ROOT) == ["auth/", "database/"]
    assert await world.leases.names("database", within=ROOT) == ["creds/"]
    assert await world.leases.names("database/creds", within=ROOT) == ["app/"]
    assert await world.leases.names("database/creds/app/", within=ROOT) == [mine.lease_id[-24:]]
    assert await world.leases.names("database/cred", within=ROOT) == []
    assert await world.leases.names("database", within=OTHER) == []


# --- renewal --------------------------------------------------------------------------------------------------------


async def test_renewal_extends_from_now(world, token, accounts):
    grant = await world.grant(token, ttl=600)
    world.clock.advance(100)
    renewed, warnings = await world.leases.renew(grant.lease_id, within=ROOT, increment=900)
    assert (renewed.lease_id, renewed.ttl, renewed.renewable, warnings) == (grant.lease_id, 900, True, ())
    entry = await world.entry(grant.lease_id)
    assert entry.expires_at == entry.last_renewal + 900 == int(world.clock.now()) + 900
    assert accounts.renewed == [(grant.lease_id, 900)]


async def test_the_engine_is_asked_for_no_more_than_can_be_given(world, token, accounts):
    grant = await world.grant(token, ttl=600, max_ttl=1000)
    world.clock.advance(300)
    renewed, warnings = await world.leases.renew(grant.lease_id, within=ROOT, increment=5000)
    assert accounts.renewed == [(grant.lease_id, 700)]
    assert renewed.ttl == 700
    assert warnings


async def test_a_lease_that_is_not_renewable(world, token, accounts):
    grant = await world.grant(token, renewable=False)
    with pytest.raises(InvalidRequestError, match="lease is not renewable"):
        await world.leases.renew(grant.lease_id, within=ROOT)
    assert accounts.renewed == []


async def test_what_the_engine_refuses_is_not_renewed(world, token, accounts):
    grant = await world.grant(token)
    before = await world.entry(grant.lease_id)
    accounts.trouble = InvalidRequestError("the role is gone")
    with pytest.raises(InvalidRequestError, match="the role is gone"):
        await world.leases.renew(grant.lease_id, within=ROOT)
    assert await world.entry(grant.lease_id) == before


async def test_another_engine_at_the_same_path_is_not_asked(world, token):
    grant = await world.grant(token)
    successor = world.engines.mount("database/", uuid="another")
    with pytest.raises(InvalidRequestError, match="not mounted any more"):
        await world.leases.renew(grant.lease_id, within=ROOT)
    assert successor.renewed == []


async def test_a_lease_that_dies_while_the_engine_renews_it_stays_dead(world, token, accounts):
    grant = await world.grant(token)

    async def revoked_meanwhile(lease, *, increment):
        await world.leases.revoke(grant.lease_id, within=ROOT, wait=False)
        return LeaseGrant(ttl=600, renewable=True)

    accounts.renew_lease = revoked_meanwhile
    with pytest.raises(InvalidRequestError, match="lease not found"):
        await world.leases.renew(grant.lease_id, within=ROOT)
    assert (await world.entry(grant.lease_id)).state is LeaseState.REVOKING


async def test_a_revoked_token_s_lease_is_not_renewed(world, token):
    """Its deletion takes several steps when it has many leases: those that are not marked yet are refused, too."""
    grant = await world.grant(token)
    await world.tokens.put(msgspec.structs.replace(token, revoked=True))
    with pytest.raises(InvalidRequestError, match="lease not found"):
        await world.leases.renew(grant.lease_id, within=ROOT)


# --- expiry and the clock -------------------------------------------------------------------------------------------


async def test_an_expired_lease_is_dead_before_anybody_revokes_it(world, token):
    grant = await world.grant(token, ttl=600)
    world.clock.advance(600)
    assert await world.leases.lookup(grant.lease_id, within=ROOT) is None
    with pytest.raises(InvalidRequestError, match="lease not found"):
        await world.leases.renew(grant.lease_id, within=ROOT)


@pytest.mark.parametrize("witness", ["lookup", "renew", "expire_due"])
async def test_a_clock_that_is_set_back_revives_nothing(world, token, accounts, witness):
    grant = await world.grant(token, ttl=600)
    accounts.trouble = StoreUnavailableError("away")
    world.clock.advance(600)
    if witness == "lookup":
        await world.leases.lookup(grant.lease_id, within=ROOT)
    elif witness == "renew":
        with pytest.raises(InvalidRequestError):
            await world.leases.renew(grant.lease_id, within=ROOT)
    else:
        await world.leases.expire_due()
    world.clock.advance(-500)
    assert await world.leases.lookup(grant.lease_id, within=ROOT) is None
    with pytest.raises(InvalidRequestError, match="lease not found"):
        await world.leases.renew(grant.lease_id, within=ROOT)


# --- revocation -----------------------------------------------------------------------------------------------------


async def test_a_revoked_lease_is_gone(world, token, accounts):
    grant = await world.grant(token)
    assert await world.leases.revoke(grant.lease_id, within=ROOT)
    assert accounts.revoked == [grant.lease_id]
    assert await world.entry(grant.lease_id) is None
    assert not await world.leases.revoke(grant.lease_id, within=ROOT)


async def test_without_waiting_it_is_dead_at_once_and_revoked_soon(world, token, accounts):
    grant = await world.grant(token)
    assert await world.leases.revoke(grant.lease_id, within=ROOT, wait=False)
    assert accounts.revoked == []
    assert await world.leases.lookup(grant.lease_id, within=ROOT) is None
    assert await world.leases.expire_due() == 1
    assert accounts.revoked == [grant.lease_id]


async def test_a_failed_revocation_tells_why_and_is_tried_again(world, token, accounts):
    grant = await world.grant(token)
    accounts.trouble = InvalidRequestError("the account is locked")
    with pytest.raises(InvalidRequestError, match="the account is locked; this is tried again"):
        await world.leases.revoke(grant.lease_id, within=ROOT)
    assert await world.leases.lookup(grant.lease_id, within=ROOT) is None
    accounts.trouble = None
    assert await world.leases.expire_due() == 0  # not yet
    world.clock.advance(15)
    assert await world.leases.expire_due() == 1
    assert await world.entry(grant.lease_id) is None


async def test_leases_go_with_their_token(world, token, accounts):
    doomed = [await world.grant(token) for _ in range(3)]
    other = await world.grant(await world.tokens.add("tok2"))
    await world.tokens.revoke("tok1")
    for grant in doomed:
        assert await world.leases.lookup(grant.lease_id, within=ROOT) is None
    await world.leases.expire_due()
    assert sorted(accounts.revoked) == sorted(grant.lease_id for grant in doomed)
    assert await world.leases.lookup(other.lease_id, within=ROOT) is not None


async def test_a_token_with_many_leases_is_deleted_in_steps(world, token):
    for _ in range(450):
        await world.grant(token)
    steps = []
    attachment = world.tokens.attachment

    async def body(txn):
        return await attachment(txn, "tok1")

    while not steps or not steps[-1]:
        steps.append(await world.storage.transact(body))
    assert steps == [False, False, True]


async def test_expiry_takes_the_oldest_first_and_a_batch_at_a_time(world, token, accounts):
    late = await world.grant(token, ttl=700)
    early = await world.grant(token, ttl=600)
    alive = await world.grant(token, ttl=6000)
    world.clock.advance(700)
    assert await world.leases.expire_due(1) == 1
    assert accounts.revoked == [early.lease_id]
    assert await world.leases.expire_due(10) == 1
    assert accounts.revoked == [early.lease_id, late.lease_id]
    assert await world.leases.expire_due(10) == 0
    assert await world.leases.lookup(alive.lease_id, within=ROOT) is not None


async def test_two_housekeepers_ask_the_engine_once(world, token, accounts):
    for _ in range(20):
        await world.grant(token, ttl=60)
    world.clock.advance(60)
    await asyncio.gather(world.leases.expire_due(), world.another().leases.expire_due())
    assert len(accounts.revoked) == len(set(accounts.revoked)) == 20


async def test_what_a_killed_housekeeper_had_claimed_comes_due_again(world, token, accounts):
    grant = await world.grant(token, ttl=60)
    accounts.gate = asyncio.Event()
    world.clock.advance(60)
    killed = asyncio.create_task(world.leases.expire_due())
    await accounts.entered.wait()
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    accounts.gate = None
    other = world.another().leases
    assert await other.lookup(grant.lease_id, within=ROOT) is None
    assert await other.expire_due() == 0
    world.clock.advance(300)
    assert await other.expire_due() == 1
    assert accounts.revoked == [grant.lease_id]


async def test_engines_are_asked_some_at_a_time(world, token, accounts):
    for _ in range(48):
        await world.grant(token, ttl=60)
    world.clock.advance(60)
    await world.leases.expire_due()
    assert 1 < accounts.most_at_once <= 16


# --- irrevocable ----------------------------------------------------------------------------------------------------


async def give_up(world, accounts, grant, *, trouble):
    accounts.trouble = trouble
    world.clock.advance(100_000)
    for _ in range(6):
        await world.leases.expire_due()
        world.clock.advance(1000)


async def test_after_six_failures_an_operator_must_decide(world, token, accounts):
    grant = await world.grant(token)
    await give_up(world, accounts, grant, trouble=InvalidRequestError("no such role"))
    entry = await world.entry(grant.lease_id)
    assert (entry.state, entry.attempts, entry.error, entry.due) == (LeaseState.IRREVOCABLE, 6, "no such role", None)
    ((accessor, listed),) = await world.counts.irrevocable(ROOT, children=False)
    assert (accessor, listed.lease_id, listed.error) == ("acc_database", grant.lease_id, "no such role")
    assert await world.leases.expire_due() == 0
    with pytest.raises(InvalidRequestError, match="has failed previous revocation attempts"):
        await world.leases.renew(grant.lease_id, within=ROOT)
    assert (await world.leases.lookup(grant.lease_id, within=ROOT)).state is LeaseState.IRREVOCABLE


async def test_a_target_that_is_away_is_waited_for(world, token, accounts):
    """An hour and longer: no lease becomes irrevocable because a database was down."""
    grant = await world.grant(token)
    await give_up(world, accounts, grant, trouble=StoreUnavailableError("the database is away"))
    assert (await world.entry(grant.lease_id)).state is LeaseState.REVOKING
    accounts.trouble = None
    assert await world.leases.expire_due() == 1
    assert await world.entry(grant.lease_id) is None


async def test_an_engine_whose_target_is_away_does_not_hold_up_the_others(world, token, accounts):
    other = world.engines.mount("team/")
    for _ in range(48):
        await world.grant(token, ttl=60)
    fine = await world.grant(token, mount="team/", ttl=61)
    accounts.trouble = StoreUnavailableError("the database is away")
    calls, ask = [], accounts.revoke_lease

    async def counted(lease):
        calls.append(lease.lease_id)
        await ask(lease)

    accounts.revoke_lease = counted
    world.clock.advance(61)
    assert await world.leases.expire_due() == 48
    assert len(calls) <= 16  # those under way together; the others are put off without a call
    assert await world.leases.expire_due() == 1
    assert other.revoked == [fine.lease_id]
    accounts.trouble = None
    for _ in range(3):
        world.clock.advance(100)
        await world.leases.expire_due()
    assert await world.storage.count_records("lease") == 0


async def test_an_engine_that_does_not_answer_is_not_waited_for(world, token, accounts, monkeypatch):
    monkeypatch.setattr(revocation, "TIMEOUT", 0.01)
    grant = await world.grant(token, ttl=60)
    accounts.gate = asyncio.Event()
    world.clock.advance(60)
    assert await world.leases.expire_due() == 1
    entry = await world.entry(grant.lease_id)
    assert (entry.state, entry.attempts) == (LeaseState.REVOKING, 1)
    assert "did not answer" in entry.error


async def test_who_revokes_one_lease_asks_a_resting_engine(world, token, accounts):
    first, second = await world.grant(token), await world.grant(token)
    accounts.trouble = StoreUnavailableError("the database is away")
    with pytest.raises(InvalidRequestError, match="the database is away"):
        await world.leases.revoke(first.lease_id, within=ROOT)
    accounts.trouble = None
    assert await world.leases.revoke(second.lease_id, within=ROOT)
    assert accounts.revoked == [second.lease_id]


async def test_the_text_of_an_unknown_error_is_not_kept(world, token, accounts):
    grant = await world.grant(token)
    await give_up(world, accounts, grant, trouble=ValueError("the password is hunter2"))
    assert (await world.entry(grant.lease_id)).error == "the engine failed (ValueError)"


async def test_a_lease_whose_engine_is_gone_becomes_irrevocable(world, token, accounts):
    grant = await world.grant(token)
    world.engines.mounted.clear()
    await give_up(world, accounts, grant, trouble=None)
    ((accessor, listed),) = await world.counts.irrevocable(ROOT, children=False)
    assert accessor == "mount-accessor-not-found"
    assert "not mounted any more" in listed.error


@pytest.mark.parametrize("mended", [True, False])
async def test_an_irrevocable_lease_can_be_revoked_again(world, token, accounts, mended):
    grant = await world.grant(token)
    await give_up(world, accounts, grant, trouble=InvalidRequestError("no such role"))
    accounts.trouble = None if mended else InvalidRequestError("still none")
    if mended:
        assert await world.leases.revoke(grant.lease_id, within=ROOT)
    else:
        with pytest.raises(InvalidRequestError, match="still none"):
            await world.leases.revoke(grant.lease_id, within=ROOT)
    left = await world.counts.irrevocable(ROOT, children=False)
    assert [lease.error for _, lease in left] == ([] if mended else ["still none"])


async def test_an_hour_without_the_target_loses_nothing_and_ends_soon_after_it(world, token, accounts):
    """Leases that expire meanwhile are put off again and again; when one gets through, all others are due at once."""
    grants = [await world.grant(token, target="orders-db", ttl=60 + number) for number in range(120)]
    accounts.trouble = StoreUnavailableError("the database is away")
    for _ in range(360):
        world.clock.advance(10)
        while await world.leases.expire_due():
            pass
    assert accounts.revoked == []
    rows = [await world.entry(grant.lease_id) for grant in grants]
    assert {row.state for row in rows} == {LeaseState.REVOKING}
    accounts.trouble = None
    waited = 0
    while len(accounts.revoked) < 120:
        world.clock.advance(5)
        waited += 5
        while await world.leases.expire_due():
            pass
    assert waited <= 90
    assert sorted(accounts.revoked) == sorted(grant.lease_id for grant in grants)


async def test_one_dead_target_delays_no_other_of_the_same_mount(world, token, accounts):
    dead = [await world.grant(token, target="dead-db", ttl=60) for _ in range(60)]
    alive = [await world.grant(token, target="orders-db", ttl=61) for _ in range(20)]
    revoke = accounts.revoke_lease
    asked = []

    async def of_two_targets(lease):
        asked.append(lease.lease_id)
        if lease.lease_id in {grant.lease_id for grant in dead}:
            raise StoreUnavailableError("the database is away")
        await revoke(lease)

    accounts.revoke_lease = of_two_targets
    world.clock.advance(70)
    while await world.leases.expire_due():
        pass
    assert sorted(accounts.revoked) == sorted(grant.lease_id for grant in alive)
    assert len(asked) < 20 + 60
