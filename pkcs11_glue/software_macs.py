"""MACs in software: HMAC (FIPS 198-1) with a key of any length, CMAC with AES (SP 800-38B)."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.hmac import HMAC

from core.errors import InvalidRequestError
from core.protocols import KeyKind, KeyUsage
from core.public_keys import find_hash
from core.secret import Secret
from pkcs11_glue.software_key import SoftwareKey


class HmacKey(SoftwareKey):
    """HMAC with any hash of core.public_keys.HASHES."""

    __slots__ = ("_hmacs", "_material")

    def __init__(self, kind: KeyKind, usage: KeyUsage, material: Secret) -> None:
        super().__init__(kind, usage)
        self._material = material
        self._hmacs: dict[str, HMAC] = {}  # by hash: the key's two blocks are hashed once

    def mac(self, messages: Sequence[bytes], *, hash_name: str = "") -> list[bytes]:
        """HMAC of each message."""
        base = self._hmacs.get(hash_name)
        if base is None:
            base = self._hmacs[hash_name] = HMAC(self._material.expose(), find_hash(hash_name))
        return [_mac(base, message) for message in messages]


class CmacKey(SoftwareKey):
    """CMAC with AES."""

    __slots__ = ("_cmac",)

    def __init__(self, kind: KeyKind, usage: KeyUsage, material: Secret) -> None:
        super().__init__(kind, usage)
        self._cmac = CMAC(AES(material.expose()))

    def mac(self, messages: Sequence[bytes], *, hash_name: str = "") -> list[bytes]:
        """CMAC of each message, 16 bytes."""
        if hash_name:
            raise InvalidRequestError("CMAC takes no hash")
        return [_mac(self._cmac, message) for message in messages]


def _mac(base: HMAC | CMAC, message: bytes) -> bytes:
    context = base.copy()
    context.update(message)
    return context.finalize()
