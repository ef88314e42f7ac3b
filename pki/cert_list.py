"""Serial numbers of the certificates that there are, and what a list tells of each."""

from collections.abc import Sequence
from typing import Any, TypedDict

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from msgspec.structs import replace

from core.protocols import CatalogQuery
from pki.certificates import CATALOG, Known, State
from pki.moments import format_moment
from pki.names import common_name_of
from pki.store import PkiStore

NO_CERTIFICATE = (State.INTENDED, State.ABANDONED)
_PAGE = 1000
_ALL = 2**31  # more than there are, and not more than a database counts
_NAMES = 5  # DNS names in a list; more are in the certificate
_KINDS: tuple[tuple[type, str, int], ...] = (  # a size of 0: the key tells it
    (ec.EllipticCurvePublicKey, "ec", 0),
    (rsa.RSAPublicKey, "rsa", 0),
    (ed25519.Ed25519PublicKey, "ed25519", 256),
    (mldsa.MLDSA44PublicKey, "ml-dsa", 44),
    (mldsa.MLDSA65PublicKey, "ml-dsa", 65),
    (mldsa.MLDSA87PublicKey, "ml-dsa", 87),
)


async def serials(store: PkiStore, *, after: str, limit: int) -> list[str]:
    """Sorted, behind `after`; `limit` 0: all. Those that never became a certificate are left out."""
    limit = min(limit, _ALL)
    found: list[str] = []
    while True:
        wanted = limit - len(found) if limit else 0
        page = await store.storage.row_ids(CATALOG, after=after, limit=wanted)
        if page:
            hollow = await _without_certificate(store)
            found += [serial for serial in page if serial not in hollow]
        if not limit or len(page) < wanted or len(found) == limit:
            return found
        after = page[-1]


async def _without_certificate(store: PkiStore) -> set[str]:
    """They are few: intents of this moment, and those whose signature never came."""
    query, found = CatalogQuery(states=NO_CERTIFICATE, limit=_PAGE), set[str]()
    while True:
        page = await store.storage.find_rows(CATALOG, query)
        found |= {row.row_id for row in page.rows}
        if not page.next:
            return found
        query = replace(query, after=page.next)


class Detail(TypedDict):
    """What a list tells of a certificate, by OpenBao's names."""

    common_name: str
    issuer: str
    key_type: str
    key_bits: int
    not_after: str
    not_before: str
    dns_names: Sequence[str] | None


def detail_of(known: Known) -> Detail:
    """Of a row that has a certificate."""
    certificate = x509.load_der_x509_certificate(known.body.certificate)
    key_type, key_bits = _kind_of(certificate.public_key())
    return Detail(
        common_name=common_name_of(certificate.subject),
        issuer=certificate.issuer.rfc4514_string(),
        key_type=key_type,
        key_bits=key_bits,
        not_after=format_moment(int(certificate.not_valid_after_utc.timestamp())),
        not_before=format_moment(int(certificate.not_valid_before_utc.timestamp())),
        dns_names=_dns_names(certificate)[:_NAMES] or None,
    )


def _kind_of(key: Any) -> tuple[str, int]:
    """Type and size; "unknown" and 0 for those that no issuer here makes."""
    word, size = next(((word, size) for kind, word, size in _KINDS if isinstance(key, kind)), ("unknown", 0))
    return word, size or getattr(key, "key_size", 0)


def _dns_names(certificate: x509.Certificate) -> list[str]:
    names = (e.value for e in certificate.extensions if isinstance(e.value, x509.SubjectAlternativeName))
    return [name for found in names for name in found.get_values_for_type(x509.DNSName)]
