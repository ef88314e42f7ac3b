"""How CRLs and OCSP answers are signed, by the words of Vault's API: those of Go's x509.SignatureAlgorithm."""

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from core.errors import InvalidRequestError
from pki.authority import Issuer

_OF_KEY: tuple[tuple[type, tuple[str, ...]], ...] = (
    (
        rsa.RSAPublicKey,
        (
            "SHA256WithRSA",
            "SHA384WithRSA",
            "SHA512WithRSA",
            "SHA256WithRSAPSS",
            "SHA384WithRSAPSS",
            "SHA512WithRSAPSS",
        ),
    ),
    (ec.EllipticCurvePublicKey, ("ECDSAWithSHA256", "ECDSAWithSHA384", "ECDSAWithSHA512")),
    (ed25519.Ed25519PublicKey, ("PureEd25519",)),
)

_OF_CURVE = {256: "ECDSAWithSHA256", 384: "ECDSAWithSHA384", 521: "ECDSAWithSHA512"}


def shown_algorithm(issuer: Issuer) -> str:
    """How its CRLs are signed, chosen or not; "" for keys that Vault has no word for."""
    if issuer.row.revocation_signature_algorithm:
        return issuer.row.revocation_signature_algorithm
    key = issuer.certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _OF_CURVE.get(key.curve.key_size, "")
    return next((words[0] for kind, words in _OF_KEY if isinstance(key, kind)), "")


def revocation_algorithm(word: str, issuer: Issuer) -> str:
    """The word as Vault writes it, whatever its case; "" is what fits the key.

    Raises InvalidRequestError for one that means nothing, or nothing for the issuer's key.
    """
    if not word:
        return ""
    key = issuer.certificate.public_key()
    words = next((words for kind, words in _OF_KEY if isinstance(key, kind)), ())
    found = next((known for known in words if known.lower() == word.lower()), None)
    if found is None:
        raise InvalidRequestError(
            "revocation_signature_algorithm must fit the key: SHA256WithRSA, SHA256WithRSAPSS, ECDSAWithSHA256 and"
            " their kin with SHA384 and SHA512, or PureEd25519"
        )
    return found
