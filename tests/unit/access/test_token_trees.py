"""Trees of tokens: refused by one write, cleared away with bounded memory, resumed after any interruption."""

import asyncio
from dataclasses import replace

import msgspec
import pytest

from appliance.access import token_trees
from appliance.access.token_entry import KIND, decode
from appliance.access.tokens import TokenSpec, TokenStore
from core.errors import InvalidRequestError, PermissionDeniedError


class Hangings:
    """An attachment: so many rows hang on each token, and a call takes away two."""

    def __init__(self, rows=0):
        self.rows = {}
        self.default = rows

    async def __call__(self, txn, record_id):
        left = max(0, self.rows.get(record_id, self.default) - 2)
        self.rows[record_id] = left
        return left == 0


async def store_with(access, *attachments, scopes=None):
    store = TokenStore(access.storage, access.clock, attachments=attachments, scopes=scopes)
    await store.open()
    access.tokens = store
    return store


async def ids(access):
    return {record.record_id for record in await access.storage.list_records(KIND)}


async def children(access, parent, count):
    return [await access.child(parent) for _ in range(count)]


async def refused(access, token):
    with pytest.raises(PermissionDeniedError):
        await access.tokens.authenticate(token)
    return True


# --- paging -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["wide", "deep", "bushy"])
async def test_no_transaction_reads_or_deletes_more_than_a_batch(access, monkeypatch, shape):
    monkeypatch.setattr(token_trees, "_BATCH", 3)
    _, top = await access.child()
    if shape == "wide":
        await children(access, top, 20)
    elif shape == "deep":
        below = top
        for _ in range(20):
            _, below = await access.child(below)
    else:
        for _, child in await children(access, top, 5):
            for _, grandchild in await children(access, child, 4):
                await children(access, grandchild, 1)
    seen = []
    original = type(access.storage).child_records

    async def child_records(self, kind, parent, *, after="", limit=0):
        seen.append(limit)
        return await original(self, kind, parent, after=after, limit=limit)

    monkeypatch.setattr("tests.support.memory_storage._Reader.child_records", child_records)
    assert await access.tokens.revoke(top.record_id)
    assert len(await ids(access)) == 1
    assert set(seen) <= {1, 3}


@pytest.mark.parametrize("dies_at", range(1, 9))
async def test_a_kill_at_any_transaction_leaves_a_refused_tree_that_is_resumed(access, monkeypatch, dies_at):
    monkeypatch.setattr(token_trees, "_BATCH", 2)
    _, top = await access.child()
    made = await children(access, top, 3)
    made += [await access.child(entry) for _, entry in made for _ in range(2)]
    transact, calls = access.storage.transact, []

    async def dying(body):
        calls.append(body)
        if len(calls) == dies_at + 1:
            raise asyncio.CancelledError
        return await transact(body)

    monkeypatch.setattr(access.storage, "transact", dying)
    with pytest.raises(asyncio.CancelledError):
        await access.tokens.revoke(top.record_id)
    monkeypatch.setattr(access.storage, "transact", transact)
    for token, _ in made:
        assert await refused(access, token)
    other = access.worker()
    await other.open()
    while await other.revoke_expired(limit=1):
        pass
    assert len(await ids(access)) == 1


async def test_a_tree_larger_than_a_round_is_gone_after_several(access, monkeypatch):
    monkeypatch.setattr(token_trees, "_INLINE", 2)
    monkeypatch.setattr(token_trees, "_ROUND", 4)
    monkeypatch.setattr(token_trees, "_BATCH", 2)
    _, top = await access.child()
    await children(access, top, 15)
    await access.tokens.revoke(top.record_id)
    rounds = 0
    while len(await ids(access)) > 1:
        assert await access.tokens.revoke_expired(limit=50) in {1, 50}  # 50: there is more
        rounds += 1
    assert rounds >= 3


async def test_a_token_that_was_renewed_since_it_was_found_expired_stays(access, monkeypatch):
    token, entry = await access.child(ttl=60)
    stale = await access.storage.get_record(KIND, entry.record_id)
    await access.tokens.renew(entry.record_id, increment=600)
    access.clock.advance(61)

    async def expired_records(_self, kind, *, before, limit):
        return [stale]

    monkeypatch.setattr("tests.support.memory_storage._Reader.expired_records", expired_records)
    await access.tokens.revoke_expired()
    assert await access.tokens.authenticate(token)


# --- what hangs on tokens -----------------------------------------------------------------------------------------


async def test_what_hangs_on_a_token_goes_before_it_does(access):
    hangings = Hangings()
    await store_with(access, hangings)
    _, top = await access.child()
    made = [top, *(entry for _, entry in await children(access, top, 3))]
    hangings.rows = {entry.record_id: 5 for entry in made}
    await access.tokens.revoke(top.record_id)
    assert set(hangings.rows.values()) == {0}
    assert len(await ids(access)) == 1


