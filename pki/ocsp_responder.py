"""Who answers for a certificate: the issuer that a request names by hashes, with its own key."""

import hashlib
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from asn1crypto.x509 import Certificate

from pki.authority import Authority, Issuer
from pki.building import key_bits
from pki.certificates import Known, State
from pki.crl_scope import ids_of, scope_of
from pki.ocsp import CertificateId, CertificateStatus

_USAGE = "ocsp-signing"
_load_certificate: Callable[..., Any] = Certificate.load


class Responder:
    """The issuers of one name and one key: a certificate of one of them is a certificate of all."""

    def __init__(self, issuer: Issuer, former: Iterable[str] = ()) -> None:
        """`former` are ids of deleted issuers that had the same name and key."""
        self.issuers = [issuer]
        self._former = frozenset(former)

    @cached_property
    def signer(self) -> Issuer | None:
        """The one whose key signs answers; None when none of them may or can."""
        return next((issuer for issuer in self.issuers if issuer.key is not None and issuer.may(_USAGE)), None)

    def status(self, certificate: CertificateId, row: Known | None) -> CertificateStatus:
        """What is said. Good is only what was issued here: not an intent, and nothing that `no_store` kept out."""
        if row is None or row.state not in (State.ISSUED, State.REVOKED) or not self._is_own(row):
            return CertificateStatus(certificate=certificate)
        if row.state is State.REVOKED:
            body = row.body
            return CertificateStatus(
                certificate=certificate, is_known=True, revoked_at=body.revoked_at or 1, reason=body.reason
            )
        return CertificateStatus(certificate=certificate, is_known=True)

    def _is_own(self, row: Known) -> bool:
        """Whether one of the issuers issued it; a root, which has no issuer's id, issued itself."""
        if row.body.issuer_id:
            own = row.body.issuer_id
            return own in self._former or any(issuer.issuer_id == own for issuer in self.issuers)
        return any(issuer.row.certificate == row.body.certificate for issuer in self.issuers)


class Responders:
    """All of one authority, by what requests say. Made once for each state of the authority."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self._found: dict[tuple[str, bytes, bytes], Responder] = {}
        by_identity: dict[tuple[bytes, bytes], Responder] = {}
        for issuer in authority.issuers.values():
            identity = subject_of(issuer), key_bits(issuer.public_key)
            if identity in by_identity:
                by_identity[identity].issuers.append(issuer)
            else:
                by_identity[identity] = Responder(issuer, ids_of(scope_of(issuer), (), authority))
        for (subject, bits), responder in by_identity.items():
            for name in ("sha1", "sha256", "sha384", "sha512"):
                key = name, hashlib.new(name, subject).digest(), hashlib.new(name, bits).digest()
                self._found[key] = responder
        self._all = tuple(by_identity.values())

    def signers(self) -> list[Issuer]:
        """Who signs answers: one issuer for each name and key."""
        return [responder.signer for responder in self._all if responder.signer is not None]

    def find(self, certificate: CertificateId) -> Responder | None:
        """Who answers for it; None when its issuer is not here."""
        return self._found.get((certificate.hash_name, certificate.issuer_name_hash, certificate.issuer_key_hash))


def subject_of(issuer: Issuer) -> bytes:
    """Its name in DER, as it stands in its certificate."""
    der: bytes = _load_certificate(issuer.row.certificate).subject.dump()
    return der
