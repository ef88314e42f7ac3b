"""Verification in software: nothing for a good signature, one error for every bad one."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from core.errors import HsmConfigError, HsmGoneError, HsmRetryError, InvalidRequestError, InvalidSignatureError
from core.protocols import SignatureScheme
from core.public_keys import verify_signature
from pkcs11_glue.cryptoki import CryptokiError
from pkcs11_glue.errors import CKR_NAMES, hsm_error
from pkcs11_glue.signing import ecdsa_der

DIGEST = hashlib.sha256(b"message").digest()


def spki(private):
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("signature", [b"", b"0", bytes(64), bytes.fromhex("3006020101020101")])
def test_a_bad_signature_raises(signature):
    public = spki(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(InvalidSignatureError, match=r"^the signature does not verify$"):
        verify_signature(public, signature, DIGEST, scheme=SignatureScheme.ECDSA)


def test_a_digest_of_another_length_raises():
    public = spki(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(InvalidSignatureError):
        verify_signature(public, b"x", DIGEST[:-1], scheme=SignatureScheme.ECDSA)


@pytest.mark.parametrize("scheme", [SignatureScheme.RSA_PSS, SignatureScheme.ECDSA])
def test_a_key_of_another_type_is_an_invalid_request(scheme):
    public = spki(ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(InvalidRequestError, match=scheme.value):
        verify_signature(public, b"x", DIGEST, scheme=scheme)


def test_an_unknown_hash_is_an_invalid_request():
    public = spki(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(InvalidRequestError):
        verify_signature(public, b"x", DIGEST, scheme=SignatureScheme.ECDSA, hash_name="md5")


def test_ecdsa_halves_become_minimal_der_integers():
    """RFC 3279, 2.2.3: leading zeros go, and a set top bit gets one."""
    expected = bytes.fromhex("302602010102210080") + bytes(31)
    assert ecdsa_der(bytes(31) + b"\x01" + b"\x80" + bytes(31)) == expected


@pytest.mark.parametrize("code", sorted(CKR_NAMES))
def test_every_code_becomes_one_of_three_errors_that_keeps_it(code):
    error = hsm_error(CryptokiError("C_Encrypt", code))
    assert isinstance(error, HsmRetryError | HsmGoneError | HsmConfigError)
    assert error.code == CKR_NAMES[code]
    assert error.code in error.sentence


@pytest.mark.parametrize("code", [0x05, 0x06, 0x80000001])
def test_an_unclear_code_is_decided_by_the_known_answer_test(code):
    assert isinstance(hsm_error(CryptokiError("C_Sign", code), healthy=True), HsmRetryError)
    assert isinstance(hsm_error(CryptokiError("C_Sign", code), healthy=False), HsmGoneError)
