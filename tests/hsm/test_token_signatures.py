"""Signatures made inside the token, checked by `cryptography` itself; and what is refused before the token is asked."""

import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
)

from core.errors import InvalidRequestError, KeyPolicyError
from core.protocols import Custody, KeyKind, KeyUsage, SignatureScheme
from core.secret import Secret

HASHES = {
    "sha1": hashes.SHA1(),  # noqa: S303 - the API offers it
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha3-224": hashes.SHA3_224(),
    "sha3-256": hashes.SHA3_256(),
    "sha3-384": hashes.SHA3_384(),
    "sha3-512": hashes.SHA3_512(),
}
RSA_SCHEMES = [SignatureScheme.RSA_PKCS1V15, SignatureScheme.RSA_PKCS1V15_RAW, SignatureScheme.RSA_PSS]
MESSAGE = b"what is signed"


def digest_of(name):
    return hashlib.new(name.replace("-", "_"), MESSAGE).digest()


@pytest.fixture(scope="module")
def software_rsa():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
async def rsa_key(hsm, software_rsa):
    """An RSA key in the token, imported since generating one takes long."""
    der = software_rsa.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    key = await hsm.import_key(KeyKind.RSA_2048, Secret(der), usage=KeyUsage.SIGN)
    assert key.custody is Custody.HSM
    return key


@pytest.mark.parametrize("kind", [KeyKind.EC_P256, KeyKind.EC_P384, KeyKind.EC_P521])
async def test_ecdsa_signs_digests_of_every_hash(hsm, kind):
    """Also those longer than the curve's order, of which the leftmost bits count (FIPS 186-5, 6.4.1)."""
    key = await hsm.generate_key(kind, usage=KeyUsage.SIGN)
    public = load_der_public_key(key.public_key)
    for name, algorithm in HASHES.items():
        (signature,) = await hsm.sign(key, [digest_of(name)], scheme=SignatureScheme.ECDSA, hash_name=name)
        public.verify(signature, digest_of(name), ec.ECDSA(Prehashed(algorithm)))
        with pytest.raises(InvalidSignature):
            public.verify(signature, digest_of(name)[::-1], ec.ECDSA(Prehashed(algorithm)))


@pytest.mark.parametrize("name", HASHES)
async def test_pkcs1v15_equals_software(hsm, rsa_key, software_rsa, name):
    """It is deterministic, so the very bytes must be those of `cryptography`, SHA-3 included (RFC 8017, 8.2.1)."""
    (signature,) = await hsm.sign(rsa_key, [digest_of(name)], scheme=SignatureScheme.RSA_PKCS1V15, hash_name=name)
    assert signature == software_rsa.sign(digest_of(name), padding.PKCS1v15(), Prehashed(HASHES[name]))


@pytest.mark.parametrize("length", [0, 1, 36, 245])
async def test_raw_pkcs1v15_pads_what_is_given(hsm, rsa_key, software_rsa, length):
    data = bytes(range(length))
    (signature,) = await hsm.sign(rsa_key, [data], scheme=SignatureScheme.RSA_PKCS1V15_RAW)
    numbers = software_rsa.public_key().public_numbers()
    encoded = pow(int.from_bytes(signature, "big"), numbers.e, numbers.n).to_bytes(256, "big")
    assert encoded == b"\x00\x01" + b"\xff" * (253 - length) + b"\x00" + data


async def test_raw_pkcs1v15_of_more_than_fits_is_refused(hsm, rsa_key):
    with pytest.raises(InvalidRequestError, match="at most 245 bytes"):
        await hsm.sign(rsa_key, [bytes(246)], scheme=SignatureScheme.RSA_PKCS1V15_RAW)


@pytest.mark.parametrize("name", HASHES)
async def test_pss_with_every_hash_and_salts_from_none_to_the_longest(hsm, rsa_key, software_rsa, name):
    """RFC 8017, 8.1: inside the token for SHA-2, encoded here for SHA-3."""
    algorithm, size = HASHES[name], HASHES[name].digest_size
    for salt, expected in ((None, size), (0, 0), (1, 1), (size, size), (254 - size, 254 - size)):
        (signature,) = await hsm.sign(
            rsa_key, [digest_of(name)], scheme=SignatureScheme.RSA_PSS, hash_name=name, salt_length=salt
        )
        pss = padding.PSS(padding.MGF1(algorithm), expected)
        software_rsa.public_key().verify(signature, digest_of(name), pss, Prehashed(algorithm))


