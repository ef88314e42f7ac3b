"""Verification as strict as Wycheproof asks: one encoding of a signature verifies, and only under what was signed."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core import public_keys
from core.errors import InvalidRequestError, InvalidSignatureError
from core.protocols import KeyKind, SignatureScheme
from core.public_keys import HASHES, verify_signature
from tests.support.der_mutations import ecdsa_mutations, signature

ORDERS = {  # SP 800-186, 3.2.1
    KeyKind.EC_P256: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    KeyKind.EC_P384: int("f" * 48 + "c7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16),
    KeyKind.EC_P521: int("01ff" + "f" * 62 + "fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409", 16),
}
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
DIGEST = hashlib.sha256(b"message").digest()
RFC_7515_X = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
RFC_7515_Y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
RFC_7515_SIGNATURE = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
RFC_7515_INPUT = (
    b"eyJhbGciOiJFUzI1NiJ9"
    b".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
)
INVALID = pytest.raises(InvalidSignatureError, match=r"^the signature does not verify$")


def spki(private):
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def ecdsa_pair(kind, name="sha256"):
    key = ec.generate_private_key(public_keys.CURVES[kind])
    digest = public_keys.digest(name, b"message")
    return spki(key), key.sign(digest, ec.ECDSA(Prehashed(HASHES[name]))), digest


def from_base64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


# --- ECDSA --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ORDERS)
def test_no_mutation_of_an_ecdsa_signature_verifies(kind):
    public, good, digest = ecdsa_pair(kind)
    r, s = decode_dss_signature(good)
    assert signature(r, s) == good
    verify_signature(public, good, digest, scheme=SignatureScheme.ECDSA)
    accepted = []
    for name, mutation in ecdsa_mutations(r, s, ORDERS[kind]).items():
        try:
            verify_signature(public, mutation, digest, scheme=SignatureScheme.ECDSA)
        except InvalidSignatureError:
            continue
        accepted.append(name)
    assert accepted == []


@pytest.mark.parametrize("kind", ORDERS)
@pytest.mark.parametrize("wanted", ["r", "s"])
def test_a_missing_zero_makes_a_number_negative_and_is_refused(kind, wanted):
    """X.690, 8.3.3: the table has that row only when the top bit is set, so sign until it is."""
    for _ in range(200):
        public, good, digest = ecdsa_pair(kind)
        rows = ecdsa_mutations(*decode_dss_signature(good), ORDERS[kind])
        if f"missing zero of {wanted}" in rows:
            with INVALID:
                verify_signature(public, rows[f"missing zero of {wanted}"], digest, scheme=SignatureScheme.ECDSA)
            return
        if kind is KeyKind.EC_P521:
            return  # 521 bits never fill the top bit of 66 bytes
    pytest.fail("200 signatures without a set top bit")


@pytest.mark.parametrize("name", HASHES)
def test_ecdsa_verifies_under_its_own_hash_only(name):
    public, good, digest = ecdsa_pair(KeyKind.EC_P256, name)
    verify_signature(public, good, digest, scheme=SignatureScheme.ECDSA, hash_name=name)
    other = "sha256" if len(digest) != 32 else "sha384"
    with INVALID:
        verify_signature(public, good, digest, scheme=SignatureScheme.ECDSA, hash_name=other)


@pytest.mark.parametrize("kind", ORDERS)
def test_the_jws_form_goes_there_and_back(kind):
    """RFC 7518, 3.4: both numbers have the field's length."""
    _, good, _ = ecdsa_pair(kind)
    size = (public_keys.CURVES[kind].key_size + 7) // 8
    jws = public_keys.ecdsa_to_jws(kind, good)
    assert len(jws) == 2 * size
    assert public_keys.ecdsa_from_jws(kind, jws) == good
    small = signature(1, 2)
    assert public_keys.ecdsa_to_jws(kind, small) == bytes(size - 1) + b"\1" + bytes(size - 1) + b"\2"


