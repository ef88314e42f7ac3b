"""What is done with a public key alone: in software, since no secret takes part. A check raises or returns nothing."""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    NoDigestInfo,
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from core.errors import InvalidRequestError, InvalidSignatureError
from core.protocols import KeyKind, SignatureScheme

HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),  # noqa: S303 - Vault's API offers it; the caller chose it
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha3-224": hashes.SHA3_224(),
    "sha3-256": hashes.SHA3_256(),
    "sha3-384": hashes.SHA3_384(),
    "sha3-512": hashes.SHA3_512(),
}
OAEP_HASHES = ("sha1", "sha224", "sha256", "sha384", "sha512")
CURVES: dict[KeyKind, ec.EllipticCurve] = {
    KeyKind.EC_P256: ec.SECP256R1(),
    KeyKind.EC_P384: ec.SECP384R1(),
    KeyKind.EC_P521: ec.SECP521R1(),
}
RSA_BITS = {KeyKind.RSA_2048: 2048, KeyKind.RSA_3072: 3072, KeyKind.RSA_4096: 4096}
MlDsaPublicKey: TypeAlias = mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey | MlDsaPublicKey

_LEAST_EXPONENT, _MOST_EXPONENT_BITS = 65537, 256  # FIPS 186-5, A.1.1: 2^16 < e < 2^256
_KINDS_BY_CURVE = {curve.name: kind for kind, curve in CURVES.items()}
_KINDS_BY_BITS = {bits: kind for kind, bits in RSA_BITS.items()}
_OTHER_KINDS: dict[type, KeyKind] = {
    ed25519.Ed25519PublicKey: KeyKind.ED25519,
    mldsa.MLDSA44PublicKey: KeyKind.ML_DSA_44,
    mldsa.MLDSA65PublicKey: KeyKind.ML_DSA_65,
    mldsa.MLDSA87PublicKey: KeyKind.ML_DSA_87,
}
_PREHASHED = {name: Prehashed(algorithm) for name, algorithm in HASHES.items()}
DIGESTS: dict[str, Callable[..., "hashlib._Hash"]] = {name: getattr(hashlib, name.replace("-", "_")) for name in HASHES}
_PEM_BEGIN, _PEM_END = b"-----BEGIN PUBLIC KEY-----", b"-----END PUBLIC KEY-----"
_LOADED_KEYS = 1024  # loading costs 10 us (P-256); a loaded key takes 1 to 2 KB

# --- hashes -------------------------------------------------------------------------------------------------------


def find_hash(hash_name: str) -> hashes.HashAlgorithm:
    """The hash of that name. Raises InvalidRequestError."""
    try:
        return HASHES[hash_name]
    except KeyError:
        raise InvalidRequestError(f"the hash must be one of {', '.join(HASHES)}") from None


def digest(hash_name: str, data: bytes) -> bytes:
    """The hash of some data. Raises InvalidRequestError for an unknown hash."""
    find_hash(hash_name)
    return DIGESTS[hash_name](data).digest()


def check_digests(digests: Sequence[bytes], hash_name: str) -> None:
    """Whether each has the length of that hash. Raises InvalidRequestError."""
    expected = find_hash(hash_name).digest_size
    if any(len(given) != expected for given in digests):
        raise InvalidRequestError(f"a {hash_name} digest has {expected} bytes")


def longest_pss_salt(key_bits: int, hash_name: str) -> int:
    """In bytes (RFC 8017, 9.1.1: emLen - hLen - 2)."""
    return (key_bits + 6) // 8 - 2 - HASHES[hash_name].digest_size


def pss_salt(key_bits: int, hash_name: str, salt_length: int | None) -> int:
    """The salt's length in bytes; None: the digest's. Raises InvalidRequestError for one that does not fit the key."""
    size = find_hash(hash_name).digest_size
    most = longest_pss_salt(key_bits, hash_name)
    chosen = size if salt_length is None else salt_length
    if not 0 <= chosen <= most:
        raise InvalidRequestError(f"with this key and {hash_name} the salt has 0 to {most} bytes")
    return chosen


# --- keys ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=_LOADED_KEYS)
def load_public_key(public_key: bytes) -> PublicKey:
    """The key of a SubjectPublicKeyInfo (DER); the latest ones stay loaded. Raises InvalidRequestError."""
    try:
        key = load_der_public_key(public_key)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise InvalidRequestError("this is not a public key: give SubjectPublicKeyInfo") from exc
    if _kind_of_loaded(key) is None:
        raise InvalidRequestError("public keys of this type, curve or size are not supported")
    return key  # type: ignore[return-value]  # _kind_of_loaded knows only members of PublicKey


def kind_of(public_key: bytes) -> KeyKind:
    """The kind of a SubjectPublicKeyInfo. Raises InvalidRequestError for one that no kind has."""
    kind = _kind_of_loaded(load_public_key(public_key))
    if kind is None:
        raise RuntimeError("load_public_key gives only keys that have a kind")
    return kind


def check_public_key(kind: KeyKind, pem: str) -> bytes:
    """SubjectPublicKeyInfo (DER, canonical) of a PEM text with one key of that kind. Raises InvalidRequestError."""
    text = pem.strip().encode("ascii", "replace")
    wrong = InvalidRequestError(f"this is not a public key of type {kind.value}: give one PEM block, BEGIN PUBLIC KEY")
    if not text.startswith(_PEM_BEGIN) or not text.endswith(_PEM_END) or text.count(b"-----BEGIN") != 1:
        raise wrong
    try:
        key = load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise wrong from exc
    if _kind_of_loaded(key) is not kind:
        raise wrong
    if isinstance(key, rsa.RSAPublicKey):
        check_rsa_exponent(key.public_numbers().e)
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def check_rsa_exponent(exponent: int) -> None:
    """FIPS 186-5, A.1.1. Raises InvalidRequestError."""
    if exponent < _LEAST_EXPONENT or exponent.bit_length() > _MOST_EXPONENT_BITS or not exponent & 1:
        raise InvalidRequestError(f"the public exponent must be odd, at least {_LEAST_EXPONENT} and below 2^256")


