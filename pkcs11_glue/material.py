"""Key material outside the HSM: made, and checked when it comes from elsewhere.

Formats: docstring of core.protocols.KeyKind. What is accepted is re-encoded, so that a stored key has one form only.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key

from core.errors import InvalidRequestError, KeyPolicyError
from core.protocols import KeyKind
from core.public_keys import CURVES, RSA_BITS, check_rsa_exponent
from core.secret import Secret
from pkcs11_glue.software_ciphers import CIPHER_KEY_BYTES
from pkcs11_glue.software_pairs import ML_DSA, SEED_BYTES, MlDsaPrivateKey, spki

HMAC_BYTES = 64  # a new HMAC key, unless asked for another size
MOST_HMAC_BYTES = 512  # Vault's largest HMAC key has 4096 bits
EXPONENT = 65537  # of new RSA keys
_LONGEST = 16 * 1024  # octets of PKCS #8; an ML-DSA-87 key in both of its forms has 5,000
_SEQUENCE = 0x30
_RSA, _EC = bytes.fromhex("06092a864886f70d010101"), bytes.fromhex("06072a8648ce3d0201")
_OIDS = {
    **dict.fromkeys(RSA_BITS, _RSA),
    **dict.fromkeys(CURVES, _EC),
    KeyKind.ED25519: bytes.fromhex("06032b6570"),
    KeyKind.ML_DSA_44: bytes.fromhex("0609608648016503040311"),
    KeyKind.ML_DSA_65: bytes.fromhex("0609608648016503040312"),
    KeyKind.ML_DSA_87: bytes.fromhex("0609608648016503040313"),
}


@dataclass(frozen=True, slots=True)
class CheckedMaterial:
    """A key in its one form, and the SubjectPublicKeyInfo of a key pair."""

    secret: Secret
    public_key: bytes | None = None


def is_made_in_software(kind: KeyKind) -> bool:
    """Whether `new_material` takes nothing from the generator it is given."""
    return kind in CURVES or kind in RSA_BITS


def new_material(kind: KeyKind, random: Callable[[int], bytes], *, size: int = 0) -> Secret:
    """A new key. `random` gives all of its bytes, except of EC and RSA keys, which `cryptography` makes.

    `size` in bytes is for HMAC keys. Raises KeyPolicyError for a size that the kind cannot have.
    """
    if kind is KeyKind.HMAC:
        return Secret(random(check_hmac_size(size or HMAC_BYTES)))
    if size:
        raise KeyPolicyError(f"a key of type {kind.value} has one size only")
    if kind in CURVES:
        return Secret(_pkcs8(ec.generate_private_key(CURVES[kind])))
    if kind in RSA_BITS:
        return Secret(_pkcs8(rsa.generate_private_key(EXPONENT, RSA_BITS[kind])))
    return Secret(random(CIPHER_KEY_BYTES.get(kind, SEED_BYTES)))


def check_hmac_size(size: int) -> int:
    """The size again. Raises KeyPolicyError."""
    if not 1 <= size <= MOST_HMAC_BYTES:
        raise KeyPolicyError(f"an HMAC key has 1 to {MOST_HMAC_BYTES} bytes")
    return size


def check_material(kind: KeyKind, material: Secret) -> bytes | None:
    """SubjectPublicKeyInfo of a key pair, None of a secret key. Raises InvalidRequestError for what is no such key."""
    return checked_material(kind, material).public_key


def checked_material(kind: KeyKind, material: Secret) -> CheckedMaterial:
    """The material in its one form. Raises InvalidRequestError for what is no such key.

    Ed25519 and ML-DSA keys may come as PKCS #8, too. Proving the primes of RSA keys takes 50 to 300 ms.
    """
    value = material.expose()
    if kind is KeyKind.HMAC or kind in CIPHER_KEY_BYTES:
        _check_secret(kind, len(value))
        return CheckedMaterial(material)
    if kind in CURVES:
        key = _checked_ec(kind, _parse_pkcs8(kind, value))
        return CheckedMaterial(Secret(_pkcs8(key)), spki(key))
    if kind in RSA_BITS:
        _checked_rsa(kind, _parse_pkcs8(kind, value, skip_primes=True))  # what is too long would be tested for minutes
        rsa_key = _checked_rsa(kind, _parse_pkcs8(kind, value))
        return CheckedMaterial(Secret(_pkcs8(rsa_key)), spki(rsa_key))
    return _checked_seed(kind, value)


def _check_secret(kind: KeyKind, length: int) -> None:
    if kind is KeyKind.HMAC:
        if not 1 <= length <= MOST_HMAC_BYTES:
            raise InvalidRequestError(f"an HMAC key has 1 to {MOST_HMAC_BYTES} bytes, not {length}")
    elif length != CIPHER_KEY_BYTES[kind]:
        raise InvalidRequestError(f"a key of type {kind.value} has {CIPHER_KEY_BYTES[kind]} bytes, not {length}")


def _parse_pkcs8(kind: KeyKind, der: bytes, *, skip_primes: bool = False) -> PrivateKeyTypes:
    """PKCS #8 (RFC 5208, RFC 5958) in DER, unencrypted, to the last byte.

    Nothing of another algorithm is parsed: OpenSSL tests the group of a DH key for minutes, and nothing else runs then.
    """
    if not _is_pkcs8(der, _OIDS[kind]):
        raise _no_such_key(kind)
    try:
        return load_der_private_key(der, None, unsafe_skip_rsa_key_validation=skip_primes)
    except Exception as exc:  # cryptography raises its own kinds, ValueError and TypeError: all mean the caller's bytes
        raise _no_such_key(kind) from exc


def _is_pkcs8(der: bytes, oid: bytes) -> bool:
    """Whether it is a SEQUENCE of version 0 or 1 and an AlgorithmIdentifier of `oid`, a whole OBJECT IDENTIFIER.

    Not PKCS #1, SEC 1 or encrypted.
    """
    if not 8 <= len(der) <= _LONGEST or der[0] != _SEQUENCE:
        return False
    start = _content(der, 0)
    if der[start : start + 3] not in (b"\x02\x01\x00", b"\x02\x01\x01") or der[start + 3 : start + 4] != b"\x30":
        return False
    start = _content(der, start + 3)
    return der[start : start + len(oid)] == oid


def _content(der: bytes, start: int) -> int:
    """Where the content of the element at `start` begins."""
    length = der[start + 1] if start + 1 < len(der) else 0
    return start + 2 + (length & 0x7F if length & 0x80 else 0)


def _checked_ec(kind: KeyKind, key: PrivateKeyTypes) -> ec.EllipticCurvePrivateKey:
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != CURVES[kind].name:
        raise _no_such_key(kind)
    derived = ec.derive_private_key(key.private_numbers().private_value, CURVES[kind])
    if derived.public_key() != key.public_key():
        raise InvalidRequestError("the public key inside this private key is another one's")
    return derived


def _checked_rsa(kind: KeyKind, key: PrivateKeyTypes) -> rsa.RSAPrivateKey:
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size != RSA_BITS[kind]:
        raise _no_such_key(kind)
    numbers = key.private_numbers()
    check_rsa_exponent(numbers.public_numbers.e)
    half = key.key_size // 2
    if numbers.p.bit_length() != half or numbers.q.bit_length() != half:
        raise InvalidRequestError(f"both primes must have {half} bits")
    if numbers.d >= numbers.public_numbers.n:  # the same exponent with multiples added, of any length
        raise InvalidRequestError(f"the private exponent of a key of type {kind.value} must be less than its modulus")
    return key


def _checked_seed(kind: KeyKind, value: bytes) -> CheckedMaterial:
    make: Callable[[bytes], Ed25519PrivateKey | MlDsaPrivateKey]
    make = Ed25519PrivateKey.from_private_bytes if kind is KeyKind.ED25519 else ML_DSA[kind]
    if len(value) != SEED_BYTES:
        value = _seed_of(kind, _parse_pkcs8(kind, value))
    return CheckedMaterial(Secret(value), spki(make(value)))


def _seed_of(kind: KeyKind, key: PrivateKeyTypes) -> bytes:
    wanted = Ed25519PrivateKey if kind is KeyKind.ED25519 else type(ML_DSA[kind](bytes(SEED_BYTES)))
    if not isinstance(key, wanted):
        raise _no_such_key(kind)
    return key.private_bytes_raw()


def _pkcs8(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _no_such_key(kind: KeyKind) -> InvalidRequestError:
    form = (
        "its seed of 32 bytes or as PKCS #8 in DER" if kind not in CURVES and kind not in RSA_BITS else "PKCS #8 in DER"
    )
    return InvalidRequestError(f"this is not a private key of type {kind.value}: give it as {form}, without a password")
