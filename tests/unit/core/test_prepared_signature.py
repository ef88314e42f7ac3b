"""Certificates, requests and CRLs signed by a key that is asked asynchronously."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from core.errors import InvalidSignatureError, KeyPolicyError
from core.prepared_signature import Digest, ToBeSigned, sign_prepared
from core.protocols import KeyKind, KeyUsage, WrappedKey
from tests.support.software_keys import SoftwareKeys

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])
KINDS = (KeyKind.EC_P256, KeyKind.EC_P384, KeyKind.EC_P521, KeyKind.RSA_2048, KeyKind.ED25519, KeyKind.ML_DSA_44)


def certificate(key: WrappedKey) -> x509.CertificateBuilder:
    assert key.public_key is not None
    return (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(load_der_public_key(key.public_key))  # type: ignore[arg-type]  # a kind that certificates have
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_a_certificate_of_each_kind_verifies(kind: KeyKind) -> None:
    keys = SoftwareKeys()
    key = await keys.generate_key(kind, usage=KeyUsage.SIGN_DECRYPT if kind is KeyKind.RSA_2048 else KeyUsage.SIGN)
    builder = certificate(key)
    made = await sign_prepared(keys, key, builder.sign)
    made.verify_directly_issued_by(made)


async def test_a_crl_verifies() -> None:
    keys = SoftwareKeys()
    key = await keys.generate_key(KeyKind.EC_P256, usage=KeyUsage.SIGN)
    builder = x509.CertificateRevocationListBuilder().issuer_name(NAME).last_update(NOW).next_update(NOW)
    crl = await sign_prepared(keys, key, builder.sign)
    assert key.public_key is not None
    assert crl.is_signature_valid(load_der_public_key(key.public_key))  # type: ignore[arg-type]  # an EC key


async def test_an_rsa_key_signs_by_pss_where_that_is_asked_for() -> None:
    keys = SoftwareKeys()
    key = await keys.generate_key(KeyKind.RSA_2048, usage=KeyUsage.SIGN_DECRYPT)
    builder = certificate(key)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    made = await sign_prepared(keys, key, lambda private, digest: builder.sign(private, digest, rsa_padding=pss))
    assert made.signature_algorithm_oid == x509.SignatureAlgorithmOID.RSASSA_PSS
    made.verify_directly_issued_by(made)


async def test_other_bytes_the_second_time_are_our_mistake() -> None:
    keys = SoftwareKeys()
    key = await keys.generate_key(KeyKind.EC_P256, usage=KeyUsage.SIGN)
    builder, serials = certificate(key), iter((1, 2))

    def build(private: Any, digest: Digest) -> x509.Certificate:
        return builder.not_valid_after(NOW + timedelta(days=next(serials))).sign(private, digest)

    builder._not_valid_after = None
    with pytest.raises(RuntimeError, match="other bytes"):
        await sign_prepared(keys, key, build)


class Liar(SoftwareKeys):
    async def sign(self, key: WrappedKey, digests: Sequence[bytes], **how: Any) -> list[bytes]:
        return await super().sign(key, [bytes(len(digest)) for digest in digests], **how)


async def test_a_signature_that_does_not_verify_never_leaves() -> None:
    keys = Liar()
    key = await keys.generate_key(KeyKind.EC_P256, usage=KeyUsage.SIGN)
    builder = certificate(key)
    with pytest.raises(InvalidSignatureError):
        await sign_prepared(keys, key, builder.sign)


async def test_the_secret_is_not_there_to_be_taken() -> None:
    keys = SoftwareKeys()
    key = await keys.generate_key(KeyKind.EC_P256, usage=KeyUsage.SIGN)
    with pytest.raises(RuntimeError, match="custodian"):
        await sign_prepared(keys, key, lambda private, _digest: private.private_numbers())


async def test_a_secret_key_signs_nothing() -> None:
    keys = SoftwareKeys()
    key = await keys.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    with pytest.raises(KeyPolicyError):
        await sign_prepared(keys, key, lambda private, digest: private.sign(b"", digest))


class Repeating(SoftwareKeys):
    """Gives the same signature for the same bytes, also where ECDSA would not."""

    def __init__(self) -> None:
        super().__init__()
        self._given: dict[bytes, bytes] = {}

    async def sign(self, key: WrappedKey, digests: Sequence[bytes], **how: Any) -> list[bytes]:
        for digest in digests:
            if digest not in self._given:
                [self._given[digest]] = await super().sign(key, [digest], **how)
        return [self._given[digest] for digest in digests]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_signature_put_in_its_place_gives_the_bytes_of_an_object_built_with_it(kind: KeyKind) -> None:
    keys = Repeating()
    key = await keys.generate_key(kind, usage=KeyUsage.SIGN_DECRYPT if kind is KeyKind.RSA_2048 else KeyUsage.SIGN)
    crl = x509.CertificateRevocationListBuilder().issuer_name(NAME).last_update(NOW).next_update(NOW)
    for build in (certificate(key).sign, crl.sign, x509.CertificateSigningRequestBuilder().subject_name(NAME).sign):
        prepared = ToBeSigned[Any](key, build)
        built = await prepared.sign(keys)
        assert await prepared.sign_der(keys) == built.public_bytes(Encoding.DER)


class _Odd:
    """An object that is no SEQUENCE of what was signed, an algorithm and a signature."""

    def __init__(self, der: bytes) -> None:
        self._der = der

    def public_bytes(self, _encoding: Encoding) -> bytes:
        return self._der


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "longer": lambda der: der + b"\0",
    "another-end": lambda der: der[:-1] + b"\1",
    "no-header": lambda der: der[4:],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_an_object_of_another_form_is_our_mistake(change: Callable[[bytes], bytes]) -> None:
    keys = SoftwareKeys()
    key = await keys.generate_key(KeyKind.EC_P256, usage=KeyUsage.SIGN)
    builder = certificate(key)

    def build(private: Any, digest: Digest) -> _Odd:
        return _Odd(change(builder.sign(private, digest).public_bytes(Encoding.DER)))

    with pytest.raises(RuntimeError, match="an algorithm and a signature"):
        await ToBeSigned(key, build).sign_der(keys)
