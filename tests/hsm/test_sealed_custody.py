"""Keys of sealed custody on SoftHSM: every kind is made, used, opened again, handed out and taken back."""

import asyncio
import os

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core import public_keys
from core.errors import CiphertextError, InvalidRequestError, KeyPolicyError, SealedError
from core.protocols import AeadInput, Custody, KeyKind, KeyUsage, SignatureScheme, WrappedKey
from core.public_keys import CURVES, RSA_BITS, verify_signature
from core.secret import Secret
from pkcs11_glue.hsm import Hsm
from pkcs11_glue.sealed import binding
from pkcs11_glue.software_ciphers import CIPHER_KEY_BYTES
from pkcs11_glue.software_pairs import ML_DSA

CIPHERS = tuple(CIPHER_KEY_BYTES)
ROWS = [
    *((kind, KeyUsage.ENCRYPT) for kind in CIPHERS),
    *((kind, KeyUsage.DERIVE) for kind in CIPHERS),
    (KeyKind.AES_128, KeyUsage.MAC),
    (KeyKind.AES_256, KeyUsage.MAC),
    (KeyKind.HMAC, KeyUsage.MAC),
    *((kind, KeyUsage.SIGN) for kind in (*CURVES, *ML_DSA, KeyKind.ED25519)),
    (KeyKind.ED25519, KeyUsage.DERIVE),
    *((kind, KeyUsage.SIGN_DECRYPT) for kind in RSA_BITS),
    (KeyKind.RSA_2048, KeyUsage.SIGN),
    (KeyKind.RSA_2048, KeyUsage.ENCRYPT),
]
NAMES = [f"{kind.value}-{usage.value}" for kind, usage in ROWS]
SCHEMES = {
    **dict.fromkeys(CURVES, SignatureScheme.ECDSA),
    **dict.fromkeys(RSA_BITS, SignatureScheme.RSA_PSS),
    **dict.fromkeys(ML_DSA, SignatureScheme.ML_DSA),
    KeyKind.ED25519: SignatureScheme.ED25519,
}


@pytest.fixture
async def unsealed(hsm):
    hsm.sealing = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    hsm.set_sealing_key(hsm.sealing)
    return hsm


async def generated(hsm, kind, usage, **options):
    return await hsm.generate_key(kind, usage=usage, custody=Custody.SEALED, **options)


async def use(hsm, key, same=None):
    """Use it in each way it has; what is made by the key opens or verifies under `same`, another record of it."""
    same = same or key
    if key.usage is KeyUsage.MAC:
        name = "sha3-384" if key.kind is KeyKind.HMAC else ""
        assert await hsm.mac(key, [b"message"], hash_name=name) == await hsm.mac(same, [b"message"], hash_name=name)
    elif key.kind in CIPHER_KEY_BYTES:
        await encrypt_and_decrypt(hsm, key, same)
    elif key.kind is KeyKind.ED25519 and key.usage is KeyUsage.DERIVE:
        public = await hsm.derived_public_key(same, b"tenant")
        (signature,) = await hsm.sign(key, [b"message"], scheme=SignatureScheme.ED25519, context=b"tenant")
        verify_signature(public, signature, b"message", scheme=SignatureScheme.ED25519)
    if key.usage in (KeyUsage.SIGN, KeyUsage.SIGN_DECRYPT):
        digest = public_keys.digest("sha3-256", b"message")
        scheme = SCHEMES[key.kind]
        (signature,) = await hsm.sign(key, [digest], scheme=scheme, hash_name="sha3-256")
        verify_signature(same.public_key, signature, digest, scheme=scheme, hash_name="sha3-256")
    if key.kind in RSA_BITS and key.usage is not KeyUsage.SIGN:
        ciphertext = public_keys.encrypt_oaep(same.public_key, b"plaintext")
        good, bad = await hsm.decrypt_oaep(key, [ciphertext, ciphertext[::-1]])
        assert good == b"plaintext"
        assert isinstance(bad, CiphertextError)


async def encrypt_and_decrypt(hsm, key, same):
    is_derived = key.usage is KeyUsage.DERIVE
    context = b"tenant" if is_derived else b""
    items = [AeadInput(bytes(size), b"data", context) for size in (0, 64, 300_000)] + [
        AeadInput(b"x", b"", context)
    ] * 99
    for convergent in (False, True) if is_derived else (False,):
        sealed = await hsm.encrypt(key, items, convergent=convergent)
        back = [AeadInput(each, item.associated_data, context) for each, item in zip(sealed, items, strict=True)]
        assert await hsm.decrypt(same, back) == [item.payload for item in items]
        (forged,) = await hsm.decrypt(same, [AeadInput(sealed[1][:-1] + bytes([sealed[1][-1] ^ 1]), b"data", context)])
        assert isinstance(forged, CiphertextError)


