"""Tokens: recognised only while they and all their ancestors live."""

import asyncio
import hashlib
import hmac
import re

import msgspec
import pytest

from appliance.access import token_trees
from appliance.access import tokens as tokens_module
from appliance.access.token_hash import TokenHasher
from appliance.access.tokens import KIND, MAX_DEPTH, TokenSpec, TokenStore
from core.errors import IntegrityError, InvalidRequestError, PermissionDeniedError, SealedError
from core.secret import Secret
from tests.support.clock import SettableClock
from tests.support.memory_storage import memory_storage

HOUR = 3600
DEFAULT_TTL = 768 * HOUR


async def refused(store, token):
    assert store.peek(token) is None
    with pytest.raises(PermissionDeniedError, match=r"^permission denied$"):
        await store.authenticate(token)
    return True


# --- what is stored -----------------------------------------------------------------------------------------------


def test_the_hash_is_hmac_sha_256():
    key = bytes(range(32))
    expected = hmac.new(key, b"token:hvs.abc", hashlib.sha256).hexdigest()
    assert TokenHasher(Secret(key)).record_id("hvs.abc") == expected


def test_tokens_and_accessors_hash_in_different_domains():
    hashes = TokenHasher(Secret(bytes(32)))
    assert hashes.record_id("x") != hashes.alias("x")


def test_the_hash_key_must_be_whole():
    with pytest.raises(RuntimeError):
        TokenHasher(Secret(b"short"))


async def test_the_root_token_never_expires(access):
    assert re.fullmatch(r"hvs\.[0-9A-Za-z]{24}", access.root_token)
    access.clock.advance(100 * 365 * 86400)
    entry = await access.root()
    assert (entry.policies, entry.expires_at, entry.ttl, entry.renewable) == (("root",), None, 0, False)
    assert (entry.display_name, entry.path, entry.orphan) == ("root", "auth/token/root", True)


async def test_neither_token_nor_accessor_is_stored_readable_in_a_column(access):
    token, entry = await access.child()
    (record,) = [r for r in await access.storage.list_records(KIND) if r.record_id == entry.record_id]
    assert token not in repr(record)
    assert token[4:].encode() not in record.body
    assert entry.accessor not in (record.record_id, record.alias, record.parent)
    assert record.parent == (await access.root()).record_id
    assert record.expires_at == entry.expires_at


async def test_a_child_has_vaults_default_life(access):
    token, entry = await access.child()
    assert re.fullmatch(r"hvs\.[0-9A-Za-z]{24}", token)
    assert re.fullmatch(r"[0-9A-Za-z]{24}", entry.accessor)
    assert entry.ttl == DEFAULT_TTL
    assert entry.expires_at == entry.issue_time + DEFAULT_TTL
    assert await access.tokens.authenticate(token) == entry


# --- recognising --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token", ["", "hvs.", "hvs." + "A" * 24, "\x1b", "\x00" * 28, "hvs.\u00e9", "\udcff", "x" * 257, "x" * 10_000, " "]
)
async def test_what_is_no_token_is_refused_like_any_other(access, token):
    assert await refused(access.tokens, token)


async def test_a_token_with_anything_added_is_another_one(access):
    for wrong in (access.root_token + " ", access.root_token[:-1], access.root_token.swapcase()):
        assert await refused(access.tokens, wrong)


async def test_peek_answers_from_memory_only(access):
    token, entry = await access.child()
    other = access.worker()
    await other.open()
    assert other.peek(token) is None
    await other.authenticate(token)
    assert other.peek(token) == entry


async def test_an_expired_token_is_refused_before_anything_removed_it(access):
    token, _ = await access.child(ttl=60)
    access.clock.advance(59)
    assert await access.tokens.authenticate(token)
    access.clock.advance(1)
    assert await refused(access.tokens, token)
    assert len(await access.storage.list_records(KIND)) == 2


async def test_a_child_ends_with_its_parent(access):
    _, parent = await access.child(ttl=60)
    token, _ = await access.child(parent, ttl=600)
    await access.tokens.authenticate(token)
    access.clock.advance(60)
    assert await refused(access.tokens, token)


async def test_nothing_works_before_open_and_after_close(access):
    closed = access.worker()
    for store in (closed, access.tokens):
        store.close()
        with pytest.raises(SealedError):
            store.peek(access.root_token)
        with pytest.raises(SealedError):
            await store.authenticate(access.root_token)


