"""Hashes by the names that Vault's API gives them: digests, and how they are written in an answer."""

import asyncio
from collections.abc import Sequence

from core import public_keys
from core.encoding import base64_text
from core.errors import InvalidRequestError

SMALL = 64 * 1024  # bytes that are hashed in no time; more than that would hold up others

# Vault's name to that of core.public_keys.HASHES
SHA2_AND_SHA3 = {
    **{f"sha2-{bits}": f"sha{bits}" for bits in (224, 256, 384, 512)},
    **{f"sha3-{bits}": f"sha3-{bits}" for bits in (224, 256, 384, 512)},
}
ALGORITHMS = {"sha1": "sha1", **SHA2_AND_SHA3}


async def digest(hash_name: str, message: bytes) -> bytes:
    """The digest; of much, in a thread."""
    if len(message) > SMALL:
        return await asyncio.to_thread(public_keys.digest, hash_name, message)
    return public_keys.digest(hash_name, message)


async def digest_all(hash_name: str, messages: Sequence[bytes]) -> list[bytes]:
    """The digest of each message; of much, in one thread."""

    def run() -> list[bytes]:
        return [public_keys.digest(hash_name, message) for message in messages]

    if sum(map(len, messages)) > SMALL:
        return await asyncio.to_thread(run)
    return run()


def written(value: bytes, form: str) -> str:
    """`value` as "hex" or "base64". Raises InvalidRequestError for another form."""
    if form == "hex":
        return value.hex()
    if form == "base64":
        return base64_text(value)
    raise InvalidRequestError('format must be "hex" or "base64"')
