"""Numbers of versions, in the loose forms that Vault's clients use."""

import re
from typing import Any

from core.errors import InvalidRequestError
from core.requests import Request

_MOST = 10_000  # versions in one request
_LARGEST = 1 << 53
_WHOLE = re.compile(r"-?\d{1,16}", re.ASCII)


def version_of(request: Request) -> int:
    """`?version=`; 0 for none, which means the current one. Raises InvalidRequestError."""
    text = request.query.get("version", "")
    return _number(text, "version") if text else 0


def depth_of(request: Request) -> int:
    """`?depth=`; 0 for none, which means no limit. Raises InvalidRequestError."""
    text = request.query.get("depth", "")
    return _number(text, "depth") if text else 0


def parse_versions(given: Any) -> list[int]:
    """`versions` of a body: numbers in a list, or in a string with commas. Raises InvalidRequestError for none."""
    items = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else [given]
    if given is None or not items or items == [""]:
        raise InvalidRequestError("No version number provided")
    if len(items) > _MOST:
        raise InvalidRequestError(f"versions holds more than {_MOST} numbers")
    numbers = [_number(item, "versions") for item in items]
    if 0 in numbers:
        raise InvalidRequestError("versions are counted from 1")
    return sorted(set(numbers))


def parse_cas(given: Any) -> int:
    """`options.cas`, as loosely as Vault reads it: null, false and "" are 0. Raises InvalidRequestError."""
    if isinstance(given, bool) or given in (None, ""):
        return int(given or 0)
    if isinstance(given, str) and _WHOLE.fullmatch(given):
        given = int(given)
    if type(given) is not int or not -_LARGEST < given < _LARGEST:
        raise InvalidRequestError("error parsing check-and-set parameter")
    return given


def _number(item: Any, field: str) -> int:
    if isinstance(item, str) and item.strip().isascii() and item.strip().isdecimal() and len(item) < 20:
        item = int(item)
    if type(item) is not int or not 0 <= item < _LARGEST:
        raise InvalidRequestError(f"{field} must be made of whole numbers that are not negative")
    return item