async def test_a_store_without_the_hash_key_does_not_open():
    with pytest.raises(IntegrityError, match="token-salt"):
        await TokenStore(memory_storage(), SettableClock()).open()


# --- limited uses -------------------------------------------------------------------------------------------------


async def test_exactly_num_uses_are_granted_to_racing_tasks(access):
    token, _ = await access.child(num_uses=5)
    other = access.worker()
    await other.open()
    outcomes = await asyncio.gather(
        *(store.authenticate(token) for store in [access.tokens, other] * 10), return_exceptions=True
    )
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 5
    assert {type(o) for o in outcomes if isinstance(o, Exception)} == {PermissionDeniedError}
    assert sorted(o.num_uses for o in outcomes if not isinstance(o, Exception)) == [1, 2, 3, 4, 5]


async def test_a_limited_token_is_never_answered_from_memory(access):
    token, _ = await access.child(num_uses=3)
    await access.tokens.find(token)
    assert access.tokens.peek(token) is None


async def test_a_used_up_token_is_left_to_the_housekeeper(access):
    token, _ = await access.child(num_uses=1)
    await access.tokens.authenticate(token)
    assert await refused(access.tokens, token)
    assert await access.tokens.find(token) is None
    assert await access.tokens.revoke_expired() == 1
    assert len(await access.storage.list_records(KIND)) == 1


async def test_finding_takes_no_use(access):
    token, _ = await access.child(num_uses=1)
    for _ in range(3):
        assert (await access.tokens.find(token)).num_uses == 1


# --- creating -----------------------------------------------------------------------------------------------------


async def test_a_revoked_parent_gets_no_child(access):
    """The entry was admitted before the revocation; the transaction looks again."""
    _, parent = await access.child()
    await access.tokens.revoke(parent.record_id)
    with pytest.raises(PermissionDeniedError):
        await access.child(parent)
    assert len(await access.storage.list_records(KIND)) == 1


async def test_a_revoked_creator_gets_no_orphan_either(access):
    _, creator = await access.child()
    await access.tokens.revoke(creator.record_id)
    spec = TokenSpec(policies=("default",), path="auth/token/create-orphan")
    with pytest.raises(PermissionDeniedError):
        await access.tokens.create(spec, parent=creator, orphan=True)


async def test_a_child_of_a_token_with_a_revoked_ancestor_is_not_created(access):
    _, top = await access.child()
    _, middle = await access.child(top)
    await mark_only(access, top)
    with pytest.raises(PermissionDeniedError):
        await access.child(middle)


async def test_creation_racing_with_the_parents_revocation_leaves_no_live_child(access):
    _, parent = await access.child()
    results = await asyncio.gather(
        *(access.child(parent) for _ in range(5)),
        access.tokens.revoke(parent.record_id),
        *(access.child(parent) for _ in range(5)),
        return_exceptions=True,
    )
    for created in (r for r in results if isinstance(r, tuple)):
        assert await refused(access.tokens, created[0])


async def test_a_chosen_id_can_be_taken_once(access):
    token, _ = await access.child(token_id="my-own-id")
    assert token == "my-own-id"
    assert await access.tokens.authenticate("my-own-id")
    with pytest.raises(InvalidRequestError, match="duplicate ID") as caught:
        await access.child(token_id="my-own-id")
    assert "my-own-id" not in str(caught.value)


async def test_the_tree_has_a_limited_depth(access):
    parent = await access.root()
    for _ in range(MAX_DEPTH):
        token, parent = await access.child(parent)
    assert await access.tokens.authenticate(token)
    with pytest.raises(InvalidRequestError, match="orphan"):
        await access.child(parent)


async def test_a_root_child_lives_for_ever_unless_told_otherwise(access):
    assert (await access.child(policies=("root",)))[1].expires_at is None
    assert (await access.child(policies=("root",), ttl=60))[1].ttl == 60
    assert (await access.child(policies=("root",), explicit_max_ttl=70))[1].ttl == 70


# --- revoking -----------------------------------------------------------------------------------------------------


async def mark_only(access, entry):
    """What a crash right after the first write of a revocation leaves behind."""

    async def body(txn):
        await access.tokens.trees.mark(txn, await txn.get_record(KIND, entry.record_id))

    await access.storage.transact(body)


