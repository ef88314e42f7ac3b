"""A CRL as bytes (RFC 5280, 5): who is on it, its number, its extensions. Nothing here reads or signs."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from core.prepared_signature import Build, Digest
from pki.authority import Issuer
from pki.certificates import Known

_HASHES: dict[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    "SHA256": hashes.SHA256(),
    "SHA384": hashes.SHA384(),
    "SHA512": hashes.SHA512(),
}


Revoked = list[x509.RevokedCertificate]


class Entry(NamedTuple):
    """A revoked certificate; an x509.RevokedCertificate of each would take ten times the memory."""

    serial: int
    revoked_at: int  # epoch seconds
    reason: str


class CrlPlan(NamedTuple):
    """Everything but the entries and the signature. Times are epoch seconds."""

    number: int
    this_update: int
    next_update: int
    base: int = 0  # of a delta CRL the number of the full one that it goes with; 0: a full one
    delta_urls: tuple[str, ...] = ()  # where the delta CRLs of a full one are found


def entry_of(known: Known) -> Entry:
    """The entry for a revoked certificate."""
    return Entry(int(known.serial.replace(":", ""), 16), known.body.revoked_at, known.body.reason)


def revoked_certificates(entries: Sequence[Entry]) -> list[x509.RevokedCertificate]:
    """As `cryptography` takes them: some 5 us each, so that the caller makes many in slices."""
    return [_revoked(entry) for entry in entries]


def build(plan: CrlPlan, issuer: Issuer, revoked: Revoked) -> Build[x509.CertificateRevocationList]:
    """What makes the CRL when it is handed a key."""
    builder = x509.CertificateRevocationListBuilder(
        issuer.subject,
        _moment(plan.this_update),
        _moment(plan.next_update),
        _extensions(plan, issuer),
        revoked,
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


def _revoked(entry: Entry) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder(entry.serial, _moment(entry.revoked_at), _reasons(entry.reason))
    return builder.build()


def _reasons(reason: str) -> list[x509.Extension[x509.ExtensionType]]:
    """What is unspecified is not said at all (5.3.1)."""
    return _REASONS.get(reason, _UNSAID)


_UNSAID: list[x509.Extension[x509.ExtensionType]] = []
_REASONS: dict[str, list[x509.Extension[x509.ExtensionType]]] = {
    flag.value: [x509.Extension(x509.CRLReason.oid, False, x509.CRLReason(flag))]
    for flag in x509.ReasonFlags
    if flag is not x509.ReasonFlags.unspecified
}


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
