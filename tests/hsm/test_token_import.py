"""Keys made elsewhere: taken into the token as what they are, or refused, or sealed; and which custody a key gets."""

import hashlib
import hmac

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)
from pkcs11.constants import Attribute

from core.errors import HsmGoneError, InvalidRequestError, KeyPolicyError, SealedError
from core.protocols import AeadInput, Custody, KeyKind, KeyUsage, SignatureScheme
from core.secret import Secret
from pkcs11_glue import templates

SIGN = 43
CURVES = {KeyKind.EC_P256: ec.SECP256R1(), KeyKind.EC_P384: ec.SECP384R1(), KeyKind.EC_P521: ec.SECP521R1()}
IN_THE_TOKEN = {
    **dict.fromkeys((KeyKind.AES_128, KeyKind.AES_256), (KeyUsage.ENCRYPT, KeyUsage.MAC, KeyUsage.DERIVE)),
    KeyKind.HMAC: {KeyUsage.MAC},
    **dict.fromkeys(CURVES, (KeyUsage.SIGN,)),
    **dict.fromkeys(templates.RSA_BITS, (KeyUsage.SIGN, KeyUsage.ENCRYPT, KeyUsage.SIGN_DECRYPT)),
}
DIGEST = hashlib.sha256(b"message").digest()


def pkcs8(key):
    return Secret(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def spki(key):
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


async def objects(hsm):
    return len(hsm._link.connection.operations.session.find({Attribute.TOKEN: False}))


@pytest.fixture
async def sealing(hsm):
    hsm.set_sealing_key(await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT))


# --- custody ------------------------------------------------------------------------------------------------------


async def test_custody_is_what_the_self_test_proved(hsm):
    for kind in KeyKind:
        for usage in KeyUsage:
            expected = Custody.HSM if usage in IN_THE_TOKEN.get(kind, ()) else Custody.SEALED
            assert hsm.custody_of(kind, usage) is expected, (kind, usage)
    shown = (await hsm.status()).custody
    assert shown == {kind.value: "hsm" if kind in IN_THE_TOKEN else "sealed" for kind in KeyKind}


async def test_what_the_token_does_not_prove_is_sealed(hsm, sealing):
    connection = hsm._link.connection
    connection.proven = connection.proven - {(KeyKind.AES_256, KeyUsage.DERIVE)}
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.DERIVE)
    assert key.custody is Custody.SEALED
    with pytest.raises(KeyPolicyError, match="self-test did not prove"):
        await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.DERIVE, custody=Custody.HSM)
    shown = (await hsm.status()).custody
    assert shown["aes-256"] == "hsm (encrypt, mac), sealed (derive)"


@pytest.mark.parametrize("kind", [KeyKind.AES_256, KeyKind.HMAC, KeyKind.EC_P256])
async def test_sealed_custody_can_be_asked_for(hsm, sealing, kind):
    usage = min(templates.USAGES[kind], key=lambda usage: usage.value)
    key = await hsm.generate_key(kind, usage=usage, custody=Custody.SEALED)
    assert key.custody is Custody.SEALED
    assert len(await hsm.export_key(key)) > 0
    in_the_token = await hsm.generate_key(kind, usage=usage, custody=Custody.HSM)
    with pytest.raises(KeyPolicyError, match="cannot leave"):
        await hsm.export_key(in_the_token)


@pytest.mark.parametrize("kind", [KeyKind.ED25519, KeyKind.CHACHA20_POLY1305, KeyKind.ML_DSA_44])
async def test_hsm_custody_of_what_the_token_lacks_is_refused(hsm, sealing, kind):
    usage = KeyUsage.ENCRYPT if kind is KeyKind.CHACHA20_POLY1305 else KeyUsage.SIGN
    with pytest.raises(KeyPolicyError, match="ask for sealed custody"):
        await hsm.generate_key(kind, usage=usage, custody=Custody.HSM)


async def test_sealed_keys_are_made_only_while_unsealed(hsm):
    with pytest.raises(SealedError):
        await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT, custody=Custody.SEALED)


@pytest.mark.parametrize("size", [0, 64, 72, 512])
async def test_hmac_keys_of_sizes_that_wrap_faithfully_are_in_the_token(hsm, size):
    key = await hsm.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC, size=size)
    assert key.custody is Custody.HSM
    assert len(key.wrapped) == (size or 64) + 8
    assert len((await hsm.mac(key, [b"m"], hash_name="sha512"))[0]) == 64


