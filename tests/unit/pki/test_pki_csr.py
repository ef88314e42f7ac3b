"""Certificate requests: what is taken, and what is refused with which sentence."""

from __future__ import annotations

from typing import Any

import pytest
from asn1crypto import core, csr, pem
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidRequestError
from pki.csr import MAX_TEXT, check_key_strength, parse_csr
from tests.support import odd_requests as odd

KEY = ec.generate_private_key(ec.SECP256R1())
GOOD = odd.request_pem(KEY, extensions=[odd.dns_names("a.example.com")])


def with_key(key: Any, digest: hashes.HashAlgorithm | None) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web.example.com")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, digest)
    return made.public_bytes(Encoding.PEM).decode()


def rsa_key(bits: int = 2048, exponent: int = 65537) -> bytes:
    """Nobody has the private one: only sizes are looked at."""
    modulus = (1 << (bits - 1)) | 1
    public: Any = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    der: bytes = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der


KINDS: dict[str, tuple[Any, hashes.HashAlgorithm | None]] = {
    "p256": (KEY, hashes.SHA256()),
    "p384": (ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()),
    "p521": (ec.generate_private_key(ec.SECP521R1()), hashes.SHA512()),
    "ed25519": (ed25519.Ed25519PrivateKey.generate(), None),
    "ml-dsa-44": (mldsa.MLDSA44PrivateKey.generate(), None),
}


@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_every_kind_that_we_issue_for_are_taken(kind: str) -> None:
    key, digest = KINDS[kind]
    found = parse_csr(with_key(key, digest))
    assert found.public_key == key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert found.names == ()


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_rsa_keys_of_these_lengths_are_taken(bits: int) -> None:
    check_key_strength(rsa_key(bits))


@pytest.mark.parametrize(
    ("bits", "exponent"), [(1024, 65537), (2047, 65537), (2560, 65537), (2048, 3), (2048, 257), (2048, (1 << 256) + 1)]
)
def test_weak_and_odd_rsa_keys_are_refused(bits: int, exponent: int) -> None:
    try:
        der = rsa_key(bits, exponent)
    except ValueError:
        pytest.skip("cryptography does not even hold such a key")
    with pytest.raises(InvalidRequestError, match=r"RSA"):
        check_key_strength(der)


@pytest.mark.parametrize(
    ("key", "digest"),
    [
        (ec.generate_private_key(ec.SECP224R1()), hashes.SHA256()),
        (ec.generate_private_key(ec.SECP256K1()), hashes.SHA256()),
        (ed448.Ed448PrivateKey.generate(), None),
    ],
    ids=["p224", "secp256k1", "ed448"],
)
def test_other_curves_are_refused(key: Any, digest: hashes.HashAlgorithm | None) -> None:
    with pytest.raises(InvalidRequestError, match="a key must be RSA"):
        parse_csr(with_key(key, digest))


def test_dsa_is_refused() -> None:
    numbers = dsa.DSAPublicNumbers(4, dsa.DSAParameterNumbers((1 << 2047) | 1, (1 << 255) | 1, 2))
    try:
        public = numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except ValueError:
        pytest.skip("cryptography does not even hold such a key")
    with pytest.raises(InvalidRequestError, match="a key must be RSA"):
        check_key_strength(public)


@pytest.mark.parametrize(
    "text",
    [
        f"\n  {GOOD}\n\n",
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
        f"Certificate Request:\n    Data:\n{GOOD}",
    ],
    ids=["blanks", "crlf", "new", "text before"],
)
def test_pem_as_tools_write_it_is_taken(text: str) -> None:
    assert parse_csr(text).names == (x509.DNSName("a.example.com"),)


BODY = "".join(GOOD.splitlines()[1:-1])
BAD_TEXTS = {
    "empty": ("", "empty"),
    "blanks": (" \n", "empty"),
    "base64 alone": (BODY, "contains no data"),
    "certificate": (GOOD.replace("CERTIFICATE REQUEST", "CERTIFICATE"), "contains no data"),
    "no end": (GOOD.partition("-----END")[0], "contains no data"),
    "two": (GOOD + GOOD, "behind its end"),
    "behind": (f"{GOOD}x", "behind its end"),
    "no base64": (GOOD.replace(BODY[:4], "!!!!", 1), "could not be parsed"),
    "umlaut": (GOOD.replace(BODY[:1], "\u00fc", 1), "could not be parsed"),
    "long": (GOOD + " " * MAX_TEXT, "at most"),
}


