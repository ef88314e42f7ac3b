"""What one CRL is about: every certificate signed by one key under one name, however many issuers have both.

A relying party knows a CRL by the name and the key that signed it (RFC 5280, 5.2.1), so issuers that have both in
common have one CRL in common, too. Its name is made of those two alone: an issuer that was removed and comes back goes
on with the numbers where it ended.
"""

import hashlib
from collections.abc import Iterable

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pki.authority import Authority, Issuer


def scope_of(issuer: Issuer) -> str:
    """32 hex digits."""
    key = issuer.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(issuer.subject.public_bytes() + key).hexdigest()[:32]


def scopes(authority: Authority) -> dict[str, list[Issuer]]:
    """The issuers of each scope, in the order they were made."""
    found: dict[str, list[Issuer]] = {}
    for issuer_id in authority.index.issuers:
        issuer = authority.issuers[issuer_id]
        found.setdefault(scope_of(issuer), []).append(issuer)
    return found


def scope_of_id(issuer_id: str, authority: Authority) -> str:
    """The scope of an issuer that is here or was; "" for one that never was."""
    issuer = authority.issuers.get(issuer_id)
    return authority.index.former.get(issuer_id, "") if issuer is None else scope_of(issuer)


def ids_of(scope: str, issuers: Iterable[Issuer], authority: Authority) -> list[str]:
    """Under which ids certificates of a scope were issued, those of deleted issuers included."""
    former = [issuer_id for issuer_id, known in authority.index.former.items() if known == scope]
    return [*(issuer.issuer_id for issuer in issuers), *former]


def signer_among(issuers: Iterable[Issuer]) -> Issuer | None:
    """Who signs the CRL of a scope: the first that may and has the key here."""
    return next((issuer for issuer in issuers if may_sign_crls(issuer)), None)


def may_sign_crls(issuer: Issuer) -> bool:
    """Whether its usage says so, its key is here, and its certificate allows it (RFC 5280, 4.2.1.3)."""
    return issuer.key is not None and issuer.may("crl-signing") and issuer.can_sign_crls
