"""Keys of `sealed` custody, opened: every kind and usage that software can execute."""

from collections.abc import Callable

from core.errors import KeyPolicyError
from core.protocols import KeyKind, KeyUsage
from core.public_keys import CURVES, RSA_BITS
from core.secret import Secret
from pkcs11_glue.material import CheckedMaterial, check_material, checked_material, is_made_in_software, new_material
from pkcs11_glue.software_ciphers import CIPHER_KEY_BYTES, CipherKey, DerivingCipherKey
from pkcs11_glue.software_key import SoftwareKey
from pkcs11_glue.software_macs import CmacKey, HmacKey
from pkcs11_glue.software_pairs import ML_DSA, DerivingEd25519Key, EcKey, Ed25519Key, MlDsaKey, RsaKey

__all__ = [
    "IS_SLOW",
    "CheckedMaterial",
    "SoftwareKey",
    "check_material",
    "check_software_usage",
    "checked_material",
    "is_made_in_software",
    "new_material",
    "open_software",
]

# one operation takes longer than a thread hop
IS_SLOW = frozenset({KeyKind.EC_P384, KeyKind.EC_P521, *RSA_BITS, *ML_DSA})

_RSA_USAGES = (KeyUsage.SIGN, KeyUsage.ENCRYPT, KeyUsage.SIGN_DECRYPT)
_OPENERS: dict[tuple[KeyKind, KeyUsage], Callable[[KeyKind, KeyUsage, Secret], SoftwareKey]] = {
    **{(kind, KeyUsage.ENCRYPT): CipherKey for kind in CIPHER_KEY_BYTES},
    **{(kind, KeyUsage.DERIVE): DerivingCipherKey for kind in CIPHER_KEY_BYTES},
    (KeyKind.AES_128, KeyUsage.MAC): CmacKey,
    (KeyKind.AES_256, KeyUsage.MAC): CmacKey,
    (KeyKind.HMAC, KeyUsage.MAC): HmacKey,
    (KeyKind.ED25519, KeyUsage.SIGN): Ed25519Key,
    (KeyKind.ED25519, KeyUsage.DERIVE): DerivingEd25519Key,
    **{(kind, KeyUsage.SIGN): EcKey for kind in CURVES},
    **{(kind, usage): RsaKey for kind in RSA_BITS for usage in _RSA_USAGES},
    **{(kind, KeyUsage.SIGN): MlDsaKey for kind in ML_DSA},
}


def check_software_usage(kind: KeyKind, usage: KeyUsage) -> None:
    """Whether a key of this kind can have this usage at all. Raises KeyPolicyError."""
    if (kind, usage) not in _OPENERS:
        raise KeyPolicyError(f"a key of type {kind.value} cannot be used to {usage.value}")


def open_software(kind: KeyKind, usage: KeyUsage, material: Secret) -> SoftwareKey:
    """A key at work, of material that `check_material` or `new_material` gave."""
    check_software_usage(kind, usage)
    return _OPENERS[kind, usage](kind, usage, material)
