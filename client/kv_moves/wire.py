"""Values of kv's API, compared as what they say: times as instants, JSON by its text."""

import re
from datetime import datetime
from typing import Any

from client import exact_json
from client.errors import LocalError
from core.durations import parse_duration
from core.errors import InvalidRequestError

_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)")  # RFC 3339, 5.6

_MINUS_ZERO = exact_json.Number("-0")


def instant(text: object) -> int:
    """Nanoseconds since the epoch; 0 for "" and for Go's zero time. LocalError for what is no time."""
    if text in (None, ""):
        return 0
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise LocalError("the answer holds a time that is none: is a kv engine mounted there?")
    day, clock, fraction, offset = match.groups()
    try:
        seconds = int(datetime.fromisoformat(f"{day}T{clock}{'+00:00' if offset in 'Zz' else offset}").timestamp())
    except (ValueError, OverflowError) as exc:
        raise LocalError("the answer holds a time that does not exist") from exc
    return seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0")) if seconds > 0 else 0


def seconds(value: object) -> int:
    """A duration, whichever way it is written; below zero there is one value."""
    try:
        return max(parse_duration(value), -1)
    except InvalidRequestError as exc:
        raise LocalError("the answer holds a duration that is none: is a kv engine mounted there?") from exc


def canonical(value: Any) -> bytes:
    """One text for each JSON value: the order of names does not count, digits do, and true is not 1.

    A whole -0, which OpenBao writes for -0.0, is 0: whole numbers have no sign there.
    """
    return exact_json.compact(_ordered(value))


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _ordered(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    return 0 if value == _MINUS_ZERO else value