def test_the_signature_of_rfc_7515_verifies():
    """RFC 7515, A.3."""
    x, y = (from_base64url(text) for text in (RFC_7515_X, RFC_7515_Y))
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\4" + x + y)
    public = point.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    jws = from_base64url(RFC_7515_SIGNATURE)
    der = public_keys.ecdsa_from_jws(KeyKind.EC_P256, jws)
    digest = public_keys.digest("sha256", RFC_7515_INPUT)
    verify_signature(public, der, digest, scheme=SignatureScheme.ECDSA)
    assert public_keys.ecdsa_to_jws(KeyKind.EC_P256, der) == jws


@pytest.mark.parametrize("length", [0, 1, 63, 65, 66, 96, 128])
def test_a_jws_signature_of_another_length_does_not_verify(length):
    with INVALID:
        public_keys.ecdsa_from_jws(KeyKind.EC_P256, bytes(length))


@pytest.mark.parametrize("kind", ORDERS)
def test_zeros_in_the_jws_form_do_not_verify(kind):
    public, _, digest = ecdsa_pair(kind)
    size = (public_keys.CURVES[kind].key_size + 7) // 8
    with INVALID:
        der = public_keys.ecdsa_from_jws(kind, bytes(2 * size))
        verify_signature(public, der, digest, scheme=SignatureScheme.ECDSA)


def test_only_ecdsa_has_a_jws_form_of_its_own():
    with pytest.raises(InvalidRequestError, match="JWS"):
        public_keys.ecdsa_from_jws(KeyKind.RSA_2048, bytes(256))


# --- RSA ----------------------------------------------------------------------------------------------------------


def rsa_sign(key, message):
    """The raw private operation over an encoded message, to make signatures with wrong padding."""
    numbers = key.private_numbers()
    value = pow(int.from_bytes(message, "big"), numbers.d, numbers.public_numbers.n)
    return value.to_bytes(256, "big")


SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
SHA256_INFO_WITHOUT_NULL = bytes.fromhex("302f300b0609608648016503040201" + "0420")


def encoded(info, *, filler=b"\xff", head=b"\0\1", end=b"\0"):
    rest = end + info
    return head + filler * (256 - len(head) - len(rest)) + rest


PKCS1_MUTATIONS = {
    "garbage behind a short padding (Bleichenbacher 2006)": b"\0\1" + b"\xff" * 8 + b"\0" + SHA256_INFO + DIGEST,
    "garbage in the padding": encoded(SHA256_INFO + DIGEST, filler=b"\xfe"),
    "zero padding": encoded(SHA256_INFO + DIGEST, filler=b"\0"),
    "block type 2": encoded(SHA256_INFO + DIGEST, head=b"\0\2"),
    "block type 0": encoded(SHA256_INFO + DIGEST, head=b"\0\0"),
    "first byte not zero": encoded(SHA256_INFO + DIGEST, head=b"\1\1"),
    "no separator": encoded(SHA256_INFO + DIGEST, end=b"\xff"),
    "no DigestInfo": encoded(DIGEST),
    "DigestInfo without NULL": encoded(SHA256_INFO_WITHOUT_NULL + DIGEST),
    "DigestInfo of another hash": encoded(SHA256_INFO.replace(b"\x02\x01\x05", b"\x02\x02\x05") + DIGEST),
    "BER length in DigestInfo": encoded(b"\x30\x81" + SHA256_INFO[1:] + DIGEST),
    "trailing bytes in DigestInfo": encoded(b"\x30\x33" + SHA256_INFO[2:] + DIGEST + b"\x05\0"),
    "digest cut": encoded(SHA256_INFO + DIGEST[:-1]),
}


def test_the_good_encoding_of_the_table_verifies(rsa_key):
    good = rsa_sign(rsa_key, encoded(SHA256_INFO + DIGEST))
    verify_signature(spki(rsa_key), good, DIGEST, scheme=SignatureScheme.RSA_PKCS1V15)


