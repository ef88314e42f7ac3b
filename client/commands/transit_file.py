"""`mimir transit encrypt|decrypt --file`: files under a data key of their own, which the appliance wraps and opens."""

import re
import secrets
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from client.commands.transit_data import client_without_wrapping, decoded, engine_path, text_member
from client.errors import LocalError, RefusedError
from client.inputs import Source
from client.output import show_value, write_exact
from client.output_file import check_free, whole_file
from client.progress import progress_in_bytes
from client.session import Session
from client.stream_format import (
    DATA_KEY_BYTES,
    DEFAULT_CHUNK,
    MAX_CHUNK,
    SALT_BYTES,
    StreamHeader,
    TruncatedError,
    decrypted,
    encrypted,
    read_header,
)
from client.text import printable

if TYPE_CHECKING:
    from client.api import JsonObject

_SMALLEST_CHUNK = 1024  # below it, tags and calls would cost more than the data
_UNITS = {"": 1, "k": 1024, "m": 1024 * 1024}


def encrypt_file(
    session: Session,
    key: str,
    file: str,
    out: str,
    *,
    force: bool,
    chunk_size: str | None,
    mount: str,
    members: "JsonObject",
) -> None:
    """Everything on this side is checked before a data key is asked for."""
    size = parse_chunk_size(chunk_size)
    _check_out(session, out, force=force, binary=True)
    client = client_without_wrapping(session, "--file")
    with session.inputs.opened(file) as source:
        answer = client.request(
            "POST", engine_path(mount, "datakey/plaintext", key), body={"bits": DATA_KEY_BYTES * 8} | members
        )
        header = StreamHeader(
            mount.strip("/"), key, text_member(answer, "ciphertext"), size, secrets.token_bytes(SALT_BYTES)
        )
        data_key = decoded(text_member(answer, "plaintext"))
        with progress_in_bytes("Encrypting", total=source.size, wanted=session.format == "table") as advance:
            count = _Counted(source, advance)
            written = _write(encrypted(header, data_key, count.read), out, force=force)
    _report(session, header, out, words="encrypted", read=count.count, written=written)


def decrypt_file(
    session: Session, key: str, file: str, out: str, *, force: bool, mount: str, members: "JsonObject"
) -> None:
    """The header says which data key to have opened, and nothing that it says is trusted before that."""
    _check_out(session, out, force=force, binary=False)
    client = client_without_wrapping(session, "--file")
    with session.inputs.opened(file) as source:
        header = read_header(source.read)
        body = members | {"ciphertext": header.wrapped_key}
        try:
            answer = client.request("POST", engine_path(mount, "decrypt", key), body=body)
        except RefusedError as exc:
            raise RefusedError(exc.sentence + _other_key(header, key, mount.strip("/"))) from exc
        data_key = decoded(text_member(answer, "plaintext"))
        with progress_in_bytes("Decrypting", total=source.size, wanted=session.format == "table") as advance:
            count = _Counted(source, advance)
            written = _decrypt(header, data_key, count, out, force=force)
    _report(session, header, out, words="decrypted", read=count.count, written=written)


def _decrypt(header: StreamHeader, data_key: bytes, source: "_Counted", out: str, *, force: bool) -> int:
    try:
        return _write(decrypted(header, data_key, source.read), out, force=force)
    except TruncatedError as exc:
        if out == "-":
            raise LocalError(f"{exc.sentence}. What was written is genuine, but it is not all: discard it") from exc
        raise LocalError(f"{exc.sentence}. Nothing was written") from exc


def parse_chunk_size(text: str | None) -> int:
    """Bytes, as 65536, 64K or 1M."""
    if text is None:
        return DEFAULT_CHUNK
    found = re.fullmatch(r"(\d{1,9})([kKmM]?)(?:i?[bB])?", text.strip(), re.ASCII)
    size = int(found[1]) * _UNITS[found[2].lower()] if found else 0
    if not _SMALLEST_CHUNK <= size <= MAX_CHUNK:
        raise click.UsageError(f"the chunk size {text!r} is not between 1K and 16M: write it as 64K or 1M")
    return size


def _check_out(session: Session, out: str, *, force: bool, binary: bool) -> None:
    if out != "-":
        check_free(out, force=force)
        return
    if session.format != "table" or session.field:
        raise click.UsageError("with --out - the output is the file itself: leave -o and --field out")
    if binary and sys.stdout is not None and sys.stdout.isatty():
        raise click.UsageError("an encrypted file is nothing for a terminal: name a file with --out, or use a pipe")


def _other_key(header: StreamHeader, key: str, mount: str) -> str:
    """What the header knows when the appliance does not open the data key."""
    if (header.key, header.mount) == (key, mount):
        return ""
    return f". The file says that it was encrypted under the key {header.key!r} of the mount {header.mount!r}"


class _Counted:
    """A source that tells how far it is."""

    def __init__(self, source: Source, advance: Callable[[int], None]) -> None:
        self._source = source
        self._advance = advance
        self.count = 0

    def read(self, size: int) -> bytes:
        """As the source."""
        content = self._source.read(size)
        self.count += len(content)
        self._advance(len(content))
        return content


def _write(pieces: Iterator[bytes], out: str, *, force: bool) -> int:
    """Bytes written: to standard output piece by piece, to a file that appears when the last piece is there."""
    written = 0
    if out == "-":
        for piece in pieces:
            write_exact(piece, newline=False)
            written += len(piece)
        return written
    with whole_file(check_free(out, force=force), force=force) as file:
        for piece in pieces:
            file.write(piece)
            written += len(piece)
    return written


def _report(session: Session, header: StreamHeader, out: str, *, words: str, read: int, written: int) -> None:
    if out == "-":
        return
    value = {"file": out, "bytes_read": read, "bytes_written": written, "key": header.key, "mount": header.mount}
    value |= {"key_version": _key_version(header.wrapped_key), "chunk_size": header.chunk_size}
    text = f"Success! {written} bytes are {words} to {printable(out)}."
    show_value(session, value, text)


def _key_version(ciphertext: str) -> int | None:
    found = re.match(r"[a-z]+:v([0-9]{1,18}):", ciphertext)
    return int(found[1]) if found else None
