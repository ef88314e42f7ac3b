"""The seal's life with its keys inside a real token: what the software stand-in of tests/barrier promises, kept."""

from pathlib import Path

from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from shamir_mnemonic import combine_mnemonics

from barrier.ceremonies import RecoveryRotation, RootKeyRotation
from barrier.changes import ChangeRing
from barrier.initialize import InitRequest
from barrier.schema import upgrade_async
from barrier.seal import Barrier, SealState
from barrier.share_counts import ShareCounts
from core.clock import SystemClock
from core.protocols import CoreTransaction
from core.secret import Secret
from pkcs11_glue.hsm import Hsm


async def first_writes(transaction: CoreTransaction) -> None:
    await transaction.put("core/mounts", b"table")


async def test_init_seal_and_unseal_on_a_token(hsm: Hsm, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    await upgrade_async(url)
    ring = ChangeRing.create(tmp_path / "ring")
    barrier = await Barrier.open(url, ring, hsm, clock=SystemClock())
    result = await barrier.initialize(InitRequest(recovery_shares=3, recovery_threshold=2), first_writes)
    value, wrapped = await barrier.escrow_challenge()
    assert aes_key_unwrap(combine_mnemonics(result.escrow_words[:3]), wrapped) == value

    await barrier.seal()
    assert (await hsm.status()).live_handles == 0
    for share in result.recovery_shares[1:]:
        await barrier.unseal_share(Secret(share))
    assert barrier.state is SealState.UNSEALED
    assert await barrier.rotate() == 2
    await barrier.close()

    again = await Barrier.open(url, ChangeRing.create(tmp_path / "ring"), hsm, clock=SystemClock())
    await again.unseal_from_hsm()
    entry = await again.storage.get("core/mounts")
    assert entry is not None
    assert entry.value == b"table"
    await again.close()


async def test_a_declined_escrow_on_a_token(hsm: Hsm, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    await upgrade_async(url)
    barrier = await Barrier.open(url, ChangeRing.create(tmp_path / "ring"), hsm, clock=SystemClock())
    result = await barrier.initialize(InitRequest(escrow_declined=True), first_writes)
    assert (result.escrow_words, hsm.escrow_id) == ([], "")
    await barrier.close()


async def test_a_quorum_replaces_root_key_and_recovery_keys_on_a_token(hsm: Hsm, tmp_path: Path) -> None:
    """The new root key is wrapped for the escrow as the old one was, and opens what the old one closed."""
    url = f"sqlite:///{tmp_path}/store.db"
    await upgrade_async(url)
    barrier = await Barrier.open(url, ChangeRing.create(tmp_path / "ring"), hsm, clock=SystemClock())
    result = await barrier.initialize(InitRequest(recovery_shares=3, recovery_threshold=2), first_writes)
    old = barrier._initialized().cluster.root_key
    root, recovery = RootKeyRotation(barrier, SystemClock()), RecoveryRotation(barrier, SystemClock())
    shares = [Secret(share) for share in result.recovery_shares]
    nonce = (await root.start()).nonce
    assert [await root.give(share, nonce) for share in shares[:2]] == [False, True]
    nonce = (await recovery.start(ShareCounts(shares=1, threshold=1), is_verified=False)).nonce
    new = [await recovery.give(share, nonce) for share in shares[1:]][-1]
    assert new is not None
    await barrier.close()

    again = await Barrier.open(url, ChangeRing.create(tmp_path / "ring"), hsm, clock=SystemClock())
    await again.unseal_from_hsm()
    key = again._initialized().cluster.root_key
    assert key.key_id != old.key_id
    words = combine_mnemonics(result.escrow_words[:3])
    assert key.escrow is not None
    assert len(aes_key_unwrap(words, key.escrow)) == 32
    await again.seal()
    await again.unseal_share(new.shares[0])
    assert again.state is SealState.UNSEALED
    entry = await again.storage.get("core/mounts")
    assert entry is not None
    await again.close()
