"""A CRL without its entries (RFC 5280, 5): its number, times and extensions. Nothing here reads or signs."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from core.prepared_signature import Build, Digest
from pki.authority import Issuer

_HASHES: dict[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}


class CrlPlan(NamedTuple):
    """Everything but the entries and the signature. Times are epoch seconds."""

    number: int
    this_update: int
    next_update: int
    base: int = 0  # of a delta CRL the number of the full one that it goes with; 0: a full one
    delta_urls: tuple[str, ...] = ()  # where the delta CRLs of a full one are found


def build(plan: CrlPlan, issuer: Issuer) -> Build[x509.CertificateRevocationList]:
    """What makes it when it is handed a key. The entries come after (pki.crl_der)."""
    builder = x509.CertificateRevocationListBuilder(
        issuer.subject,
        _moment(plan.this_update),
        _moment(plan.next_update),
        _extensions(plan, issuer),
        [],
    )
    wanted = issuer.row.revocation_signature_algorithm

    def sign(key: Any, digest: Digest) -> x509.CertificateRevocationList:
        if digest is not None:
            digest = next((value for name, value in _HASHES.items() if wanted.startswith(name)), digest)
            digest = next((value for name, value in _HASHES.items() if wanted.endswith(name)), digest)
        pss = None
        if "PSS" in wanted and isinstance(key, rsa.RSAPrivateKey) and digest is not None:
            pss = padding.PSS(mgf=padding.MGF1(digest), salt_length=digest.digest_size)
        return builder.sign(key, digest, rsa_padding=pss)

    return sign


def _extensions(plan: CrlPlan, issuer: Issuer) -> list[x509.Extension[x509.ExtensionType]]:
    """AKI (5.2.1), number (5.2.3), of a delta its base (5.2.4, critical), of a full one where deltas are (5.2.6)."""
    found: list[tuple[x509.ExtensionType, bool]] = [
        (issuer.authority_key_identifier, False),
        (x509.CRLNumber(plan.number), False),
    ]
    if plan.base:
        found.append((x509.DeltaCRLIndicator(plan.base), True))
    elif plan.delta_urls:
        points = [
            x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None) for url in plan.delta_urls
        ]
        found.append((x509.FreshestCRL(points), False))
    return [x509.Extension(value.oid, critical, value) for value, critical in found]


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
