"""Files of any size as authenticated chunks under one data key: STREAM over AES-256-GCM.

docs/streams.md has the layout byte for byte. The chunks are those of STREAM (Hoang, Reyhanitabar, Rogaway, Vizár:
Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance, CRYPTO 2015): each nonce holds the chunk's number
and whether it is the last, so that a chunk that is moved, doubled, dropped or cut off does not verify. Keys are derived
by HKDF (RFC 5869) from the data key and the whole header, so that no chunk verifies under a header that was changed.
Nothing here knows files, the network or randomness.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from client.errors import LocalError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Read = Callable[[int], bytes]  # at most so many bytes, b"" at the end, as of a binary file

MAGIC = b"MIMIRENC"
VERSION = 1
SALT_BYTES = 16
DATA_KEY_BYTES = 32
TAG_BYTES = 16
CHECK_BYTES = 32
DEFAULT_CHUNK = 64 * 1024  # bytes of plaintext
MAX_CHUNK = 16 * 1024 * 1024
MAX_HEADER = 16 * 1024  # bytes of the fields: far above names, and data keys wrapped under RSA-4096
MAX_CHUNKS = 2**32  # what the counter of 4 bytes can number

_LABEL = b"mimir stream v1"
_KEY_BYTES = 32
_PREFIX_BYTES = 7


class StreamError(LocalError):
    """A file is not what `encrypt` wrote. What was released before it is raised had been verified."""


class NotAStreamError(StreamError):
    """The file does not begin as one of ours."""


class TruncatedError(StreamError):
    """The file ends before its last chunk; what there is was not changed."""


@dataclass(frozen=True)
class StreamHeader:
    """What stands before the chunks, in clear. `mount` and `key` are hints where the data key can be opened."""

    mount: str
    key: str
    wrapped_key: str  # as the appliance wrote it, key version and all
    chunk_size: int  # bytes of plaintext
    salt: bytes

    def __post_init__(self) -> None:
        if not 1 <= self.chunk_size <= MAX_CHUNK:
            raise StreamError(f"the chunk size is {self.chunk_size}, and not between 1 and {MAX_CHUNK}")
        if len(self.salt) != SALT_BYTES:
            raise StreamError(f"the salt has {len(self.salt)} bytes and not {SALT_BYTES}")
        if not self.wrapped_key:
            raise StreamError("the header holds no data key")

    @cached_property
    def encoded(self) -> bytes:
        """Magic, version, length and fields: exactly one encoding for each header."""
        fields = b"".join(_prefixed(text) for text in (self.mount, self.key, self.wrapped_key))
        fields += self.chunk_size.to_bytes(4, "big") + self.salt
        if len(fields) > MAX_HEADER:
            raise StreamError(f"the header has {len(fields)} bytes, and at most {MAX_HEADER} fit")
        return MAGIC + bytes([VERSION]) + len(fields).to_bytes(4, "big") + fields


def _prefixed(text: str) -> bytes:
    content = text.encode()
    if len(content) > 0xFFFF:
        raise StreamError("a field of the header is longer than 65535 bytes")
    return len(content).to_bytes(2, "big") + content


def read_header(read: Read) -> StreamHeader:
    """Parse the header at the beginning of a file, which is not verified until the data key is there."""
    start = exactly(read, len(MAGIC) + 1)
    if start[: len(MAGIC)] != MAGIC:
        raise NotAStreamError("this is no file that `mimir transit encrypt --file` wrote")
    if len(start) == len(MAGIC):
        raise TruncatedError("the file is truncated: it ends in its header")
    if start[-1] != VERSION:
        raise NotAStreamError(f"the file has format version {start[-1]}, and this mimir knows version {VERSION} only")
    length = int.from_bytes(_whole(read, 4), "big")
    if length > MAX_HEADER:
        raise StreamError("the header of the file is damaged: its length cannot be")
    return _parse_fields(_whole(read, length))


def _whole(read: Read, size: int) -> bytes:
    content = exactly(read, size)
    if len(content) < size:
        raise TruncatedError("the file is truncated: it ends in its header")
    return content


def _parse_fields(fields: bytes) -> StreamHeader:
    texts: list[str] = []
    place = 0
    try:
        for _ in range(3):
            size = int.from_bytes(fields[place : place + 2], "big")
            texts.append(fields[place + 2 : place + 2 + size].decode())
            place += 2 + size
    except UnicodeDecodeError as exc:
        raise StreamError("the header of the file is damaged: a text in it is not UTF-8") from exc
    if len(fields) != place + 4 + SALT_BYTES:
        raise StreamError("the header of the file is damaged: its fields do not fill it")
    mount, key, wrapped_key = texts
    chunk_size = int.from_bytes(fields[place : place + 4], "big")
    return StreamHeader(mount, key, wrapped_key, chunk_size, fields[place + 4 :])


@dataclass(frozen=True, slots=True, repr=False)
class _Keys:
    """What the data key and the header make."""

    cipher: "AESGCM"
    prefix: bytes
    check: bytes

    def nonce(self, number: int, *, last: bool) -> bytes:
        """7 bytes of this stream's own, 4 of the chunk's number, 1 that tells the last."""
        if number >= MAX_CHUNKS:
            raise StreamError("the file has more chunks than can be numbered: encrypt it with a larger --chunk-size")
        return self.prefix + number.to_bytes(4, "big") + (b"\1" if last else b"\0")


def _derive(header: StreamHeader, data_key: bytes) -> _Keys:
    """HKDF-SHA256 over the header: cipher key, nonce prefix, and a value that commits to data key and header."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    if len(data_key) != DATA_KEY_BYTES:
        raise StreamError(f"the data key has {len(data_key)} bytes and not {DATA_KEY_BYTES}")
    info = _LABEL + hashlib.sha256(header.encoded).digest()
    size = _KEY_BYTES + _PREFIX_BYTES + CHECK_BYTES
    made = HKDF(algorithm=SHA256(), length=size, salt=header.salt, info=info).derive(data_key)
    return _Keys(
        AESGCM(made[:_KEY_BYTES]), made[_KEY_BYTES : _KEY_BYTES + _PREFIX_BYTES], made[_KEY_BYTES + _PREFIX_BYTES :]
    )


