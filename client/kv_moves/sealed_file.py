"""Exports: rows of JSON in a stream that is sealed under a data key of transit.

    {"format": "mimir kv export", "version": 1, "mount": "secret/", "prefix": "", "max_versions": 10}
    {"path": "apps/web", "metadata": {...}, "versions": {"3": {...}}, "stages": {"current": 3}}
    …
    {"secrets": 1}

The plaintext is made while it is encrypted and is nowhere on disk. The stream tells if it was cut or changed.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from client import exact_json
from client.commands.transit_data import decoded, engine_path, text_member
from client.errors import LocalError, RefusedError
from client.kv_moves.moved import MovedSecret
from client.stream_format import (
    DATA_KEY_BYTES,
    DEFAULT_CHUNK,
    SALT_BYTES,
    StreamHeader,
    decrypted,
    encrypted,
    read_header,
)

if TYPE_CHECKING:
    from client.api import Client, JsonObject

_FORMAT = {"format": "mimir kv export", "version": 1}
_NOT_OURS = "the file is sealed, but it is no export of `mimir kv export`"


class ExportedSecret(NamedTuple):
    """A row."""

    name: str
    secret: MovedSecret


def sealed(
    client: "Client", transit_mount: str, key: str, head: "JsonObject", rows: Iterable[ExportedSecret]
) -> Iterator[bytes]:
    """The bytes of the file, piece by piece, under a data key that is asked for here."""
    path = engine_path(transit_mount, "datakey/plaintext", key)
    answer = client.request("POST", path, body={"bits": DATA_KEY_BYTES * 8})
    salt = secrets.token_bytes(SALT_BYTES)
    header = StreamHeader(transit_mount.strip("/"), key, text_member(answer, "ciphertext"), DEFAULT_CHUNK, salt)
    return encrypted(header, decoded(text_member(answer, "plaintext")), _Pulled(_lines(head, rows)).read)


def _lines(head: "JsonObject", rows: Iterable[ExportedSecret]) -> Iterator[bytes]:
    yield exact_json.compact({**_FORMAT, **head}) + b"\n"
    count = 0
    for name, secret in rows:
        versions = {str(number): row for number, row in secret.versions.items()}
        row = {"path": name, "metadata": secret.metadata, "versions": versions, "stages": secret.stages}
        yield exact_json.compact(row) + b"\n"
        count += 1
    yield exact_json.compact({"secrets": count}) + b"\n"


class _Pulled:
    """Pieces, read as a file is."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, size: int) -> bytes:
        """At most so many bytes; b"" at the end."""
        if not self._rest:
            self._rest = next(self._pieces, b"")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


class SealedFile:
    """An export, opened with the key that seals it. It is read twice: first only to see that all of it is genuine."""

    def __init__(self, path: Path, client: "Client", transit_mount: str, key: str) -> None:
        self._path = path
        with _opened(path) as file:
            header = read_header(file.read)
        try:
            answer = client.request(
                "POST", engine_path(transit_mount, "decrypt", key), body={"ciphertext": header.wrapped_key}
            )
        except RefusedError as exc:
            raise RefusedError(f"{exc.sentence}. The file names the key {header.key!r} of {header.mount!r}") from exc
        self._header = header
        self._data_key = decoded(text_member(answer, "plaintext"))
        self.head: JsonObject = {}
        self.count = 0

    def verify(self, advance: Callable[[int], None]) -> None:
        """Read to the end; StreamError if it was changed or cut. Then `head` and `count` are known."""
        lines = self._lines()
        self.head = _parsed(next(lines, b""))
        if {name: self.head.get(name) for name in _FORMAT} != _FORMAT:
            raise LocalError(_NOT_OURS)
        last = b""
        for line in lines:
            self.count += 1
            advance(1)
            last = line
        self.count -= 1
        if _parsed(last) != {"secrets": self.count}:
            raise LocalError(_NOT_OURS)

    def rows(self) -> Iterator[ExportedSecret]:
        """The secrets, each part verified again as it is read."""
        lines = self._lines()
        next(lines)
        for line in lines:
            row = _parsed(line)
            if "path" not in row:
                return
            versions = {int(number): version for number, version in row["versions"].items()}
            yield ExportedSecret(row["path"], MovedSecret(row["metadata"], versions, row["stages"]))

    def _lines(self) -> Iterator[bytes]:
        with _opened(self._path) as file:
            if read_header(file.read) != self._header:
                raise LocalError("the file was changed while it was read")
            rest: list[bytes] = []
            for chunk in decrypted(self._header, self._data_key, file.read):
                first, *others = chunk.split(b"\n")
                rest.append(first)
                for other in others:
                    yield b"".join(rest)
                    rest = [other]


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "its name holds a NUL"
        raise LocalError(f"the file {str(path)!r} cannot be read: {why}") from exc


def _parsed(line: bytes) -> "JsonObject":
    try:
        value = exact_json.loads(line)
    except ValueError as exc:
        raise LocalError(_NOT_OURS) from exc
    if not isinstance(value, dict):
        raise LocalError(_NOT_OURS)
    return value