@pytest.mark.parametrize("size", [32, 63, 65, 100])
async def test_hmac_keys_of_other_sizes_are_sealed(hsm, sealing, size):
    """SoftHSM would pad them with zeros when it wraps them, or refuse them for SHA-512."""
    key = await hsm.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC, size=size)
    assert key.custody is Custody.SEALED
    assert len(await hsm.export_key(key)) == size
    with pytest.raises(KeyPolicyError, match="multiples of 8"):
        await hsm.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC, size=size, custody=Custody.HSM)


async def test_only_hmac_keys_have_a_choice_of_sizes(hsm):
    for kind in (KeyKind.AES_256, KeyKind.RSA_2048):
        with pytest.raises(InvalidRequestError, match="one size only"):
            await hsm.generate_key(kind, usage=KeyUsage.ENCRYPT, size=32)


# --- import -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "size"), [(KeyKind.AES_128, 16), (KeyKind.AES_256, 32)])
async def test_an_aes_key_is_the_same_key_inside(hsm, kind, size):
    value = bytes(range(size))
    key = await hsm.import_key(kind, Secret(value), usage=KeyUsage.ENCRYPT)
    assert (key.custody, key.kind, key.usage) == (Custody.HSM, kind, KeyUsage.ENCRYPT)
    assert value not in msgspec.json.encode(key)
    (sealed,) = await hsm.encrypt(key, [AeadInput(b"inside", b"aad")])
    assert AESGCM(value).decrypt(sealed[:12], sealed[12:], b"aad") == b"inside"
    outside = bytes(12) + AESGCM(value).encrypt(bytes(12), b"outside", None)
    assert await hsm.decrypt(key, [AeadInput(outside)]) == [b"outside"]


@pytest.mark.parametrize("kind", CURVES)
async def test_an_ec_key_is_the_same_key_inside(hsm, kind):
    private = ec.generate_private_key(CURVES[kind])
    key = await hsm.import_key(kind, pkcs8(private), usage=KeyUsage.SIGN)
    assert (key.custody, key.public_key) == (Custody.HSM, spki(private))
    (signature,) = await hsm.sign(key, [DIGEST], scheme=SignatureScheme.ECDSA)
    private.public_key().verify(signature, DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))


@pytest.mark.parametrize("kind", CURVES)
@pytest.mark.parametrize("scalar", [1, 2, 255, 1 << 200])
async def test_an_ec_key_with_leading_zeros_is_the_same_key_inside(hsm, kind, scalar):
    private = ec.derive_private_key(scalar, CURVES[kind])
    key = await hsm.import_key(kind, pkcs8(private), usage=KeyUsage.SIGN)
    (signature,) = await hsm.sign(key, [DIGEST], scheme=SignatureScheme.ECDSA)
    private.public_key().verify(signature, DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))


