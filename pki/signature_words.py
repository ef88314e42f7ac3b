"""How CRLs and OCSP answers are signed, by the words of Vault's API: those of Go's x509.SignatureAlgorithm."""

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from core.errors import InvalidRequestError
from pki.authority import Issuer

_RSA = (
    "SHA256WithRSA",
    "SHA384WithRSA",
    "SHA512WithRSA",
    "SHA256WithRSAPSS",
    "SHA384WithRSAPSS",
    "SHA512WithRSAPSS",
)
_EC = ("ECDSAWithSHA256", "ECDSAWithSHA384", "ECDSAWithSHA512")
_ED25519 = ("PureEd25519",)


def shown_algorithm(issuer: Issuer) -> str:
    """How its CRLs are signed; "" for a key that Vault has no word for."""
    word = issuer.row.revocation_signature_algorithm
    if word:
        return word
    key = issuer.certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {384: "ECDSAWithSHA384", 521: "ECDSAWithSHA512"}.get(key.curve.key_size, "ECDSAWithSHA256")
    if isinstance(key, rsa.RSAPublicKey):
        return "SHA256WithRSA"
    return "PureEd25519" if isinstance(key, ed25519.Ed25519PublicKey) else ""


def checked_algorithm(word: str, issuer: Issuer) -> str:
    """The word as Go writes it. Raises InvalidRequestError for one that means nothing, or nothing for the key."""
    if not word:
        return word
    key = issuer.certificate.public_key()
    known: tuple[str, ...] = _ED25519 if isinstance(key, ed25519.Ed25519PublicKey) else ()
    if isinstance(key, rsa.RSAPublicKey):
        known = _RSA
    elif isinstance(key, ec.EllipticCurvePublicKey):
        known = _EC
    found = next((each for each in known if each.lower() == word.lower()), None)
    if found is None:
        raise InvalidRequestError(
            "revocation_signature_algorithm must fit the key: SHA256WithRSA, SHA256WithRSAPSS, ECDSAWithSHA256 and"
            " their kin with SHA384 and SHA512, or PureEd25519"
        )
    return found
