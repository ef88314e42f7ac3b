"""Vault's `username_template`: the part of Go's text/template that makes names.

    v-{{ .RoleName | truncate 8 | lowercase }}-{{ random 20 }}-{{ unix_time }}

Literal text and actions in {{ }}; an action is a pipeline of fields, functions, literals and parentheses. Functions and
fields are those of Vault's documentation ("Username templating"); there is no if, range, define or variable.
"""

import base64
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import NoReturn

from core.errors import InvalidRequestError
from core.ids import new_uuid, random_base62

MAX_TEXT = 1024  # characters of a template
_MAX_NUMBER = 1000
_DEPTH = 16  # parentheses in parentheses

Value = str | int
Fields = Mapping[str, str]

_TOKEN = re.compile(
    r"""(?P<blank>\s+)|(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)|(?P<number>-?\d{1,9}\b)"""
    r"""|(?P<field>\.[A-Za-z]\w*)|(?P<word>[A-Za-z_]\w*)|(?P<sign>[|()])"""
)
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
_VERB = re.compile(r"%(-?\d{0,3})(?:\.(\d{1,3}))?([sdvqx%])")
_GO_TIME = re.compile(r"2006|January|Jan|01|02|15|03|04|05|06|MST|PM|Z07:00|-0700|.", re.DOTALL)
_STRFTIME = {
    "2006": "%Y",
    "06": "%y",
    "January": "%B",
    "Jan": "%b",
    "01": "%m",
    "02": "%d",
    "15": "%H",
    "03": "%I",
    "04": "%M",
    "05": "%S",
    "PM": "%p",
    "MST": "UTC",
    "Z07:00": "Z",
    "-0700": "+0000",
    "%": "%%",
}


@dataclass(frozen=True, slots=True)
class _Call:
    """A function with what stands behind it; the value of the pipe before comes last."""

    name: str
    arguments: tuple["_Part", ...]


@dataclass(frozen=True, slots=True)
class _Field:
    """`.RoleName` and its like."""

    name: str


@dataclass(frozen=True, slots=True)
class _Pipe:
    """Commands of which each gets what the one before gave."""

    commands: tuple["_Part", ...]


_Part = Value | _Call | _Field | _Pipe


@dataclass(frozen=True, slots=True)
class UsernameTemplate:
    """A template that was parsed."""

    parts: tuple[_Part, ...]
    longest: int

    def render(self, *, role: str, display_name: str) -> str:
        """A name. Raises InvalidRequestError when it comes out empty, too long, or with characters no name has."""
        fields = {"RoleName": role, "DisplayName": display_name}
        name = "".join(str(_value(part, fields)) for part in self.parts)
        if not name or not name.isprintable():
            raise InvalidRequestError("username_template makes a name that is empty or has control characters")
        if len(name) > self.longest:
            raise InvalidRequestError(
                f"username_template makes names of {len(name)} characters, and the database takes {self.longest}: "
                f"end it with | truncate {self.longest}"
            )
        return name


@lru_cache(maxsize=256)
def parse_template(text: str, *, longest: int) -> UsernameTemplate:
    """Raises InvalidRequestError that says where it is wrong. A name is made once, so what can fail fails here."""
    if len(text) > MAX_TEXT:
        raise InvalidRequestError(f"username_template has at most {MAX_TEXT} characters")
    template = UsernameTemplate(tuple(_parts(text)), longest)
    template.render(role="role", display_name="token")
    return template


def _parts(text: str) -> Iterator[_Part]:
    at, trims = 0, False
    while (start := text.find("{{", at)) >= 0:
        end = text.find("}}", start)
        if end < 0:
            _wrong(start, "an action is not closed by }}")
        inside = text[start + 2 : end]
        literal, trims_next = text[at:start], inside.endswith(" -")
        if trims:
            literal = literal.lstrip()
        if inside.startswith("- "):
            literal, inside = literal.rstrip(), inside[2:]
        yield literal
        yield _Parser(inside.removesuffix(" -"), start + 2).action()
        at, trims = end + 2, trims_next
    rest = text[at:]
    yield rest.lstrip() if trims else rest


def _wrong(place: int, what: str) -> NoReturn:
    raise InvalidRequestError(f"username_template, character {place + 1}: {what}")


