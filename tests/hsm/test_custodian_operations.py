"""The KeyCustodian operations on SoftHSM: results equal software's, and misuse is refused."""

import hashlib
import hmac
import re

import msgspec
import pytest

from core.errors import CiphertextError, HsmConfigError, InvalidRequestError, InvalidSignatureError, KeyPolicyError
from core.protocols import AeadInput, Custody, KeyKind, KeyUsage, SignatureScheme
from core.public_keys import verify_mac, verify_signature
from pkcs11_glue.hsm import Hsm
from pkcs11_glue.macs import mac_method
from pkcs11_glue.operations import MAX_PAYLOAD_BYTES

EC = [KeyKind.EC_P256, KeyKind.EC_P384, KeyKind.EC_P521]
MODES = ["inline", "pool"]


@pytest.fixture(params=MODES)
async def custodian(token, request):
    opened = await Hsm.open(token.settings(mode=request.param, pool_size=4))
    yield opened
    await opened.close()


@pytest.mark.parametrize("kind", [KeyKind.AES_128, KeyKind.AES_256])
async def test_decrypt_undoes_encrypt(custodian, kind):
    key = await custodian.generate_key(kind, usage=KeyUsage.ENCRYPT)
    items = [AeadInput(bytes([n]) * n, b"context" * (n % 2)) for n in range(40)]
    sealed = await custodian.encrypt(key, items)
    back = [AeadInput(c, item.associated_data) for c, item in zip(sealed, items, strict=True)]
    assert await custodian.decrypt(key, back) == [item.payload for item in items]
    assert [len(c) for c in sealed] == [12 + n + 16 for n in range(40)]


async def test_large_batches_and_payloads_go_through(custodian):
    key = await custodian.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    items = [AeadInput(b"\x01" * MAX_PAYLOAD_BYTES)] + [AeadInput(b"x")] * 300
    sealed = await custodian.encrypt(key, items)
    assert await custodian.decrypt(key, [AeadInput(c) for c in sealed]) == [i.payload for i in items]


async def test_an_empty_batch_is_empty(custodian):
    key = await custodian.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    assert await custodian.encrypt(key, []) == []
    assert await custodian.decrypt(key, []) == []


async def test_nonces_differ(custodian):
    key = await custodian.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    sealed = await custodian.encrypt(key, [AeadInput(b"same")] * 200)
    assert len({c[:12] for c in sealed}) == 200


async def test_a_bad_item_is_an_error_in_its_place_and_nothing_else_suffers(custodian):
    key = await custodian.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    (good,) = await custodian.encrypt(key, [AeadInput(b"payload", b"aad")])
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    bad = [b"", b"short", good[:27], flipped, bytes([good[0] ^ 1]) + good[1:], good + b"\0"]
    rows = [AeadInput(good, b"aad"), AeadInput(good, b"other"), AeadInput(good), *(AeadInput(b, b"aad") for b in bad)]
    first, *others, last = await custodian.decrypt(key, [*rows, AeadInput(good, b"aad")])
    assert first == last == b"payload"
    assert all(isinstance(refused, CiphertextError) for refused in others)
    assert (await custodian.status()).state == "ready"


async def test_a_payload_over_the_cap_is_refused_with_the_way_out(custodian):
    key = await custodian.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    with pytest.raises(KeyPolicyError, match="data key"):
        await custodian.encrypt(key, [AeadInput(bytes(MAX_PAYLOAD_BYTES + 1))])


async def test_another_key_does_not_decrypt(custodian):
    keys = [await custodian.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT) for _ in range(2)]
    (sealed,) = await custodian.encrypt(keys[0], [AeadInput(b"tenant A")])
    (refused,) = await custodian.decrypt(keys[1], [AeadInput(sealed)])
    assert isinstance(refused, CiphertextError)


@pytest.mark.parametrize("hash_name", ["sha1", "sha224", "sha256", "sha384", "sha512"])
async def test_mac_verifies_and_a_changed_one_does_not(custodian, hash_name):
    key = await custodian.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC)
    first, again, other = await custodian.mac(key, [b"m", b"m", b"n"], hash_name=hash_name)
    verify_mac(first, again)
    assert len(first) == hashlib.new(hash_name).digest_size
    with pytest.raises(InvalidSignatureError):
        verify_mac(first, other)


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("kind", EC)
async def test_ecdsa_signatures_verify_as_der(custodian, kind, hash_name):
    key = await custodian.generate_key(kind, usage=KeyUsage.SIGN)
    digests = [hashlib.new(hash_name, m).digest() for m in (b"a", b"b")]
    signatures = await custodian.sign(key, digests, scheme=SignatureScheme.ECDSA, hash_name=hash_name)
    for digest, signature in zip(digests, signatures, strict=True):
        verify_signature(key.public_key, signature, digest, scheme=SignatureScheme.ECDSA, hash_name=hash_name)
    with pytest.raises(InvalidSignatureError):
        verify_signature(key.public_key, signatures[0], digests[1], scheme=SignatureScheme.ECDSA, hash_name=hash_name)