async def family(access, width=3):
    """A token with children and grandchildren: (top entry, all tokens)."""
    token, top = await access.child()
    found = [token]
    for _ in range(width):
        token, middle = await access.child(top)
        found.append(token)
        found += [(await access.child(middle))[0] for _ in range(width)]
    return top, found


async def test_revocation_takes_the_whole_tree(access):
    top, family_tokens = await family(access)
    bystander, _ = await access.child()
    assert await access.tokens.revoke(top.record_id) is True
    for token in family_tokens:
        assert await refused(access.tokens, token)
    assert await access.tokens.authenticate(bystander)
    assert len(await access.storage.list_records(KIND)) == 2


async def test_every_worker_refuses_from_the_acknowledgement_on(access):
    top, family_tokens = await family(access)
    other = access.worker()
    await other.open()
    for token in family_tokens:
        await other.authenticate(token)
        assert other.peek(token)
    await access.tokens.revoke(top.record_id)
    for token in family_tokens:
        assert await refused(other, token)


async def test_a_crash_after_the_first_write_still_refuses_the_tree_and_is_resumed(access):
    top, family_tokens = await family(access)
    for token in family_tokens:
        await access.tokens.authenticate(token)
    await mark_only(access, top)
    for token in family_tokens:
        assert await refused(access.tokens, token)
        assert await access.tokens.find(token) is None
    assert await access.tokens.revoke_expired() == 1
    assert len(await access.storage.list_records(KIND)) == 1


async def test_a_crash_between_two_batches_is_resumed(access, monkeypatch):
    top, family_tokens = await family(access)
    monkeypatch.setattr(token_trees, "_BATCH", 2)
    transact, calls = access.storage.transact, []

    async def dying(body):
        calls.append(body)
        if len(calls) == 4:
            raise asyncio.CancelledError
        return await transact(body)

    monkeypatch.setattr(access.storage, "transact", dying)
    with pytest.raises(asyncio.CancelledError):
        await access.tokens.revoke(top.record_id)
    monkeypatch.setattr(access.storage, "transact", transact)
    left = {record.record_id for record in await access.storage.list_records(KIND)}
    assert top.record_id in left
    assert 2 < len(left) < len(family_tokens) + 1
    for token in family_tokens:
        assert await refused(access.tokens, token)
    await access.tokens.revoke_expired()
    assert len(await access.storage.list_records(KIND)) == 1


async def test_a_child_whose_parent_is_missing_is_refused(access):
    _, parent = await access.child()
    token, _ = await access.child(parent)

    async def body(txn):
        await txn.delete_record(KIND, parent.record_id)

    await access.storage.transact(body)
    assert await refused(access.tokens, token)


async def test_a_large_tree_is_refused_at_once_and_deleted_by_the_housekeeper(access, monkeypatch):
    monkeypatch.setattr(token_trees, "_INLINE", 5)
    top, family_tokens = await family(access)
    assert await access.tokens.revoke(top.record_id) is True
    assert 5 < len(await access.storage.list_records(KIND)) < len(family_tokens) + 1
    for token in family_tokens:
        assert await refused(access.tokens, token)
    await access.tokens.revoke_expired()
    assert len(await access.storage.list_records(KIND)) == 1


async def test_revoking_what_is_not_there_says_so(access):
    assert await access.tokens.revoke("0" * 64) is False
    assert await access.tokens.revoke_orphan("0" * 64) is False


async def test_revoke_orphan_spares_the_children(access):
    token, parent = await access.child()
    child, before = await access.child(parent)
    await access.tokens.revoke_orphan(parent.record_id)
    assert await refused(access.tokens, token)
    after = await access.tokens.authenticate(child)
    assert not before.orphan
    assert after.orphan


async def test_revoke_orphan_rescues_no_child_of_a_dying_tree(access):
    _, top = await access.child()
    _, middle = await access.child(top)
    child, _ = await access.child(middle)
    await mark_only(access, top)
    for entry in (top, middle):
        assert await access.tokens.revoke_orphan(entry.record_id) is False
        assert await refused(access.tokens, child)


async def test_the_housekeeper_takes_expired_trees_some_at_a_time(access):
    for _ in range(3):
        _, parent = await access.child(ttl=60)
        await access.child(parent, ttl=6000)
    await access.child(ttl=61)
    assert await access.tokens.revoke_expired() == 0
    access.clock.advance(60)
    assert await access.tokens.revoke_expired(limit=2) == 2
    assert await access.tokens.revoke_expired(limit=2) == 1
    assert await access.tokens.revoke_expired(limit=2) == 0
    assert len(await access.storage.list_records(KIND)) == 2


