"""Request bodies as Vault's clients send them: strings for everything, lists as comma strings, explicit nulls.

A route declares its body as a `msgspec.Struct`. `bool`, `int` and `float` members also take their usual strings
("true", "1", "10"); a bool is never taken for a number. Members that come in other loose forms are declared with the
types of this module.
"""

import re
from typing import Any, TypeVar

import msgspec

from core.durations import MAX_SECONDS, parse_duration
from core.encoding import strict_base64
from core.errors import InvalidRequestError

BodyT = TypeVar("BodyT")

_EXPECTED = re.compile(r"Expected `([^`]+)`(.*)", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `([^`]+)`")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


class _Plain(type):
    """Of types that only tell how a member is read: their values are plain ints, lists, dicts and bytes.

    So whatever comes out of a body can be encoded, compared and stored like any other value.
    """

    def __call__(cls, *args: Any) -> Any:
        return cls.__mro__[1](*args)

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, cls.__mro__[1])


class Duration(int, metaclass=_Plain):
    """Seconds, not negative, from 3600, "3600" or "1h30m"."""


class StringList(list[str], metaclass=_Plain):
    """Strings from a JSON list or a comma-separated string; blanks around them and empty ones are dropped."""


class StringMap(dict[str, str], metaclass=_Plain):
    """String to string; numbers, booleans and nulls among the values are written as strings."""


class Base64Bytes(bytes, metaclass=_Plain):
    """Bytes from standard base64 with its padding (RFC 4648, 4); line breaks are skipped, as Go's decoder does."""


def parse_body(data: object, body: type[BodyT]) -> BodyT:
    """`data` as `body`: unknown members are ignored, a null at the top means the member's default.

    Members of nested structs that may be null say so in their type. Raises InvalidRequestError that names the member
    and what it must be, and never holds the value.
    """
    if type(data) is not dict:
        raise InvalidRequestError("the request body must be a JSON object")
    if None in data.values():
        data = {name: value for name, value in data.items() if value is not None}
    try:
        return msgspec.convert(data, body, strict=False, dec_hook=_convert)
    except msgspec.ValidationError as exc:
        raise InvalidRequestError(_sentence(exc)) from None  # the cause may hold the value


def _convert(wanted: type, value: Any) -> object:
    """What msgspec calls for the types above; to a ValueError it adds the member's path."""
    if wanted is Base64Bytes:
        return _base64(value)
    if wanted is Duration:
        return _duration(value)
    if wanted is StringList:
        return _string_list(value)
    if wanted is StringMap:
        return _string_map(value)
    raise TypeError(f"a body cannot hold a {wanted.__name__}")


def _base64(value: object) -> bytes:
    if not isinstance(value, str):
        raise ValueError("must be standard base64 in a string")  # noqa: TRY004 - msgspec looks for ValueError
    try:
        return strict_base64(value)
    except ValueError:
        pass
    try:
        return strict_base64(value.replace("\n", "").replace("\r", ""))
    except ValueError:
        raise ValueError("must be standard base64") from None


def _duration(value: object) -> int:
    if type(value) is int and 0 <= value <= MAX_SECONDS:
        return value
    try:
        seconds = parse_duration(value)
    except InvalidRequestError:
        raise ValueError('must be a number of seconds or a duration like "1h30m"') from None
    if seconds < 0:
        raise ValueError("must not be negative")
    return seconds


def _string_list(value: object) -> list[str]:
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, str | int | float) for item in items):
        raise ValueError("must be a list of strings, or one string with commas between them")
    trimmed = (_text(item).strip() for item in items)
    return [item for item in trimmed if item]


def _string_map(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(item, str | int | float | None) for item in value.values()):
        raise ValueError("must be an object whose values are strings")
    return {str(name): _text(item) for name, item in value.items()}


def _text(value: object) -> str:
    """A scalar as JSON writes it."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    return ("false", "true")[value] if isinstance(value, bool) else str(value)


def _sentence(error: msgspec.ValidationError) -> str:
    """The message of msgspec with the member first, and without the value that its enum errors repeat."""
    problem, _, where = str(error).partition(" - at `$")
    member = where.removesuffix("`").removeprefix(".")
    if missing := _MISSING.fullmatch(problem):
        return f"missing {'.'.join(filter(None, [member, missing[1]]))}"
    if expected := _EXPECTED.match(problem):
        kinds = [_WORDS.get(kind, "of its declared form") for kind in expected[1].split(" | ") if kind != "null"]
        limit = expected[2] if not expected[2].startswith(", got") else ""
        problem = f"must be {' or '.join(dict.fromkeys(kinds))}{limit}"
    elif problem.startswith("Invalid"):
        problem = "is not one of the values allowed here"
    return f"{member or 'the request body'} {problem}"
