"""Identifiers that carry no meaning beyond being unique."""

import os
import string
import uuid

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_CHARACTERS = bytes(ord(_BASE62[octet % 62]) for octet in range(256))
_LEFT_OUT = bytes(range(248, 256))

_VARIANTS = {f"{digit:x}": f"{digit & 3 | 8:x}" for digit in range(16)}  # 10 in the two highest bits

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
    x = _octets().hex()
    return f"{x[:8]}-{x[8:12]}-4{x[13:16]}-{_VARIANTS[x[16]]}{x[17:20]}-{x[20:]}"


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID in its canonical form."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def random_base62(length: int) -> str:
    """`length` random characters of [0-9A-Za-z]: 5.95 bits each."""
    # 248 is 4 * 62: of the octets below it each character has the same share; the others are left out
    found = os.urandom(length + (length >> 3) + 4).translate(_CHARACTERS, _LEFT_OUT)
    while len(found) < length:
        found += os.urandom(length).translate(_CHARACTERS, _LEFT_OUT)
    return found[:length].decode("ascii")
