"""RSAES-OAEP (RFC 8017, 7.1.2) in the token: by its own OAEP for the hashes proven at start, else by raw RSA."""

from ctypes import addressof

from pkcs11.mechanisms import Mechanism

from core.errors import InvalidRequestError, KeyPolicyError
from pkcs11_glue.cryptoki import CkRsaOaepParams, mechanism
from pkcs11_glue.mgf import MECHANISMS

_LABEL_IS_DATA = 1  # CKZ_DATA_SPECIFIED


class OaepMethod:
    """A mechanism; with `is_raw`, what it gives is unpadded here."""

    __slots__ = ("_keep", "address", "hash_name", "is_raw")

    def __init__(self, hash_name: str, *, is_raw: bool) -> None:
        parameters = None
        if not is_raw:
            digest, mgf = MECHANISMS[hash_name]
            parameters = CkRsaOaepParams(int(digest), int(mgf), _LABEL_IS_DATA, None, 0)
        structure = mechanism(Mechanism.RSA_X_509 if is_raw else Mechanism.RSA_PKCS_OAEP, parameters)
        self._keep = (structure, parameters)
        self.address = addressof(structure)
        self.hash_name = hash_name
        self.is_raw = is_raw


RAW = {name: OaepMethod(name, is_raw=True) for name in MECHANISMS}
NATIVE = {name: OaepMethod(name, is_raw=False) for name in MECHANISMS}


def oaep_method(proven: dict[str, OaepMethod], hash_name: str) -> OaepMethod:
    """How to decrypt on a token where `proven` works. Raises InvalidRequestError for a hash nobody knows."""
    found = proven.get(hash_name)
    if found is not None:
        return found
    if hash_name in MECHANISMS:
        raise KeyPolicyError(f"the HSM does not decrypt by OAEP with {hash_name}; that needs a key with sealed custody")
    raise InvalidRequestError(f"the hash must be one of {', '.join(MECHANISMS)}")
