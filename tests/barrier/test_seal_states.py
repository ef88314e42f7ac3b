"""Initialise, unseal, seal: on both engines, with workers that share a ring and a token."""

import asyncio

import pytest

from barrier.escrow import recover_escrow
from barrier.initialize import InitRequest
from barrier.seal import Barrier, SealState
from barrier.share_counts import ShareCounts
from core.errors import (
    HsmConfigError,
    HsmGoneError,
    IntegrityError,
    InvalidRequestError,
    NotInitializedError,
    SealedError,
    StoreUnavailableError,
)
from core.protocols import CoreTransaction, KeyKind, KeyUsage, Record, WrappedKey
from core.secret import Secret
from tests.barrier.nodes import QUORUM, Node, execute, initialize, no_first_writes
from tests.unit.barrier.software_hsm import SoftwareHsm

# --- init ---------------------------------------------------------------------------------------------------------


async def test_an_empty_store_is_not_initialized(node: Node) -> None:
    barrier = await node.worker()
    assert barrier.state is SealState.NOT_INITIALIZED
    status = await barrier.status()
    assert (status.initialized, status.sealed, status.cluster_id) == (False, True, "")
    for refused in (barrier.unseal_from_hsm, barrier.seal, barrier.rotate, barrier.reset_unseal):
        with pytest.raises(NotInitializedError):
            await refused()
    with pytest.raises(SealedError):
        await barrier.storage.get("a")


async def test_init_unseals_and_makes_the_first_writes(node: Node) -> None:
    async def first_writes(transaction: CoreTransaction) -> None:
        await transaction.put("core/mounts", b"table")
        await transaction.put_record("token", Record(record_id="root", body=b"x"))

    barrier = await node.worker()
    result = await barrier.initialize(QUORUM, first_writes)
    assert barrier.state is SealState.UNSEALED
    assert [len(share) for share in result.recovery_shares] == [33] * 5
    assert [len(words.split()) for words in result.escrow_words] == [33] * 5
    assert await barrier.storage.list("") == ["core/"]
    assert await barrier.storage.get_record("token", "root") is not None
    status = await barrier.status()
    assert (status.initialized, status.sealed, status.t, status.n) == (True, False, 3, 5)
    assert (status.cluster_id, status.escrow) == (result.cluster_id, ShareCounts(shares=5, threshold=3))


async def test_init_without_its_first_writes_leaves_nothing(node: Node) -> None:
    async def fail(transaction: CoreTransaction) -> None:
        await transaction.put("core/mounts", b"table")
        raise LookupError

    barrier = await node.worker()
    with pytest.raises(LookupError):
        await barrier.initialize(QUORUM, fail)
    assert barrier.state is SealState.NOT_INITIALIZED
    await initialize(barrier)
    assert await barrier.storage.list("") == []


async def test_a_second_init_is_refused(node: Node, barrier: Barrier) -> None:
    with pytest.raises(InvalidRequestError, match="already initialized"):
        await initialize(barrier)
    with pytest.raises(InvalidRequestError, match="already initialized"):
        await initialize(await node.worker())


async def test_of_two_initialisers_exactly_one_wins(node: Node) -> None:
    workers = [await node.worker() for _ in range(2)]
    outcomes = await asyncio.gather(*(initialize(worker) for worker in workers), return_exceptions=True)
    assert sum(isinstance(outcome, InvalidRequestError) for outcome in outcomes) == 1
    for worker in workers:
        await worker.refresh()
        await worker.storage.put("a", b"x")
    assert len({(await worker.status()).cluster_id for worker in workers}) == 1


async def test_other_workers_notice_an_init(node: Node) -> None:
    first, second = await node.worker(), await node.worker()
    await second.refresh()
    await initialize(first)
    assert second.needs_refresh
    assert await second.refresh() is SealState.UNSEALED


