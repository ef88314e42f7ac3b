"""Types of keys by the words of Vault's API, key_type and key_bits, and which of them a role takes."""

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa

from core.errors import InvalidRequestError
from core.protocols import KeyKind
from core.public_keys import PublicKey

_BITS = {"rsa": (2048, 3072, 4096), "ec": (256, 384, 521), "ed25519": (0,), "ml-dsa": (44, 65, 87), "any": (0,)}
_DEFAULT_BITS = {"rsa": 2048, "ec": 256, "ed25519": 0, "ml-dsa": 65, "any": 0}
KINDS = {
    ("rsa", 2048): KeyKind.RSA_2048,
    ("rsa", 3072): KeyKind.RSA_3072,
    ("rsa", 4096): KeyKind.RSA_4096,
    ("ec", 256): KeyKind.EC_P256,
    ("ec", 384): KeyKind.EC_P384,
    ("ec", 521): KeyKind.EC_P521,
    ("ed25519", 0): KeyKind.ED25519,
    ("ml-dsa", 44): KeyKind.ML_DSA_44,
    ("ml-dsa", 65): KeyKind.ML_DSA_65,
    ("ml-dsa", 87): KeyKind.ML_DSA_87,
}
_MOST_BITS = 16_384
_ML_DSA = {mldsa.MLDSA44PublicKey: 44, mldsa.MLDSA65PublicKey: 65, mldsa.MLDSA87PublicKey: 87}


def default_bits(key_type: str) -> int:
    """What 0 means; 0 for an unknown type."""
    return _DEFAULT_BITS.get(key_type, 0)


def check_key(key_type: str, key_bits: int) -> None:
    """Raise InvalidRequestError for a type, or a size of it, that a role cannot have."""
    if key_type not in _BITS:
        raise InvalidRequestError(f"key_type must be one of {', '.join(_BITS)}")
    sizes = _BITS[key_type]
    if not 0 <= key_bits <= _MOST_BITS:  # also where they mean nothing, as of Ed25519
        raise InvalidRequestError(f"key_bits must be 0 to {_MOST_BITS}")
    if sizes != (0,) and key_bits not in sizes:
        raise InvalidRequestError(f"key_bits of {key_type} must be one of {', '.join(map(str, sizes))}")


def ca_kind(key_type: str, key_bits: int) -> KeyKind:
    """What the key of a CA is. Raises InvalidRequestError."""
    bits = key_bits or default_bits(key_type)
    if key_type in {"ed25519", "any"}:
        bits = 0
    kind = KINDS.get((key_type, bits))
    if kind is None:
        sizes = {"rsa": "2048, 3072 or 4096", "ec": "256, 384 or 521", "ml-dsa": "44, 65 or 87"}.get(key_type)
        if sizes is None:
            raise InvalidRequestError("key_type must be rsa, ec, ed25519 or ml-dsa")
        raise InvalidRequestError(f"key_bits of {key_type} must be {sizes}")
    return kind


def type_and_bits(key: PublicKey) -> tuple[str, int]:
    """A public key by the words of the API."""
    if isinstance(key, rsa.RSAPublicKey):
        return "rsa", key.key_size
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ec", key.curve.key_size
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519", 0
    return "ml-dsa", _ML_DSA.get(type(key), next(bits for kind, bits in _ML_DSA.items() if isinstance(key, kind)))


def check_allowed(key: PublicKey, key_type: str, key_bits: int) -> None:
    """Raise InvalidRequestError unless a role with that key_type and key_bits takes a CSR's key.

    A longer RSA key than the role's is taken, as in Vault; of the others only the very one.
    """
    found, bits = type_and_bits(key)
    if key_type == "any":
        return
    if found != key_type:
        raise InvalidRequestError(f"role requires keys of type {key_type}; the CSR's is of type {found}")
    if found == "rsa" and bits < key_bits:
        raise InvalidRequestError(f"role requires a minimum of a {key_bits}-bit key, but CSR's key is {bits} bits")
    if found in {"ec", "ml-dsa"} and bits != key_bits:
        raise InvalidRequestError(f"role requires {found} keys of {key_bits}; the CSR's is one of {bits}")
