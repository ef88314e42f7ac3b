"""Batch tokens: nothing is stored, nothing but ours opens, and they end with their parent."""

import base64

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.access import batch_tokens
from appliance.access.token_hash import MAX_BATCH_TOKEN
from appliance.access.tokens import KIND, TokenSpec, TokenStore
from core.errors import InvalidRequestError, PermissionDeniedError, SealedError

HOUR = 3600
SPEC = TokenSpec(policies=("default",), path="auth/x", type="batch")
ALL = {
    "policies": ("default", "web"), "path": "auth/approle/login", "display_name": "approle", "metadata": {"role": "ü"},
    "ttl": 600, "entity_id": "e1", "role": "r", "mount": "", "bound_cidrs": ("10.0.0.0/8", "2001:db8::/32"),
}  # fmt: skip


async def batch(access, parent=None, **changes):
    """(token, entry): an orphan, or a child of `parent`."""
    return await access.child(parent, orphan=parent is None, type="batch", **changes)


async def is_refused(store, token):
    assert store.peek(token) is None
    assert await store.find(token) is None
    with pytest.raises(PermissionDeniedError, match=r"^permission denied$"):
        await store.authenticate(token)
    return True


# --- what they are ------------------------------------------------------------------------------------------------


async def test_making_and_using_one_writes_nothing(access):
    before = access.storage._state.commits
    token, entry = await batch(access, **ALL)
    for _ in range(3):
        assert await access.tokens.authenticate(token) == entry
    assert access.storage._state.commits == before
    assert len(await access.storage.list_records(KIND)) == 1


async def test_everything_about_it_is_in_the_token(access):
    token, entry = await batch(access, **ALL)
    other = access.worker()
    await other.open()
    assert other.peek(token) is None
    found = await other.find(token)
    assert found == entry
    assert {name: getattr(found, name) for name in ALL} == ALL
    assert (found.record_id, found.accessor, found.renewable, found.type) == ("", "", False, "batch")
    assert (found.expires_at, found.orphan) == (entry.issue_time + 600, True)


async def test_memory_answers_the_second_time(access):
    token, entry = await batch(access)
    assert access.tokens.peek(token) is None
    await access.tokens.find(token)
    assert access.tokens.peek(token) == entry
    assert access.tokens.live_until(entry) == entry.expires_at


async def test_the_memory_of_opened_tokens_is_bounded(access, monkeypatch):
    monkeypatch.setattr(batch_tokens, "_OPENED", 3)
    made = [(await batch(access))[0] for _ in range(5)]
    for token in made:
        await access.tokens.find(token)
    assert [access.tokens.peek(token) is not None for token in made] == [False, False, True, True, True]


async def test_two_of_the_same_are_different(access):
    assert (await batch(access))[0] != (await batch(access))[0]


TEXTS = st.text(max_size=20)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    policies=st.lists(st.sampled_from(["a", "b", "default"]), unique=True).map(lambda names: tuple(sorted(names))),
    path=TEXTS,
    display_name=TEXTS,
    metadata=st.none() | st.dictionaries(TEXTS, TEXTS, max_size=3),
    ttl=st.integers(1, 768 * HOUR),
    entity_id=TEXTS,
    namespace=st.sampled_from(["root", "abc123"]),
    mount=TEXTS,
    role=TEXTS,
    bound_cidrs=st.lists(st.sampled_from(["10.0.0.0/8", "::/0"]), unique=True).map(tuple),
)
async def test_what_is_sealed_comes_out_again(access, **given_):
    token, entry = await batch(access, **given_)
    assert await access.tokens.find(token) == entry
    assert {name: getattr(entry, name) for name in given_} == given_


# --- how they end -------------------------------------------------------------------------------------------------


async def test_it_ends_when_its_time_is_over(access):
    token, _ = await batch(access, ttl=60)
    access.clock.advance(59)
    assert await access.tokens.authenticate(token)
    access.clock.advance(1)
    assert await is_refused(access.tokens, token)


async def test_its_life_is_bounded_by_the_systems_and_the_mounts_maximum(access):
    assert (await batch(access, ttl=10**9))[1].ttl == 768 * HOUR
    assert (await batch(access, ttl=10**9, max_ttl=HOUR))[1].ttl == HOUR
    assert (await batch(access, default_ttl=77))[1].ttl == 77


async def test_its_life_is_no_longer_than_what_is_left_to_its_parent(access):
    _, parent = await access.child(ttl=600)
    access.clock.advance(100)
    assert (await batch(access, parent, ttl=HOUR))[1].ttl == 500
    assert (await batch(access, parent, ttl=60))[1].ttl == 60
    access.clock.advance(500)
    with pytest.raises(PermissionDeniedError):
        await batch(access, parent, ttl=60)


@pytest.mark.parametrize("how", ["revoke", "revoke_orphan"])
async def test_it_ends_with_its_parent_on_every_worker(access, how):
    _, parent = await access.child()
    token, _ = await batch(access, parent)
    orphan, _ = await batch(access)
    other = access.worker()
    await other.open()
    for store in (access.tokens, other):
        assert await store.find(token)
    await getattr(access.tokens, how)(parent.record_id)
    for store in (access.tokens, other):
        assert await is_refused(store, token)
        assert await store.find(orphan)


async def test_it_ends_with_its_parent_while_that_spares_its_stored_children(access):
    """The children of a token revoked alone are being made orphans: a batch token cannot become one."""
    _, parent = await access.child()
    token, _ = await batch(access, parent)

    async def body(txn):
        await access.tokens.trees.mark(txn, await txn.get_record(KIND, parent.record_id), spares=True)

    await access.storage.transact(body)
    assert await is_refused(access.tokens, token)


