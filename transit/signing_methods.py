"""How a key of some type signs: what a request's options come to. Pure, and decided once for each combination."""

import re
from dataclasses import dataclass
from functools import lru_cache

from core import public_keys
from core.digests import ALGORITHMS
from core.errors import InvalidRequestError
from core.protocols import KeyKind, SignatureScheme
from transit.key_types import KeyType, key_type

DEFAULT_HASH = "sha2-256"
NO_HASH = "none"

_SALT = re.compile(r"(-1|[0-9]{1,5})", re.ASCII)
_PKCS1_OVERHEAD = 11  # bytes of padding at the least (RFC 8017, 9.2)
_MESSAGE_SCHEMES = {
    KeyKind.ED25519: SignatureScheme.ED25519,
    KeyKind.ML_DSA_44: SignatureScheme.ML_DSA,
    KeyKind.ML_DSA_65: SignatureScheme.ML_DSA,
    KeyKind.ML_DSA_87: SignatureScheme.ML_DSA,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningMethod:
    """What is signed, and how.

    `digest_bytes`: how long an input is that was hashed by the caller; 0: it is a message, of 1 to `longest` bytes
    where that is not 0. Salt lengths are in bytes and None except with PSS; `salt_verified` None takes any.
    """

    kind: KeyKind
    scheme: SignatureScheme
    hash_name: str = "sha256"  # as core.public_keys names it
    hashes: bool = False  # the input is hashed here
    algorithm: str = ""  # of the hash, as the API names it
    digest_bytes: int = 0
    longest: int = 0
    salt_length: int | None = None
    salt_verified: int | None = None
    jws: bool = False

    @property
    def is_ecdsa(self) -> bool:
        """Signatures are pairs of numbers, which JWS writes its own way."""
        return self.scheme is SignatureScheme.ECDSA

    def check(self, message: bytes) -> None:
        """Raises InvalidRequestError for an input that is not hashed here and cannot be signed."""
        if self.digest_bytes and len(message) != self.digest_bytes:
            raise InvalidRequestError(
                f"input has {len(message)} bytes, but with prehashed it must be a {self.algorithm} digest, which has "
                f"{self.digest_bytes}"
            )
        if self.longest and not 1 <= len(message) <= self.longest:
            raise InvalidRequestError(
                f"input has {len(message)} bytes; with hash_algorithm=none this key signs 1 to {self.longest}"
            )


@lru_cache(512)
def signing_method(
    type_name: str,
    *,
    hash_algorithm: str,
    signature_algorithm: str,
    marshaling_algorithm: str,
    salt_length: str | int,
    prehashed: bool,
) -> SigningMethod:
    """What the options come to with a key of this type; those that do not concern it are ignored, as Vault does.

    Raises InvalidRequestError.
    """
    if hash_algorithm != NO_HASH and hash_algorithm not in ALGORITHMS:
        raise InvalidRequestError(f"invalid hash algorithm; it is one of {', '.join(ALGORITHMS)} and {NO_HASH}")
    if marshaling_algorithm not in {"asn1", "jws"}:
        raise InvalidRequestError("invalid marshaling type; it is asn1 or jws")
    salt = _read_salt(salt_length)
    row = key_type(type_name)
    if not row.supports_signing:
        raise InvalidRequestError(f"key type {type_name} does not support signing or verification")
    jws = marshaling_algorithm == "jws"
    if row.kind in _MESSAGE_SCHEMES:
        return SigningMethod(kind=row.kind, scheme=_MESSAGE_SCHEMES[row.kind], jws=jws)
    if hash_algorithm == NO_HASH:
        return _without_hash(row, signature_algorithm, prehashed=prehashed, jws=jws)
    hash_name = ALGORITHMS[hash_algorithm]
    digest_bytes = public_keys.find_hash(hash_name).digest_size
    scheme = _scheme(row, signature_algorithm)
    making, verifying = _salts(row, salt, digest_bytes) if scheme is SignatureScheme.RSA_PSS else (None, None)
    return SigningMethod(
        kind=row.kind,
        scheme=scheme,
        hash_name=hash_name,
        hashes=not prehashed,
        algorithm=hash_algorithm,
        digest_bytes=digest_bytes if prehashed else 0,
        salt_length=making,
        salt_verified=verifying,
        jws=jws,
    )


def _scheme(row: KeyType, signature_algorithm: str) -> SignatureScheme:
    if not row.is_rsa:
        return SignatureScheme.ECDSA
    if signature_algorithm in {"", "pss"}:
        return SignatureScheme.RSA_PSS
    if signature_algorithm == "pkcs1v15":
        return SignatureScheme.RSA_PKCS1V15
    raise InvalidRequestError("unsupported rsa signature algorithm; it is pss or pkcs1v15")


def _without_hash(row: KeyType, signature_algorithm: str, *, prehashed: bool, jws: bool) -> SigningMethod:
    if not prehashed or signature_algorithm != "pkcs1v15":
        raise InvalidRequestError("hash_algorithm=none requires both prehashed=true and signature_algorithm=pkcs1v15")
    if not row.is_rsa:
        raise InvalidRequestError("hash_algorithm=none is for RSA keys: name the hash that made the digest")
    return SigningMethod(
        kind=row.kind,
        scheme=SignatureScheme.RSA_PKCS1V15_RAW,
        longest=public_keys.RSA_BITS[row.kind] // 8 - _PKCS1_OVERHEAD,
        jws=jws,
    )


def _read_salt(text: str | int) -> str | int:
    """The words "auto" and "hash", or bytes. 0 and -1 are what Go has for the words, and Vault takes them so."""
    lowered = str(text).lower()
    if lowered in {"auto", "hash"}:
        return lowered
    if not _SALT.fullmatch(lowered):
        raise InvalidRequestError("salt_length is neither 'auto', 'hash', nor a number of bytes")
    return {0: "auto", -1: "hash"}.get(int(lowered), int(lowered))


def _salts(row: KeyType, salt: str | int, digest_bytes: int) -> tuple[int, int | None]:
    """The salt's length when signing, and what verifies (None: any)."""
    longest = public_keys.RSA_BITS[row.kind] // 8 - 2 - digest_bytes  # RFC 8017, 9.1.1
    if salt == "auto":
        return longest, None
    length = digest_bytes if isinstance(salt, str) else salt
    if length > longest:
        raise InvalidRequestError(
            f"requested salt length {length} is invalid: with this key and hash it is at most {longest}"
        )
    return length, length
