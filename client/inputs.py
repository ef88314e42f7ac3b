"""What a user hands to a command: `-` for standard input, `@file`, base64, `key=value`."""

import base64
import binascii
import contextlib
import json
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from client import exact_json
from client.errors import LocalError

MAX_INPUT = 64 * 1024 * 1024  # twice what the appliance takes, so that it is the one to refuse


class Inputs:
    """The files and the one standard input of a command."""

    def __init__(self, stdin: BinaryIO | None = None) -> None:
        self._stdin = stdin
        self._stdin_used = False

    def source(self, text: str) -> bytes:
        """The bytes meant by an argument: standard input for `-`, a file for `@file`, else the text itself."""
        if text == "-":
            return self.standard_input()
        return read_file(text[1:]) if text.startswith("@") else text.encode("utf-8", "surrogateescape")

    def standard_input(self) -> bytes:
        """All of standard input. It can be read once: two arguments that both are `-` contradict each other."""
        stream = self._take_stdin()
        try:
            return _limited(stream.read(MAX_INPUT + 1), name="standard input")
        except OSError as exc:
            raise LocalError(f"standard input cannot be read: {exc.strerror}") from exc

    def _take_stdin(self) -> BinaryIO:
        if self._stdin_used:
            raise LocalError("standard input (-) can be named once on a command line")
        self._stdin_used = True
        stream: BinaryIO | None = self._stdin or getattr(sys.stdin, "buffer", None)
        if stream is None:
            raise LocalError("there is no standard input to read from")
        return stream

    def file(self, name: str) -> bytes:
        """A whole file, or standard input for `-`."""
        return self.source("-" if name == "-" else f"@{name}")

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator["Source"]:
        """A file of any size, or standard input for `-`, to be read piece by piece."""
        if name == "-":
            yield Source(self._take_stdin(), name="standard input")
            return
        try:
            file = Path(name).open("rb")  # noqa: SIM115 - closed below; only its opening is to be told so
        except (OSError, ValueError) as exc:
            raise _unreadable(name, exc) from exc
        with file:
            yield Source(file, name=name)

    def base64(self, text: str, *, what: str) -> str:
        """Base64 from an argument, without the line breaks that `base64` puts in."""
        return clean_base64(self.source(text), what=what)

    def text(self, text: str, *, what: str) -> str:
        """One word from an argument, such as a token or a ciphertext, without blanks around it."""
        word = utf8(self.source(text), what=what).strip()
        if not word:
            raise LocalError(f"the {what} is empty")
        return word

    def hidden(self, prompt: str, *, what: str) -> str:
        """One word, asked for at the terminal without an echo; where none is, standard input holds it."""
        if sys.stdin is None or not sys.stdin.isatty():
            return self.text("-", what=what)
        import click

        word = str(click.prompt(prompt, hide_input=True, err=True)).strip()
        if not word:
            raise LocalError(f"no {what} was given")
        return word

    def pairs(self, arguments: Sequence[str]) -> dict[str, Any]:
        r"""A body from `key=value`, `key=@file`, `key=-`, `@file.json` and `-` (a JSON object).

        A key given twice becomes a list. `key=\@text` is a value that begins with `@`.
        """
        body: dict[str, Any] = {}
        for position, argument in enumerate(arguments, start=1):
            if argument == "-" or argument.startswith("@"):
                body |= json_object(self.source(argument), name="standard input" if argument == "-" else argument[1:])
                continue
            key, equals, value = argument.partition("=")
            if not equals or not key:
                raise LocalError(
                    f"argument {position} of the values is not key=value: write key=value, key=@file, key=-, "
                    "or - for a JSON object on standard input"
                )
            _add(body, key, self._value(value, key=key))
        return body

    def _value(self, value: str, *, key: str) -> str:
        if value.startswith("\\@"):
            return value[1:]
        return utf8(self.source(value), what=f"value of {key}")


class Source:
    """Something large that is read piece by piece; failures name it."""

    def __init__(self, file: BinaryIO, *, name: str) -> None:
        self._file = file
        self._name = name

    @property
    def size(self) -> int | None:
        """Bytes in all, of a regular file."""
        try:
            info = os.fstat(self._file.fileno())
        except OSError:
            return None
        return info.st_size if stat.S_ISREG(info.st_mode) else None

    def read(self, size: int) -> bytes:
        """At most so many bytes; b"" at the end."""
        try:
            return self._file.read(size)
        except OSError as exc:
            raise LocalError(f"{self._name} cannot be read: {exc.strerror}") from exc


def _add(body: dict[str, Any], key: str, value: str) -> None:
    known = body.get(key)
    if known is None:
        body[key] = value
    elif isinstance(known, list):
        known.append(value)
    else:
        body[key] = [known, value]


def read_file(name: str) -> bytes:
    """A whole file, or LocalError that names it."""
    try:
        with Path(name).open("rb") as file:
            return _limited(file.read(MAX_INPUT + 1), name=name)
    except (OSError, ValueError) as exc:
        raise _unreadable(name, exc) from exc


def _unreadable(name: str, exc: Exception) -> LocalError:
    why = exc.strerror if isinstance(exc, OSError) else "its name holds a NUL"
    return LocalError(f"the file {name!r} cannot be read: {why}")


def _limited(content: bytes, *, name: str) -> bytes:
    if len(content) > MAX_INPUT:
        raise LocalError(
            f"{name} is larger than {MAX_INPUT >> 20} MiB: send it in parts, or use --file where the command has it"
        )
    return content


def utf8(content: bytes, *, what: str) -> str:
    """Bytes as text, or LocalError that says how to send bytes."""
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        raise LocalError(f"the {what} is not UTF-8 text: encode it first, with `base64`") from exc


def clean_base64(content: bytes, *, what: str) -> str:
    """The base64 text without white space, checked (RFC 4648, 4)."""
    compact = b"".join(content.split())
    try:
        base64.b64decode(compact, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise LocalError(
            f"the {what} is not base64: pipe it through `base64` first, as in "
            "`printf %s TEXT | base64 | mimir … -`, or let --raw do it where the command has it"
        ) from exc
    return compact.decode("ascii")


def json_object(content: bytes, *, name: str) -> dict[str, Any]:
    """A JSON object, or LocalError that names where it was to come from."""
    value = parse_json(content, name=name)
    if not isinstance(value, dict):
        raise LocalError(f'{name} holds JSON, but no object: write it as {{"key": "value"}}')
    return value


def parse_json(content: bytes, *, name: str) -> Any:
    """Any JSON value, its numbers as they are written. The sentence tells where it is wrong, not what stands there."""
    try:
        return exact_json.loads(content)
    except json.JSONDecodeError as exc:
        raise LocalError(f"{name} is not JSON: {exc.msg} in line {exc.lineno}, column {exc.colno}") from exc
    except ValueError as exc:
        raise LocalError(f"{name} is not JSON: not UTF-8, NaN or Infinity, or nested too deeply") from exc
