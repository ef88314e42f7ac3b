"""JSON whose numbers stay as they are written: 1.10, -0 and 12345678901234567890123 come out as they went in.

What Python's own numbers would write back differently is kept as a `Number`; all else are Python's own values.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

_SAFE_DIGITS = 15  # whole numbers up to here are the same for everybody (RFC 8259, 6)


@dataclass(frozen=True, slots=True)
class Number:
    """A number by its text."""

    text: str

    def __str__(self) -> str:
        return self.text


class NestingError(ValueError):
    """The value is nested more deeply than this machine can follow."""


def loads(content: bytes | str) -> Any:
    """Any JSON value; ValueError for what is none, NaN and Infinity included, and for endless nesting."""
    try:
        return json.loads(content, parse_int=_whole, parse_float=_float, parse_constant=_refuse)
    except RecursionError as exc:
        raise NestingError("nested too deeply") from exc


def _whole(text: str) -> "int | Number":
    return int(text) if len(text) <= _SAFE_DIGITS and text != "-0" else Number(text)


def _float(text: str) -> "float | Number":
    value = float(text)
    return value if repr(value) == text else Number(text)


def _refuse(_name: str) -> NoReturn:
    raise ValueError("not a number of JSON")


def compact(value: Any) -> bytes:
    """For the wire: without blanks, in ASCII."""
    return _written(value, indent=None, separators=(",", ":"), ensure_ascii=True).encode()


def dumps(value: Any, *, indent: int | None = 2) -> str:
    """For people; without `indent` on one line. NestingError for what is nested too deeply."""
    return _written(value, indent=indent, separators=("," if indent else ", ", ": "), ensure_ascii=False)


def _written(value: Any, *, indent: int | None, separators: tuple[str, str], ensure_ascii: bool) -> str:
    try:
        return json.dumps(value, indent=indent, separators=separators, ensure_ascii=ensure_ascii)
    except TypeError:  # a Number: Python's encoder has no place for it
        pass
    except RecursionError as exc:
        raise NestingError("nested too deeply") from exc
    try:
        return "".join(_Writer(indent, separators, ensure_ascii=ensure_ascii).pieces(value, ""))
    except RecursionError as exc:
        raise NestingError("nested too deeply") from exc


class _Writer:
    """Writes as `json.dumps` does."""

    def __init__(self, indent: int | None, separators: tuple[str, str], *, ensure_ascii: bool) -> None:
        self._step = None if indent is None else " " * indent
        self._comma, self._colon = separators
        self._ensure_ascii = ensure_ascii

    def pieces(self, value: Any, margin: str) -> Iterator[str]:
        if isinstance(value, Number):
            yield value.text
        elif isinstance(value, Mapping) and value:
            members = ((self._name(name), one) for name, one in value.items())
            yield from self._nested("{", members, "}", margin)
        elif isinstance(value, list | tuple) and value:
            yield from self._nested("[", (("", one) for one in value), "]", margin)
        else:
            yield json.dumps(value, ensure_ascii=self._ensure_ascii)

    def _name(self, name: object) -> str:
        return json.dumps(str(name), ensure_ascii=self._ensure_ascii) + self._colon

    def _nested(self, opening: str, members: Iterator[tuple[str, Any]], closing: str, margin: str) -> Iterator[str]:
        inner = margin + (self._step or "")
        separator = opening
        for name, one in members:
            yield separator if self._step is None else f"{separator}\n{inner}"
            yield name
            yield from self.pieces(one, inner)
            separator = self._comma
        yield closing if self._step is None else f"\n{margin}{closing}"