async def test_it_ends_with_its_grandparent(access):
    _, top = await access.child()
    _, middle = await access.child(top)
    token, _ = await batch(access, middle)
    await access.tokens.revoke(top.record_id)
    assert await is_refused(access.tokens, token)


async def test_a_dead_parent_gets_none(access):
    _, parent = await access.child()
    await access.tokens.revoke(parent.record_id)
    for orphan in (False, True):
        with pytest.raises(PermissionDeniedError):
            await access.child(parent, orphan=orphan, type="batch")


async def test_a_former_key_still_opens_until_it_is_taken_away(access):
    old, _ = await batch(access)
    await access.tokens.rotate_batch_key()
    new, _ = await batch(access)
    other = access.worker()
    await other.open()
    for token in (old, new):
        assert await other.find(token)
    assert old[4:10] != new[4:10]
    await access.tokens.rotate_batch_key(end_all=True)
    for token in (old, new):
        assert await is_refused(other, token)
        assert await is_refused(access.tokens, token)
    assert await access.tokens.find((await batch(access))[0])


async def test_a_store_from_before_them_gets_a_key_once(access):
    await access.storage.delete("core/token-batch-keys")
    assert await access.tokens.find("hvb." + "A" * 200) is None
    other = access.worker()
    await other.open()
    first, _ = await batch(access)
    second, _ = await other.create(SPEC, parent=None)
    for store in (access.tokens, other):
        assert await store.find(first)
        assert await store.find(second)


async def test_none_is_known_before_open_and_after_close(access):
    token, _ = await batch(access)
    await access.tokens.find(token)
    access.tokens.close()
    for store in (access.tokens, access.worker()):
        assert store.peek(token) is None
        with pytest.raises(SealedError):
            await store.authenticate(token)


# --- what they are not --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"period": 60}, 'batch tokens cannot have "period" set'),
        ({"num_uses": 1}, 'batch tokens cannot have "num_uses" set'),
        ({"explicit_max_ttl": 60}, 'batch tokens cannot have "explicit_max_ttl" set'),
        ({"token_id": "mine"}, 'batch tokens cannot have "id" set'),
        ({"policies": ("root",)}, "batch tokens cannot be root tokens"),
        ({"metadata": {"a": "x" * MAX_BATCH_TOKEN}}, "use a service token"),
    ],
)
async def test_what_no_batch_token_can_have(access, changes, sentence):
    with pytest.raises(InvalidRequestError, match=sentence):
        await batch(access, **changes)


async def test_it_has_no_children(access):
    _, entry = await batch(access)
    for orphan in (False, True):
        with pytest.raises(PermissionDeniedError):
            await access.tokens.create(msgspec.structs.replace(SPEC, type="service"), parent=entry, orphan=orphan)


async def test_it_is_neither_renewed_nor_revoked_nor_consumed_nor_found_by_its_accessor(access):
    token, entry = await batch(access)
    with pytest.raises(InvalidRequestError, match="token not found"):
        await access.tokens.renew(entry.record_id)
    assert await access.tokens.revoke(entry.record_id) is False
    assert await access.tokens.find_accessor(entry.accessor) is None

    async def body(_txn, _entry):
        raise AssertionError("must not run")

    with pytest.raises(InvalidRequestError, match="wrapping token is not valid"):
        await access.tokens.consume(token, body)
    assert await access.tokens.find(token)


# --- forgeries ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token",
    [
        "hvb.", "hvb.A", "hvb.AAAA", "hvb." + "A" * 59, "hvb." + "A" * 200, "hvb." + "A" * 5000,
        "hvb.\x00",
        "hvb.é" * 30,
        "hvb." + "=" * 100, "hvb." + "-_" * 100, "hvb.\udcff", "HVB." + "A" * 200,
    ],
)  # fmt: skip
async def test_what_was_never_sealed_is_refused(access, token):
    assert await is_refused(access.tokens, token)


async def test_every_flipped_bit_is_refused(access):
    token, _ = await batch(access, **ALL)
    raw = base64.urlsafe_b64decode(token[4:] + "=" * (-len(token[4:]) % 4))
    for at in range(len(raw) * 8):
        octets = bytearray(raw)
        octets[at // 8] ^= 1 << at % 8
        assert await access.tokens.find("hvb." + base64.urlsafe_b64encode(octets).decode().rstrip("=")) is None


async def test_every_truncation_is_refused(access):
    token, _ = await batch(access, **ALL)
    for length in range(len(token)):
        assert await access.tokens.find(token[:length]) is None
    assert await access.tokens.find(token + "A") is None
    assert await access.tokens.find(token + "=") is None


async def test_there_is_one_spelling_of_a_token(access):
    """Base64 ignores the last bits of the last character: another character there would be the same token."""
    for extra in range(3):
        token, _ = await batch(access, display_name="x" * extra)
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        found = [letter for letter in alphabet if await access.tokens.find(token[:-1] + letter)]
        assert found == [token[-1]]
        for wrong in (token.replace("-", "+").replace("_", "/") + "=", token[:9] + "\n" + token[9:], token + " "):
            assert await access.tokens.find(wrong) is None


async def test_a_token_of_another_cluster_is_refused(access):
    token, _ = await batch(access)
    stranger = TokenStore(access.storage, access.clock)
    await stranger.open()
    await access.tokens.rotate_batch_key(end_all=True)
    assert await is_refused(stranger, token)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
async def test_random_octets_are_refused(access, octets):
    token = "hvb." + base64.urlsafe_b64encode(b"\0\0\0\1" + octets).decode().rstrip("=")
    assert await access.tokens.find(token) is None
