"""Key pairs of sealed custody: every scheme and hash verifies, OAEP has one error, and everything else is refused."""

import hmac

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core import public_keys
from core.errors import CiphertextError, InvalidRequestError, KeyPolicyError
from core.protocols import AeadInput, KeyKind, KeyUsage, SignatureScheme
from core.public_keys import CURVES, HASHES, OAEP_HASHES, verify_signature
from core.secret import Secret
from pkcs11_glue.material import checked_material
from pkcs11_glue.software import new_material, open_software
from pkcs11_glue.software_pairs import ML_DSA

SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")  # RFC 8032, 7.1, test 1
PSS, PKCS1, RAW = SignatureScheme.RSA_PSS, SignatureScheme.RSA_PKCS1V15, SignatureScheme.RSA_PKCS1V15_RAW


def made(kind, usage=KeyUsage.SIGN):
    material = new_material(kind, lambda size: bytes(range(size)))
    return open_software(kind, usage, material), checked_material(kind, material).public_key


@pytest.fixture(scope="module")
def rsa_material():
    return new_material(KeyKind.RSA_2048, bytes)


@pytest.fixture(scope="module")
def rsa_public(rsa_material):
    return checked_material(KeyKind.RSA_2048, rsa_material).public_key


@pytest.fixture(scope="module")
def rsa_key(rsa_material):
    return open_software(KeyKind.RSA_2048, KeyUsage.SIGN_DECRYPT, rsa_material)


# --- signatures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HASHES)
@pytest.mark.parametrize("kind", CURVES)
def test_ecdsa_with_every_hash(kind, name):
    key, public = made(kind)
    digests = [public_keys.digest(name, message) for message in (b"one", b"two")]
    signatures = key.sign(digests, scheme=SignatureScheme.ECDSA, hash_name=name)
    for signature, digest in zip(signatures, digests, strict=True):
        verify_signature(public, signature, digest, scheme=SignatureScheme.ECDSA, hash_name=name)


@pytest.mark.parametrize("name", HASHES)
@pytest.mark.parametrize("scheme", [PSS, PKCS1])
def test_rsa_with_every_hash(rsa_key, rsa_public, scheme, name):
    digest = public_keys.digest(name, b"message")
    (signature,) = rsa_key.sign([digest], scheme=scheme, hash_name=name)
    verify_signature(
        rsa_public, signature, digest, scheme=scheme, hash_name=name, salt_length=len(digest) if scheme is PSS else None
    )


@pytest.mark.parametrize("salt", [0, 1, 32, 222])
def test_pss_with_a_chosen_salt(rsa_key, rsa_public, salt):
    digest = public_keys.digest("sha256", b"message")
    (signature,) = rsa_key.sign([digest], scheme=PSS, salt_length=salt)
    verify_signature(rsa_public, signature, digest, scheme=PSS, salt_length=salt)


@pytest.mark.parametrize("salt", [-2, -1, 223])
def test_pss_with_a_salt_that_does_not_fit_is_refused(rsa_key, salt):
    with pytest.raises(InvalidRequestError, match="salt"):
        rsa_key.sign([bytes(32)], scheme=PSS, salt_length=salt)


@pytest.mark.parametrize("length", [1, 36, 245])
def test_raw_pkcs1_signs_what_fits(rsa_key, rsa_public, length):
    (signature,) = rsa_key.sign([bytes(length)], scheme=RAW)
    verify_signature(rsa_public, signature, bytes(length), scheme=RAW)


@pytest.mark.parametrize("length", [0, 246, 256])
def test_raw_pkcs1_refuses_what_does_not_fit(rsa_key, length):
    with pytest.raises(InvalidRequestError, match="1 to 245 bytes"):
        rsa_key.sign([bytes(length)], scheme=RAW)


def test_raw_pkcs1_over_a_digestinfo_is_pkcs1(rsa_key, rsa_public):
    """RFC 8017, 9.2."""
    digest = public_keys.digest("sha256", b"message")
    info = bytes.fromhex("3031300d060960864801650304020105000420") + digest
    (signature,) = rsa_key.sign([info], scheme=RAW)
    verify_signature(rsa_public, signature, digest, scheme=PKCS1)


def test_ed25519_is_rfc_8032s():
    """RFC 8032, 7.1, test 1."""
    key = open_software(KeyKind.ED25519, KeyUsage.SIGN, Secret(SEED))
    (signature,) = key.sign([b""], scheme=SignatureScheme.ED25519)
    assert signature.hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )


