"""RSAES-OAEP inside the token: every hash, one answer for every bad ciphertext, trouble of the HSM told apart."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from core.errors import CiphertextError, HsmGoneError, InvalidRequestError, KeyPolicyError
from core.protocols import AeadInput, Custody, KeyKind, KeyUsage, SignatureScheme
from core.secret import Secret

DECRYPT = 34
HASHES = {
    "sha1": hashes.SHA1(),  # noqa: S303 - the API offers it
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


@pytest.fixture(scope="module")
def software():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def material(software):
    return Secret(software.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


@pytest.fixture
async def key(hsm, material):
    found = await hsm.import_key(KeyKind.RSA_2048, material, usage=KeyUsage.ENCRYPT)
    assert found.custody is Custody.HSM
    return found


def encrypt(software, message, name="sha256", label=None):
    algorithm = HASHES[name]
    return software.public_key().encrypt(message, padding.OAEP(padding.MGF1(algorithm), algorithm, label))


@pytest.mark.parametrize("name", HASHES)
async def test_what_software_encrypts_the_token_decrypts(hsm, key, software, name):
    longest = 256 - 2 * HASHES[name].digest_size - 2
    messages = [b"", b"\0", b"\1", b"\0\1", b"secret", bytes(longest), b"\x01" * longest]
    sealed = [encrypt(software, message, name) for message in messages]
    assert await hsm.decrypt_oaep(key, sealed, hash_name=name) == messages


async def test_a_generated_key_decrypts_and_signs_if_made_for_both(hsm):
    key = await hsm.generate_key(KeyKind.RSA_2048, usage=KeyUsage.SIGN_DECRYPT)
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    public = load_der_public_key(key.public_key)
    sealed = public.encrypt(b"both", padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    assert await hsm.decrypt_oaep(key, [sealed]) == [b"both"]
    assert len(await hsm.sign(key, [bytes(32)], scheme=SignatureScheme.RSA_PSS)) == 1


@pytest.mark.parametrize("name", ["sha1", "sha256"])
async def test_every_bad_ciphertext_gets_the_same_answer_and_leaves_the_others_alone(hsm, key, software, name):
    """By the token's own OAEP and by raw RSA alike: no oracle (Manger, 2001)."""
    good, modulus = encrypt(software, b"good", name), software.public_key().public_numbers().n
    raw_one = (1).to_bytes(256, "big")
    other = "sha384" if name != "sha384" else "sha256"
    bad = [
        b"",
        b"\0" * 256,
        raw_one,
        good[:-1],
        good + b"\0",
        b"\0" + good,
        good[:-1] + bytes([good[-1] ^ 1]),
        bytes([good[0] ^ 1]) + good[1:],
        modulus.to_bytes(256, "big"),
        (modulus + 1).to_bytes(256, "big"),
        (modulus - 1).to_bytes(256, "big"),
        b"\xff" * 256,
        encrypt(software, b"good", other),
        encrypt(software, b"good", name, label=b"label"),
    ]
    first, *answers, last = await hsm.decrypt_oaep(key, [good, *bad, good], hash_name=name)
    assert first == last == b"good"
    assert all(isinstance(answer, CiphertextError) for answer in answers)
    assert len({answer.sentence for answer in answers}) == 1
    assert (await hsm.status()).state == "ready"


async def test_another_key_does_not_decrypt(hsm, key):
    stranger = rsa.generate_private_key(65537, 2048)
    (answer,) = await hsm.decrypt_oaep(key, [encrypt(stranger, b"not yours")])
    assert isinstance(answer, CiphertextError)


@pytest.mark.parametrize("name", ["sha1", "sha256"])
async def test_a_broken_hsm_does_not_call_a_good_ciphertext_forged(hsm, key, software, function_list, name):
    await hsm.decrypt_oaep(key, [encrypt(software, b"warm", name)], hash_name=name)
    function_list.fail(DECRYPT, 0x30)
    with pytest.raises(HsmGoneError):
        await hsm.decrypt_oaep(key, [encrypt(software, b"good", name)], hash_name=name)


async def test_a_passing_fault_does_not_call_a_good_ciphertext_forged(hsm, key, software, function_list):
    sealed = encrypt(software, b"good", "sha1")
    failures = [5]
    function_list.replace(DECRYPT, lambda original: lambda *a: original(*a) or (failures.pop() if failures else 0))
    assert await hsm.decrypt_oaep(key, [sealed], hash_name="sha1") == [b"good"]


async def test_an_unknown_hash_is_refused(hsm, key):
    for name in ("md5", "", "sha3-256"):
        with pytest.raises(InvalidRequestError, match="one of sha1"):
            await hsm.decrypt_oaep(key, [bytes(256)], hash_name=name)


async def test_a_key_for_signing_does_not_decrypt_and_one_for_decrypting_does_not_sign(hsm, key, material, software):
    signer = await hsm.import_key(KeyKind.RSA_2048, material, usage=KeyUsage.SIGN)
    with pytest.raises(KeyPolicyError, match="with the usage sign cannot decrypt"):
        await hsm.decrypt_oaep(signer, [encrypt(software, b"m")])
    with pytest.raises(KeyPolicyError, match="with the usage encrypt cannot sign"):
        await hsm.sign(key, [bytes(32)], scheme=SignatureScheme.RSA_PSS)


async def test_an_aes_key_does_not_decrypt_by_rsa_nor_an_rsa_key_by_aes(hsm, key):
    aes = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    with pytest.raises(KeyPolicyError, match="RSA-OAEP"):
        await hsm.decrypt_oaep(aes, [bytes(256)])
    with pytest.raises(KeyPolicyError, match="AEAD"):
        await hsm.encrypt(key, [AeadInput(b"m")])
    with pytest.raises(KeyPolicyError, match="AEAD"):
        await hsm.decrypt(key, [AeadInput(bytes(40))])
