"""Mimir's own conditions, from the settings of a path block.

A ValueError says what is wrong with a setting; its `line`, if it has one, is where inside the setting.
"""

import re
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from appliance.access.hcl import Members
from appliance.access.rules import DAY_MINUTES, TimeWindow
from core.addresses import parse_cidrs
from core.errors import InvalidRequestError

CONDITIONS = ("source_cidrs", "time_window", "environment", "require_reason")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONG_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CLOCK = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])")
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}")
_MAX_WINDOWS = 64
_MAX_NAMES = 256


class PlacedError(ValueError):
    """What is wrong, and on which line; 0 when that is not known."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(problem)
        self.line = line


class UnknownMemberError(PlacedError):
    """A member that nothing knows."""

    def __init__(self, name: str, problem: str, line: int) -> None:
        super().__init__(problem, line)
        self.name = name


def parse_source_cidrs(value: Any) -> tuple[str, ...]:
    """Networks in canonical form."""
    try:
        return parse_cidrs(_names(value), field="they")
    except InvalidRequestError as exc:
        raise ValueError('must be a list of networks like "10.0.0.0/8" or addresses, at most 256') from exc


def parse_environment(value: Any) -> tuple[str, ...]:
    """The environments, one of which must be the entity's."""
    names = _names(value)
    if not all(name and name.isprintable() for name in names):
        raise ValueError('must be a list of names like "prod"')
    return tuple(dict.fromkeys(names))


def parse_require_reason(value: Any) -> bool:
    """Whether a reason must be given."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - the caller turns ValueError into its sentence
    return value


def parse_time_windows(value: Any) -> tuple[TimeWindow, ...]:
    """One window or several."""
    windows = value if isinstance(value, list) else [value]
    if not 0 < len(windows) <= _MAX_WINDOWS or not all(isinstance(window, dict) for window in windows):
        raise ValueError(f"must be a block or a list of up to {_MAX_WINDOWS} maps with days, hours and timezone")
    return tuple(_window(window) for window in windows)


def _window(members: Mapping[str, Any]) -> TimeWindow:
    lines, line = (members.lines, members.line) if isinstance(members, Members) else ({}, 0)
    for name in members:
        if name not in {"days", "hours", "timezone"}:
            raise UnknownMemberError(name, "has days, hours and timezone only", lines.get(name, line))
    if "days" not in members and "hours" not in members:
        raise PlacedError("needs days, hours or both", line)
    where = ""
    try:
        where = "days"
        days = _days(members["days"]) if where in members else TimeWindow().days
        where = "hours"
        start, end = _hours(members["hours"]) if where in members else (0, DAY_MINUTES)
        where = "timezone"
        zone = _timezone(members.get(where, "UTC"))
    except ValueError as exc:
        raise PlacedError(str(exc), lines.get(where, line)) from exc
    return TimeWindow(days=days, start=start, end=end, timezone=zone)


def _days(value: Any) -> tuple[int, ...]:
    """Numbers of days from names and spans; a span may go over the end of the week."""
    found: set[int] = set()
    for text in _names([value] if isinstance(value, str) else value):
        first, dash, last = text.strip().lower().partition("-")
        start = _day(first)
        length = (_day(last) - start) % 7 + 1 if dash else 1
        found.update((start + i) % 7 for i in range(length))
    return tuple(sorted(found))


def _day(text: str) -> int:
    for names in (_DAYS, _LONG_DAYS):
        if text.strip() in names:
            return names.index(text.strip())
    raise ValueError('days must be a list like ["mon-fri", "sun"]')


def _hours(value: Any) -> tuple[int, int]:
    """Minutes since midnight, from "08:00-18:00"; the end may be before the start, and then is the next day's."""
    start, dash, end = value.partition("-") if isinstance(value, str) else ("", "", "")
    first, last = _CLOCK.fullmatch(start.strip()), _CLOCK.fullmatch(end.strip())
    if not dash or first is None or last is None:
        raise ValueError('hours must be like "08:00-18:00"')
    begins, ends = (int(found[1]) * 60 + int(found[2]) for found in (first, last))
    if begins >= DAY_MINUTES or ends > DAY_MINUTES:
        raise ValueError('hours go from "00:00" to "24:00"')
    if begins == ends:
        raise ValueError('hours must not end when they start; "00:00-24:00" is the whole day')
    return begins, DAY_MINUTES if ends == 0 else ends


def _timezone(value: Any) -> str:
    if isinstance(value, str) and _ZONE.fullmatch(value) and value.lower() not in {"localtime", "posixrules"}:
        try:
            return ZoneInfo(value).key
        except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
            pass
    raise ValueError('timezone must be a name like "Europe/Berlin" or "UTC"')


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= _MAX_NAMES:
        raise ValueError(f"must be a list of 1 to {_MAX_NAMES} strings")
    if not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of strings")
    return tuple(value)
