"""What is taken for a key: exact lengths, one document of the right type and nothing behind it; stored in one form."""

import os
import time

import pytest
from asn1crypto import core
from asn1crypto.keys import PrivateKeyInfo
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import InvalidRequestError, KeyPolicyError
from core.protocols import KeyKind
from core.public_keys import CURVES, RSA_BITS, kind_of
from core.secret import Secret
from pkcs11_glue.material import check_material, checked_material, new_material
from tests.support.der_mutations import der_length, tlv

SECRETS = {KeyKind.AES_128: 16, KeyKind.AES_256: 32, KeyKind.CHACHA20_POLY1305: 32, KeyKind.XCHACHA20_POLY1305: 32}
SEEDED = {
    KeyKind.ED25519: ed25519.Ed25519PrivateKey.from_private_bytes,
    KeyKind.ML_DSA_44: mldsa.MLDSA44PrivateKey.from_seed_bytes,
    KeyKind.ML_DSA_65: mldsa.MLDSA65PrivateKey.from_seed_bytes,
    KeyKind.ML_DSA_87: mldsa.MLDSA87PrivateKey.from_seed_bytes,
}
ORDER_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def pkcs8(key):
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def spki(key):
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def refused(kind, value, match=""):
    with pytest.raises(InvalidRequestError, match=match or kind.value) as caught:
        check_material(kind, Secret(value))
    if len(value) >= 8:
        assert value.hex() not in caught.value.sentence
        assert repr(value)[2:-1] not in caught.value.sentence


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


# --- making -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in KeyKind if kind not in RSA_BITS or kind is KeyKind.RSA_2048])
def test_what_is_made_is_accepted_as_it_is(kind):
    made = new_material(kind, os.urandom)
    checked = checked_material(kind, made)
    assert checked.secret == made
    assert (checked.public_key is None) == (kind is KeyKind.HMAC or kind in SECRETS)
    assert checked.public_key is None or kind_of(checked.public_key) is kind


@pytest.mark.parametrize("kind", [*SECRETS, *SEEDED, KeyKind.HMAC])
def test_secrets_and_seeds_are_the_given_generators_bytes(kind):
    asked = []

    def random(size):
        asked.append(size)
        return bytes(range(100, 100 + size))

    made = new_material(kind, random)
    assert asked == [SECRETS.get(kind, 64 if kind is KeyKind.HMAC else 32)]
    assert made.expose() == bytes(range(100, 100 + asked[0]))


@pytest.mark.parametrize("size", [1, 32, 65, 512])
def test_hmac_keys_have_the_size_asked_for(size):
    assert len(new_material(KeyKind.HMAC, os.urandom, size=size)) == size


@pytest.mark.parametrize("size", [-1, 513, 10**9])
def test_other_hmac_sizes_are_refused(size):
    with pytest.raises(KeyPolicyError, match="512"):
        new_material(KeyKind.HMAC, os.urandom, size=size)


@pytest.mark.parametrize("kind", [kind for kind in KeyKind if kind is not KeyKind.HMAC])
def test_only_hmac_keys_have_a_choice_of_sizes(kind):
    with pytest.raises(KeyPolicyError, match="one size"):
        new_material(kind, os.urandom, size=32)


# --- secret keys and seeds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("length", [0, 1, 15, 17, 24, 31, 33, 64])
def test_a_secret_of_another_length_is_refused(kind, length):
    refused(kind, bytes(length), "bytes")


@pytest.mark.parametrize("length", [0, 513])
def test_an_empty_or_oversized_hmac_key_is_refused(length):
    refused(KeyKind.HMAC, bytes(length), "HMAC")


@pytest.mark.parametrize("kind", SEEDED)
@pytest.mark.parametrize("length", [0, 1, 31, 33, 64, 48, 54])
def test_a_seed_of_another_length_is_refused(kind, length):
    refused(kind, bytes(length), "32 bytes")


@pytest.mark.parametrize("kind", SEEDED)
def test_pkcs8_of_a_seeded_key_becomes_its_seed(kind):
    seed = bytes(range(32))
    key = SEEDED[kind](seed)
    checked = checked_material(kind, Secret(pkcs8(key)))
    assert checked.secret.expose() == seed
    assert checked.public_key == spki(key)


@pytest.mark.parametrize("kind", SEEDED)
def test_pkcs8_of_another_seeded_kind_is_refused(kind):
    for other in SEEDED.keys() - {kind}:
        refused(kind, pkcs8(SEEDED[other](bytes(32))))
    refused(kind, pkcs8(ed448.Ed448PrivateKey.generate()))
    refused(kind, pkcs8(ec.generate_private_key(ec.SECP256R1())))