async def test_rsa_signatures_verify(hsm):
    key = await hsm.generate_key(KeyKind.RSA_2048, usage=KeyUsage.SIGN)
    for scheme in (SignatureScheme.RSA_PKCS1V15, SignatureScheme.RSA_PSS):
        for name in ("sha1", "sha224", "sha256", "sha384", "sha512"):
            digest = hashlib.new(name, b"message").digest()
            (signature,) = await hsm.sign(key, [digest], scheme=scheme, hash_name=name)
            verify_signature(key.public_key, signature, digest, scheme=scheme, hash_name=name)
            with pytest.raises(InvalidSignatureError):
                verify_signature(key.public_key, signature[::-1], digest, scheme=scheme, hash_name=name)


async def test_ed25519_is_sealed_and_needs_the_sealing_key(hsm):
    assert hsm.custody_of(KeyKind.ED25519, KeyUsage.SIGN) is Custody.SEALED
    with pytest.raises(Exception, match="unsealed"):
        await hsm.generate_key(KeyKind.ED25519, usage=KeyUsage.SIGN)
    hsm.set_sealing_key(await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT))
    key = await hsm.generate_key(KeyKind.ED25519, usage=KeyUsage.SIGN)
    assert key.custody is Custody.SEALED
    (signature,) = await hsm.sign(key, [b"message"], scheme=SignatureScheme.ED25519)
    verify_signature(key.public_key, signature, b"message", scheme=SignatureScheme.ED25519)
    hsm.drop_keys()
    with pytest.raises(Exception, match="unsealed"):
        await hsm.sign(key, [b"message"], scheme=SignatureScheme.ED25519)


async def test_a_sealed_key_opens_only_as_what_it_is(hsm):
    """The associated data binds id, kind and usage; a record edited in any of them does not open."""
    hsm.set_sealing_key(await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT))
    key = await hsm.generate_key(KeyKind.ED25519, usage=KeyUsage.SIGN)
    for change in ({"key_id": "another"}, {"usage": KeyUsage.DERIVE}, {"wrapped": key.wrapped[:-1] + b"\0"}):
        with pytest.raises(CiphertextError):
            await hsm.sign(msgspec.structs.replace(key, **change), [b"m"], scheme=SignatureScheme.ED25519)


@pytest.mark.parametrize(
    ("kind", "usage"),
    [
        (KeyKind.AES_256, KeyUsage.SIGN),
        (KeyKind.HMAC, KeyUsage.ENCRYPT),
        (KeyKind.EC_P256, KeyUsage.ENCRYPT),
        (KeyKind.RSA_2048, KeyUsage.MAC),
        (KeyKind.ED25519, KeyUsage.ENCRYPT),
    ],
)
async def test_a_usage_that_does_not_fit_the_kind_is_refused_at_birth(hsm, kind, usage):
    with pytest.raises(KeyPolicyError):
        await hsm.generate_key(kind, usage=usage)


async def test_a_key_does_only_what_its_record_says(hsm):
    aes = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    mac = await hsm.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC)
    ec = await hsm.generate_key(KeyKind.EC_P256, usage=KeyUsage.SIGN)
    with pytest.raises(KeyPolicyError):
        await hsm.mac(aes, [b"m"], hash_name="sha256")
    with pytest.raises(KeyPolicyError):
        await hsm.encrypt(mac, [AeadInput(b"m")])
    with pytest.raises(KeyPolicyError):
        await hsm.sign(aes, [bytes(32)], scheme=SignatureScheme.ECDSA)
    with pytest.raises(KeyPolicyError):
        await hsm.sign(ec, [bytes(32)], scheme=SignatureScheme.ED25519)


