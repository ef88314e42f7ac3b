"""Tokens as the store knows them: by a keyed hash only."""

import hashlib
import re
from collections.abc import Callable

from core.ids import random_base62
from core.secret import Secret

TOKEN_PREFIX = "hvs."  # noqa: S105 - what service tokens begin with, not one
BATCH_PREFIX = "hvb."
MAX_TOKEN = 256  # characters of a service token
MAX_BATCH_TOKEN = 4096  # characters: half of what a header may have
_RANDOM = 24  # base62: 142 bits

_BLOCK = 64  # bytes of a SHA-256 block
_IN_TEXT = re.compile(r"hv[bs]\.[A-Za-z0-9_-]+")
_NAMED_IN_PATH = re.compile(r"((?:^|/)auth/token/(?:lookup|renew|revoke|revoke-orphan)/+)[^/]+")


def new_token() -> str:
    """A service token."""
    return TOKEN_PREFIX + random_base62(_RANDOM)


def new_accessor() -> str:
    """The handle by which a token is looked up and revoked by those who must not use it."""
    return random_base62(_RANDOM)


def _keyed(key: bytes, domain: bytes) -> Callable[[str], str]:
    """HMAC-SHA-256 (FIPS 198-1) in hex of `domain` and an ASCII text.

    Key and domain are hashed once, here; each text then takes a quarter of hmac.digest's time.
    """
    padded = key.ljust(_BLOCK, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded) + domain).copy
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded)).copy

    def digest(text: str) -> str:
        within = inner()
        within.update(text.encode("ascii"))
        around = outer()
        around.update(within.digest())
        return around.hexdigest()

    return digest


class TokenHasher:
    """Record ids of tokens and aliases of accessors, under a key that is sealed in the barrier.

    Each is 64 hex digits, of a domain of its own.
    """

    __slots__ = ("alias", "record_id")

    def __init__(self, key: Secret) -> None:
        if len(key) != 32:
            raise RuntimeError("the key for token hashes must have 32 bytes")
        self.record_id = _keyed(key.expose(), b"token:")
        self.alias = _keyed(key.expose(), b"accessor:")


def is_possible(token: str) -> bool:
    """Whether it can be a token at all; spares the hash and the store what is not."""
    return 0 < len(token) <= MAX_TOKEN and token.isascii()


def without_tokens(path: str) -> str:
    """The path as it may be shown: old clients put a token into it ("auth/token/lookup/hvs.…")."""
    if "auth/token/" in path:
        path = _NAMED_IN_PATH.sub(r"\1(token)", path)  # one of a chosen id does not look like a token
    return _IN_TEXT.sub("(token)", path) if "hv" in path else path
