"""Secrets in files: JSON and dotenv. Each is one set of names and values, without versions."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from client import exact_json
from client.errors import LocalError
from client.inputs import MAX_INPUT, Inputs, utf8
from client.kv_moves.dotenv import parse_dotenv
from client.text import printable

if TYPE_CHECKING:
    from client.api import JsonObject
    from client.inputs import Source

_PIECE = 64 * 1024
_LONGEST = 8 * 1024 * 1024  # bytes of one row; the appliance takes values of 1 MiB


class FileSecret(NamedTuple):
    """One secret of a file."""

    name: str
    data: "JsonObject"


def from_dotenv(inputs: Inputs, file: str, name: str) -> FileSecret:
    """The whole file is one secret."""
    where = "standard input" if file == "-" else printable(file)
    try:
        data = parse_dotenv(utf8(inputs.file(file), what="file"))
    except LocalError as exc:
        raise LocalError(f"{where}: {exc.sentence}") from exc
    if not data:
        raise LocalError(f"{where} holds no KEY=VALUE")
    return FileSecret(name, dict(data))


def from_json(inputs: Inputs, file: str) -> Iterator[FileSecret]:
    """Secrets of one object {"apps/web": {"user": "web"}}, or of rows {"path": "apps/web", "data": {...}}.

    The file holds rows if its first line is one. Rows are read one by one, so that the file can be of any size.
    """
    with inputs.opened(file) as source:
        lines = _lines(source)
        first = next(lines, b"")
        row = _row(first)
        if row is not None:
            yield row
            yield from _rows(lines)
        else:
            yield from _members(first, lines, name="standard input" if file == "-" else file)


def _row(line: bytes) -> FileSecret | None:
    """The row of a line; None when it is none."""
    try:
        value = exact_json.loads(line)
    except ValueError:
        return None
    if not isinstance(value, dict) or value.keys() != {"path", "data"}:
        return None
    name, data = value["path"], value["data"]
    return FileSecret(_name(name), data) if isinstance(name, str) and isinstance(data, dict) else None


def _rows(lines: Iterator[bytes]) -> Iterator[FileSecret]:
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        row = _row(line)
        if row is None:
            raise LocalError(f'line {number} is no row {{"path": "apps/web", "data": {{...}}}}')
        yield row


def _members(first: bytes, lines: Iterator[bytes], *, name: str) -> Iterator[FileSecret]:
    content = bytearray(first)
    for line in lines:
        content += line
        if len(content) > MAX_INPUT:
            raise LocalError(
                f'{name} is larger than {MAX_INPUT >> 20} MiB: write it as rows {{"path": ..., "data": ...}}'
            )
    value = _object(bytes(content), name=name)
    for path, data in value.items():
        if not isinstance(data, dict):
            raise LocalError(
                f"{name} holds under {printable(path)!r} no object of names and values: "
                'write it as {"apps/web": {"user": "web"}}, or one row {"path": "apps/web", "data": {...}} a line'
            )
    for path, data in value.items():
        yield FileSecret(_name(path), data)


def _object(content: bytes, *, name: str) -> dict[str, Any]:
    try:
        value = exact_json.loads(content)
    except json.JSONDecodeError as exc:
        raise LocalError(f"{name} is not JSON: {exc.msg} in line {exc.lineno}, column {exc.colno}") from exc
    except ValueError as exc:
        raise LocalError(f"{name} is not JSON: not UTF-8, NaN or Infinity, or nested too deeply") from exc
    if not isinstance(value, dict) or not value:
        raise LocalError(f'{name} holds no secrets: write it as {{"apps/web": {{"user": "web"}}}}')
    return value


def _name(path: str) -> str:
    """A name below the target; LocalError for one that is none."""
    name = path.strip("/")
    if not name:
        raise LocalError("a secret in the file has an empty path")
    return name


def _lines(source: "Source") -> Iterator[bytes]:
    """With their line breaks, at most 64 KiB and one line in memory. A very long line comes in parts."""
    rest = b""
    while piece := source.read(_PIECE):
        rest += piece
        *whole, rest = rest.split(b"\n")
        for line in whole:
            yield line + b"\n"
        if len(rest) > _LONGEST:
            yield rest
            rest = b""
    if rest:
        yield rest
