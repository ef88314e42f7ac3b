"""AEADs in software: AES-GCM (SP 800-38D), ChaCha20-Poly1305 (RFC 8439), XChaCha20-Poly1305, and keys derived for them.

Derived keys are exactly Vault's, so that an imported one opens what Vault encrypted.
"""

import hmac
import os
import threading
from collections.abc import Callable, Sequence
from struct import iter_unpack
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import CiphertextError, InvalidRequestError, KeyPolicyError
from core.protocols import AeadInput, KeyKind, KeyUsage
from core.secret import Secret
from pkcs11_glue import xchacha
from pkcs11_glue.errors import bad_ciphertext
from pkcs11_glue.software_key import SoftwareKey

TAG_BYTES = 16
CIPHER_KEY_BYTES = {
    KeyKind.AES_128: 16,
    KeyKind.AES_256: 32,
    KeyKind.CHACHA20_POLY1305: 32,
    KeyKind.XCHACHA20_POLY1305: 32,
}
_NONCE_KEY_BYTES = 32
_VIEW_FROM_BYTES = 1 << 12  # cutting off the nonce by a view is cheaper than by a copy from about here
_SCRATCH_FROM_BYTES = 1 << 16  # from here a fresh page costs more than encrypting it does
_SCRATCH_BYTES = 1 << 21  # what a thread keeps
_scratch = threading.local()


class Aead(Protocol):
    """A cipher under one key, as `cryptography` has them."""

    def encrypt(self, nonce: bytes, data: bytes | memoryview, associated_data: bytes | None) -> bytes:
        """Ciphertext and tag."""
        ...

    def encrypt_into(self, nonce: bytes, data: bytes, associated_data: bytes | None, buf: memoryview) -> int:
        """Ciphertext and tag, into memory that is there already."""
        ...

    def decrypt(self, nonce: bytes, data: bytes | memoryview, associated_data: bytes | None) -> bytes:
        """The plaintext. Raises InvalidTag."""
        ...


_AEADS: dict[KeyKind, Callable[[bytes], Aead]] = {
    KeyKind.AES_128: AESGCM,
    KeyKind.AES_256: AESGCM,
    KeyKind.CHACHA20_POLY1305: ChaCha20Poly1305,
    KeyKind.XCHACHA20_POLY1305: xchacha.XChaCha20Poly1305,
}


def nonce_bytes(kind: KeyKind) -> int:
    """The length of a cipher's nonce."""
    return xchacha.NONCE_BYTES if kind is KeyKind.XCHACHA20_POLY1305 else 12


class CipherKey(SoftwareKey):
    """A cipher key: one AEAD for all its life."""

    __slots__ = ("_aead", "_nonce_bytes")

    def __init__(self, kind: KeyKind, usage: KeyUsage, material: Secret) -> None:
        super().__init__(kind, usage)
        self._aead = _AEADS[kind](material.expose())
        self._nonce_bytes = nonce_bytes(kind)

    def encrypt(self, items: Sequence[AeadInput], *, convergent: bool = False) -> list[bytes]:
        """Under a fresh random nonce each."""
        if convergent:
            raise KeyPolicyError("convergent encryption needs a derived key")
        size, encrypt = self._nonce_bytes, self._aead.encrypt
        nonces = iter_unpack(f"{size}s", os.urandom(size * len(items)))
        return [
            nonce + encrypt(nonce, item.payload, item.associated_data)
            if len(item.payload) < _SCRATCH_FROM_BYTES
            else encrypt_large(self._aead, nonce, item)
            for (nonce,), item in zip(nonces, items, strict=True)
        ]

    def decrypt(self, items: Sequence[AeadInput]) -> list[bytes | CiphertextError]:
        """Each by the nonce in front of it."""
        size, aead = self._nonce_bytes, self._aead
        return [decrypt_one(aead, size, item) for item in items]