# --- key pairs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CURVES)
def test_a_key_on_another_curve_is_refused(kind):
    others = [curve for name, curve in CURVES.items() if name is not kind]
    for curve in (*others, ec.SECP256K1(), ec.BrainpoolP256R1(), ec.SECP224R1()):
        refused(kind, pkcs8(ec.generate_private_key(curve)))


@pytest.mark.parametrize("kind", RSA_BITS)
@pytest.mark.parametrize("bits", [1024, 2040, 2047, 2056, 2048])
def test_an_rsa_key_of_another_size_is_refused(kind, bits):
    if bits == RSA_BITS[kind]:
        return
    refused(kind, pkcs8(rsa.generate_private_key(65537, bits)))


def test_a_small_exponent_is_refused():
    refused(KeyKind.RSA_2048, pkcs8(rsa.generate_private_key(3, 2048)), "exponent")


def other_documents(key):
    """Forms of one key that are not its PKCS #8."""
    good = pkcs8(key)
    return {
        "traditional": key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        "PEM": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "encrypted": key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"password")),
        "public": spki(key),
        "empty": b"",
        "one byte": b"\x30",
        "trailing zero": good + b"\0",
        "trailing copy": good + good,
        "leading zero": b"\0" + good,
        "cut": good[:-1],
        "cut in front": good[1:],
        "half": good[: len(good) // 2],
        "set": b"\x31" + good[1:],
        "indefinite length": b"\x30\x80" + good[-int.from_bytes(good[2:4], "big") :] + b"\0\0",
        "zeros": bytes(len(good)),
        "garbage inside": tlv(0x30, PrivateKeyInfo.load(good).contents + b"\0\0"),
        "version 7": good.replace(b"\x02\x01\0\x30", b"\x02\x01\7\x30", 1),
        "hex": good.hex().encode(),
    }


@pytest.mark.parametrize("name", other_documents(ec.generate_private_key(ec.SECP256R1())))
def test_what_is_not_pkcs8_of_one_key_is_refused(rsa_key, name):
    refused(KeyKind.RSA_2048, other_documents(rsa_key)[name])
    refused(KeyKind.EC_P256, other_documents(ec.generate_private_key(ec.SECP256R1()))[name])


def test_a_long_form_length_where_a_short_one_does_is_refused():
    """X.690, 10.1."""
    good = pkcs8(ec.generate_private_key(ec.SECP256R1()))
    contents = PrivateKeyInfo.load(good).contents
    assert tlv(0x30, contents) == good
    refused(KeyKind.EC_P256, b"\x30\x83\0\0" + bytes([len(contents)]) + contents)
    assert der_length(len(contents)) == good[1:3]


def ec_document(scalar, point=b"", version=b"\x02\x01\x01"):
    """PKCS #8 of a P-256 key around any scalar (RFC 5915, RFC 5208)."""
    public = tlv(0xA1, tlv(3, b"\0" + point)) if point else b""
    inner = tlv(0x30, version + tlv(4, scalar) + public)
    algorithm = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
    return tlv(0x30, b"\x02\x01\0" + algorithm + tlv(4, inner))


@pytest.mark.parametrize("scalar", [0, ORDER_P256, ORDER_P256 + 1, 2**256 - 1])
def test_a_private_scalar_out_of_range_is_refused(scalar):
    refused(KeyKind.EC_P256, ec_document(scalar.to_bytes(32, "big")))


def test_a_public_point_of_another_key_is_refused():
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    point = other.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    refused(KeyKind.EC_P256, ec_document(key.private_numbers().private_value.to_bytes(32, "big"), point))


def test_a_public_point_off_the_curve_is_refused():
    refused(KeyKind.EC_P256, ec_document(b"\1" * 32, b"\4" + b"\1" * 64))


def test_a_key_without_its_public_point_is_stored_with_it():
    key = ec.generate_private_key(ec.SECP256R1())
    bare = ec_document(key.private_numbers().private_value.to_bytes(32, "big"))
    assert bare != pkcs8(key)
    assert checked_material(KeyKind.EC_P256, Secret(bare)).secret.expose() == pkcs8(key)