async def test_an_init_killed_before_it_could_say_so_is_noticed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the commit and the ring's seal word there is a moment; who waits for the word waits for ever."""

    class Killed(BaseException):
        pass

    def killed(**_changes: object) -> None:
        raise Killed

    first, second, third = [await node.worker() for _ in range(3)]
    for worker in (second, third):
        await worker.refresh()
    monkeypatch.setattr(first._ring, "bump_seal", killed)
    with pytest.raises(Killed):
        await initialize(first)
    assert second.needs_refresh
    assert await second.refresh() is SealState.UNSEALED
    assert not second.needs_refresh
    with pytest.raises(InvalidRequestError, match="already initialized"):
        await initialize(third)
    assert third.needs_refresh
    assert await third.refresh() is SealState.UNSEALED


@pytest.mark.parametrize(
    "request_",
    [
        InitRequest(recovery_shares=17, recovery_threshold=3),
        InitRequest(recovery_shares=3, recovery_threshold=4),
        InitRequest(recovery_shares=3, recovery_threshold=1),
        InitRequest(recovery_shares=3),
        InitRequest(recovery_threshold=3),
        InitRequest(recovery_shares=-1, recovery_threshold=-1),
        InitRequest(escrow_shares=17, escrow_threshold=3),
        InitRequest(escrow_shares=3),
        InitRequest(escrow_threshold=2),
        InitRequest(escrow_shares=0, escrow_threshold=0),
        InitRequest(escrow_shares=3, escrow_threshold=2, escrow_declined=True),
    ],
)
async def test_init_refuses_share_counts_that_cannot_be(node: Node, request_: InitRequest) -> None:
    barrier = await node.worker()
    with pytest.raises(InvalidRequestError):
        await initialize(barrier, request_)
    assert barrier.state is SealState.NOT_INITIALIZED


async def test_a_declined_escrow_leaves_no_words_and_no_escrow_blobs(node: Node) -> None:
    hsm = SoftwareHsm()
    barrier = await node.worker(hsm)
    result = await initialize(barrier, InitRequest(escrow_declined=True))
    assert result.escrow_words == []
    assert hsm.escrow_id == ""
    assert hsm.sealing_key is not None
    assert hsm.sealing_key.escrow is None
    with pytest.raises(InvalidRequestError):
        await barrier.escrow_challenge()


async def test_init_wants_the_escrow_key_that_it_is_to_split(node: Node) -> None:
    barrier = await node.worker(SoftwareHsm(escrow_id=""))
    with pytest.raises(HsmConfigError, match="escrow"):
        await initialize(barrier)


async def test_every_key_of_the_cluster_has_an_escrow_blob(node: Node) -> None:
    hsm = SoftwareHsm()
    barrier = await node.worker(hsm)
    await initialize(barrier)
    cluster = barrier._records.cluster  # type: ignore[union-attr]
    assert cluster.escrow_id == "escrow-1"
    assert {key.escrow_id for key in (cluster.root_key, cluster.sealing_key)} == {"escrow-1"}
    assert all(key.escrow for key in (cluster.root_key, cluster.sealing_key))


async def test_an_init_that_failed_after_the_release_can_be_made_again(node: Node) -> None:
    """The HSM gives the escrow key once; the process keeps it until the words are made for good."""

    class GoneOnce(SoftwareHsm):
        was_gone = False

        async def generate_key(self, kind: KeyKind, *, usage: KeyUsage) -> WrappedKey:
            if not self.was_gone:
                self.was_gone = True
                raise HsmGoneError("the HSM is gone")
            return await super().generate_key(kind, usage=usage)

    hsm = GoneOnce()
    barrier = await node.worker(hsm)
    with pytest.raises(HsmGoneError):
        await initialize(barrier)
    assert barrier.state is SealState.NOT_INITIALIZED
    result = await initialize(barrier)
    assert recover_escrow(result.escrow_words[:3]) == Secret(hsm._escrow)


async def test_the_words_are_the_escrow_key(node: Node) -> None:
    """What `mimir operator escrow verify` does: unwrap the challenge with the words' value."""
    from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
    from shamir_mnemonic import combine_mnemonics

    barrier = await node.worker()
    result = await initialize(barrier, InitRequest(escrow_shares=3, escrow_threshold=2))
    value, wrapped = await barrier.escrow_challenge()
    assert aes_key_unwrap(combine_mnemonics(result.escrow_words[1:]), wrapped) == value


