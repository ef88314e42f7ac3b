"""The barrier's data keys by term, and the layout of what they encrypt.

A sealed value is: format (1 byte, 1), term (4 bytes, big-endian), nonce (12 bytes, random), ciphertext, tag (16 bytes);
AES-256-GCM (SP 800-38D). The associated data is the first five bytes and the context: what the value is and where it
stands, so that a value moved elsewhere, or given another term, does not open.
"""

import os
import struct
from collections.abc import Sequence
from typing import Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import IntegrityError
from core.secret import Secret

# Random 96-bit nonces: at most 2^32 encryptions under one key (SP 800-38D, 8.3); we rotate at half of that.
MAX_ENCRYPTIONS = 2**31

_FORMAT = 1
_HEADER = struct.Struct(">BI")
_NONCE = 12
_TAG = 16
_KEY = 32
OVERHEAD = _HEADER.size + _NONCE + _TAG


class UnknownTermError(IntegrityError):
    """The value names a term that this keyring lacks: another process rotated, or the row was edited."""


class _Term(msgspec.Struct, frozen=True, array_like=True):
    term: int
    key: bytes
    created_at: int  # epoch seconds

    def __repr__(self) -> str:
        return f"_Term({self.term})"


class _Terms(msgspec.Struct, frozen=True):
    """What is stored. The active term is the last."""

    terms: list[_Term]
    format: int = 1


_DECODER = msgspec.json.Decoder(_Terms)


class Keyring:
    """The only keys in memory. Immutable but for `budget`: rotation makes another keyring."""

    __slots__ = ("_active", "_ciphers", "_header", "_terms", "budget")

    def __init__(self, terms: Sequence[_Term]) -> None:
        self._terms = tuple(terms)
        self._ciphers = {term.term: AESGCM(term.key) for term in terms}
        self._active = self._ciphers[self.term]
        self._header = _HEADER.pack(_FORMAT, self.term)
        self.budget = 0  # encryptions that this process may do before it must reserve more

    @classmethod
    def create(cls, *, now: float) -> Self:
        """A keyring of one fresh term."""
        return cls([_Term(1, os.urandom(_KEY), int(now))])

    def rotated(self, *, now: float) -> "Keyring":
        """This keyring with one more term, which is the active one."""
        return Keyring([*self._terms, _Term(self.term + 1, os.urandom(_KEY), int(now))])

    @property
    def term(self) -> int:
        """The term that encrypts."""
        return self._terms[-1].term

    @property
    def installed_at(self) -> int:
        """When the active term was made, in epoch seconds."""
        return self._terms[-1].created_at

    def to_secret(self) -> Secret:
        """As stored, before the HSM encrypts it."""
        return Secret(msgspec.json.encode(_Terms(list(self._terms))))

    @classmethod
    def from_secret(cls, secret: Secret) -> Self:
        """Undo `to_secret`. Raises IntegrityError."""
        try:
            stored = _DECODER.decode(secret.expose())
        except msgspec.DecodeError as exc:
            raise IntegrityError("the stored keyring is not one that this version can read") from exc
        numbers = [term.term for term in stored.terms]
        sound = stored.format == 1 and numbers and numbers == sorted(set(numbers))
        if not sound or any(len(term.key) != _KEY for term in stored.terms):
            raise IntegrityError("the stored keyring is not one that this version can read")
        return cls(stored.terms)

    def encrypt(self, value: bytes, context: bytes) -> bytes:
        """Encrypt under the active term, bound to `context`."""
        self.budget -= 1
        return self._encrypt_with_nonce(os.urandom(_NONCE), value, context)

    def _encrypt_with_nonce(self, nonce: bytes, value: bytes, context: bytes) -> bytes:
        return self._header + nonce + self._active.encrypt(nonce, value, self._header + context)

    def decrypt(self, sealed: bytes, context: bytes, name: str) -> bytes:
        """Undo `encrypt`; `name` is what the error calls the value.

        Raises IntegrityError, and UnknownTermError when no key of that term is here.
        """
        header = sealed[: _HEADER.size]
        if len(sealed) < OVERHEAD or header[0] != _FORMAT:
            raise IntegrityError(f"{name} is not a sealed value: the row was edited outside Mimir")
        cipher = self._ciphers.get(int.from_bytes(header[1:], "big"))
        if cipher is None:
            raise UnknownTermError(f"{name} is sealed under a term that the keyring lacks: the row was edited or moved")
        nonce_end = _HEADER.size + _NONCE
        try:
            return cipher.decrypt(sealed[_HEADER.size : nonce_end], sealed[nonce_end:], header + context)
        except InvalidTag as exc:
            raise IntegrityError(f"{name} does not authenticate: the row was edited or moved outside Mimir") from exc