@pytest.mark.parametrize(("kind", "usage"), ROWS, ids=NAMES)
async def test_every_kind_works_and_opens_again_after_unsealing(unsealed, kind, usage):
    key = await generated(unsealed, kind, usage)
    assert (key.custody, key.kind, key.usage) == (Custody.SEALED, kind, usage)
    assert (key.kek_id, key.escrow, key.escrow_id) == (unsealed.sealing.key_id, None, "")
    await use(unsealed, key)
    unsealed.drop_keys()
    with pytest.raises(SealedError, match="unsealed"):
        await use(unsealed, key)
    unsealed.set_sealing_key(unsealed.sealing)
    await use(unsealed, key)


@pytest.mark.parametrize(("kind", "usage"), ROWS, ids=NAMES)
async def test_every_kind_is_handed_out_and_taken_back(unsealed, kind, usage):
    key = await generated(unsealed, kind, usage)
    material = await unsealed.export_key(key)
    again = await unsealed.import_key(kind, material, usage=usage, custody=Custody.SEALED)
    assert again.key_id != key.key_id
    assert again.wrapped != key.wrapped
    assert again.public_key == key.public_key
    assert await unsealed.export_key(again) == material
    await use(unsealed, key, same=again)


async def test_the_public_key_of_a_deriving_seed_is_not_kept(unsealed):
    """It is half of what Vault derives from."""
    key = await generated(unsealed, KeyKind.ED25519, KeyUsage.DERIVE)
    assert key.public_key is None


@pytest.mark.parametrize("size", [1, 20, 32, 65, 512])
async def test_hmac_keys_have_any_size(unsealed, size):
    key = await generated(unsealed, KeyKind.HMAC, KeyUsage.MAC, size=size)
    assert len(await unsealed.export_key(key)) == size
    await use(unsealed, key)


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyKind.AES_256, KeyKind.HMAC, KeyKind.EC_P256, KeyKind.RSA_2048])
async def test_a_key_in_the_hsm_is_not_exported(unsealed, kind):
    usage = {KeyKind.AES_256: KeyUsage.ENCRYPT, KeyKind.HMAC: KeyUsage.MAC}.get(kind, KeyUsage.SIGN)
    key = await unsealed.generate_key(kind, usage=usage)
    assert key.custody is Custody.HSM
    with pytest.raises(KeyPolicyError, match="cannot leave"):
        await unsealed.export_key(key)


async def test_a_record_that_only_claims_sealed_custody_is_not_exported(unsealed):
    key = await unsealed.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    claims = msgspec.structs.replace(key, custody=Custody.SEALED, kek_id=unsealed.sealing.key_id)
    for changed in (claims, msgspec.structs.replace(claims, mechanism="AES_GCM")):
        with pytest.raises((KeyPolicyError, CiphertextError)):
            await unsealed.export_key(changed)


async def test_the_sealing_key_itself_is_not_exported(unsealed):
    with pytest.raises(KeyPolicyError):
        await unsealed.export_key(unsealed.sealing)


def moved(key):
    """Records of one sealed key that say it were something else."""
    other = "00000000-0000-4000-8000-000000000000"
    return {
        "key_id": msgspec.structs.replace(key, key_id=other),
        "kind": msgspec.structs.replace(key, kind=KeyKind.CHACHA20_POLY1305),
        "usage": msgspec.structs.replace(key, usage=KeyUsage.DERIVE),
        "usage and kind": msgspec.structs.replace(key, usage=KeyUsage.MAC, kind=KeyKind.HMAC),
        "kek_id": msgspec.structs.replace(key, kek_id=other),
        "cut": msgspec.structs.replace(key, wrapped=key.wrapped[:-1]),
        "longer": msgspec.structs.replace(key, wrapped=key.wrapped + b"\0"),
        "flipped": msgspec.structs.replace(key, wrapped=key.wrapped[:-1] + bytes([key.wrapped[-1] ^ 1])),
        "empty": msgspec.structs.replace(key, wrapped=b""),
    }


@pytest.mark.parametrize(
    "change", ["key_id", "kind", "usage", "usage and kind", "kek_id", "cut", "longer", "flipped", "empty"]
)
async def test_a_sealed_record_that_was_moved_or_changed_does_not_open(unsealed, change):
    key = moved(await generated(unsealed, KeyKind.AES_256, KeyUsage.ENCRYPT))[change]
    with pytest.raises(CiphertextError, match="seal"):
        await unsealed.export_key(key)
    with pytest.raises(CiphertextError, match="seal"):
        await (unsealed.mac(key, [b""], hash_name="sha256") if key.usage is KeyUsage.MAC else use(unsealed, key))


async def test_a_sealed_record_does_not_open_under_another_clusters_key(unsealed):
    key = await generated(unsealed, KeyKind.AES_256, KeyUsage.ENCRYPT)
    unsealed.drop_keys()
    unsealed.set_sealing_key(await unsealed.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT))
    with pytest.raises(CiphertextError, match=key.kek_id):
        await unsealed.export_key(key)


async def test_keys_sealed_before_a_change_of_the_sealing_key_still_open(unsealed):
    key = await generated(unsealed, KeyKind.EC_P256, KeyUsage.SIGN)
    unsealed.set_sealing_key(await unsealed.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT))
    await use(unsealed, key)
    assert (await generated(unsealed, KeyKind.EC_P256, KeyUsage.SIGN)).kek_id != key.kek_id


