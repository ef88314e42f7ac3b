"""Names with "*", as token roles list policies and aliases: each star stands for any characters, or none."""

from collections.abc import Iterable


def matches_any(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the patterns matches the whole name."""
    return any(matches(pattern, name) for pattern in patterns)


def matches(pattern: str, name: str) -> bool:
    """Whether the pattern matches the whole name; takes the first place for each part, which is enough."""
    first, *parts = pattern.split("*")
    if not parts:
        return pattern == name
    *middle, last = parts
    if not name.startswith(first) or not name.endswith(last) or len(name) < len(first) + len(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
