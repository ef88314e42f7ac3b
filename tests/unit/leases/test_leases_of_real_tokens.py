"""The token store and the lease store together: what hangs on a token goes with it, by whatever way it ends."""

import pytest

from appliance.access.tokens import TokenSpec, TokenStore, bootstrap_tokens
from appliance.leases.attachment import lease_attachment
from appliance.leases.operations import LeaseOperations
from appliance.leases.store import LeaseStore
from appliance.namespaces import ROOT
from core.errors import InvalidRequestError, PermissionDeniedError
from tests.unit.leases.world import World, new_world

LOGIN = "auth/approle/login"


@pytest.fixture
async def real() -> World:
    """As `world`, with the real token store."""
    world = new_world()
    clock, storage = world.clock, world.storage

    async def bootstrap(txn):
        await bootstrap_tokens(txn, clock)

    await storage.transact(bootstrap)
    world.tokens = TokenStore(storage, clock, attachments=[lease_attachment(clock)])
    await world.tokens.open()
    world.leases = LeaseStore(storage, clock, world.engines, tokens=world.tokens, namespace_path={"root": ""}.get)
    world.operations = LeaseOperations(storage, world.leases, world.tokens)
    return world


async def make(world, *, parent=None, **changes):
    spec = TokenSpec(**{"policies": ("default",), "path": LOGIN, "ttl": 3600} | changes)
    return await world.tokens.create(spec, parent=parent, orphan=parent is None)


async def test_a_revoked_parent_takes_the_leases_of_its_children(real):
    _, parent = await make(real)
    _, child = await make(real, parent=parent)
    _, batch = await make(real, parent=child, type="batch")
    grants = [await real.grant(token) for token in (parent, child, batch)]
    await real.tokens.revoke(parent.record_id)
    for grant in grants:
        assert await real.leases.lookup(grant.lease_id, within=ROOT) is None
    assert await real.leases.expire_due() == 3
    assert await real.storage.count_records("lease") == 0


async def test_an_expired_token_takes_its_leases(real):
    _, token = await make(real, ttl=60)
    grant = await real.grant(token)
    real.clock.advance(61)
    await real.tokens.revoke_expired(100)
    assert await real.leases.lookup(grant.lease_id, within=ROOT) is None


async def test_many_leases_keep_the_token_refused_until_all_are_marked(real):
    text, token = await make(real)
    for _ in range(450):
        await real.grant(token)
    await real.tokens.revoke(token.record_id)
    assert await real.tokens.find(text) is None
    while await real.tokens.revoke_expired(100):
        pass
    assert await real.storage.get_record("token", token.record_id) is None
    assert await real.storage.child_records("lease", token.record_id) == []


async def test_a_batch_token_s_lease_ends_with_it(real):
    _, batch = await make(real, type="batch", ttl=60)
    assert (await real.grant(batch)).ttl == 60


async def test_the_last_use_gets_no_lease(real):
    text, _ = await make(real, num_uses=1)
    used = await real.tokens.authenticate(text)
    with pytest.raises(InvalidRequestError, match="token had one use left"):
        await real.grant(used)


async def test_a_token_revoked_while_the_engine_works_gets_no_lease(real):
    _, token = await make(real)
    await real.tokens.revoke(token.record_id)
    with pytest.raises(PermissionDeniedError):
        await real.grant(token)


async def test_logins_below_a_prefix_are_revoked_with_their_leases(real):
    made = [await make(real) for _ in range(5)]
    other_text, _ = await make(real, path="auth/approle-two/login")
    grants = [await real.grant(token) for _, token in made]
    names = await real.operations.names(LOGIN, within=ROOT)
    assert names == sorted(token.record_id for _, token in made)
    found = await real.operations.lookup(f"{LOGIN}/{names[0]}", within=ROOT)
    assert found.record_id == names[0]
    await real.operations.revoke_below("auth/approle", within=ROOT, by="ops")
    for text, _ in made:
        assert await real.tokens.find(text) is None
    for grant in grants:
        assert await real.leases.lookup(grant.lease_id, within=ROOT) is None
    assert await real.tokens.find(other_text) is not None


async def test_one_login_is_revoked_by_its_lease_id(real):
    text, token = await make(real)
    await real.operations.revoke(f"{LOGIN}/{token.record_id}", within=ROOT, wait=True)
    assert await real.tokens.find(text) is None


async def test_a_wide_prefix_spares_the_root_tokens_that_it_does_not_name(real):
    """Else who revokes below auth/ or auth/token/ locks everybody out."""
    tokens = real.tokens
    root = [await make(real, policies=("root",), path="auth/token/root", ttl=0) for _ in range(2)]
    child = await make(real, path="auth/token/create")
    login = await make(real)
    for prefix in ("auth/token", "auth"):
        await real.operations.revoke_below(prefix, within=ROOT, by="ops")
    assert [await tokens.find(text) is None for text, _ in (child, login)] == [True, True]
    assert [await tokens.find(text) is None for text, _ in root] == [False, False]
    await real.operations.revoke_below("auth/token/root", within=ROOT, by="ops")
    assert [await tokens.find(text) is None for text, _ in root] == [True, True]