@pytest.mark.parametrize(("kind", "bits"), templates.RSA_BITS.items())
async def test_an_rsa_key_is_the_same_key_inside(hsm, kind, bits):
    private = rsa.generate_private_key(65537, bits)
    key = await hsm.import_key(kind, pkcs8(private), usage=KeyUsage.SIGN_DECRYPT)
    assert (key.custody, key.public_key) == (Custody.HSM, spki(private))
    (signature,) = await hsm.sign(key, [DIGEST], scheme=SignatureScheme.RSA_PKCS1V15)
    assert signature == private.sign(DIGEST, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    assert await hsm.decrypt_oaep(key, [private.public_key().encrypt(b"m", oaep)]) == [b"m"]


async def test_an_imported_key_is_escrowed_as_generated_ones_are(hsm):
    value = (await hsm.release_escrow_key()).expose()
    key = await hsm.import_key(KeyKind.AES_256, Secret(bytes(range(32))), usage=KeyUsage.ENCRYPT)
    assert key.escrow_id == hsm.escrow_id
    assert aes_key_unwrap(value, key.escrow) == bytes(range(32))


@pytest.mark.parametrize("size", [1, 16, 63, 65, 100])
async def test_a_secret_that_would_not_come_back_unchanged_is_sealed(hsm, sealing, size):
    value = bytes(range(size))
    with pytest.raises(KeyPolicyError, match="multiples of 8"):
        await hsm.import_key(KeyKind.HMAC, Secret(value), usage=KeyUsage.MAC, custody=Custody.HSM)
    key = await hsm.import_key(KeyKind.HMAC, Secret(value), usage=KeyUsage.MAC)
    assert key.custody is Custody.SEALED
    assert await hsm.mac(key, [b"m"], hash_name="sha512") == [hmac.digest(value, b"m", "sha512")]


@pytest.mark.parametrize(
    ("kind", "usage", "material"),
    [
        (KeyKind.AES_256, KeyUsage.ENCRYPT, bytes(16)),
        (KeyKind.AES_128, KeyUsage.ENCRYPT, bytes(32)),
        (KeyKind.AES_256, KeyUsage.ENCRYPT, b""),
        (KeyKind.HMAC, KeyUsage.MAC, b""),
        (KeyKind.EC_P256, KeyUsage.SIGN, b"not der"),
        (KeyKind.EC_P256, KeyUsage.SIGN, pkcs8(ec.generate_private_key(ec.SECP384R1())).expose()),
        (KeyKind.RSA_2048, KeyUsage.SIGN, pkcs8(ec.generate_private_key(ec.SECP256R1())).expose()),
        (KeyKind.RSA_3072, KeyUsage.SIGN, pkcs8(rsa.generate_private_key(65537, 2048)).expose()),
        (KeyKind.EC_P256, KeyUsage.SIGN, pkcs8(ec.generate_private_key(ec.SECP256R1())).expose() + b"\0"),
    ],
    ids=range(9),
)
async def test_material_of_another_kind_is_refused_and_leaves_nothing(hsm, kind, usage, material):
    before = await objects(hsm)
    with pytest.raises(InvalidRequestError):
        await hsm.import_key(kind, Secret(material), usage=usage)
    assert await objects(hsm) == before


async def test_a_usage_that_does_not_fit_is_refused(hsm):
    with pytest.raises(KeyPolicyError):
        await hsm.import_key(KeyKind.AES_256, Secret(bytes(32)), usage=KeyUsage.SIGN)


async def test_import_leaves_no_object_behind_not_even_when_it_fails(hsm, function_list):
    before = await objects(hsm)
    private = ec.generate_private_key(ec.SECP256R1())
    await hsm.import_key(KeyKind.EC_P256, pkcs8(private), usage=KeyUsage.SIGN)
    assert await objects(hsm) == before
    failures = [0x54]
    function_list.replace(SIGN, lambda original: lambda *a: original(*a) or (failures.pop() if failures else 0))
    with pytest.raises(Exception, match="CKR_FUNCTION_NOT_SUPPORTED"):
        await hsm.import_key(KeyKind.EC_P256, pkcs8(private), usage=KeyUsage.SIGN)
    assert await objects(hsm) == before


async def test_a_pair_that_does_not_agree_is_refused(hsm, function_list):
    """The pairwise test: what the token signs must verify under the public key of the material."""
    import ctypes

    def scrambled(original):
        def stand_in(session, data, length, signature, signature_length):
            code = original(session, data, length, signature, signature_length)
            ctypes.memset(signature, 1, 8)
            return code

        return stand_in

    function_list.replace(SIGN, scrambled)
    private = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(Exception, match="does not verify"):
        await hsm.import_key(KeyKind.EC_P256, pkcs8(private), usage=KeyUsage.SIGN)


async def test_an_import_while_the_hsm_is_gone_is_refused(hsm):
    hsm._link.trip(HsmGoneError("the HSM is not reachable (test)", code="test"))
    with pytest.raises(HsmGoneError):
        await hsm.import_key(KeyKind.AES_256, Secret(bytes(32)), usage=KeyUsage.ENCRYPT)


@pytest.mark.parametrize(
    ("kind", "usage"),
    [
        (KeyKind.AES_256, KeyUsage.ENCRYPT),
        (KeyKind.AES_128, KeyUsage.MAC),
        (KeyKind.AES_256, KeyUsage.DERIVE),
        (KeyKind.HMAC, KeyUsage.MAC),
        (KeyKind.EC_P256, KeyUsage.SIGN),
        (KeyKind.RSA_2048, KeyUsage.ENCRYPT),
        (KeyKind.RSA_2048, KeyUsage.SIGN_DECRYPT),
    ],
)
async def test_a_key_at_work_never_leaves_and_has_one_usage(hsm, kind, usage):
    """Imported or generated: unwrapped under the same template, which wraps, reads and widens nothing."""
    key = await hsm.generate_key(kind, usage=usage)
    live = await hsm._keys.get(key)
    connection = hsm._link.connection
    session = connection.operations.session
    assert session.attribute(live.handle, Attribute.EXTRACTABLE) == b"\x00"
    assert session.attribute(live.handle, Attribute.SENSITIVE) == b"\x01"
    secret_part = Attribute.PRIME_1 if kind in templates.RSA_BITS else Attribute.VALUE
    with pytest.raises(Exception, match="0x11"):  # CKR_ATTRIBUTE_SENSITIVE
        session.attribute(live.handle, secret_part)
    for how in templates.WRAPPING:
        with pytest.raises(Exception, match="0x6a"):  # CKR_KEY_UNEXTRACTABLE
            session.wrap(how, connection.active_kek.handle, live.handle)
    if key.public_key:
        load_der_public_key(key.public_key)