@pytest.mark.parametrize("name", PKCS1_MUTATIONS)
def test_pkcs1_v15_with_another_encoding_does_not_verify(rsa_key, name):
    """RFC 8017, 8.2.2: the encoding is made again and compared, never parsed."""
    forged = rsa_sign(rsa_key, PKCS1_MUTATIONS[name].ljust(256, b"\xaa"))
    with INVALID:
        verify_signature(spki(rsa_key), forged, DIGEST, scheme=SignatureScheme.RSA_PKCS1V15)


def lengths_and_ranges(good, modulus):
    value = int.from_bytes(good, "big")
    return {
        "empty": b"",
        "leading zero": b"\0" + good,
        "trailing zero": good + b"\0",
        "cut in front": good[1:],
        "cut at the end": good[:-1],
        "plus the modulus": (value + modulus).to_bytes(257, "big"),
        "zero": bytes(256),
        "one": (1).to_bytes(256, "big"),
        "the modulus": modulus.to_bytes(256, "big"),
        "modulus minus one": (modulus - 1).to_bytes(256, "big"),
        "negated": (modulus - value).to_bytes(256, "big"),
        "all ones": b"\xff" * 256,
    }


@pytest.mark.parametrize(
    "scheme", [SignatureScheme.RSA_PKCS1V15, SignatureScheme.RSA_PSS, SignatureScheme.RSA_PKCS1V15_RAW]
)
def test_rsa_signatures_out_of_length_or_range_do_not_verify(rsa_key, scheme):
    how, hashed = {
        SignatureScheme.RSA_PKCS1V15: (padding.PKCS1v15(), Prehashed(HASHES["sha256"])),
        SignatureScheme.RSA_PKCS1V15_RAW: (padding.PKCS1v15(), NoDigestInfo()),
        SignatureScheme.RSA_PSS: (padding.PSS(padding.MGF1(HASHES["sha256"]), 32), Prehashed(HASHES["sha256"])),
    }[scheme]
    good = rsa_key.sign(DIGEST, how, hashed)
    verify_signature(spki(rsa_key), good, DIGEST, scheme=scheme)
    for mutation in lengths_and_ranges(good, rsa_key.public_key().public_numbers().n).values():
        with INVALID:
            verify_signature(spki(rsa_key), mutation, DIGEST, scheme=scheme)


@pytest.mark.parametrize("name", HASHES)
@pytest.mark.parametrize("salt", [0, 1, 20, 64])
def test_pss_takes_any_salt_or_exactly_the_one_asked_for(rsa_key, name, salt):
    digest = public_keys.digest(name, b"message")
    how = padding.PSS(padding.MGF1(HASHES[name]), salt)
    good = rsa_key.sign(digest, how, Prehashed(HASHES[name]))
    for accepted in (None, salt):
        verify_signature(
            spki(rsa_key), good, digest, scheme=SignatureScheme.RSA_PSS, hash_name=name, salt_length=accepted
        )
    for refused in (salt + 1, 300):
        with INVALID:
            verify_signature(
                spki(rsa_key), good, digest, scheme=SignatureScheme.RSA_PSS, hash_name=name, salt_length=refused
            )


def test_pss_and_pkcs1_do_not_verify_as_each_other(rsa_key):
    pkcs1 = rsa_key.sign(DIGEST, padding.PKCS1v15(), Prehashed(HASHES["sha256"]))
    for scheme in (SignatureScheme.RSA_PSS, SignatureScheme.RSA_PKCS1V15_RAW):
        with INVALID:
            verify_signature(spki(rsa_key), pkcs1, DIGEST, scheme=scheme)


@pytest.mark.parametrize("salt", [-1, 223, 10**6])
def test_a_salt_that_does_not_fit_the_key_is_an_invalid_request(salt):
    with pytest.raises(InvalidRequestError, match="0 to 222"):
        public_keys.pss_salt(2048, "sha256", salt)


