"""What a quorum of recovery keys authorises: root generation, and the rotation of root key and recovery keys."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from barrier.ceremonies import NewShares, RecoveryRotation, RootGeneration, RootKeyRotation
from barrier.ceremony import LAPSES_AFTER, Ceremony
from barrier.initialize import InitRequest
from barrier.seal import Barrier, SealState
from barrier.share_counts import ShareCounts
from core.errors import IntegrityError, InvalidRequestError, SealedError
from core.secret import Secret
from tests.barrier.nodes import QUORUM, Node, execute, initialize

OTP = "0123456789ABCDEFGHIJKLMNOPab"
WANTED = ShareCounts(shares=4, threshold=2)


@pytest.fixture
async def cluster(node: Node) -> tuple[Barrier, list[Secret]]:
    """An unsealed worker, and the recovery keys: 3 of 5."""
    barrier = await node.worker()
    made = await initialize(barrier, QUORUM)
    return barrier, [Secret(share) for share in made.recovery_shares]


@pytest.fixture
def barrier(cluster: tuple[Barrier, list[Secret]]) -> Barrier:
    return cluster[0]


@pytest.fixture
def shares(cluster: tuple[Barrier, list[Secret]]) -> list[Secret]:
    return cluster[1]


@pytest.fixture
def generation(barrier: Barrier, node: Node) -> RootGeneration:
    return RootGeneration(barrier, node.clock)


@pytest.fixture
def root_key(barrier: Barrier, node: Node) -> RootKeyRotation:
    return RootKeyRotation(barrier, node.clock)


@pytest.fixture
def recovery(barrier: Barrier, node: Node) -> RecoveryRotation:
    return RecoveryRotation(barrier, node.clock)


def forged(share: Secret) -> Secret:
    """With another value under the same number."""
    raw = share.expose()
    return Secret(bytes([raw[0] ^ 1]) + raw[1:])


async def rotated(recovery: RecoveryRotation, shares: list[Secret], wanted: ShareCounts = WANTED) -> NewShares:
    nonce = (await recovery.start(wanted, is_verified=False)).nonce
    given = [await recovery.give(share, nonce) for share in shares[:3]]
    assert given[:2] == [None, None]
    assert given[2] is not None
    return given[2]


async def unseals(barrier: Barrier, shares: list[Secret]) -> bool:
    """Seal, and whether these open it again."""
    await barrier.seal()
    try:
        for share in shares:
            await barrier.unseal_share(share)
    except InvalidRequestError:
        return False
    return barrier.state is SealState.UNSEALED


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nonce", ["", "x", "é", "2dbd10f1-8528-6246-09e7-82b25b8aba63"])
async def test_a_share_for_another_nonce_is_refused(
    generation: RootGeneration, shares: list[Secret], nonce: str
) -> None:
    started = await generation.start(OTP)
    with pytest.raises(InvalidRequestError, match="nonce") as caught:
        await generation.give(shares[0], nonce)
    assert started.nonce not in caught.value.sentence
    assert (await generation.status()).progress == 0


async def test_a_share_without_an_attempt_is_refused(generation: RootGeneration, shares: list[Secret]) -> None:
    with pytest.raises(InvalidRequestError, match="no root generation in progress"):
        await generation.give(shares[0], "")


async def test_a_second_attempt_is_refused(generation: RootGeneration) -> None:
    nonce = (await generation.start(OTP)).nonce
    with pytest.raises(InvalidRequestError, match="already in progress"):
        await generation.start(OTP)
    assert (await generation.status()).nonce == nonce


async def test_a_share_given_twice_is_refused(generation: RootGeneration, shares: list[Secret]) -> None:
    nonce = (await generation.start(OTP)).nonce
    await generation.give(shares[0], nonce)
    with pytest.raises(InvalidRequestError, match="already been provided"):
        await generation.give(shares[0], nonce)
    assert (await generation.status()).progress == 1


@pytest.mark.parametrize("raw", [b"", b"x" * 32, b"x" * 32 + b"\0", b"x" * 32 + b"\x11", b"x" * 34])
async def test_what_is_no_share_is_refused(generation: RootGeneration, raw: bytes) -> None:
    nonce = (await generation.start(OTP)).nonce
    with pytest.raises(InvalidRequestError, match="recovery key"):
        await generation.give(Secret(raw), nonce)
    assert (await generation.status()).progress == 0


async def test_a_wrong_share_resets_the_progress_and_keeps_the_attempt(
    generation: RootGeneration, shares: list[Secret]
) -> None:
    nonce = (await generation.start(OTP)).nonce
    for share in shares[:2]:
        assert await generation.give(share, nonce) is None
    with pytest.raises(InvalidRequestError, match="do not fit together"):
        await generation.give(forged(shares[2]), nonce)
    status = await generation.status()
    assert (status.nonce, status.progress) == (nonce, 0)
    assert [await generation.give(share, nonce) for share in shares[2:]] == [None, None, OTP]


async def test_shares_of_another_cluster_are_wrong(recovery: RecoveryRotation, shares: list[Secret]) -> None:
    """Those before the last rotation are such."""
    await rotated(recovery, shares, QUORUM.recovery_counts())
    nonce = (await recovery.start(WANTED, is_verified=False)).nonce
    for share in shares[:2]:
        await recovery.give(share, nonce)
    with pytest.raises(InvalidRequestError, match="do not fit together"):
        await recovery.give(shares[2], nonce)


@pytest.mark.parametrize("nonce", ["", "wrong"])
async def test_cancelling_without_the_nonce_is_refused(
    generation: RootGeneration, recovery: RecoveryRotation, root_key: RootKeyRotation, shares: list[Secret], nonce: str
) -> None:
    for start in (
        lambda: generation.start(OTP),
        lambda: recovery.start(WANTED, is_verified=True),
        root_key.start,
    ):
        await start()
    for ceremony in (generation, recovery, root_key):
        with pytest.raises(InvalidRequestError, match="nonce"):
            await ceremony.cancel(nonce)
        assert (await ceremony.status()).started


async def test_an_ended_attempt_cannot_be_replayed(generation: RootGeneration, shares: list[Secret]) -> None:
    nonce = (await generation.start(OTP)).nonce
    for share in shares[:3]:
        await generation.give(share, nonce)
    with pytest.raises(InvalidRequestError, match="no root generation"):
        await generation.give(shares[3], nonce)
    await generation.start(OTP)
    with pytest.raises(InvalidRequestError, match="incorrect nonce"):
        await generation.give(shares[3], nonce)


async def test_an_attempt_lapses_when_nobody_goes_on(
    generation: RootGeneration, shares: list[Secret], node: Node
) -> None:
    """Or a stranger's attempt would keep everybody else's out for ever."""
    nonce = (await generation.start(OTP)).nonce
    node.clock.advance(LAPSES_AFTER - 1)
    await generation.give(shares[0], nonce)
    node.clock.advance(LAPSES_AFTER - 1)
    assert (await generation.status()).progress == 1
    node.clock.advance(1)
    assert not (await generation.status()).started
    with pytest.raises(InvalidRequestError, match="no root generation"):
        await generation.give(shares[1], nonce)
    assert (await generation.start(OTP)).progress == 0


@pytest.mark.parametrize("counts", [(0, 0), (0, 1), (3, 0), (3, 4), (3, 1), (17, 3), (-1, -1)])
async def test_new_keys_that_cannot_be_are_refused(recovery: RecoveryRotation, counts: tuple[int, int]) -> None:
    with pytest.raises(InvalidRequestError, match="secret_"):
        await recovery.start(ShareCounts(shares=counts[0], threshold=counts[1]), is_verified=False)


async def test_nothing_happens_while_sealed(
    barrier: Barrier, generation: RootGeneration, recovery: RecoveryRotation, shares: list[Secret]
) -> None:
    nonce = (await generation.start(OTP)).nonce
    await barrier.seal()
    refused: list[Callable[[], Awaitable[object]]] = [
        generation.status,
        lambda: generation.start(OTP),
        lambda: generation.give(shares[0], nonce),
        lambda: generation.cancel(nonce),
        lambda: recovery.start(WANTED, is_verified=False),
        lambda: recovery.verify(shares[0], nonce),
        lambda: recovery.restart_verification(nonce),
        lambda: recovery.make_first(WANTED),
    ]
    for refusal in refused:
        with pytest.raises(SealedError):
            await refusal()


async def test_without_recovery_keys_nothing_can_be_authorised(node: Node) -> None:
    barrier = await node.worker()
    await initialize(barrier, InitRequest())
    with pytest.raises(InvalidRequestError, match="no recovery keys"):
        await RootGeneration(barrier, node.clock).start(OTP)
    with pytest.raises(InvalidRequestError, match="no recovery keys"):
        await RecoveryRotation(barrier, node.clock).start(WANTED, is_verified=False)


async def test_first_keys_are_for_a_cluster_that_has_none(recovery: RecoveryRotation) -> None:
    assert await recovery.make_first(WANTED) is None


async def test_an_edited_attempt_is_refused(generation: RootGeneration, node: Node) -> None:
    await generation.start(OTP)
    await execute(
        node.url, "UPDATE seal SET value = (SELECT value FROM seal WHERE name = 'keyring') WHERE name = 'generate-root'"
    )
    with pytest.raises(IntegrityError, match="generate-root"):
        await generation.status()


# --- what they do -------------------------------------------------------------------------------------------------


async def test_a_quorum_gets_the_pad_once(generation: RootGeneration, shares: list[Secret]) -> None:
    started = await generation.start(OTP)
    assert (started.started, started.progress, started.required) == (True, 0, 3)
    assert [await generation.give(share, started.nonce) for share in shares[1:4]] == [None, None, OTP]
    assert not (await generation.status()).started


async def test_workers_share_one_attempt(generation: RootGeneration, shares: list[Secret], node: Node) -> None:
    other_worker = await node.worker()
    await other_worker.unseal_from_hsm()
    other = RootGeneration(other_worker, node.clock)
    nonce = (await generation.start(OTP)).nonce
    assert (await other.status()).nonce == nonce
    assert await other.give(shares[0], nonce) is None
    assert await generation.give(shares[1], nonce) is None
    with pytest.raises(InvalidRequestError, match="already been provided"):
        await generation.give(shares[0], nonce)
    assert await other.give(shares[2], nonce) == OTP


async def test_of_concurrent_last_shares_one_gets_the_pad(
    generation: RootGeneration, shares: list[Secret], node: Node
) -> None:
    other_worker = await node.worker()
    await other_worker.unseal_from_hsm()
    other = RootGeneration(other_worker, node.clock)
    nonce = (await generation.start(OTP)).nonce
    for share in shares[:2]:
        await generation.give(share, nonce)
    outcomes = await asyncio.gather(
        *(each.give(share, nonce) for each in (generation, other) for share in shares[2:]), return_exceptions=True
    )
    assert outcomes.count(OTP) == 1
    assert sum(isinstance(outcome, InvalidRequestError) for outcome in outcomes) == len(outcomes) - 1


async def test_of_concurrent_starts_one_wins(generation: RootGeneration, node: Node) -> None:
    other_worker = await node.worker()
    await other_worker.unseal_from_hsm()
    other = RootGeneration(other_worker, node.clock)
    outcomes = await asyncio.gather(*(each.start(OTP) for each in (generation, other) * 3), return_exceptions=True)
    assert sum(isinstance(outcome, InvalidRequestError) for outcome in outcomes) == 5


@pytest.mark.parametrize("with_nonce", [True, False], ids=["by its nonce", "by a policy"])
async def test_a_cancelled_attempt_is_forgotten(generation: RootGeneration, with_nonce: bool) -> None:
    nonce = (await generation.start(OTP)).nonce
    await generation.cancel(nonce if with_nonce else None)
    assert not (await generation.status()).started
    await generation.cancel("whatever there is: nothing")


async def test_new_recovery_keys_replace_the_old(
    barrier: Barrier, recovery: RecoveryRotation, shares: list[Secret]
) -> None:
    await barrier.storage.put("a", b"kept")
    new = (await rotated(recovery, shares)).shares
    assert [share.expose()[-1] for share in new] == [1, 2, 3, 4]
    await barrier.refresh()
    status = await barrier.status()
    assert (status.t, status.n) == (2, 4)
    assert not await unseals(barrier, shares[:2])
    assert await unseals(barrier, new[2:])
    entry = await barrier.storage.get("a")
    assert entry is not None
    assert entry.value == b"kept"


async def test_another_worker_follows_a_rotation(
    barrier: Barrier, recovery: RecoveryRotation, root_key: RootKeyRotation, shares: list[Secret], node: Node
) -> None:
    other = await node.worker()
    await other.unseal_from_hsm()
    new = (await rotated(recovery, shares)).shares
    await root_key.rotate()
    assert other.needs_refresh
    await other.rotate()  # under way before it looked
    await other.refresh()
    assert (await other.status()).n == 4
    await barrier.refresh()
    await barrier.storage.put("a", b"x")
    assert await other.storage.get("a") is not None
    assert await unseals(other, new[:2])


async def test_an_attempt_with_the_old_keys_ends_with_them(
    recovery: RecoveryRotation, generation: RootGeneration, shares: list[Secret]
) -> None:
    nonce = (await generation.start(OTP)).nonce
    await generation.give(shares[0], nonce)
    await rotated(recovery, shares)
    assert not (await generation.status()).started


async def test_unverified_keys_do_not_count(barrier: Barrier, recovery: RecoveryRotation, shares: list[Secret]) -> None:
    nonce = (await recovery.start(WANTED, is_verified=True)).nonce
    new = [await recovery.give(share, nonce) for share in shares[:3]][-1]
    assert new is not None
    with pytest.raises(InvalidRequestError, match="verification"):
        await recovery.give(shares[3], nonce)
    with pytest.raises(InvalidRequestError, match="nonce"):
        await recovery.verify(new.shares[0], nonce)  # that of the attempt, not of the verification
    assert not await recovery.verify(new.shares[0], new.verification_nonce)
    with pytest.raises(InvalidRequestError, match="already been provided"):
        await recovery.verify(new.shares[0], new.verification_nonce)
    assert not await unseals(barrier, new.shares)
    await barrier.reset_unseal()
    assert await unseals(barrier, shares[:3])


async def test_verified_keys_count(barrier: Barrier, recovery: RecoveryRotation, shares: list[Secret]) -> None:
    nonce = (await recovery.start(WANTED, is_verified=True)).nonce
    new = [await recovery.give(share, nonce) for share in shares[:3]][-1]
    assert new is not None
    assert not await recovery.verify(new.shares[3], new.verification_nonce)
    assert await recovery.verify(new.shares[1], new.verification_nonce)
    assert not (await recovery.status()).started
    await barrier.refresh()
    assert await unseals(barrier, new.shares[:2])


async def test_a_wrong_verification_begins_again(
    barrier: Barrier, recovery: RecoveryRotation, shares: list[Secret]
) -> None:
    nonce = (await recovery.start(WANTED, is_verified=True)).nonce
    new = [await recovery.give(share, nonce) for share in shares[:3]][-1]
    assert new is not None
    await recovery.verify(new.shares[0], new.verification_nonce)
    with pytest.raises(InvalidRequestError, match="not the new recovery keys"):
        await recovery.verify(shares[1], new.verification_nonce)
    assert (await recovery.status()).verification_progress == 0
    fresh = await recovery.restart_verification(new.verification_nonce)
    with pytest.raises(InvalidRequestError, match="nonce"):
        await recovery.verify(new.shares[0], new.verification_nonce)
    for share in new.shares[:2]:
        done = await recovery.verify(share, fresh.verification_nonce)
    assert done


@pytest.mark.parametrize("nonce", ["", "wrong"])
async def test_restarting_a_verification_without_its_nonce_is_refused(
    recovery: RecoveryRotation, shares: list[Secret], nonce: str
) -> None:
    started = (await recovery.start(WANTED, is_verified=True)).nonce
    for share in shares[:3]:
        await recovery.give(share, started)
    with pytest.raises(InvalidRequestError, match="nonce"):
        await recovery.restart_verification(nonce)


async def test_first_keys_are_made_at_once(node: Node) -> None:
    barrier = await node.worker()
    await initialize(barrier, InitRequest())
    made = await RecoveryRotation(barrier, node.clock).make_first(WANTED)
    assert made is not None
    await barrier.refresh()
    assert await unseals(barrier, made.shares[:2])


async def test_a_new_root_key_opens_what_there_was(
    barrier: Barrier, root_key: RootKeyRotation, shares: list[Secret], node: Node
) -> None:
    await barrier.storage.put("a", b"kept")
    before = barrier._initialized().cluster.root_key.key_id
    nonce = (await root_key.start()).nonce
    assert [await root_key.give(share, nonce) for share in shares[:3]] == [False, False, True]
    node.restart()
    again = await node.worker()
    await again.unseal_from_hsm()
    assert again._initialized().cluster.root_key.key_id != before
    entry = await again.storage.get("a")
    assert entry is not None
    assert entry.value == b"kept"
    assert await unseals(again, shares[:3])


async def test_the_record_of_an_attempt_shows_nothing(
    generation: RootGeneration, shares: list[Secret], node: Node
) -> None:
    """It is encrypted by the HSM: neither pad nor share stands in the database."""
    nonce = (await generation.start(OTP)).nonce
    await generation.give(shares[0], nonce)
    row = await generation._rows.read_seal(lambda connection, _records: _raw(connection, generation))
    assert OTP.encode() not in row
    assert shares[0].expose()[:8] not in row


async def _raw(connection, ceremony: Ceremony) -> bytes:
    from barrier.seal_table import load_plain

    return await load_plain(connection, ceremony._name) or b""