async def test_a_token_on_which_much_hangs_stays_refused_until_that_is_gone(access, monkeypatch):
    monkeypatch.setattr(token_trees, "_INLINE", 1)
    hangings = Hangings()
    await store_with(access, hangings)
    token, entry = await access.child()
    hangings.rows = {entry.record_id: 100}
    await access.tokens.revoke(entry.record_id)
    assert decode(await access.storage.get_record(KIND, entry.record_id)).revoked
    assert await refused(access, token)
    await access.tokens.revoke_expired()
    assert entry.record_id not in await ids(access)
    assert hangings.rows[entry.record_id] == 0


async def test_an_attachment_that_fails_leaves_the_token_as_it_was(access):
    async def failing(_txn, _record_id):
        raise InvalidRequestError("no")

    token, entry = await access.child()
    store = await store_with(access, failing)
    with pytest.raises(InvalidRequestError):
        await store.revoke(entry.record_id)
    assert await access.tokens.authenticate(token)


# --- revoking alone -----------------------------------------------------------------------------------------------


async def test_many_children_are_orphaned_some_at_a_time_and_live_all_the_while(access, monkeypatch):
    monkeypatch.setattr(token_trees, "_BATCH", 2)
    monkeypatch.setattr(token_trees, "_INLINE", 3)
    token, parent = await access.child()
    made = await children(access, parent, 9)
    assert await access.tokens.revoke_orphan(parent.record_id) is True
    assert await refused(access, token)
    left = await access.storage.child_records(KIND, parent.record_id)
    assert 0 < len(left) < 9
    for child, _ in made:
        assert await access.tokens.authenticate(child)
        assert access.tokens.peek(child)
        assert access.tokens.live_until(access.tokens.peek(child)) > access.clock.now()
    with pytest.raises(PermissionDeniedError):
        await access.child(parent)
    await access.tokens.revoke_expired()
    assert parent.record_id not in await ids(access)
    for child, _ in made:
        assert (await access.tokens.authenticate(child)).orphan


async def test_spared_children_survive_the_revocation_of_what_was_above(access, monkeypatch):
    monkeypatch.setattr(token_trees, "_BATCH", 2)
    monkeypatch.setattr(token_trees, "_INLINE", 1)
    _, top = await access.child()
    _, middle = await access.child(top)
    made = await children(access, middle, 7)
    await access.tokens.revoke_orphan(middle.record_id)
    await access.tokens.revoke(top.record_id)
    await access.tokens.revoke(middle.record_id)
    while await access.tokens.revoke_expired():
        pass
    assert len(await ids(access)) == 8
    for child, _ in made:
        assert (await access.tokens.authenticate(child)).orphan


# --- revoking by path ---------------------------------------------------------------------------------------------


async def test_tokens_are_revoked_by_the_start_of_their_path(access):
    for _ in range(5):
        _, parent = await access.child(path="auth/approle/login")
        await access.child(parent)
    keeper, _ = await access.child(path="auth/approle2/login")
    elsewhere, _ = await access.child(path="auth/approle/login", namespace="abc123")
    total = 0
    while count := await access.tokens.revoke_below("root/auth/approle/", limit=2):
        total += count
        assert total < 20
    assert total == 5
    for token in (keeper, elsewhere):
        assert await access.tokens.find(token)
    assert len(await ids(access)) == 3


async def test_an_interrupted_prefix_goes_on_where_it_was(access, monkeypatch):
    monkeypatch.setattr(token_trees, "_ROUND", 1)
    monkeypatch.setattr(token_trees, "_BATCH", 2)
    _, parent = await access.child(path="auth/approle/login")
    made = await children(access, parent, 9)
    calls = 0
    while await access.tokens.revoke_below("root/auth/approle/", limit=10):
        calls += 1
        for token, _ in made:
            assert await refused(access, token)
    assert calls > 3
    assert len(await ids(access)) == 1


# --- used up ------------------------------------------------------------------------------------------------------


async def test_of_two_that_use_a_token_up_one_does(access):
    token, _ = await access.child()
    other = access.worker()
    await other.open()

    async def body(txn, entry):
        await txn.put("core/used", entry.record_id.encode())
        return entry.record_id

    outcomes = await asyncio.gather(
        *(store.consume(token, body) for store in [access.tokens, other] * 5), return_exceptions=True
    )
    assert sum(isinstance(outcome, str) for outcome in outcomes) == 1
    assert {type(outcome) for outcome in outcomes if not isinstance(outcome, str)} == {InvalidRequestError}
    assert await refused(access, token)
    assert len(await ids(access)) == 1


