"""The format of encrypted files: what is written comes back, and nothing else does."""

import io
import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from client.stream_format import (
    CHECK_BYTES,
    MAGIC,
    MAX_CHUNK,
    MAX_HEADER,
    NotAStreamError,
    StreamError,
    StreamHeader,
    TruncatedError,
    decrypted,
    encrypted,
    read_header,
)

KEY = bytes(range(32))
CHUNK = 16


def header(salt: int = 7, chunk: int = CHUNK) -> StreamHeader:
    return StreamHeader("transit", "orders", "mimir:v3:AAAA", chunk, bytes([salt]) * 16)


def seal(plaintext: bytes, *, salt: int = 7, chunk: int = CHUNK, key: bytes = KEY) -> bytes:
    return b"".join(encrypted(header(salt, chunk), key, io.BytesIO(plaintext).read))


def opened(content: bytes, key: bytes = KEY, released: list[bytes] | None = None) -> bytes:
    file = io.BytesIO(content)
    pieces = [] if released is None else released
    for piece in decrypted(read_header(file.read), key, file.read):
        pieces.append(piece)
    return b"".join(pieces)


BODY = len(header().encoded) + CHECK_BYTES  # where the chunks begin
SEALED = CHUNK + 16


def chunks(content: bytes) -> list[bytes]:
    return [content[place : place + SEALED] for place in range(BODY, len(content), SEALED)]


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 5 * CHUNK + 3])
def test_what_is_sealed_opens(size):
    plaintext = random.Random(size).randbytes(size)  # noqa: S311 - test data
    content = seal(plaintext)
    assert opened(content) == plaintext
    assert len(content) == BODY + size + 16 * max(1, -(-size // CHUNK))


def test_random_sizes_chunks_and_short_reads_open():
    source = random.Random(4)  # noqa: S311 - test data
    for _ in range(200):
        chunk, plaintext = source.randint(1, 70), source.randbytes(source.randint(0, 300))
        content = seal(plaintext, chunk=chunk)
        file = io.BytesIO(content)

        def trickle(size: int, file: io.BytesIO = file) -> bytes:
            return file.read(source.randint(1, size))

        assert b"".join(decrypted(read_header(trickle), KEY, trickle)) == plaintext


def test_the_layout_is_the_documented_one():
    """Made again from docs/streams.md with other code."""
    plaintext = b"0123456789abcdefXYZ"
    fields = b"\0\7transit" + b"\0\6orders" + b"\0\x0dmimir:v3:AAAA" + b"\0\0\0\x10" + bytes([7]) * 16
    head = b"MIMIRENC\1" + len(fields).to_bytes(4, "big") + fields
    digest = Hash(SHA256())
    digest.update(head)
    info = b"mimir stream v1" + digest.finalize()
    made = HKDF(SHA256(), 71, bytes([7]) * 16, info).derive(KEY)
    cipher, prefix = AESGCM(made[:32]), made[32:39]
    expected = head + made[39:] + cipher.encrypt(prefix + b"\0\0\0\0\0", plaintext[:16], None)
    expected += cipher.encrypt(prefix + b"\0\0\0\1\1", plaintext[16:], None)
    assert seal(plaintext) == expected


def test_a_header_that_parses_encodes_to_the_same_bytes():
    content = seal(b"x")
    assert content.startswith(read_header(io.BytesIO(content).read).encoded)


LONG = bytes(range(3 * CHUNK + 5))
STREAM = seal(LONG)


def test_truncation_at_every_byte_is_found_and_releases_only_what_is_genuine():
    for end in range(len(STREAM)):
        released: list[bytes] = []
        with pytest.raises(StreamError):
            opened(STREAM[:end], released=released)
        assert LONG.startswith(b"".join(released))
        assert len(b"".join(released)) < len(LONG)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_truncation_between_chunks_is_called_so(count):
    with pytest.raises(TruncatedError, match="truncated"):
        opened(STREAM[: BODY + count * SEALED])


def test_a_change_of_every_bit_is_found():
    for place in range(len(STREAM)):
        changed = bytearray(STREAM)
        changed[place] ^= 1 << (place % 8)
        released: list[bytes] = []
        with pytest.raises(StreamError):
            opened(bytes(changed), released=released)
        assert LONG.startswith(b"".join(released))


def _reordered(parts: list[bytes]) -> list[bytes]:
    return [parts[1], parts[0], *parts[2:]]


ATTACKS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "first two exchanged": _reordered,
    "first dropped": lambda parts: parts[1:],
    "middle dropped": lambda parts: [parts[0], *parts[2:]],
    "last dropped": lambda parts: parts[:-1],
    "first doubled": lambda parts: [parts[0], *parts],
    "last doubled": lambda parts: [*parts, parts[-1]],
    "last moved to the front": lambda parts: [parts[-1], *parts[:-1]],
    "last alone": lambda parts: parts[-1:],
    "all dropped": lambda _: [],
    "a byte appended": lambda parts: [*parts, b"\0"],
    "a tag appended": lambda parts: [*parts, bytes(16)],
    "a chunk of zeros appended": lambda parts: [*parts, bytes(SEALED)],
    "a chunk of another file under the same data key": lambda parts: [
        parts[0],
        chunks(seal(LONG, salt=8))[1],
        *parts[2:],
    ],
    "the end of another file": lambda parts: [*parts[:-1], chunks(seal(LONG, salt=8))[-1]],
    "a chunk of another data key": lambda parts: [chunks(seal(LONG, key=bytes(32)))[0], *parts[1:]],
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_on_the_chunks_is_found(attack):
    released: list[bytes] = []
    with pytest.raises(StreamError):
        opened(STREAM[:BODY] + b"".join(ATTACKS[attack](chunks(STREAM))), released=released)
    assert LONG.startswith(b"".join(released))


def test_an_attack_on_whole_chunks_is_found_too():
    """Where the last chunk is as long as the others, nothing but its mark tells it."""
    whole = bytes(3 * CHUNK)
    content = seal(whole)
    with pytest.raises(StreamError, match="behind the end"):
        opened(content + bytes(SEALED))
    with pytest.raises(TruncatedError, match="not its last"):
        opened(content[:-SEALED])


def test_another_header_before_the_chunks_is_found():
    with pytest.raises(StreamError, match="header of the file was changed"):
        opened(seal(LONG, salt=8)[: BODY - CHECK_BYTES] + STREAM[BODY - CHECK_BYTES :])
    with pytest.raises(StreamError, match="chunk 1"):
        opened(seal(LONG, salt=8)[:BODY] + STREAM[BODY:])


def test_another_data_key_is_found_at_the_header():
    with pytest.raises(StreamError, match="another data key"):
        opened(STREAM, key=bytes(32))


@pytest.mark.parametrize("key", [b"", bytes(16), bytes(31), bytes(33)])
def test_a_data_key_of_another_size_is_refused(key):
    with pytest.raises(StreamError, match="data key has"):
        seal(b"", key=key)


def test_an_empty_last_chunk_behind_others_is_refused():
    """The writer never makes one, so that a plaintext has one encoding."""
    info = b"mimir stream v1"
    digest = Hash(SHA256())
    digest.update(header().encoded)
    made = HKDF(SHA256(), 71, header().salt, info + digest.finalize()).derive(KEY)
    cipher, prefix = AESGCM(made[:32]), made[32:39]
    content = header().encoded + made[39:] + cipher.encrypt(prefix + bytes(5), bytes(CHUNK), None)
    content += cipher.encrypt(prefix + b"\0\0\0\1\1", b"", None)
    with pytest.raises(StreamError, match="last chunk is empty"):
        opened(content)


FOREIGN = [b"", b"M", b"MIMIRENX\1", b"PK\3\4 some other file", b"mimir:v1:AAAA", b"age-encryption.org/v1\n"]


@pytest.mark.parametrize("content", FOREIGN)
def test_a_file_of_another_kind_is_called_so(content):
    with pytest.raises(NotAStreamError, match="no file that"):
        read_header(io.BytesIO(content).read)


def test_a_later_version_is_refused_by_its_number():
    with pytest.raises(NotAStreamError, match="format version 2"):
        read_header(io.BytesIO(MAGIC + b"\2" + bytes(40)).read)


def _framed(fields: bytes) -> bytes:
    return MAGIC + b"\1" + len(fields).to_bytes(4, "big") + fields


REST = (16).to_bytes(4, "big") + bytes(16)
BAD_FIELDS = {
    "empty": b"",
    "a byte too many": b"\0\1t\0\1k\0\1w" + REST + b"\0",
    "a byte too few": b"\0\1t\0\1k\0\1w" + REST[:-1],
    "a length beyond the end": b"\0\1t\0\1k\xff\xffw" + REST,
    "no UTF-8": b"\0\1\xff\0\1k\0\1w" + REST,
    "no data key": b"\0\1t\0\1k\0\0" + REST,
    "chunks of nothing": b"\0\1t\0\1k\0\1w" + bytes(4) + bytes(16),
    "chunks too large": b"\0\1t\0\1k\0\1w" + (MAX_CHUNK + 1).to_bytes(4, "big") + bytes(16),
    "too long": bytes(MAX_HEADER + 1),
}


@pytest.mark.parametrize("case", BAD_FIELDS)
def test_a_malformed_header_is_refused(case):
    with pytest.raises(StreamError):
        read_header(io.BytesIO(_framed(BAD_FIELDS[case])).read)


@pytest.mark.parametrize(
    "fields", [("m" * 70000, "k", "w"), ("m" * 9000, "k" * 9000, "w"), ("m", "k", "")], ids=["field", "all", "no key"]
)
def test_a_header_that_cannot_be_written_is_refused(fields):
    with pytest.raises(StreamError):
        _ = StreamHeader(*fields, 16, bytes(16)).encoded


def test_the_same_plaintext_is_never_the_same_file():
    assert seal(LONG, salt=1)[BODY:] != seal(LONG, salt=2)[BODY:]
