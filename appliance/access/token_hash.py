"""Tokens as the store knows them: by a keyed hash only."""

import hashlib
from collections.abc import Callable

from core.ids import random_base62
from core.secret import Secret

TOKEN_PREFIX = "hvs."  # noqa: S105 - what service tokens begin with, not one
MAX_TOKEN = 256  # characters
_RANDOM = 24  # base62: 142 bits

_BLOCK = 64  # bytes of a SHA-256 block


def new_token() -> str:
    """A service token."""
    return TOKEN_PREFIX + random_base62(_RANDOM)


def new_accessor() -> str:
    """The handle by which a token is looked up and revoked by those who must not use it."""
    return random_base62(_RANDOM)


def _keyed(key: bytes) -> Callable[[bytes], str]:
    """HMAC-SHA-256 (FIPS 198-1) in hex, with the two padded keys hashed beforehand: a quarter of hmac.digest's time."""
    padded = key.ljust(_BLOCK, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def digest(message: bytes) -> str:
        within = inner.copy()
        within.update(message)
        around = outer.copy()
        around.update(within.digest())
        return around.hexdigest()

    return digest


class TokenHasher:
    """Record ids of tokens and aliases of accessors, under a key that is sealed in the barrier."""

    __slots__ = ("_digest",)

    def __init__(self, key: Secret) -> None:
        if len(key) != 32:
            raise RuntimeError("the key for token hashes must have 32 bytes")
        self._digest = _keyed(key.expose())

    def record_id(self, token: str) -> str:
        """64 hex digits. `token` must be ASCII."""
        return self._digest(b"token:" + token.encode("ascii"))

    def alias(self, accessor: str) -> str:
        """64 hex digits; of another domain than record ids."""
        return self._digest(b"accessor:" + accessor.encode("ascii"))


def is_possible(token: str) -> bool:
    """Whether it can be a token at all; spares the hash and the store what is not."""
    return 0 < len(token) <= MAX_TOKEN and token.isascii()