def damaged_rsa(key):
    numbers = key.private_numbers()
    public = numbers.public_numbers
    longer = numbers.d + ((numbers.p - 1) * (numbers.q - 1) << 3000)  # works as well as d
    rows = {
        "d of another key": (numbers.p, numbers.q, numbers.d + 2, numbers.dmp1, numbers.dmq1, numbers.iqmp),
        "d above n": (numbers.p, numbers.q, longer, numbers.dmp1, numbers.dmq1, numbers.iqmp),
        "dmp1": (numbers.p, numbers.q, numbers.d, numbers.dmp1 + 2, numbers.dmq1, numbers.iqmp),
        "iqmp": (numbers.p, numbers.q, numbers.d, numbers.dmp1, numbers.dmq1, numbers.iqmp + 1),
        "p": (numbers.p + 2, numbers.q, numbers.d, numbers.dmp1, numbers.dmq1, numbers.iqmp),
        "p = 1": (1, public.n, numbers.d, numbers.dmp1, numbers.dmq1, numbers.iqmp),
    }
    algorithm = bytes.fromhex("300d06092a864886f70d0101010500")

    def integer(value):
        return tlv(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))

    for name, (p, q, d, dmp1, dmq1, iqmp) in rows.items():
        inner = b"".join(map(integer, (0, public.n, public.e, d, p, q, dmp1, dmq1, iqmp)))
        yield name, tlv(0x30, b"\x02\x01\0" + algorithm + tlv(4, tlv(0x30, inner)))


def test_rsa_numbers_that_do_not_belong_together_are_refused(rsa_key):
    for _, document in damaged_rsa(rsa_key):
        refused(KeyKind.RSA_2048, document, match="rsa-2048|both primes must have 1024 bits")


# --- properties ---------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(1, ORDER_P256 - 1))
def test_every_p256_key_comes_back_in_the_form_it_has(scalar):
    document = pkcs8(ec.derive_private_key(scalar, ec.SECP256R1()))
    checked = checked_material(KeyKind.EC_P256, Secret(document))
    assert checked.secret.expose() == document
    assert checked_material(KeyKind.EC_P256, checked.secret) == checked


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(SEEDED, key=lambda kind: kind.value)), st.binary(min_size=32, max_size=32))
def test_every_seed_comes_back(kind, seed):
    checked = checked_material(kind, Secret(seed))
    assert checked.secret.expose() == seed
    assert checked_material(kind, Secret(pkcs8(SEEDED[kind](seed)))) == checked


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted([*CURVES, *RSA_BITS, *SEEDED], key=lambda kind: kind.value)), st.binary(max_size=200))
def test_arbitrary_bytes_are_a_key_or_an_invalid_request(kind, value):
    try:
        check_material(kind, Secret(value))
    except InvalidRequestError:
        return
    assert kind in SEEDED
    assert len(value) == 32


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 137), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_gives_a_whole_key(place, difference):
    """What is accepted re-encodes to one form: there are no two documents of one stored key."""
    document = bytearray(pkcs8(ec.derive_private_key(0x1234567890ABCDEF, ec.SECP256R1())))
    document[place] ^= difference
    try:
        checked = checked_material(KeyKind.EC_P256, Secret(bytes(document)))
    except InvalidRequestError:
        return
    assert checked_material(KeyKind.EC_P256, checked.secret) == checked


PRIME = 2**9941 - 1  # OpenSSL tests this one for a minute


def forged_rsa(rsa_key, **changed):
    info = PrivateKeyInfo.load(pkcs8(rsa_key))
    key = info["private_key"].parsed
    for name, value in changed.items():
        key[name] = value
    info["private_key"] = key
    return info.dump(force=True)


@pytest.mark.parametrize(
    "changed",
    [
        {"prime1": PRIME, "prime2": 3},
        {"modulus": 3 * PRIME, "prime1": PRIME, "prime2": 3},
        {"private_exponent": PRIME},
    ],
    ids=["prime", "modulus", "exponent"],
)
def test_a_forged_rsa_key_keeps_nobody_busy(rsa_key, changed):
    begin = time.process_time()
    refused(KeyKind.RSA_2048, forged_rsa(rsa_key, **changed), match="RSA|rsa|prime|exponent")
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("oid", ["1.2.840.113549.1.3.1", "1.2.840.10040.4.1"], ids=["dh", "dsa"])
@pytest.mark.parametrize("kind", [KeyKind.RSA_2048, KeyKind.EC_P256, KeyKind.ED25519])
def test_a_key_of_an_algorithm_that_nobody_asked_for_is_not_parsed(kind, oid):
    group = core.Sequence(contents=core.Integer(PRIME).dump() + core.Integer(5).dump())
    algorithm = core.Sequence(contents=core.ObjectIdentifier(oid).dump() + group.dump())
    key = core.OctetString(core.Integer(7).dump())
    begin = time.process_time()
    refused(kind, core.Sequence(contents=core.Integer(0).dump() + algorithm.dump() + key.dump()).dump())
    assert time.process_time() - begin < 2