async def test_digests_of_a_wrong_length_and_unknown_hashes_are_refused(hsm):
    ec = await hsm.generate_key(KeyKind.EC_P256, usage=KeyUsage.SIGN)
    mac = await hsm.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC)
    with pytest.raises(InvalidRequestError, match="32 bytes"):
        await hsm.sign(ec, [bytes(31)], scheme=SignatureScheme.ECDSA)
    with pytest.raises(InvalidRequestError, match="one of sha1"):
        await hsm.sign(ec, [bytes(32)], scheme=SignatureScheme.ECDSA, hash_name="md5")
    for name in ("md5", ""):
        with pytest.raises(InvalidRequestError, match="one of sha1"):
            await hsm.mac(mac, [b""], hash_name=name)


async def test_a_damaged_blob_is_a_ciphertext_error_and_the_hsm_stays_open(custodian):
    key = await custodian.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    for wrapped in (b"", key.wrapped[:-8], key.wrapped[:-1], key.wrapped[::-1], bytes(40), bytes(4096)):
        with pytest.raises(CiphertextError, match=re.escape(key.kek_id)):
            await custodian.encrypt(msgspec.structs.replace(key, wrapped=wrapped), [AeadInput(b"")])
    assert (await custodian.status()).state == "ready"


async def test_a_key_of_another_kek_is_named_and_so_are_those_present(hsm):
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    foreign = msgspec.structs.replace(key, kek_id="00" * 16)
    with pytest.raises(HsmConfigError, match=rf"{'00' * 16}.*{hsm.active_kek_id}"):
        await hsm.encrypt(foreign, [AeadInput(b"")])
    with pytest.raises(HsmConfigError, match=rf"{'00' * 16}.*{hsm.active_kek_id}"):
        hsm.require_kek("00" * 16)
    hsm.require_kek(hsm.active_kek_id)


async def test_an_unknown_wrapping_mechanism_is_refused(hsm):
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    with pytest.raises(HsmConfigError, match="AES_CBC_PAD"):
        await hsm.encrypt(msgspec.structs.replace(key, mechanism="AES_CBC_PAD"), [AeadInput(b"")])


async def test_a_blob_read_as_another_kind_gives_no_key_material(hsm):
    """Blobs carry no type, the sealed record does; a forged record still yields only a non-extractable key."""
    aes = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    with pytest.raises(KeyPolicyError):
        await hsm.mac(msgspec.structs.replace(aes, kind=KeyKind.HMAC), [b"m"], hash_name="sha256")


async def test_random_is_of_the_length_asked_and_new_each_time(custodian):
    assert len(await custodian.random(0)) == 0
    assert len(await custodian.random(100_000)) == 100_000
    assert await custodian.random(32) != await custodian.random(32)


async def test_keys_survive_a_restart(token):
    first = await Hsm.open(token.settings())
    key = await first.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    (sealed,) = await first.encrypt(key, [AeadInput(b"before")])
    await first.close()
    second = await Hsm.open(token.settings())
    assert await second.decrypt(key, [AeadInput(sealed)]) == [b"before"]
    await second.close()


async def test_the_token_holds_two_objects_however_many_keys_there_are(hsm):
    for kind in (KeyKind.AES_256, KeyKind.HMAC):
        usage = KeyUsage.ENCRYPT if kind is KeyKind.AES_256 else KeyUsage.MAC
        for _ in range(20):
            await hsm.generate_key(kind, usage=usage)
    assert (await hsm.status()).objects == 2


async def test_status_tells_what_the_token_can_do(hsm):
    shown = msgspec.json.decode(msgspec.json.encode(await hsm.status()))
    proven = {m["name"] for m in shown["mechanisms"] if m["proven"]}
    assert shown["state"] == "ready"
    assert shown["custody"]["aes-256"] == "hsm"
    assert shown["custody"]["ed25519"] == "sealed"
    assert {"AES_GCM", "AES_KEY_WRAP", "AES_KEY_WRAP_PAD", "ECDSA", "RSA_PKCS_PSS", "SHA512_HMAC"} <= proven
    assert shown["kek_ids"] == [hsm.active_kek_id]


async def test_hmac_of_an_imported_key_equals_software(hsm):
    """The HMAC of the token against hmac of the standard library, over lengths around the block size."""
    from pkcs11_glue import templates

    operations = hsm._link.connection.operations
    value = bytes(range(64))
    handle = operations.session.create(templates.imported_secret(KeyKind.HMAC, value, KeyUsage.MAC))
    messages = [b"x" * n for n in (0, 1, 55, 56, 63, 64, 65, 127, 128, 129, 1000)]
    for name in ("sha1", "sha224", "sha256", "sha384", "sha512"):
        expected = [hmac.new(value, m, name).digest() for m in messages]
        assert operations.mac(handle, messages, mac_method(KeyKind.HMAC, name)) == expected