@pytest.mark.parametrize("name", ["sha256", "sha3-256"])
async def test_pss_draws_a_fresh_salt_each_time(hsm, rsa_key, name):
    digests = [digest_of(name)] * 4
    signatures = await hsm.sign(rsa_key, digests, scheme=SignatureScheme.RSA_PSS, hash_name=name)
    assert len(set(signatures)) == 4


@pytest.mark.parametrize("salt", [-1, 223, 1 << 40])
@pytest.mark.parametrize("name", ["sha256", "sha3-256"])
async def test_a_salt_that_does_not_fit_is_refused_with_the_limit(hsm, rsa_key, name, salt):
    with pytest.raises(InvalidRequestError, match="0 to 222 bytes"):
        await hsm.sign(rsa_key, [digest_of(name)], scheme=SignatureScheme.RSA_PSS, hash_name=name, salt_length=salt)


async def test_a_salt_is_of_pss_only(hsm, rsa_key):
    with pytest.raises(InvalidRequestError, match="PSS only"):
        await hsm.sign(rsa_key, [bytes(32)], scheme=SignatureScheme.RSA_PKCS1V15, salt_length=32)


@pytest.mark.parametrize("scheme", [SignatureScheme.RSA_PKCS1V15, SignatureScheme.RSA_PSS])
@pytest.mark.parametrize("name", ["sha256", "sha3-384"])
async def test_a_digest_of_another_length_is_refused(hsm, rsa_key, scheme, name):
    for length in (0, 20, HASHES[name].digest_size + 1):
        with pytest.raises(InvalidRequestError, match=f"{HASHES[name].digest_size} bytes"):
            await hsm.sign(rsa_key, [digest_of(name), bytes(length)], scheme=scheme, hash_name=name)


@pytest.mark.parametrize("scheme", [SignatureScheme.ECDSA, SignatureScheme.ED25519, SignatureScheme.ML_DSA])
async def test_an_rsa_key_signs_by_rsa_only(hsm, rsa_key, scheme):
    with pytest.raises(KeyPolicyError, match=rf"rsa-2048 does not sign by {scheme.value}"):
        await hsm.sign(rsa_key, [bytes(32)], scheme=scheme)


@pytest.mark.parametrize("scheme", [*RSA_SCHEMES, SignatureScheme.ED25519, SignatureScheme.ML_DSA])
async def test_an_ec_key_signs_by_ecdsa_only(hsm, scheme):
    key = await hsm.generate_key(KeyKind.EC_P256, usage=KeyUsage.SIGN)
    with pytest.raises(KeyPolicyError, match=rf"ec-p256 does not sign by {scheme.value}"):
        await hsm.sign(key, [bytes(32)], scheme=scheme)


async def test_an_unknown_hash_is_refused(hsm, rsa_key):
    for scheme in (SignatureScheme.RSA_PKCS1V15, SignatureScheme.RSA_PSS):
        with pytest.raises(InvalidRequestError, match="one of sha1"):
            await hsm.sign(rsa_key, [bytes(16)], scheme=scheme, hash_name="md5")


async def test_a_context_is_of_derived_keys_only(hsm, rsa_key):
    with pytest.raises(KeyPolicyError, match="leave the context out"):
        await hsm.sign(rsa_key, [bytes(32)], scheme=SignatureScheme.RSA_PSS, context=b"tenant")


@pytest.mark.parametrize("mode", ["inline", "pool"])
async def test_batches_of_every_size_come_back_in_order(token, mode):
    from pkcs11_glue.hsm import Hsm

    hsm = await Hsm.open(token.settings(mode=mode, pool_size=2))
    key = await hsm.generate_key(KeyKind.EC_P256, usage=KeyUsage.SIGN)
    public = load_der_public_key(key.public_key)
    for count in (0, 1, 8, 9, 64):
        digests = [hashlib.sha256(bytes([n])).digest() for n in range(count)]
        signatures = await hsm.sign(key, digests, scheme=SignatureScheme.ECDSA)
        for digest, signature in zip(digests, signatures, strict=True):
            public.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    await hsm.close()