async def test_a_whole_family_that_expired_is_deleted_in_few_transactions(access):
    _, parent = await access.child(ttl=60)
    for _ in range(50):
        await access.child(parent, ttl=60)
    access.clock.advance(60)
    before = access.storage._state.commits
    assert await access.tokens.revoke_expired() == 51
    assert access.storage._state.commits == before + 1
    assert len(await access.storage.list_records(KIND)) == 1


async def test_a_clock_that_steps_back_revives_no_revoked_token(access):
    token, parent = await access.child()
    child, _ = await access.child(parent)
    await mark_only(access, parent)
    access.clock.advance(-HOUR)
    assert await refused(access.tokens, token)
    assert await refused(access.tokens, child)


# --- accessors ----------------------------------------------------------------------------------------------------


async def test_accessors_name_live_tokens_only(access):
    token, entry = await access.child(ttl=60)
    assert await access.tokens.find_accessor(entry.accessor) == entry
    assert entry.accessor in await access.tokens.accessors()
    access.clock.advance(60)
    assert await access.tokens.find_accessor(entry.accessor) is None
    assert await access.tokens.accessors() == [(await access.root()).accessor]
    for wrong in ("", token, "\x1b", "x" * 10_000, "é"):
        assert await access.tokens.find_accessor(wrong) is None


async def test_accessors_go_on_over_many_pages(access, monkeypatch):
    monkeypatch.setattr(tokens_module, "_PAGE", 2)
    made = {(await access.child())[1].accessor for _ in range(7)}
    assert made < set(await access.tokens.accessors())


# --- renewing -----------------------------------------------------------------------------------------------------


async def test_renewal_gives_the_first_ttl_again(access):
    token, entry = await access.child(ttl=600)
    access.clock.advance(500)
    renewed = await access.tokens.renew(entry.record_id)
    assert renewed.expires_at == int(access.clock.now()) + 600
    access.clock.advance(599)
    assert await access.tokens.authenticate(token) == renewed


async def test_renewal_takes_an_increment(access):
    _, entry = await access.child(ttl=600)
    assert (await access.tokens.renew(entry.record_id, increment=60)).expires_at == entry.issue_time + 60


async def test_renewal_never_goes_past_the_maximum(access):
    _, entry = await access.child(ttl=600, explicit_max_ttl=900)
    access.clock.advance(599)
    renewed = await access.tokens.renew(entry.record_id, increment=10_000)
    assert renewed.expires_at == entry.issue_time + 900
    _, entry = await access.child()
    access.clock.advance(DEFAULT_TTL - 10)
    assert (await access.tokens.renew(entry.record_id)).expires_at == entry.issue_time + DEFAULT_TTL


async def test_a_periodic_token_renews_for_ever(access):
    _, entry = await access.child(period=HOUR)
    for _ in range(1000):
        access.clock.advance(HOUR - 1)
        entry = await access.tokens.renew(entry.record_id, increment=5)
        assert entry.expires_at == int(access.clock.now()) + HOUR


async def test_a_periodic_token_ends_at_its_explicit_maximum(access):
    _, entry = await access.child(period=HOUR, explicit_max_ttl=2 * HOUR)
    access.clock.advance(HOUR - 1)
    await access.tokens.renew(entry.record_id)
    access.clock.advance(HOUR - 1)
    assert (await access.tokens.renew(entry.record_id)).expires_at == entry.issue_time + 2 * HOUR


@pytest.mark.parametrize("changes", [{"renewable": False}, {"policies": ("root",)}])
async def test_what_is_not_renewable_is_not_renewed(access, changes):
    _, entry = await access.child(**changes)
    with pytest.raises(InvalidRequestError, match=r"^lease is not renewable$"):
        await access.tokens.renew(entry.record_id)


async def test_the_dead_are_not_renewed(access):
    _, expired = await access.child(ttl=60)
    _, parent = await access.child()
    _, child = await access.child(parent)
    await mark_only(access, parent)
    access.clock.advance(60)
    for entry in (expired, parent, child, msgspec.structs.replace(child, record_id="0" * 64)):
        with pytest.raises(InvalidRequestError, match=r"^token not found$"):
            await access.tokens.renew(entry.record_id)