class _Parser:
    """What stands in one pair of braces."""

    def __init__(self, text: str, offset: int) -> None:
        self._tokens = list(self._cut(text, offset))
        self._at = 0
        self._end = offset + len(text)
        self._depth = 0

    @staticmethod
    def _cut(text: str, offset: int) -> Iterator[tuple[str, str, int]]:
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                _wrong(offset + at, f"{text[at : at + 8]!r} is not understood")
            if match.lastgroup != "blank":
                yield str(match.lastgroup), match.group(), offset + at
            at = match.end()

    def action(self) -> _Part:
        """The whole of it."""
        found = self._pipe()
        if self._at < len(self._tokens):
            _wrong(self._tokens[self._at][2], "a parenthesis is closed that was not opened")
        return found

    def _pipe(self) -> _Part:
        commands = [self._command(is_first=True)]
        while self._takes("|"):
            commands.append(self._command(is_first=False))
        return commands[0] if len(commands) == 1 else _Pipe(tuple(commands))

    def _command(self, *, is_first: bool) -> _Part:
        kind, text, place = self._next("an action is empty")
        if kind != "word":
            if not is_first:
                _wrong(place, "a pipe leads into a function")
            return self._operand(kind, text, place)
        _check_function(text, place)
        arguments: list[_Part] = []
        while self._at < len(self._tokens) and self._tokens[self._at][1] not in {"|", ")"}:
            kind, argument, place = self._next("")
            if kind == "word":
                _check_function(argument, place)
                arguments.append(_Call(argument, ()))
            else:
                arguments.append(self._operand(kind, argument, place))
        return _Call(text, tuple(arguments))

    def _operand(self, kind: str, text: str, place: int) -> _Part:
        if kind == "string":
            return text[1:-1] if text[0] == "`" else _unescaped(text[1:-1], place)
        if kind == "number":
            return int(text)
        if kind == "field":
            if text not in {".RoleName", ".DisplayName"}:
                _wrong(place, f"there is no field {text}; there are .DisplayName and .RoleName")
            return _Field(text[1:])
        if text != "(":
            _wrong(place, f"{text!r} stands where a value must")
        self._depth += 1
        if self._depth > _DEPTH:
            _wrong(place, "too many parentheses in each other")
        found = self._pipe()
        if not self._takes(")"):
            _wrong(place, "a parenthesis is not closed")
        self._depth -= 1
        return found

    def _next(self, what: str) -> tuple[str, str, int]:
        if self._at >= len(self._tokens):
            _wrong(self._end, what)
        self._at += 1
        return self._tokens[self._at - 1]

    def _takes(self, sign: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at][1] == sign and self._tokens[self._at][0] == "sign":
            self._at += 1
            return True
        return False


def _unescaped(text: str, place: int) -> str:
    def one(match: re.Match[str]) -> str:
        return _ESCAPES.get(match.group(1)) or _wrong(place, f"{match.group()} is no escape that is known here")

    return re.sub(r"\\(.)", one, text)


def _check_function(name: str, place: int) -> None:
    if name not in _FUNCTIONS:
        _wrong(place, f"there is no function {name[:32]}; there are {', '.join(sorted(_FUNCTIONS))}")


def _value(part: _Part, fields: Fields) -> Value:
    if isinstance(part, _Field):
        return fields[part.name]
    if isinstance(part, _Call):
        return _called(part, fields)
    if not isinstance(part, _Pipe):
        return part
    found = _value(part.commands[0], fields)
    for command in part.commands[1:]:
        if isinstance(command, _Call):
            found = _called(command, fields, found)
    return found


def _called(call: _Call, fields: Fields, *piped: Value) -> Value:
    values = [*(_value(argument, fields) for argument in call.arguments), *piped]
    try:
        return _FUNCTIONS[call.name](*values)
    except (TypeError, ValueError, IndexError):
        raise InvalidRequestError(f"username_template: {call.name} does not take {len(values)} such values") from None


# --- the functions ------------------------------------------------------------------------------------------------


def _count(value: Value) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MAX_NUMBER:
        raise InvalidRequestError(f"username_template: a number must be between 1 and {_MAX_NUMBER}")
    return value


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _truncate_sha256(length: Value, value: Value) -> str:
    """Cut off, with eight characters of the digest of what was cut off at the end."""
    longest, text = _count(length), _text(value)
    if longest <= 8:
        raise InvalidRequestError("username_template: truncate_sha256 takes more than 8 characters")
    if len(text) <= longest:
        return text
    return text[: longest - 8] + hashlib.sha256(text[longest - 8 :].encode()).hexdigest()[:8]


def _timestamp(layout: Value) -> str:
    form = "".join(_STRFTIME.get(part, part) for part in _GO_TIME.findall(_text(layout)))
    return datetime.now(UTC).strftime(form)


def _printf(form: Value, *values: Value) -> str:
    rest = list(values)

    def one(match: re.Match[str]) -> str:
        if match.group(3) == "%":
            return "%"
        value = rest.pop(0)
        if match.group(3) == "d" and not isinstance(value, int):
            raise TypeError
        text = f'"{value}"' if match.group(3) == "q" else str(value)
        if match.group(3) == "x":
            text = f"{value:x}" if isinstance(value, int) else value.encode().hex()
        text = text[: int(match.group(2))] if match.group(2) else text
        width = int(match.group(1) or 0)
        return text.ljust(-width) if width < 0 else text.rjust(width)

    found = _VERB.sub(one, _text(form))
    if rest or "%!" in found:
        raise TypeError
    return found


_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "printf": _printf,
    "random": lambda length: random_base62(_count(length)),
    "truncate": lambda length, value: _text(value)[: _count(length)],
    "truncate_sha256": _truncate_sha256,
    "uppercase": lambda value: _text(value).upper(),
    "lowercase": lambda value: _text(value).lower(),
    "replace": lambda old, new, value: _text(value).replace(_text(old), _text(new)),
    "sha256": lambda value: hashlib.sha256(_text(value).encode()).hexdigest(),
    "base64": lambda value: base64.b64encode(_text(value).encode()).decode(),
    "unix_time": lambda: str(int(time.time())),
    "unix_time_millis": lambda: str(time.time_ns() // 1_000_000),
    "timestamp": _timestamp,
    "uuid": new_uuid,
}