# --- auto-unseal --------------------------------------------------------------------------------------------------


async def test_a_worker_unseals_from_the_hsm(node: Node, barrier: Barrier) -> None:
    await barrier.storage.put("a", b"x")
    worker = await node.worker()
    assert worker.state is SealState.SEALED
    await worker.unseal_from_hsm()
    assert await worker.storage.list("") == ["a"]


@pytest.mark.usefixtures("barrier")
async def test_a_kek_of_another_cluster_is_named_and_nothing_is_written(node: Node) -> None:
    worker = await node.worker(SoftwareHsm(kek_id="kek-other"))
    with pytest.raises(HsmConfigError, match=r"cluster [-0-9a-f]{36}, sealed under KEK kek-1, .* holds KEK kek-other"):
        await worker.unseal_from_hsm()
    assert worker.state is SealState.SEALED
    await (await node.worker()).unseal_from_hsm()


@pytest.mark.usefixtures("barrier")
async def test_a_kek_with_the_right_name_and_another_value_is_refused(node: Node) -> None:
    worker = await node.worker(SoftwareHsm(kek=b"X" * 32))
    with pytest.raises(HsmConfigError):
        await worker.unseal_from_hsm()
    assert worker.state is SealState.SEALED


@pytest.mark.usefixtures("barrier")
async def test_a_worker_whose_hsm_is_gone_unseals_when_it_is_back(node: Node) -> None:
    hsm = SoftwareHsm()
    worker = await node.worker(hsm)
    hsm.gone = True
    with pytest.raises(HsmGoneError):
        await worker.refresh()
    assert worker.state is SealState.SEALED
    assert worker.needs_refresh
    hsm.gone = False
    assert await worker.refresh() is SealState.UNSEALED


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (
            "UPDATE seal SET value = (SELECT value FROM seal WHERE name = 'recovery') WHERE name = 'keyring'",
            "seal/keyring",
        ),
        ("DELETE FROM seal WHERE name = 'keyring'", "seal/keyring"),
    ],
)
@pytest.mark.usefixtures("barrier")
async def test_an_edited_keyring_is_named(node: Node, statement: str, named: str) -> None:
    await execute(node.url, statement)
    with pytest.raises(IntegrityError, match=named):
        await (await node.worker()).unseal_from_hsm()


@pytest.mark.usefixtures("barrier")
async def test_a_lowered_recovery_threshold_does_not_open(node: Node) -> None:
    raw = "CAST(replace(CAST(value AS text), '\"threshold\":3', '\"threshold\":2') AS blob)"
    if node.url.startswith("postgresql"):
        raw = "convert_to(replace(convert_from(value, 'UTF8'), '\"threshold\":3', '\"threshold\":2'), 'UTF8')"
    await execute(node.url, f"UPDATE seal SET value = {raw} WHERE name = 'cluster'")
    worker = await node.worker()
    assert (await worker.status()).t == 2
    with pytest.raises(IntegrityError, match="seal/cluster"):
        await worker.unseal_from_hsm()


# --- sys/seal, and recovery keys ------------------------------------------------------------------------------------


async def sealed(node: Node, request: InitRequest = QUORUM) -> tuple[Barrier, list[Secret]]:
    """A worker after an operator's seal, and the recovery keys."""
    barrier = await node.worker()
    result = await barrier.initialize(request, no_first_writes)
    await barrier.seal()
    return barrier, [Secret(share) for share in result.recovery_shares]


async def test_a_seal_reaches_every_worker_and_empties_the_hsm(node: Node, barrier: Barrier) -> None:
    hsm = SoftwareHsm()
    other = await node.worker(hsm)
    await other.unseal_from_hsm()
    await barrier.seal()
    assert other.needs_refresh
    assert await other.refresh() is SealState.SEALED
    assert (hsm.loaded_keys, hsm.sealing_key) == (0, None)
    with pytest.raises(SealedError):
        await other.storage.get("a")