async def test_a_body_that_fails_uses_nothing_up(access):
    token, _ = await access.child()

    async def body(txn, _entry):
        await txn.put("core/used", b"x")
        raise InvalidRequestError("no")

    with pytest.raises(InvalidRequestError, match="no"):
        await access.tokens.consume(token, body)
    assert await access.storage.get("core/used") is None
    assert await access.tokens.authenticate(token)


@pytest.mark.parametrize("token", ["", "hvs.unknown", "\udcff", "x" * 300])
async def test_what_is_no_token_is_not_used_up(access, token):
    async def body(_txn, _entry):
        raise AssertionError("must not run")

    with pytest.raises(InvalidRequestError, match="wrapping token is not valid or does not exist"):
        await access.tokens.consume(token, body)


async def test_what_is_written_with_a_token_is_written_with_it_or_not_at_all(access):
    async def also(txn, entry):
        await txn.put("core/beside", entry.record_id.encode())

    _, entry = await access.tokens.create(spec(), parent=None, also=also)
    assert (await access.storage.get("core/beside")).value == entry.record_id.encode()

    async def failing(txn, _entry):
        await txn.put("core/beside2", b"")
        raise InvalidRequestError("no")

    before = await ids(access)
    with pytest.raises(InvalidRequestError):
        await access.tokens.create(spec(), parent=None, also=failing)
    assert await ids(access) == before
    assert await access.storage.get("core/beside2") is None


def spec():
    return TokenSpec(policies=("default",), path="auth/token/create")


# --- what a token belongs to --------------------------------------------------------------------------------------


class Scopes:
    def __init__(self):
        self.gone = set()

    def is_live(self, namespace_id, mount_uuid):
        return namespace_id not in self.gone and mount_uuid not in self.gone


@pytest.mark.parametrize(("changes", "gone"), [({"namespace": "abc123"}, "abc123"), ({"mount": "u-1"}, "u-1")])
@pytest.mark.parametrize("kind", ["service", "batch"])
async def test_a_token_ends_with_its_namespace_and_its_login_mount(access, changes, gone, kind):
    scopes = Scopes()
    store = await store_with(access, scopes=scopes)
    token, entry = await access.child(orphan=True, type=kind, **changes)
    child, _ = await access.child(entry) if kind == "service" else (token, entry)
    for known in (token, child):
        await store.find(known)
        assert store.peek(known)
    scopes.gone.add(gone)
    for known in (token, child):
        assert store.peek(known) is None
        assert await refused(access, known)
    assert await store.find_accessor(entry.accessor) is None
    assert entry.accessor not in await store.accessors()
    with pytest.raises(InvalidRequestError, match="token not found"):
        await store.renew(entry.record_id)
    with pytest.raises(PermissionDeniedError):
        await access.child(entry)


# --- records ------------------------------------------------------------------------------------------------------


async def test_a_record_says_where_its_token_is_from(access):
    _, entry = await access.child(path="auth/approle/login", namespace="abc123")
    record = await access.storage.get_record(KIND, entry.record_id)
    assert record.path == f"abc123/auth/approle/login/{entry.record_id}"


async def test_a_record_from_before_there_were_namespaces_is_of_the_root(access):
    token, entry = await access.child()
    record = await access.storage.get_record(KIND, entry.record_id)
    old = {name: value for name, value in msgspec.json.decode(record.body).items() if name != "namespace"}

    async def body(txn):
        await txn.put_record(KIND, replace(record, body=msgspec.json.encode(old), path=""))

    await access.storage.transact(body)
    assert (await access.tokens.authenticate(token)).namespace == "root"


# --- clocks -------------------------------------------------------------------------------------------------------


async def test_a_clock_that_steps_back_revives_no_tree_that_is_being_deleted(access, monkeypatch):
    monkeypatch.setattr(token_trees, "_BATCH", 1)
    monkeypatch.setattr(token_trees, "_ROUND", 1)
    token, parent = await access.child(ttl=60)
    made = await children(access, parent, 4)
    access.clock.advance(60)
    await access.tokens.revoke_expired()
    access.clock.advance(-50)
    for known in (token, *(child for child, _ in made)):
        assert await refused(access, known)
    with pytest.raises(PermissionDeniedError):
        await access.child(parent)


async def test_a_token_made_anew_under_the_same_id_is_not_deleted_with_the_former_one(access):
    """Two processes delete a tree; one is done, and its top is made anew before the other's next step."""
    _, former = await access.child(token_id="chosen")
    await access.child(former)
    await access.tokens.revoke(former.record_id)
    token, anew = await access.child(token_id="chosen")
    child, _ = await access.child(anew)
    assert anew.record_id == former.record_id
    await access.tokens.trees.detach_missing(former.record_id)
    for known in (token, child):
        assert await access.tokens.authenticate(known)
