"""How CRLs and OCSP answers are signed, by the words of Vault's API: those of Go's x509.SignatureAlgorithm."""

from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from core.errors import InvalidRequestError
from pki.authority import Issuer


class SignatureWay(NamedTuple):
    """`bits` of the hash, 0: what fits the key."""

    bits: int = 0
    is_pss: bool = False


_RSA = {
    "sha256withrsa": SignatureWay(256),
    "sha384withrsa": SignatureWay(384),
    "sha512withrsa": SignatureWay(512),
    "sha256withrsapss": SignatureWay(256, is_pss=True),
    "sha384withrsapss": SignatureWay(384, is_pss=True),
    "sha512withrsapss": SignatureWay(512, is_pss=True),
}
_EC = {
    "ecdsawithsha256": SignatureWay(256),
    "ecdsawithsha384": SignatureWay(384),
    "ecdsawithsha512": SignatureWay(512),
}
_OTHER = {"pureed25519": SignatureWay()}


def way_of(word: str) -> SignatureWay:
    """What a word that was checked means; "" is what fits the key."""
    return {**_RSA, **_EC, **_OTHER}.get(word.lower(), SignatureWay())


def check_revocation_algorithm(word: str, issuer: Issuer) -> None:
    """Raise InvalidRequestError for a word that means nothing, or nothing for the issuer's key."""
    if not word:
        return
    key = issuer.certificate.public_key()
    known = _OTHER if isinstance(key, ed25519.Ed25519PublicKey) else {}
    if isinstance(key, rsa.RSAPublicKey):
        known = _RSA
    elif isinstance(key, ec.EllipticCurvePublicKey):
        known = _EC
    if word.lower() not in known:
        raise InvalidRequestError(
            "revocation_signature_algorithm must fit the key: SHA256WithRSA, SHA256WithRSAPSS, ECDSAWithSHA256 and"
            " their kin with SHA384 and SHA512, or PureEd25519"
        )
