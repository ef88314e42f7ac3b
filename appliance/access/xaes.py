"""XAES-256-GCM (c2sp.org/XAES-256-GCM): AES-256-GCM with a nonce of 24 random bytes.

A key of its own is derived from the first half of every nonce (SP 800-108r1 with CMAC, one block), so the number of
messages under one key has no practical limit: 2^80 at a collision risk of 2^-32, where AES-GCM ends at 2^32.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from core.errors import CiphertextError
from core.secret import Secret

NONCE = 24  # bytes
OVERHEAD = NONCE + 16

_BLOCK = 16
_POLYNOMIAL = 0b10000111  # x^128 + x^7 + x^2 + x + 1, SP 800-38B, 5.3


class Xaes256Gcm:
    """One key. Not for several threads at once."""

    __slots__ = ("_block_cipher", "_k1")

    def __init__(self, key: Secret) -> None:
        if len(key) != 32:
            raise RuntimeError("XAES-256-GCM takes a key of 32 bytes")
        # S305: single blocks, as CMAC asks for (SP 800-38B, 6.1 and 6.2); the message itself is encrypted with GCM
        self._block_cipher = Cipher(AES(key.expose()), ECB()).encryptor().update  # noqa: S305
        self._k1 = _doubled(self._block_cipher(bytes(_BLOCK)))

    def seal(self, plaintext: bytes, associated_data: bytes) -> bytes:
        """Nonce (24 bytes), ciphertext, tag (16 bytes)."""
        nonce = os.urandom(NONCE)
        return nonce + self.seal_with_nonce(nonce, plaintext, associated_data)

    def seal_with_nonce(self, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
        """Ciphertext and tag; what published vectors drive."""
        return AESGCM(self._derived_key(nonce)).encrypt(nonce[12:], plaintext, associated_data)

    def open(self, sealed: bytes, associated_data: bytes) -> bytes:
        """Undo `seal`. Raises CiphertextError."""
        if len(sealed) < OVERHEAD:
            raise CiphertextError("the ciphertext is too short")
        try:
            return AESGCM(self._derived_key(sealed)).decrypt(sealed[12:NONCE], sealed[NONCE:], associated_data)
        except InvalidTag as exc:
            raise CiphertextError("the ciphertext does not authenticate") from exc

    def _derived_key(self, nonce: bytes) -> bytes:
        """CMAC of 0x0001 and of 0x0002, each followed by "X", 0x00 and the first half of the nonce."""
        half = nonce[:12]
        blocks = int.from_bytes(b"\x00\x01X\x00" + half + b"\x00\x02X\x00" + half) ^ self._k1
        return self._block_cipher(blocks.to_bytes(2 * _BLOCK))


def _doubled(block: bytes) -> int:
    """K1 of CMAC (SP 800-38B, 6.1), for two blocks side by side."""
    k1 = int.from_bytes(block) << 1
    if k1 >> 128:
        k1 = (k1 & (1 << 128) - 1) ^ _POLYNOMIAL
    return k1 << 128 | k1