def test_oaep_holds_what_fits_and_no_more(rsa_key):
    public = spki(rsa_key)
    assert len(public_keys.encrypt_oaep(public, bytes(190))) == 256
    with pytest.raises(InvalidRequestError, match="190 bytes"):
        public_keys.encrypt_oaep(public, bytes(191))


@pytest.mark.parametrize("name", ["", "md5", "sha3-256", "SHA256"])
def test_oaep_with_another_hash_is_an_invalid_request(rsa_key, name):
    with pytest.raises(InvalidRequestError, match="OAEP"):
        public_keys.encrypt_oaep(spki(rsa_key), b"x", hash_name=name)


def test_only_rsa_keys_encrypt():
    with pytest.raises(InvalidRequestError, match="only RSA"):
        public_keys.encrypt_oaep(spki(ed25519.Ed25519PrivateKey.generate()), b"x")


# --- Ed25519 and ML-DSA -------------------------------------------------------------------------------------------


def test_no_mutation_of_an_ed25519_signature_verifies():
    """RFC 8032, 5.1.7: s < L, and the length is 64 bytes."""
    key = ed25519.Ed25519PrivateKey.generate()
    good = key.sign(b"message")
    verify_signature(spki(key), good, b"message", scheme=SignatureScheme.ED25519)
    s = int.from_bytes(good[32:], "little")
    mutations = [
        b"",
        good[:32],
        good[:63],
        good + b"\0",
        b"\0" + good,
        bytes(64),
        good[32:] + good[:32],
        good[:32] + bytes(32),
        bytes(32) + good[32:],
        b"\1" + bytes(31) + good[32:],
        *(good[:32] + (s + k * ED25519_ORDER).to_bytes(32, "little") for k in range(1, 15)),
        good[:32] + ED25519_ORDER.to_bytes(32, "little"),
        good[:32] + b"\xff" * 32,
        good[:32] + ((-s) % ED25519_ORDER).to_bytes(32, "little"),
        good[:31] + bytes([good[31] ^ 0x80]) + good[32:],
    ]
    for mutation in mutations:
        with INVALID:
            verify_signature(spki(key), mutation, b"message", scheme=SignatureScheme.ED25519)


@pytest.mark.parametrize("make", [mldsa.MLDSA44PrivateKey, mldsa.MLDSA65PrivateKey, mldsa.MLDSA87PrivateKey])
def test_no_mutation_of_an_ml_dsa_signature_verifies(make):
    """FIPS 204, algorithm 21: length and hints have one form."""
    key = make.generate()
    good = key.sign(b"message")
    verify_signature(spki(key), good, b"message", scheme=SignatureScheme.ML_DSA)
    places = (0, 100, len(good) // 2, len(good) - 1)
    flipped = [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in places]
    for mutation in [b"", good[:-1], good + b"\0", bytes(len(good)), *flipped, key.sign(b"message", b"context")]:
        with INVALID:
            verify_signature(spki(key), mutation, b"message", scheme=SignatureScheme.ML_DSA)


# --- public keys --------------------------------------------------------------------------------------------------


def pem(private):
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


MAKERS = {
    KeyKind.EC_P256: lambda: ec.generate_private_key(ec.SECP256R1()),
    KeyKind.EC_P384: lambda: ec.generate_private_key(ec.SECP384R1()),
    KeyKind.EC_P521: lambda: ec.generate_private_key(ec.SECP521R1()),
    KeyKind.RSA_2048: lambda: rsa.generate_private_key(65537, 2048),
    KeyKind.ED25519: ed25519.Ed25519PrivateKey.generate,
    KeyKind.ML_DSA_44: mldsa.MLDSA44PrivateKey.generate,
    KeyKind.ML_DSA_65: mldsa.MLDSA65PrivateKey.generate,
    KeyKind.ML_DSA_87: mldsa.MLDSA87PrivateKey.generate,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_public_key_is_of_its_kind_and_no_other(kind):
    key = MAKERS[kind]()
    assert public_keys.check_public_key(kind, pem(key)) == spki(key)
    assert public_keys.kind_of(spki(key)) is kind
    for other in MAKERS.keys() - {kind}:
        with pytest.raises(InvalidRequestError, match=other.value):
            public_keys.check_public_key(other, pem(key))


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda text: text.replace("PUBLIC", "PRIVATE"),
        lambda text: text.replace("BEGIN PUBLIC", "BEGIN RSA PUBLIC"),
        lambda text: text + text,
        lambda text: "before\n" + text,
        lambda text: text + "behind",
        lambda text: text.replace("\n-----END", "AAAA\n-----END"),
        lambda text: text.replace("M", "é", 1),
        lambda text: "\n".join(text.splitlines()[1:-1]),
    ],
)
def test_a_damaged_pem_is_refused(change):
    key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(InvalidRequestError, match="ec-p256"):
        public_keys.check_public_key(KeyKind.EC_P256, change(pem(key)))