async def test_nothing_is_sealed_while_the_appliance_is(hsm):
    with pytest.raises(SealedError):
        await generated(hsm, KeyKind.AES_256, KeyUsage.ENCRYPT)
    with pytest.raises(SealedError):
        await hsm.import_key(KeyKind.AES_256, Secret(bytes(32)), usage=KeyUsage.ENCRYPT, custody=Custody.SEALED)


@pytest.mark.parametrize(
    ("kind", "usage"),
    [
        (KeyKind.AES_256, KeyUsage.SIGN),
        (KeyKind.CHACHA20_POLY1305, KeyUsage.MAC),
        (KeyKind.EC_P256, KeyUsage.DERIVE),
        (KeyKind.ML_DSA_44, KeyUsage.ENCRYPT),
        (KeyKind.HMAC, KeyUsage.SIGN),
    ],
)
async def test_a_usage_that_a_kind_cannot_have_is_refused(unsealed, kind, usage):
    with pytest.raises(KeyPolicyError, match=usage.value):
        await generated(unsealed, kind, usage)
    with pytest.raises(KeyPolicyError, match=usage.value):
        await unsealed.import_key(kind, Secret(bytes(32)), usage=usage, custody=Custody.SEALED)


@pytest.mark.parametrize("kind", [*CIPHERS, *CURVES, *ML_DSA, KeyKind.ED25519, KeyKind.RSA_2048])
@pytest.mark.parametrize("material", [b"", b"x", bytes(20), bytes(33)])
async def test_material_that_is_no_such_key_is_not_taken_over(unsealed, kind, material):
    usage = KeyUsage.ENCRYPT if kind in CIPHERS else KeyUsage.SIGN
    with pytest.raises(InvalidRequestError):
        await unsealed.import_key(kind, Secret(material), usage=usage, custody=Custody.SEALED)


async def test_an_ed25519_key_of_an_earlier_release_opens(unsealed):
    """It has an escrow blob, which nothing reads any more."""
    seed, key_id = os.urandom(32), "11111111-1111-4111-8111-111111111111"
    bound = AeadInput(seed, binding(key_id, KeyKind.ED25519, KeyUsage.SIGN))
    (wrapped,) = await unsealed.encrypt(unsealed.sealing, [bound])
    key = WrappedKey(
        key_id=key_id,
        kind=KeyKind.ED25519,
        usage=KeyUsage.SIGN,
        custody=Custody.SEALED,
        mechanism="AES_GCM",
        kek_id=unsealed.sealing.key_id,
        wrapped=wrapped,
        escrow=bytes(40),
        escrow_id="00",
    )
    (signature,) = await unsealed.sign(key, [b"message"], scheme=SignatureScheme.ED25519)
    assert signature == Ed25519PrivateKey.from_private_bytes(seed).sign(b"message")


# --- where it runs ------------------------------------------------------------------------------------------------


async def test_slow_keys_leave_the_event_loop_free(unsealed):
    """RSA-4096 runs on a thread: the loop turns meanwhile."""
    key = await generated(unsealed, KeyKind.RSA_4096, KeyUsage.SIGN)
    digests = [bytes([number]) * 32 for number in range(8)]
    signing = asyncio.ensure_future(unsealed.sign(key, digests, scheme=SignatureScheme.RSA_PSS))
    turns = 0
    while not signing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 2
    for digest, signature in zip(digests, signing.result(), strict=True):
        verify_signature(key.public_key, signature, digest, scheme=SignatureScheme.RSA_PSS, salt_length=32)


async def test_payloads_over_the_hsms_limit_go_through_in_software(unsealed):
    key = await generated(unsealed, KeyKind.AES_256, KeyUsage.ENCRYPT)
    payload = os.urandom((1 << 20) + 1)
    (sealed,) = await unsealed.encrypt(key, [AeadInput(payload)])
    assert await unsealed.decrypt(key, [AeadInput(sealed)]) == [payload]


async def test_sealed_keys_share_the_bounded_cache(token):
    """Opened keys beyond the bound are forgotten, and opened again when they are asked for."""
    hsm = await Hsm.open(token.settings(handle_cache=4))
    try:
        hsm.set_sealing_key(await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT))
        keys = [await generated(hsm, KeyKind.CHACHA20_POLY1305, KeyUsage.ENCRYPT) for _ in range(10)]
        for key in keys * 2:
            (sealed,) = await hsm.encrypt(key, [AeadInput(b"x")])
            assert await hsm.decrypt(key, [AeadInput(sealed)]) == [b"x"]
            assert (await hsm.status()).live_handles <= 4
    finally:
        await hsm.close()


async def test_many_tasks_may_use_one_sealed_key_at_once(unsealed):
    key = await generated(unsealed, KeyKind.AES_256, KeyUsage.ENCRYPT)
    batches = [[AeadInput(bytes([number]) * 100_000)] * 4 for number in range(12)]
    sealed = await asyncio.gather(*(unsealed.encrypt(key, batch) for batch in batches))
    opened = await asyncio.gather(*(unsealed.decrypt(key, [AeadInput(each) for each in batch]) for batch in sealed))
    assert opened == [[item.payload for item in batch] for batch in batches]