@pytest.mark.parametrize("kind", ML_DSA)
def test_ml_dsa_signs_and_is_hedged(kind):
    """FIPS 204, algorithm 2: fresh randomness in each signature."""
    key, public = made(kind)
    first, second = key.sign([b"message"] * 2, scheme=SignatureScheme.ML_DSA)
    assert first != second
    for signature in (first, second):
        verify_signature(public, signature, b"message", scheme=SignatureScheme.ML_DSA)


OWN = {
    KeyKind.EC_P256: {SignatureScheme.ECDSA},
    KeyKind.RSA_2048: {PSS, PKCS1, RAW},
    KeyKind.ED25519: {SignatureScheme.ED25519},
    KeyKind.ML_DSA_44: {SignatureScheme.ML_DSA},
}


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("scheme", SignatureScheme)
def test_a_key_makes_signatures_of_its_own_schemes_only(kind, scheme):
    key, _ = made(kind)
    if scheme in OWN[kind]:
        assert key.sign([bytes(32)], scheme=scheme)
        return
    with pytest.raises(KeyPolicyError, match=scheme.value):
        key.sign([bytes(32)], scheme=scheme)


@pytest.mark.parametrize("kind", [KeyKind.EC_P256, KeyKind.RSA_2048])
@pytest.mark.parametrize("length", [0, 20, 31, 33, 64])
def test_a_digest_of_another_length_is_an_invalid_request(kind, length):
    key, _ = made(kind)
    with pytest.raises(InvalidRequestError, match="32 bytes"):
        key.sign([bytes(32), bytes(length)], scheme=next(iter(OWN[kind] - {RAW})))


@pytest.mark.parametrize("kind", [KeyKind.EC_P256, KeyKind.RSA_2048])
def test_an_unknown_hash_is_an_invalid_request_of_the_signer(kind):
    key, _ = made(kind)
    with pytest.raises(InvalidRequestError, match="hash"):
        key.sign([bytes(16)], scheme=next(iter(OWN[kind] - {RAW})), hash_name="md5")


@pytest.mark.parametrize("kind", OWN)
def test_a_context_is_for_derived_keys(kind):
    key, _ = made(kind)
    with pytest.raises(KeyPolicyError, match="context"):
        key.sign([bytes(32)], scheme=next(iter(OWN[kind])), context=b"tenant")


@pytest.mark.parametrize("kind", OWN)
def test_a_key_pair_does_nothing_else(kind):
    key, _ = made(kind)
    for refused in (
        lambda: key.encrypt([AeadInput(b"x")]),
        lambda: key.decrypt([AeadInput(b"x")]),
        lambda: key.mac([b"x"], hash_name="sha256"),
        lambda: key.derived_public_key(b"x"),
        lambda: key.decrypt_oaep([b"x"]),
    ):
        with pytest.raises(KeyPolicyError, match=kind.value):
            refused()


# --- OAEP ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OAEP_HASHES)
@pytest.mark.parametrize("plaintext", [b"", b"p", bytes(62)])
def test_oaep_comes_back(rsa_key, rsa_public, name, plaintext):
    ciphertext = public_keys.encrypt_oaep(rsa_public, plaintext, hash_name=name)
    assert rsa_key.decrypt_oaep([ciphertext] * 2, hash_name=name) == [plaintext] * 2


def test_every_bad_oaep_ciphertext_is_the_same_error(rsa_key, rsa_public):
    good = public_keys.encrypt_oaep(rsa_public, b"plaintext")
    loaded = public_keys.load_public_key(rsa_public)
    modulus = loaded.public_numbers().n
    bad = [
        b"",
        good[:-1],
        good[1:],
        good + b"\0",
        b"\0" + good,
        bytes(256),
        (1).to_bytes(256, "big"),
        modulus.to_bytes(256, "big"),
        (modulus - 1).to_bytes(256, "big"),
        b"\xff" * 256,
        bytes([good[0] ^ 1]) + good[1:],
        good[:-1] + bytes([good[-1] ^ 1]),
        loaded.encrypt(b"plaintext", padding.PKCS1v15()),
        public_keys.encrypt_oaep(rsa_public, b"plaintext", hash_name="sha1"),
        loaded.encrypt(b"plaintext", padding.OAEP(padding.MGF1(HASHES["sha1"]), HASHES["sha256"], None)),
        loaded.encrypt(b"plaintext", padding.OAEP(padding.MGF1(HASHES["sha256"]), HASHES["sha256"], b"label")),
        rsa.generate_private_key(65537, 2048).public_key().encrypt(b"plaintext", oaep_sha256()),
    ]
    answers = rsa_key.decrypt_oaep(bad)
    assert {type(answer) for answer in answers} == {CiphertextError}
    assert len({answer.sentence for answer in answers}) == 1