@pytest.mark.parametrize("what", BAD_TEXTS)
def test_other_texts_are_refused(what: str) -> None:
    text, sentence = BAD_TEXTS[what]
    with pytest.raises(InvalidRequestError, match=sentence):
        parse_csr(text)


def test_octets_behind_the_der_are_refused() -> None:
    der = pem.unarmor(GOOD.encode())[2]
    with pytest.raises(InvalidRequestError, match="could not be parsed"):
        parse_csr(pem.armor("CERTIFICATE REQUEST", der + b"\0").decode())


SHA1 = hashes.SHA1()  # noqa: S303 - to be refused
ODD = {
    "bad signature": (odd.request_pem(KEY, spoil_signature=True), "does not verify"),
    "sha1": (odd.request_pem(KEY, hash_algorithm=SHA1), "SHA-1"),
    "unknown critical": (odd.request_pem(KEY, extensions=[("1.3.6.1.4.1.99999.1", True, b"\5\0")]), "critical"),
    "twice": (odd.request_pem(KEY, extensions=[odd.dns_names("a"), odd.dns_names("b")]), "twice"),
    "garbage": (odd.request_pem(KEY, extensions=[(odd.SUBJECT_ALT_NAME, False, b"\x30\x03\x82\x7fa")]), "parsed"),
    "no ascii": (odd.request_pem(KEY, extensions=[odd.dns_names("b\xfccher.example.com")]), "parsed"),
    "five octets": (odd.request_pem(KEY, extensions=[odd.addresses(b"\x0a\0\0\1\1")]), "parsed"),
    "many names": (odd.request_pem(KEY, extensions=[odd.dns_names(*(f"n{i}.a" for i in range(1001)))]), "1001"),
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_request_is_refused_with_its_sentence(what: str) -> None:
    text, sentence = ODD[what]
    with pytest.raises(InvalidRequestError, match=sentence):
        parse_csr(text)


def test_extensions_that_are_asked_for_in_two_attributes_are_refused() -> None:
    """RFC 2985, 5.4.2: the attribute is single-valued; what reads the first and what reads the last would differ."""
    request = csr.CertificationRequest.load(pem.unarmor(GOOD.encode())[2])
    info = request["certification_request_info"]
    attribute = info["attributes"][0].dump()
    head = b"".join(info[member].dump() for member in ("version", "subject", "subject_pk_info"))
    attributes = core.Asn1Value(class_=2, tag=0, method=1)
    attributes.contents = attribute + attribute
    body = core.Sequence(contents=head + attributes.dump()).dump()
    signature = KEY.sign(body, ec.ECDSA(hashes.SHA256()))
    rest = request["signature_algorithm"].dump() + core.OctetBitString(signature).dump()
    made = core.Sequence(contents=body + rest).dump()
    with pytest.raises(InvalidRequestError, match="twice"):
        parse_csr(pem.armor("CERTIFICATE REQUEST", made).decode())


def test_a_subject_that_is_no_text_is_refused() -> None:
    """A BIT STRING, which only x500UniqueIdentifier may be (X.520, 6.2.7)."""
    request = csr.CertificationRequest.load(pem.unarmor(GOOD.encode())[2])
    text = b"\x0c\x0fweb.example.com"
    body = request["certification_request_info"].dump()
    assert text in body
    body = body.replace(text, b"\x03\x0f\0eb.example.com")
    signature = core.OctetBitString(KEY.sign(body, ec.ECDSA(hashes.SHA256()))).dump()
    made = core.Sequence(contents=body + request["signature_algorithm"].dump() + signature).dump()
    with pytest.raises(InvalidRequestError, match="subject"):
        parse_csr(pem.armor("CERTIFICATE REQUEST", made).decode())


def test_known_critical_extensions_may_be_asked_for() -> None:
    names = odd.dns_names("a.example.com")
    assert parse_csr(odd.request_pem(KEY, extensions=[(names[0], True, names[2])])).names


def test_a_subject_beyond_the_lengths_of_rfc_5280_is_read_without_a_warning() -> None:
    found = parse_csr(odd.request_pem(KEY, common_name="a" * 65))
    assert found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "a" * 65


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(pem.unarmor(GOOD.encode())[2]) - 1), st.integers(0, 255))
def test_a_changed_octet_is_refused_or_changes_nothing(place: int, octet: int) -> None:
    der = bytearray(pem.unarmor(GOOD.encode())[2])
    was, der[place] = der[place], octet
    text = pem.armor("CERTIFICATE REQUEST", bytes(der)).decode()
    if octet == was:
        parse_csr(text)
        return
    with pytest.raises(InvalidRequestError):
        parse_csr(text)
