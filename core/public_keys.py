"""What is done with a public key alone: in software, since no secret takes part. A check raises or returns nothing."""

import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from core.errors import InvalidRequestError, InvalidSignatureError
from core.protocols import SignatureScheme

HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - Vault's API offers it; the caller chose it
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


def verify_signature(
    public_key: bytes, signature: bytes, digest: bytes, *, scheme: SignatureScheme, hash_name: str = "sha256"
) -> None:
    """Check a signature over a digest (over the message, for Ed25519). Raises InvalidSignatureError without detail.

    `public_key` is a SubjectPublicKeyInfo; a key of another type than the scheme's is an InvalidRequestError.
    """
    key = load_der_public_key(public_key)
    if hash_name not in HASHES:
        raise InvalidRequestError(f"the hash must be one of {', '.join(HASHES)}")
    prehashed = Prehashed(HASHES[hash_name])
    try:
        match scheme, key:
            case SignatureScheme.ECDSA, ec.EllipticCurvePublicKey():
                key.verify(signature, digest, ec.ECDSA(prehashed))
            case SignatureScheme.RSA_PKCS1V15, rsa.RSAPublicKey():
                key.verify(signature, digest, padding.PKCS1v15(), prehashed)
            case SignatureScheme.RSA_PSS, rsa.RSAPublicKey():
                pss = padding.PSS(padding.MGF1(HASHES[hash_name]), padding.PSS.DIGEST_LENGTH)
                key.verify(signature, digest, pss, prehashed)
            case SignatureScheme.ED25519, ed25519.Ed25519PublicKey():
                key.verify(signature, digest)
            case _:
                raise InvalidRequestError(f"this key does not verify {scheme.value} signatures")
    except (InvalidSignature, ValueError) as exc:  # ValueError: a digest of another length
        raise InvalidSignatureError("the signature does not verify") from exc


def verify_mac(expected: bytes, given: bytes) -> None:
    """Compare two MACs in constant time. Raises InvalidSignatureError."""
    if not hmac.compare_digest(expected, given):
        raise InvalidSignatureError("the MAC does not verify")