async def test_a_seal_reaches_a_worker_that_cannot_reach_the_store(
    node: Node, barrier: Barrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreachable(_work: object) -> None:
        raise StoreUnavailableError("the database cannot be reached")

    hsm = SoftwareHsm()
    other = await node.worker(hsm)
    await other.unseal_from_hsm()
    monkeypatch.setattr(other._database, "read", unreachable)
    await barrier.seal()
    with pytest.raises(StoreUnavailableError):
        await other.refresh()
    assert other.state is SealState.SEALED
    assert (hsm.loaded_keys, hsm.sealing_key) == (0, None)
    with pytest.raises(SealedError):
        _ = other.storage.keyring


async def test_a_seal_while_another_worker_opens_is_not_overtaken(
    node: Node, barrier: Barrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    hsm = SoftwareHsm()
    other = await node.worker(hsm)

    async def seal_meanwhile() -> None:
        await barrier.seal()

    monkeypatch.setattr(hsm, "settle_escrow", seal_meanwhile)
    await other.refresh()
    assert other.state is SealState.SEALED
    assert hsm.sealing_key is None


async def test_a_restarted_worker_stays_sealed_and_a_restarted_service_does_not(node: Node, barrier: Barrier) -> None:
    await barrier.seal()
    worker = await node.worker()
    assert await worker.refresh() is SealState.SEALED
    with pytest.raises(SealedError):
        await worker.unseal_from_hsm()
    node.restart()
    await (await node.worker()).unseal_from_hsm()


async def test_a_quorum_unseals_every_worker(node: Node) -> None:
    barrier, keys = await sealed(node)
    other = await node.worker()
    await other.refresh()
    assert (await barrier.unseal_share(keys[4])).progress == 1
    progress = await other.unseal_share(keys[0])
    assert (progress.t, progress.n, progress.progress, progress.sealed) == (3, 5, 2, True)
    assert progress.nonce == (await barrier.status()).nonce
    assert progress.nonce
    done = await barrier.unseal_share(keys[2])
    assert (done.sealed, done.progress, done.nonce) == (False, 0, "")
    assert await other.refresh() is SealState.UNSEALED
    await other.storage.put("a", b"x")


async def test_a_share_given_twice_counts_once(node: Node) -> None:
    barrier, keys = await sealed(node)
    for _ in range(4):
        assert (await barrier.unseal_share(keys[1])).progress == 1


async def test_a_wrong_quorum_resets_the_progress(node: Node) -> None:
    barrier, keys = await sealed(node)
    wrong = Secret(bytes(32) + keys[2].expose()[-1:])
    await barrier.unseal_share(keys[0])
    await barrier.unseal_share(keys[1])
    with pytest.raises(InvalidRequestError, match="reset"):
        await barrier.unseal_share(wrong)
    status = await barrier.status()
    assert (status.sealed, status.progress) == (True, 0)
    for key in keys[:3]:
        await barrier.unseal_share(key)
    assert barrier.state is SealState.UNSEALED


@pytest.mark.parametrize("share", [b"", b"x" * 32, b"x" * 32 + b"\0", b"x" * 32 + b"\x11", b"x" * 34])
async def test_what_is_no_share_is_refused_and_does_not_count(node: Node, share: bytes) -> None:
    barrier, _keys = await sealed(node)
    with pytest.raises(InvalidRequestError):
        await barrier.unseal_share(Secret(share))
    assert (await barrier.status()).progress == 0


async def test_two_shares_with_one_index_are_a_wrong_quorum(node: Node) -> None:
    barrier, keys = await sealed(node)
    await barrier.unseal_share(keys[0])
    await barrier.unseal_share(Secret(bytes(32) + keys[0].expose()[-1:]))
    with pytest.raises(InvalidRequestError, match="reset"):
        await barrier.unseal_share(keys[1])


async def test_a_reset_forgets_the_shares(node: Node) -> None:
    barrier, keys = await sealed(node)
    nonce = (await barrier.unseal_share(keys[0])).nonce
    assert (await barrier.reset_unseal()).progress == 0
    assert (await barrier.unseal_share(keys[1])).nonce != nonce


async def test_shares_of_an_earlier_attempt_are_forgotten_by_the_next_seal(node: Node) -> None:
    barrier, keys = await sealed(node)
    await barrier.unseal_share(keys[0])
    node.restart()
    worker = await node.worker()
    await worker.unseal_from_hsm()
    await worker.seal()
    assert (await worker.status()).progress == 0


async def test_one_of_one(node: Node) -> None:
    barrier, keys = await sealed(node, InitRequest(recovery_shares=1, recovery_threshold=1))
    with pytest.raises(InvalidRequestError, match="reset"):
        await barrier.unseal_share(Secret(b"x" * 32 + b"\1"))
    assert not (await barrier.unseal_share(keys[0])).sealed


async def test_without_recovery_keys_only_a_restart_unseals(node: Node) -> None:
    """As OpenBao: with no recovery key there is nothing that a share could add up to."""
    barrier, keys = await sealed(node, InitRequest())
    assert keys == []
    with pytest.raises(InvalidRequestError, match="restart the service"):
        await barrier.unseal_share(Secret(b"x" * 32 + b"\1"))
    node.restart()
    await (await node.worker()).unseal_from_hsm()


async def test_a_share_for_an_unsealed_appliance_changes_nothing(barrier: Barrier) -> None:
    progress = await barrier.unseal_share(Secret(b"anything"))
    assert (progress.sealed, progress.progress) == (False, 0)


async def test_collecting_shares_leaves_no_key_in_the_hsm(node: Node) -> None:
    _barrier, keys = await sealed(node)
    hsm = SoftwareHsm()
    worker = await node.worker(hsm)
    await worker.refresh()
    await worker.unseal_share(keys[0])
    assert (await worker.status()).progress == 1
    assert hsm.loaded_keys == 0


# --- terms --------------------------------------------------------------------------------------------------------


async def test_rotate_adds_a_term_and_old_entries_still_open(node: Node, barrier: Barrier) -> None:
    other = await node.worker()
    await other.unseal_from_hsm()
    await barrier.storage.put("old", b"x")
    node.clock.advance(60)
    assert await barrier.rotate() == 2
    assert other.needs_refresh
    await barrier.storage.put("new", b"x")
    for path in ("old", "new"):
        assert await other.storage.get(path) is not None  # also before its refresh: it reloads the keyring
    status = await other.key_status()
    assert (status.term, status.installed_at) == (2, int(node.clock.now()))


async def test_a_transaction_meets_a_newer_term(node: Node, barrier: Barrier) -> None:
    other = await node.worker()
    await other.unseal_from_hsm()
    await barrier.rotate()
    await barrier.storage.put("new", b"x")
    entry = await other.storage.transact(lambda transaction: transaction.get("new"))
    assert entry is not None


async def test_rotations_of_two_workers_both_count(node: Node, barrier: Barrier) -> None:
    other = await node.worker()
    await other.unseal_from_hsm()
    assert sorted(await asyncio.gather(barrier.rotate(), other.rotate())) == [2, 3]


async def test_encryptions_are_counted_in_blocks(barrier: Barrier) -> None:
    assert (await barrier.key_status()).encryptions == 0
    await barrier.storage.put("a", b"x")
    assert (await barrier.key_status()).encryptions == 65_536


async def test_a_term_retires_before_its_nonces_may_collide(node: Node, barrier: Barrier) -> None:
    value = '{"term":1,"reserved":2147483648}'
    raw = f"CAST('{value}' AS blob)" if node.url.startswith("sqlite") else f"convert_to('{value}', 'UTF8')"
    await execute(node.url, f"INSERT INTO seal (name, revision, value) VALUES ('usage', 1, {raw})")
    await barrier.storage.put("a", b"x")
    assert (await barrier.key_status()).term == 2
