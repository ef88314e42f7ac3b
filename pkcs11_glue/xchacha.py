"""XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): ChaCha20-Poly1305 with a nonce of 24 bytes, which may be random."""

from struct import Struct

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

NONCE_BYTES = 24
_EDGE_WORDS = Struct("<4I32x4I")  # words 0 to 3 and 12 to 15 of a block
_WORDS = Struct("<8I")
_FOUR_WORDS = Struct("<4I")
_SIGMA = _FOUR_WORDS.unpack(b"expand 32-byte k")
_BLOCK = bytes(64)


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """HChaCha20 (2.2) of a key of 32 and a nonce of 16 bytes.

    It is ChaCha20's block function without the last step, the addition of the initial state: so that is subtracted.
    """
    initial = _SIGMA + _FOUR_WORDS.unpack(nonce)
    block = _EDGE_WORDS.unpack(Cipher(ChaCha20(key, nonce), mode=None).encryptor().update(_BLOCK))
    return _WORDS.pack(*[(word - start) & 0xFFFFFFFF for word, start in zip(block, initial, strict=True)])


class XChaCha20Poly1305:
    """With the methods of `cryptography`'s AEADs."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encrypt(self, nonce: bytes, data: bytes | memoryview, associated_data: bytes | None) -> bytes:
        """Ciphertext and tag (2.3)."""
        return self._inner(nonce).encrypt(bytes(4) + nonce[16:], data, associated_data)

    def encrypt_into(self, nonce: bytes, data: bytes, associated_data: bytes | None, buf: memoryview) -> int:
        """Ciphertext and tag into `buf`."""
        return self._inner(nonce).encrypt_into(bytes(4) + nonce[16:], data, associated_data, buf)

    def decrypt(self, nonce: bytes, data: bytes | memoryview, associated_data: bytes | None) -> bytes:
        """The plaintext. Raises cryptography's InvalidTag."""
        return self._inner(nonce).decrypt(bytes(4) + nonce[16:], data, associated_data)

    def _inner(self, nonce: bytes) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(hchacha20(self._key, nonce[:16]))
