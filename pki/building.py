"""A plan as a certificate: which extensions, in which order, critical or not (RFC 5280, 4.2)."""

from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha1
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID

from core.prepared_signature import Build, Digest
from core.public_keys import load_public_key
from pki.authority import Issuer, Urls
from pki.der import content_of
from pki.plan import Plan

Extension = x509.Extension[x509.ExtensionType]
_KEPT = 256  # encoded extensions of each kind

_HASHES: dict[int, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    256: hashes.SHA256(),
    384: hashes.SHA384(),
    512: hashes.SHA512(),
}


def build(plan: Plan, issuer: Issuer | None, serial: int, urls: Urls) -> Build[x509.Certificate]:
    """What makes the certificate when it is handed a key. `issuer` None: it is signed by its own key."""
    builder = _builder(plan, issuer, serial, urls)

    def sign(key: Any, digest: Digest) -> x509.Certificate:
        if digest is not None and plan.signature_bits:
            digest = _HASHES[plan.signature_bits]
        pss = None
        if plan.use_pss and isinstance(key, rsa.RSAPrivateKey) and digest is not None:
            pss = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)
        return builder.sign(key, digest, rsa_padding=pss)

    return sign


def _builder(plan: Plan, issuer: Issuer | None, serial: int, urls: Urls) -> x509.CertificateBuilder:
    key: Any = plan.key or load_public_key(plan.public_key)
    return x509.CertificateBuilder(
        plan.subject if issuer is None else issuer.subject,
        plan.subject,
        key,
        serial,
        _moment(plan.not_before),
        _moment(plan.not_after),
        _extensions(plan, issuer, urls),
    )


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def _extensions(plan: Plan, issuer: Issuer | None, urls: Urls) -> list[Extension]:
    own = _subject_key_identifier(plan)
    authority = (
        x509.AuthorityKeyIdentifier(own.digest, None, None) if issuer is None else issuer.authority_key_identifier
    )
    found: list[Extension] = []
    if plan.key_usage is not None:
        found.append(_encoded(plan.key_usage, is_critical=True))
    if plan.ext_key_usage:
        found.append(_encoded_usages(plan.ext_key_usage))
    if plan.basic_constraints is not None:
        found.append(_encoded(plan.basic_constraints, is_critical=True))
    found += [_extension(own), _encoded(authority, is_critical=False), *_places(urls)]
    if plan.names:
        found.append(_extension(x509.SubjectAlternativeName(plan.names), is_critical=not len(plan.subject)))
    if plan.policies:
        found.append(_extension(x509.CertificatePolicies(plan.policies)))
    if plan.name_constraints is not None:
        found.append(_extension(plan.name_constraints, is_critical=True))
    return [*found, *plan.more]


def _extension(value: x509.ExtensionType, *, is_critical: bool = False) -> Extension:
    return x509.Extension(value.oid, is_critical, value)


# What a role's certificates have in common is encoded once: the builder takes the DER of an extension it need not know.


@lru_cache(maxsize=_KEPT)
def _encoded(value: x509.ExtensionType, *, is_critical: bool) -> Extension:
    return _extension(x509.UnrecognizedExtension(value.oid, value.public_bytes()), is_critical=is_critical)


@lru_cache(maxsize=_KEPT)
def _encoded_usages(usages: tuple[x509.ObjectIdentifier, ...]) -> Extension:
    return _encoded(x509.ExtendedKeyUsage(usages), is_critical=False)


@lru_cache(maxsize=_KEPT)
def _places(urls: Urls) -> tuple[Extension, ...]:
    access = [(AuthorityInformationAccessOID.OCSP, url) for url in urls.ocsp_servers]
    access += [(AuthorityInformationAccessOID.CA_ISSUERS, url) for url in urls.issuing_certificates]
    found: list[x509.ExtensionType] = []
    if access:
        descriptions = [x509.AccessDescription(oid, x509.UniformResourceIdentifier(url)) for oid, url in access]
        found.append(x509.AuthorityInformationAccess(descriptions))
    if urls.crl_distribution_points:
        found.append(x509.CRLDistributionPoints(_points(urls.crl_distribution_points)))
    if urls.delta_crl_distribution_points:
        found.append(x509.FreshestCRL(_points(urls.delta_crl_distribution_points)))
    return tuple(_encoded(value, is_critical=False) for value in found)


def _subject_key_identifier(plan: Plan) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier(plan.subject_key_id or key_identifier(plan.public_key))


def key_identifier(public_key: bytes) -> bytes:
    """SHA-1 of the key's bits (RFC 5280, 4.2.1.2, method 1); a name, not a protection."""
    return sha1(key_bits(public_key), usedforsecurity=False).digest()


def key_bits(public_key: bytes) -> bytes:
    """The public key without its algorithm.

    SubjectPublicKeyInfo is a SEQUENCE of an AlgorithmIdentifier and a BIT STRING without unused bits.
    """
    algorithm, _ = content_of(public_key, 0)
    _, bits = content_of(public_key, algorithm)
    start, end = content_of(public_key, bits)
    return public_key[start + 1 : end]


def _points(urls: tuple[str, ...]) -> list[x509.DistributionPoint]:
    return [x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None) for url in urls]
