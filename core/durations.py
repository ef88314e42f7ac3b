"""Durations as Vault's clients write them: 3600, "3600", "1h", "2160h0m0s", "1.5h", "30d"."""

import re
from functools import lru_cache

from core.errors import InvalidRequestError

MAX_SECONDS = 2**53  # what a JSON number carries exactly

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d)")
_LONGEST = 64  # characters
_WHOLE = re.compile(rf"-?(?:{_PART.pattern})+")


def parse_duration(value: object, *, field: str = "duration") -> int:
    """Whole seconds from an integer, a number in a string, or Go's duration syntax (and `d` for days).

    An empty string and None are zero, fractions of a second are cut off as Vault does.
    Raises InvalidRequestError that names `field`.
    """
    if value is None or value == "":
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidRequestError(f'{field} must be a number of seconds or a duration like "1h30m"')
    seconds = _seconds_of_text(value.strip()) if isinstance(value, str) else value
    if seconds is None or not abs(seconds) <= MAX_SECONDS:  # nor is NaN; an int may be too large to be a float
        raise InvalidRequestError(f'{field} must be a number of seconds or a duration like "1h30m"')
    return int(seconds)


def _seconds_of_text(text: str) -> float | None:
    return _seconds(text) if len(text) <= _LONGEST else None


@lru_cache(maxsize=1024)  # every client has its few, and says them again and again
def _seconds(text: str) -> float | None:
    if re.fullmatch(r"-?\d{1,17}", text, re.ASCII):
        return float(text)
    if not _WHOLE.fullmatch(text):
        return None
    total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return -total if text.startswith("-") else total


def format_duration(seconds: int) -> str:
    """`1h30m0s` as Go prints it; `0s` for zero."""
    sign, rest = ("-", -seconds) if seconds < 0 else ("", seconds)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{sign}{hours}h{minutes}m{rest}s"
    return f"{sign}{minutes}m{rest}s" if minutes else f"{sign}{rest}s"


def people_duration(seconds: int) -> str:
    """`1h`, `1h30m`, `45s`: as people write it, without parts that are zero."""
    text = format_duration(seconds)
    for unit in ("0s", "0m"):
        if text.endswith(unit) and len(text) > len(unit) and not text[-len(unit) - 1].isdigit():
            text = text.removesuffix(unit)
    return text