def test_a_compressed_point_is_stored_in_the_one_form():
    key = ec.generate_private_key(ec.SECP256R1())
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    header = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    text = f"-----BEGIN PUBLIC KEY-----\n{base64.b64encode(header + point).decode()}\n-----END PUBLIC KEY-----"
    assert public_keys.check_public_key(KeyKind.EC_P256, text) == spki(key)


def test_a_point_off_the_curve_is_refused():
    good = spki(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(InvalidRequestError):
        public_keys.load_public_key(good[:-1] + bytes([good[-1] ^ 1]))


@pytest.mark.parametrize("other", [ec.SECP256K1(), ec.SECP224R1(), ec.BrainpoolP256R1()])
def test_a_key_on_another_curve_has_no_kind(other):
    with pytest.raises(InvalidRequestError, match="not supported"):
        public_keys.kind_of(spki(ec.generate_private_key(other)))


def test_a_key_of_another_type_has_no_kind():
    with pytest.raises(InvalidRequestError, match="not supported"):
        public_keys.kind_of(spki(x25519.X25519PrivateKey.generate()))


@pytest.mark.parametrize("exponent", [1, 3, 65535, 65536, 65538, 2**256 + 1])
def test_a_bad_public_exponent_is_refused(exponent):
    with pytest.raises(InvalidRequestError, match="exponent"):
        public_keys.check_rsa_exponent(exponent)


def test_a_public_key_with_a_small_exponent_is_refused():
    weak = rsa.generate_private_key(3, 2048)
    with pytest.raises(InvalidRequestError, match="exponent"):
        public_keys.check_public_key(KeyKind.RSA_2048, pem(weak))


@pytest.mark.parametrize("trailing", [b"\0", b"\x05\0", b"x"])
def test_bytes_behind_a_public_key_are_refused(trailing):
    with pytest.raises(InvalidRequestError):
        public_keys.load_public_key(spki(ed25519.Ed25519PrivateKey.generate()) + trailing)


def test_loaded_keys_are_kept_up_to_a_bound():
    public = spki(ed25519.Ed25519PrivateKey.generate())
    assert public_keys.load_public_key(public) is public_keys.load_public_key(bytes(bytearray(public)))
    assert public_keys.load_public_key.cache_info().maxsize == 1024


# --- digests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HASHES)
def test_digests_are_the_standard_librarys(name):
    expected = hashlib.new(name.replace("-", "_"), b"data", usedforsecurity=False).digest()
    assert public_keys.digest(name, b"data") == expected
    public_keys.check_digests([expected], name)
    for wrong in (expected[:-1], expected + b"\0", b""):
        with pytest.raises(InvalidRequestError, match=f"{len(expected)} bytes"):
            public_keys.check_digests([expected, wrong], name)


@pytest.mark.parametrize("name", ["", "md5", "SHA256", "sha_256", "sha3_256", "none", "shake128"])
def test_an_unknown_hash_is_refused_by_name(name):
    with pytest.raises(InvalidRequestError, match="sha3-512"):
        public_keys.digest(name, b"")
