"""The message authentication codes of the token: HMAC (FIPS 198-1) with SHA-1 and SHA-2, and AES-CMAC (SP 800-38B)."""

from ctypes import addressof

from pkcs11.mechanisms import Mechanism

from core.errors import InvalidRequestError, KeyPolicyError, MimirError
from core.protocols import KeyKind
from pkcs11_glue.cryptoki import mechanism
from pkcs11_glue.mgf import DIGEST_BYTES

HMACS = {
    "sha1": Mechanism.SHA_1_HMAC,
    "sha224": Mechanism.SHA224_HMAC,
    "sha256": Mechanism.SHA256_HMAC,
    "sha384": Mechanism.SHA384_HMAC,
    "sha512": Mechanism.SHA512_HMAC,
}
_CMAC_BYTES = 16


class MacMethod:
    """A mechanism, and how long its MACs are."""

    __slots__ = ("_keep", "address", "size")

    def __init__(self, kind: Mechanism, size: int) -> None:
        self._keep = mechanism(kind)
        self.address = addressof(self._keep)  # of the CK_MECHANISM, which no call changes, so threads may share it
        self.size = size


CMAC = MacMethod(Mechanism.AES_CMAC, _CMAC_BYTES)
_METHODS = {
    (KeyKind.AES_128, ""): CMAC,
    (KeyKind.AES_256, ""): CMAC,
    **{(KeyKind.HMAC, name): MacMethod(how, DIGEST_BYTES[name]) for name, how in HMACS.items()},
}


def mac_method(kind: KeyKind, hash_name: str) -> MacMethod:
    """How a key of this kind makes a MAC. Raises KeyPolicyError for a hash the HSM lacks."""
    found = _METHODS.get((kind, hash_name))
    if found is None:
        raise _refusal(kind, hash_name)
    return found


def _refusal(kind: KeyKind, hash_name: str) -> MimirError:
    if kind is not KeyKind.HMAC:
        return InvalidRequestError("CMAC uses no hash: leave it out for an AES key")
    if hash_name in DIGEST_BYTES:
        return KeyPolicyError(f"the HSM makes no HMAC with {hash_name}; that needs a key with sealed custody")
    return InvalidRequestError(f"the hash must be one of {', '.join(DIGEST_BYTES)}")