def oaep_sha256():
    return padding.OAEP(padding.MGF1(HASHES["sha256"]), HASHES["sha256"], None)


@pytest.mark.parametrize("name", ["", "md5", "sha3-256"])
def test_oaep_decryption_with_another_hash_is_refused(rsa_key, name):
    with pytest.raises(InvalidRequestError, match="OAEP"):
        rsa_key.decrypt_oaep([bytes(256)], hash_name=name)


def test_a_signing_key_does_not_decrypt_and_the_other_way_round(rsa_material):
    with pytest.raises(KeyPolicyError, match="OAEP"):
        open_software(KeyKind.RSA_2048, KeyUsage.SIGN, rsa_material).decrypt_oaep([bytes(256)])
    with pytest.raises(KeyPolicyError, match="sign"):
        open_software(KeyKind.RSA_2048, KeyUsage.ENCRYPT, rsa_material).sign([bytes(32)], scheme=PSS)


# --- derived Ed25519 keys -----------------------------------------------------------------------------------------


def vaults_seed(context):
    """HKDF-SHA-256 over Go's private key of 64 bytes: seed and public key (OpenBao, keysutil/policy.go, DeriveKey)."""
    go_key = SEED + Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
    pseudorandom = hmac.digest(bytes(32), go_key, "sha256")
    return hmac.digest(pseudorandom, context + b"\1", "sha256")


def test_a_derived_ed25519_key_is_vaults():
    key = open_software(KeyKind.ED25519, KeyUsage.DERIVE, Secret(SEED))
    expected = Ed25519PrivateKey.from_private_bytes(vaults_seed(b"tenant"))
    (signature,) = key.sign([b"message"], scheme=SignatureScheme.ED25519, context=b"tenant")
    assert signature == expected.sign(b"message")
    verify_signature(key.derived_public_key(b"tenant"), signature, b"message", scheme=SignatureScheme.ED25519)
    assert key.derived_public_key(b"tenant") != key.derived_public_key(b"tenant2")


def test_a_derived_ed25519_key_needs_a_context():
    key = open_software(KeyKind.ED25519, KeyUsage.DERIVE, Secret(SEED))
    for refused in (
        lambda: key.sign([b"m"], scheme=SignatureScheme.ED25519),
        lambda: key.derived_public_key(b""),
    ):
        with pytest.raises(InvalidRequestError, match="context"):
            refused()


def test_a_derived_ed25519_key_signs_by_ed25519_only():
    key = open_software(KeyKind.ED25519, KeyUsage.DERIVE, Secret(SEED))
    with pytest.raises(KeyPolicyError, match="ecdsa"):
        key.sign([bytes(32)], scheme=SignatureScheme.ECDSA, context=b"tenant")


# --- opening ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "usage"),
    [
        (KeyKind.AES_256, KeyUsage.SIGN),
        (KeyKind.AES_256, KeyUsage.SIGN_DECRYPT),
        (KeyKind.CHACHA20_POLY1305, KeyUsage.MAC),
        (KeyKind.HMAC, KeyUsage.ENCRYPT),
        (KeyKind.HMAC, KeyUsage.DERIVE),
        (KeyKind.EC_P256, KeyUsage.ENCRYPT),
        (KeyKind.EC_P256, KeyUsage.DERIVE),
        (KeyKind.RSA_2048, KeyUsage.MAC),
        (KeyKind.RSA_2048, KeyUsage.DERIVE),
        (KeyKind.ED25519, KeyUsage.ENCRYPT),
        (KeyKind.ML_DSA_65, KeyUsage.DERIVE),
    ],
)
def test_a_usage_that_a_kind_cannot_have_is_refused(kind, usage):
    with pytest.raises(KeyPolicyError, match=usage.value):
        open_software(kind, usage, Secret(bytes(32)))


def test_material_of_another_kind_does_not_open(rsa_material):
    with pytest.raises(CiphertextError, match="ec-p256"):
        open_software(KeyKind.EC_P256, KeyUsage.SIGN, rsa_material)


def test_material_is_in_no_repr(rsa_material):
    opened = open_software(KeyKind.RSA_2048, KeyUsage.SIGN, rsa_material)
    assert repr(opened) == "RsaKey(rsa-2048 for sign)"
