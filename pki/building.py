"""A plan as a certificate: which extensions, in which order, critical or not (RFC 5280, 4.2)."""

from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID

from core.prepared_signature import Build, Digest
from core.public_keys import load_public_key
from pki.authority import Issuer, Urls
from pki.plan import Plan

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
    key: Any = load_public_key(plan.public_key)
    extensions = _extensions(plan, issuer, key, urls)
    return x509.CertificateBuilder(
        plan.subject if issuer is None else issuer.subject,
        plan.subject,
        key,
        serial,
        _moment(plan.not_before),
        _moment(plan.not_after),
        extensions,
    )


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def _extensions(plan: Plan, issuer: Issuer | None, key: Any, urls: Urls) -> list[x509.Extension[x509.ExtensionType]]:
    own = _subject_key_identifier(key)
    authority = (
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
        if issuer is None
        else issuer.authority_key_identifier
    )
    found: list[tuple[x509.ExtensionType, bool]] = []
    if plan.key_usage is not None:
        found.append((plan.key_usage, True))
    if plan.ext_key_usage:
        found.append((x509.ExtendedKeyUsage(plan.ext_key_usage), False))
    if plan.basic_constraints is not None:
        found.append((plan.basic_constraints, True))
    found += [(own, False), (authority, False), *_places(urls)]
    if plan.names:
        found.append((x509.SubjectAlternativeName(plan.names), not len(plan.subject)))
    if plan.policies:
        found.append((x509.CertificatePolicies(plan.policies), False))
    if plan.name_constraints is not None:
        found.append((plan.name_constraints, True))
    made = [x509.Extension(value.oid, critical, value) for value, critical in found]
    return [*made, *plan.more]


def _subject_key_identifier(key: Any) -> x509.SubjectKeyIdentifier:
    """SHA-1 of the key's bits (RFC 5280, 4.2.1.2, method 1); a name, not a protection."""
    return x509.SubjectKeyIdentifier.from_public_key(key)


def _places(urls: Urls) -> list[tuple[x509.ExtensionType, bool]]:
    access = [(AuthorityInformationAccessOID.OCSP, url) for url in urls.ocsp_servers]
    access += [(AuthorityInformationAccessOID.CA_ISSUERS, url) for url in urls.issuing_certificates]
    found: list[tuple[x509.ExtensionType, bool]] = []
    if access:
        descriptions = [x509.AccessDescription(oid, x509.UniformResourceIdentifier(url)) for oid, url in access]
        found.append((x509.AuthorityInformationAccess(descriptions), False))
    if urls.crl_distribution_points:
        found.append((x509.CRLDistributionPoints(_points(urls.crl_distribution_points)), False))
    if urls.delta_crl_distribution_points:
        found.append((x509.FreshestCRL(_points(urls.delta_crl_distribution_points)), False))
    return found


def _points(urls: tuple[str, ...]) -> list[x509.DistributionPoint]:
    return [x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None) for url in urls]
