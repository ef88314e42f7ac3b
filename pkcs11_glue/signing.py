"""How a digest is signed: which mechanism, with which parameters, over which bytes. Decided once for each way to sign.

The HSM hashes nothing: ECDSA and RSA work on what is given, so every hash can be signed that can be encoded here.
"""

import os
from collections.abc import Callable, Sequence
from ctypes import Structure, addressof
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11.mechanisms import Mechanism

from core import public_keys
from core.errors import InvalidRequestError, KeyPolicyError
from core.protocols import KeyKind, SignatureScheme
from pkcs11_glue import pss, templates
from pkcs11_glue.cryptoki import CkRsaPssParams, mechanism
from pkcs11_glue.mgf import MECHANISMS

_PKCS1_OVERHEAD = 11  # bytes of padding at the least (RFC 8017, 8.2.1 and 9.2)
# what stands before the digest in a DigestInfo (RFC 8017, 9.2, note 1; the SHA-3 identifiers are of NIST's CSOR)
_DIGEST_INFO = {
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha224": bytes.fromhex("302d300d06096086480165030402040500041c"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
    "sha3-224": bytes.fromhex("302d300d06096086480165030402070500041c"),
    "sha3-256": bytes.fromhex("3031300d060960864801650304020805000420"),
    "sha3-384": bytes.fromhex("3041300d060960864801650304020905000430"),
    "sha3-512": bytes.fromhex("3051300d060960864801650304020a05000440"),
}
Encoder = Callable[[bytes], bytes]


class SigningMethod:
    """A mechanism, and what is done to the digest before and to the signature after it."""

    __slots__ = ("_hash_name", "_keep", "_longest", "address", "after", "before")

    def __init__(
        self,
        kind: Mechanism,
        parameters: Structure | None = None,
        *,
        before: Encoder | None = None,
        after: Encoder | None = None,
        hash_name: str = "",
        longest: int = 0,
    ) -> None:
        structure = mechanism(kind, parameters)
        self._keep = (structure, parameters)
        self.address = addressof(structure)  # of the CK_MECHANISM, which no call changes, so threads may share it
        self.before = before
        self.after = after
        self._hash_name = hash_name  # "": messages of at most `longest` bytes
        self._longest = longest

    def check(self, digests: Sequence[bytes]) -> None:
        """Raises InvalidRequestError for a digest of another length than the hash makes."""
        if self._hash_name:
            public_keys.check_digests(digests, self._hash_name)
        elif any(len(message) > self._longest for message in digests):
            raise InvalidRequestError(
                f"what is signed without a DigestInfo has at most {self._longest} bytes with a key of this size"
            )


@lru_cache(256)  # every way to sign that is in use; one with a salt of its own length is rare
def signing_method(kind: KeyKind, scheme: SignatureScheme, hash_name: str, salt_length: int | None) -> SigningMethod:
    """How a key of this kind signs so. Raises KeyPolicyError if it does not, InvalidRequestError for bad parameters."""
    if not _fits(kind, scheme):
        raise KeyPolicyError(f"a key of type {kind.value} does not sign by {scheme.value}")
    if salt_length is not None and scheme is not SignatureScheme.RSA_PSS:
        raise InvalidRequestError(f"a salt length is of PSS only, not of {scheme.value}")
    if scheme is SignatureScheme.RSA_PKCS1V15_RAW:
        return SigningMethod(Mechanism.RSA_PKCS, longest=templates.RSA_BITS[kind] // 8 - _PKCS1_OVERHEAD)
    public_keys.find_hash(hash_name)
    if scheme is SignatureScheme.ECDSA:
        return SigningMethod(Mechanism.ECDSA, after=ecdsa_der, hash_name=hash_name)
    if scheme is SignatureScheme.RSA_PKCS1V15:
        return SigningMethod(Mechanism.RSA_PKCS, before=_DIGEST_INFO[hash_name].__add__, hash_name=hash_name)
    return _pss(kind, hash_name, salt_length)


def _fits(kind: KeyKind, scheme: SignatureScheme) -> bool:
    if kind in templates.EC_PARAMETERS:
        return scheme is SignatureScheme.ECDSA
    is_rsa_scheme = scheme in {
        SignatureScheme.RSA_PKCS1V15,
        SignatureScheme.RSA_PKCS1V15_RAW,
        SignatureScheme.RSA_PSS,
    }
    return kind in templates.RSA_BITS and is_rsa_scheme


def _pss(kind: KeyKind, hash_name: str, salt_length: int | None) -> SigningMethod:
    bits = templates.RSA_BITS[kind]
    salt = public_keys.pss_salt(bits, hash_name, salt_length)
    if hash_name in MECHANISMS:
        digest, mgf = MECHANISMS[hash_name]
        return SigningMethod(Mechanism.RSA_PKCS_PSS, CkRsaPssParams(int(digest), int(mgf), salt), hash_name=hash_name)

    def encode(digest: bytes) -> bytes:
        return pss.encode(digest, os.urandom(salt), modulus_bytes=bits // 8, hash_name=hash_name)

    return SigningMethod(Mechanism.RSA_X_509, before=encode, hash_name=hash_name)


def ecdsa_der(signature: bytes) -> bytes:
    """PKCS#11's r and s, of equal length side by side, as ECDSA-Sig-Value (RFC 3279, 2.2.3)."""
    half = len(signature) // 2
    return encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