class DerivingCipherKey(SoftwareKey):
    """A key that makes a cipher key for each context: HKDF (RFC 5869) with SHA-256, no salt, the context as info.

    Of HKDF's output the first 16 or 32 bytes are the cipher key, the next 32 the nonce key, as Vault has it (convergent
    version 3), and then comes the nonce key for items with associated data, which Vault lacks.
    """

    __slots__ = ("_material", "_nonce_bytes")

    def __init__(self, kind: KeyKind, usage: KeyUsage, material: Secret) -> None:
        super().__init__(kind, usage)
        self._material = material
        self._nonce_bytes = nonce_bytes(kind)

    def encrypt(self, items: Sequence[AeadInput], *, convergent: bool = False) -> list[bytes]:
        """Under the key of each item's context, and a nonce that is random or, if convergent, made of the item."""
        size = self._nonce_bytes
        derived: dict[bytes, DerivedCipher] = {}
        encrypted: list[bytes] = []
        for item in items:
            cipher = self._derived(derived, item.context)
            nonce = cipher.convergent_nonce(item)[:size] if convergent else os.urandom(size)
            encrypted.append(encrypt_one(cipher.aead, nonce, item))
        return encrypted

    def decrypt(self, items: Sequence[AeadInput]) -> list[bytes | CiphertextError]:
        """Under the key of each item's context; convergent ciphertexts have their nonce in front, too."""
        derived: dict[bytes, DerivedCipher] = {}
        return [decrypt_one(self._derived(derived, item.context).aead, self._nonce_bytes, item) for item in items]

    def _derived(self, derived: dict[bytes, "DerivedCipher"], context: bytes) -> "DerivedCipher":
        """One derivation for each context of a batch."""
        cipher = derived.get(context)
        if cipher is None:
            cipher = derived[context] = DerivedCipher(self._kind, self._material, context)
        return cipher


class DerivedCipher:
    """What a deriving key makes for one context."""

    __slots__ = ("_nonce_key", "_nonce_key_with_data", "aead")

    def __init__(self, kind: KeyKind, material: Secret, context: bytes) -> None:
        size = CIPHER_KEY_BYTES[kind]
        output = derive(material.expose(), context, size + 2 * _NONCE_KEY_BYTES)
        self.aead = _AEADS[kind](output[:size])
        self._nonce_key = output[size : size + _NONCE_KEY_BYTES]
        self._nonce_key_with_data = output[size + _NONCE_KEY_BYTES :]

    def convergent_nonce(self, item: AeadInput) -> bytes:
        """32 bytes; equal only for equal plaintext and associated data.

        Without associated data HMAC-SHA-256 of the plaintext, as Vault has it. With some it must enter, too: one nonce
        under two associated data would reveal GHASH's key. A key of its own keeps the two computations apart, so that
        no plaintext can be chosen whose nonce is that of another item with associated data.
        """
        if not item.associated_data:
            return hmac.digest(self._nonce_key, item.payload, "sha256")
        framed = len(item.associated_data).to_bytes(8, "big") + item.associated_data + item.payload
        return hmac.digest(self._nonce_key_with_data, framed, "sha256")


def derive(secret: bytes, context: bytes, length: int) -> bytes:
    """HKDF (RFC 5869) with SHA-256 and no salt. Raises InvalidRequestError without a context."""
    if not context:
        raise InvalidRequestError("this key derives a key for each context: give a context")
    return HKDF(hashes.SHA256(), length, salt=None, info=context).derive(secret)


def encrypt_one(aead: Aead, nonce: bytes, item: AeadInput) -> bytes:
    """Nonce, ciphertext, tag."""
    if len(item.payload) < _SCRATCH_FROM_BYTES:
        return nonce + aead.encrypt(nonce, item.payload, item.associated_data)
    return encrypt_large(aead, nonce, item)


def encrypt_large(aead: Aead, nonce: bytes, item: AeadInput) -> bytes:
    """As `encrypt_one`, by way of the thread's scratch memory, which holds ciphertexts only."""
    size = len(nonce) + len(item.payload) + TAG_BYTES
    scratch = getattr(_scratch, "memory", b"")
    if len(scratch) < size:
        scratch = bytearray(size)
        if size <= _SCRATCH_BYTES:
            _scratch.memory = scratch
    with memoryview(scratch) as view:
        view[: len(nonce)] = nonce
        aead.encrypt_into(nonce, item.payload, item.associated_data, view[len(nonce) : size])
        return view[:size].tobytes()


def decrypt_one(aead: Aead, size: int, item: AeadInput) -> bytes | CiphertextError:
    """The plaintext behind a nonce of `size` bytes, or the one error."""
    payload = item.payload
    if len(payload) < size + TAG_BYTES:
        return bad_ciphertext()
    rest = payload[size:] if len(payload) < _VIEW_FROM_BYTES else memoryview(payload)[size:]
    try:
        return aead.decrypt(payload[:size], rest, item.associated_data)
    except InvalidTag:
        return bad_ciphertext()
