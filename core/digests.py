"""Hashes by the names that Vault's API gives them: digests, and how they are written in an answer."""

import asyncio
import base64
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from core.errors import InvalidRequestError

SMALL = 64 * 1024  # bytes that are hashed in no time; more than that would hold up others

# Vault's name to that of core.public_keys.HASHES
SHA2_AND_SHA3 = {
    **{f"sha2-{bits}": f"sha{bits}" for bits in (224, 256, 384, 512)},
    **{f"sha3-{bits}": f"sha3-{bits}" for bits in (224, 256, 384, 512)},
}
ALGORITHMS = {"sha1": "sha1", **SHA2_AND_SHA3}

HASHERS: dict[str, Callable[[bytes], Any]] = {
    "sha1": hashlib.sha1,
    "sha224": hashlib.sha224,
    "sha256": hashlib.sha256,
    "sha384": hashlib.sha384,
    "sha512": hashlib.sha512,
    "sha3-224": hashlib.sha3_224,
    "sha3-256": hashlib.sha3_256,
    "sha3-384": hashlib.sha3_384,
    "sha3-512": hashlib.sha3_512,
}


def digest_now(hash_name: str, message: bytes) -> bytes:
    """The digest, computed here."""
    digest: bytes = HASHERS[hash_name](message).digest()
    return digest


async def digest(hash_name: str, message: bytes) -> bytes:
    """The digest; of much, in a thread."""
    if len(message) > SMALL:
        return await asyncio.to_thread(digest_now, hash_name, message)
    return digest_now(hash_name, message)


async def digest_all(hash_name: str, messages: Sequence[bytes]) -> list[bytes]:
    """The digest of each message; of much, in one thread."""
    hasher = HASHERS[hash_name]

    def run() -> list[bytes]:
        return [hasher(message).digest() for message in messages]

    if sum(map(len, messages)) > SMALL:
        return await asyncio.to_thread(run)
    return run()


def written(value: bytes, form: str) -> str:
    """`value` as "hex" or "base64". Raises InvalidRequestError for another form."""
    if form == "hex":
        return value.hex()
    if form == "base64":
        return base64.b64encode(value).decode()
    raise InvalidRequestError('format must be "hex" or "base64"')
