"""Identifiers that carry no meaning beyond being unique."""

import os
import secrets
import string
import uuid

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


_pool: list[bytes] = []  # random octets drawn ahead: the system is asked once for 256 identifiers; pop() is atomic


def _octets() -> bytes:
    try:
        return _pool.pop()
    except IndexError:
        block = os.urandom(4096)
        _pool.extend(block[start : start + 16] for start in range(0, 4080, 16))
        return block[4080:]


def new_uuid() -> str:
    """A random UUID (RFC 9562, version 4)."""
    # uuid.uuid4() spends more on the object than on the randomness; request ids are on the hot path
    h = bytearray(_octets())
    h[6] = h[6] & 0x0F | 0x40
    h[8] = h[8] & 0x3F | 0x80
    x = h.hex()
    return f"{x[:8]}-{x[8:12]}-{x[12:16]}-{x[16:20]}-{x[20:]}"


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID in its canonical form."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def random_base62(length: int) -> str:
    """`length` random characters of [0-9A-Za-z]: 5.95 bits each."""
    return "".join(secrets.choice(_BASE62) for _ in range(length))