def encrypted(header: StreamHeader, data_key: bytes, read: Read) -> Iterator[bytes]:
    """The whole file, piece by piece. A data key is for one file: never for a second one."""
    keys = _derive(header, data_key)
    yield header.encoded + keys.check
    for number, (chunk, last) in enumerate(_with_last(read, header.chunk_size)):
        yield keys.cipher.encrypt(keys.nonce(number, last=last), chunk, None)


def decrypted(header: StreamHeader, data_key: bytes, read: Read) -> Iterator[bytes]:
    """The plaintext, chunk by chunk, each verified before it is given out; `read` stands behind the header.

    Raises TruncatedError where the file ends too early, StreamError where it was changed. Only when the iterator comes
    to its end is the plaintext whole.
    """
    keys = _derive(header, data_key)
    check = exactly(read, CHECK_BYTES)
    if len(check) < CHECK_BYTES:
        raise TruncatedError("the file is truncated: it ends in its header")
    if not hmac.compare_digest(check, keys.check):
        raise StreamError("the header of the file was changed, or it belongs to another data key")
    for number, (sealed, last) in enumerate(_with_last(read, header.chunk_size + TAG_BYTES)):
        chunk = _open(keys, sealed, number, last=last)
        if not chunk and number:
            raise StreamError("the file does not end as encrypt writes it: its last chunk is empty")
        yield chunk


def _open(keys: _Keys, sealed: bytes, number: int, *, last: bool) -> bytes:
    from cryptography.exceptions import InvalidTag

    nonce = keys.nonce(number, last=last)
    if len(sealed) >= TAG_BYTES:
        try:
            return keys.cipher.decrypt(nonce, sealed, None)
        except InvalidTag:
            pass
    raise _why_not(keys, sealed, number, last=last)


def _why_not(keys: _Keys, sealed: bytes, number: int, *, last: bool) -> StreamError:
    """Tell the ends that are wrong from the chunks that are: a whole chunk at the wrong end verifies as the other."""
    from cryptography.exceptions import InvalidTag

    where = f"chunk {number + 1} of the file"
    if len(sealed) < TAG_BYTES:
        return TruncatedError(f"the file is truncated: {where} is cut off")
    try:
        keys.cipher.decrypt(keys.nonce(number, last=not last), sealed, None)
    except InvalidTag:
        cut = ", or the file is truncated there" if last else ""
        return StreamError(f"{where} was changed, or moved from elsewhere{cut}")
    if last:
        return TruncatedError(f"the file is truncated: it ends after {where}, which is not its last")
    return StreamError(f"something stands behind the end of the file: {where} is its last")


def _with_last(read: Read, size: int) -> Iterator[tuple[bytes, bool]]:
    """Pieces of `size` bytes, and whether each is the last; of nothing, one empty piece."""
    piece = exactly(read, size)
    while True:
        following = exactly(read, size) if len(piece) == size else b""
        yield piece, not following
        if not following:
            return
        piece = following


def exactly(read: Read, size: int) -> bytes:
    """`size` bytes, fewer only at the end: pipes hand out parts."""
    parts: list[bytes] = []
    missing = size
    while missing:
        part = read(missing)
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)