def _kind_of_loaded(key: object) -> KeyKind | None:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _KINDS_BY_CURVE.get(key.curve.name)
    if isinstance(key, rsa.RSAPublicKey):
        return _KINDS_BY_BITS.get(key.key_size)
    return next((kind for of_kind, kind in _OTHER_KINDS.items() if isinstance(key, of_kind)), None)


# --- what they do -------------------------------------------------------------------------------------------------


def verify_signature(
    public_key: bytes,
    signature: bytes,
    digest: bytes,
    *,
    scheme: SignatureScheme,
    hash_name: str = "sha256",
    salt_length: int | None = None,
) -> None:
    """Check a signature over a digest (over the message, for Ed25519, ML-DSA and raw PKCS #1 v1.5).

    `salt_length` in bytes is for PSS; None: as the signature has it. Of each signature only the one encoding verifies
    that its standard defines: ECDSA as DER with 0 < r, s < n, RSA in the modulus' length, Ed25519 with s < L.
    Raises InvalidSignatureError without detail. `public_key` is a SubjectPublicKeyInfo; a key of another type than the
    scheme's is an InvalidRequestError.
    """
    key = load_public_key(public_key)
    find_hash(hash_name)
    try:
        _verify(key, signature, digest, scheme=scheme, hash_name=hash_name, salt_length=salt_length)
    except (InvalidSignature, ValueError) as exc:  # ValueError: a digest or a salt of another length
        raise InvalidSignatureError("the signature does not verify") from exc


def _verify(
    key: PublicKey,
    signature: bytes,
    digest: bytes,
    *,
    scheme: SignatureScheme,
    hash_name: str,
    salt_length: int | None,
) -> None:
    match scheme, key:
        case SignatureScheme.ECDSA, ec.EllipticCurvePublicKey():
            key.verify(signature, digest, ec.ECDSA(_PREHASHED[hash_name]))
        case SignatureScheme.RSA_PKCS1V15, rsa.RSAPublicKey():
            key.verify(signature, digest, padding.PKCS1v15(), _PREHASHED[hash_name])
        case SignatureScheme.RSA_PKCS1V15_RAW, rsa.RSAPublicKey():
            key.verify(signature, digest, padding.PKCS1v15(), NoDigestInfo())  # type: ignore[arg-type]  # stubs lack it
        case SignatureScheme.RSA_PSS, rsa.RSAPublicKey():
            salt = padding.PSS.AUTO if salt_length is None else salt_length
            key.verify(signature, digest, padding.PSS(padding.MGF1(HASHES[hash_name]), salt), _PREHASHED[hash_name])
        case SignatureScheme.ED25519, ed25519.Ed25519PublicKey():
            key.verify(signature, digest)
        case SignatureScheme.ML_DSA, mldsa.MLDSA44PublicKey() | mldsa.MLDSA65PublicKey() | mldsa.MLDSA87PublicKey():
            key.verify(signature, digest)
        case _:
            raise InvalidRequestError(f"this key does not verify {scheme.value} signatures")


def encrypt_oaep(public_key: bytes, plaintext: bytes, *, hash_name: str = "sha256") -> bytes:
    """RSAES-OAEP (RFC 8017, 7.1.1) with MGF1 of the same hash and an empty label. Raises InvalidRequestError."""
    key = load_public_key(public_key)
    if not isinstance(key, rsa.RSAPublicKey):
        raise InvalidRequestError("only RSA keys encrypt by OAEP")
    algorithm = find_oaep_hash(hash_name)
    most = key.key_size // 8 - 2 * algorithm.digest_size - 2
    if len(plaintext) > most:
        raise InvalidRequestError(f"this key encrypts at most {most} bytes with {hash_name}; use a data key for more")
    return key.encrypt(plaintext, padding.OAEP(padding.MGF1(algorithm), algorithm, None))


def find_oaep_hash(hash_name: str) -> hashes.HashAlgorithm:
    """A hash that OAEP is offered with. Raises InvalidRequestError."""
    if hash_name not in OAEP_HASHES:
        raise InvalidRequestError(f"the hash of OAEP must be one of {', '.join(OAEP_HASHES)}")
    return HASHES[hash_name]


def verify_mac(expected: bytes, given: bytes) -> None:
    """Compare two MACs in constant time. Raises InvalidSignatureError."""
    if not hmac.compare_digest(expected, given):
        raise InvalidSignatureError("the MAC does not verify")


# --- ECDSA's two encodings ----------------------------------------------------------------------------------------


def ecdsa_to_jws(kind: KeyKind, signature: bytes) -> bytes:
    """DER ECDSA-Sig-Value as JWS has it: r and s side by side, each as long as the field (RFC 7518, 3.4)."""
    size = _field_bytes(kind)
    r, s = decode_dss_signature(signature)
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def ecdsa_from_jws(kind: KeyKind, signature: bytes) -> bytes:
    """JWS' form as DER. Raises InvalidSignatureError for one of another length."""
    size = _field_bytes(kind)
    if len(signature) != 2 * size:
        raise InvalidSignatureError("the signature does not verify")
    return encode_dss_signature(int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))


def _field_bytes(kind: KeyKind) -> int:
    if kind not in CURVES:
        raise InvalidRequestError("only ECDSA signatures have the JWS form")
    return (CURVES[kind].key_size + 7) // 8
