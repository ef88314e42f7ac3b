"""Random bytes as Vault's API asks for them: how many, and from which generator."""

import os
from collections.abc import Mapping, Sequence

from core.errors import InvalidRequestError
from core.protocols import KeyCustodian

MAX_RANDOM = 128 * 1024  # bytes; OpenBao's limit, too
DEFAULT_RANDOM = 32


def wanted_bytes(params: Mapping[str, str], *, length: int | None, source: str) -> tuple[str, int]:
    """Source and length. The path (`first`, `second`) says either or both; a number alone is the length.

    What it leaves out, the body says. Raises InvalidRequestError.
    """
    length = DEFAULT_RANDOM if length is None else length
    words = [params[name] for name in ("first", "second") if name in params]
    if words and not (len(words) == 1 and words[0].isdigit()):
        source = words.pop(0)
    if words:
        if not (words[0].isascii() and words[0].isdigit() and len(words[0]) <= 9):
            raise InvalidRequestError("the number of bytes in the path must be a whole number")
        length = int(words[0])
    if source not in {"platform", "hsm", "seal", "all"}:
        raise InvalidRequestError("source must be platform, hsm or all")
    if not 1 <= length <= MAX_RANDOM:
        raise InvalidRequestError(f"bytes must be between 1 and {MAX_RANDOM}")
    return source, length


async def draw(keys: KeyCustodian, *, source: str, length: int) -> bytes:
    """`platform`, `hsm` and `seal` (Vault's word for it) ask the HSM; `all` mixes in the system's generator."""
    drawn = await keys.random(length)
    if source == "all":
        mixed = int.from_bytes(drawn, "big") ^ int.from_bytes(os.urandom(length), "big")
        drawn = mixed.to_bytes(length, "big")
    return drawn


async def draw_pieces(keys: KeyCustodian, *, source: str, lengths: Sequence[int]) -> list[bytes]:
    """Pieces of few long draws, since each is a call to the HSM."""
    total = sum(lengths)
    drawn = bytearray()
    while len(drawn) < total:
        drawn += await draw(keys, source=source, length=min(MAX_RANDOM, total - len(drawn)))
    pieces: list[bytes] = []
    start = 0
    for length in lengths:
        pieces.append(bytes(drawn[start : start + length]))
        start += length
    return pieces
