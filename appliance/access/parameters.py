"""Parameter rules and wrapping bounds of a path: what may be in a request that its capabilities allow.

Blocks for the same pattern are merged as Vault merges them. Denied values win. A name counts in any letter case. An
empty list of values stands for any value, the name "*" for any name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.access.rules import PathRule

_CHECKED = frozenset({"read", "create", "update", "patch"})  # operations whose parameters are looked at, as in Vault
_FALSE = frozenset({"false", "f", "0"})
_TRUE = frozenset({"true", "t", "1"})
_SHOWN = 64  # characters of a name that an operator is shown

Values = dict[str, list[Any]]


@dataclass(slots=True)
class Constraints:
    """The rules of all blocks that count for one pattern."""

    allowed: Values = field(default_factory=dict)
    denied: Values = field(default_factory=dict)
    required: dict[str, None] = field(default_factory=dict)  # in their order
    min_wrapping_ttl: int = 0  # seconds; 0: none
    max_wrapping_ttl: int = 0

    def violation(self, capability: str, data: Mapping[str, Any], *, wrap_ttl: int) -> str:
        """What of the request is against them, for operators; "" when nothing is. Never a value, only names."""
        problem = self._wrapping_problem(wrap_ttl)
        if problem or capability not in _CHECKED:
            return problem
        for name in self.required:
            if data.get(name) is None:
                return f'the parameter "{name}" is required'
        return (self._denied_problem(data) or self._allowed_problem(data)) if data else ""

    def concerns(self, capability: str) -> bool:
        """Whether they can refuse a request that wants this capability."""
        if self.min_wrapping_ttl or self.max_wrapping_ttl:
            return True
        return capability in _CHECKED and bool(self.required or self.denied or self.allowed)

    def _wrapping_problem(self, wrap_ttl: int) -> str:
        low, high = self.min_wrapping_ttl, self.max_wrapping_ttl
        if not low and not high:
            return ""
        if not wrap_ttl:
            return "the response must be wrapped"
        if low and high < low and high:
            return "the merged policies leave no wrapping TTL: the least is above the greatest"
        if high and wrap_ttl > high:
            return f"the wrapping TTL may be at most {high} seconds"
        return f"the wrapping TTL must be at least {low} seconds" if wrap_ttl < low else ""

    def _denied_problem(self, data: Mapping[str, Any]) -> str:
        if "*" in self.denied:
            return "every parameter is denied"
        for name, value in data.items() if self.denied else ():
            values = self.denied.get(name.lower())
            if values is not None and (not values or any(_is_denied(value, one) for one in values)):
                return (
                    f"the value of {_quoted(name)} is denied" if values else f"the parameter {_quoted(name)} is denied"
                )
        return ""

    def _allowed_problem(self, data: Mapping[str, Any]) -> str:
        allowed = self.allowed
        if not allowed or (len(allowed) == 1 and "*" in allowed):
            return ""
        for name, value in data.items():
            values = allowed.get(name.lower())
            if values is None:
                if "*" not in allowed:
                    return f"the parameter {_quoted(name)} is not among those allowed"
            elif values and not _is_allowed(value, values):
                return f"the value of {_quoted(name)} is not among those allowed"
        return ""


def has_constraints(rule: PathRule) -> bool:
    """Whether it says anything of parameters or wrapping."""
    return bool(
        rule.allowed_parameters
        or rule.denied_parameters
        or rule.required_parameters
        or rule.min_wrapping_ttl
        or rule.max_wrapping_ttl
    )


def merge_constraints(rules: Iterable[tuple[PathRule, bool]]) -> Constraints | None:
    """Those of all rules for one pattern, each with whether its conditions hold; None when there are none.

    Of a rule whose conditions do not hold only the denied parameters count: what denies depends on no condition.
    """
    merged, found = Constraints(), False
    for rule, holds in rules:
        found = found or has_constraints(rule)
        _unite(merged.denied, rule.denied_parameters)
        if holds:
            _unite(merged.allowed, rule.allowed_parameters)
            merged.required.update(dict.fromkeys(name.lower() for name in rule.required_parameters))
            merged.min_wrapping_ttl = _lesser(merged.min_wrapping_ttl, rule.min_wrapping_ttl)
            merged.max_wrapping_ttl = _lesser(merged.max_wrapping_ttl, rule.max_wrapping_ttl)
    return merged if found else None


def _unite(into: Values, more: Values | None) -> None:
    """Values of one name add up; an empty list, any value, swallows the others."""
    for name, values in (more or {}).items():
        held = into.get(name.lower())
        into[name.lower()] = [*(held or ()), *values] if values and held != [] else []


def _lesser(one: int, other: int) -> int:
    """Of two bounds the lesser one, as Vault prefers short lives; 0 is none."""
    return min(one, other) if one and other else one or other


def _is_same(value: Any, wanted: Any) -> bool:
    """A JSON value and one from a policy: strings with Vault's globs, numbers by value, all else member by member."""
    if isinstance(value, str) and isinstance(wanted, str):
        return _matches_glob(value, wanted)
    return _is_equal(value, wanted)


def _is_equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, list) and isinstance(wanted, list):
        return len(value) == len(wanted) and all(map(_is_equal, value, wanted))
    if isinstance(value, dict) and isinstance(wanted, dict):
        return value.keys() == wanted.keys() and all(_is_equal(value[name], wanted[name]) for name in wanted)
    return bool(value == wanted)


def _matches_glob(value: str, pattern: str) -> bool:
    """`*` at the start, at the end or at both; a lone `*` is itself, as in Vault."""
    if len(pattern) < 2:
        return value == pattern
    starts, ends = pattern.startswith("*"), pattern.endswith("*")
    if starts and ends:
        return pattern[1:-1] in value
    if starts:
        return value.endswith(pattern[1:])
    return value.startswith(pattern[:-1]) if ends else value == pattern


def _is_allowed(value: Any, values: list[Any]) -> bool:
    """One of the values; of a list that is written as one string every item, so that no glob lets others along."""
    if not any(_is_same(value, one) for one in values):
        return False
    if not isinstance(value, str) or "," not in value or value in values:
        return True
    return all(any(_is_same(item.strip(), one) for one in values) for item in value.split(","))


def _is_denied(value: Any, denied: Any) -> bool:
    """As `_is_same`, and further than Vault, since engines do not tell apart what is denied here as the same.

    They read "true" and "5" as what they spell, lists item by item (also those written as one string, with blanks),
    and the names of policies and users in any letter case.
    """
    if _is_same(value, denied):
        return True
    if isinstance(value, list):
        return any(_is_denied(item, denied) for item in value)
    if isinstance(value, str) and isinstance(denied, str):
        wanted = denied.lower()
        return any(_matches_glob(item.strip(), wanted) for item in (value.lower(), *value.lower().split(",")))
    if isinstance(denied, bool):
        return _text(value) in (_TRUE if denied else _FALSE)
    if isinstance(denied, int | float):
        return _number(value) == denied
    return isinstance(denied, str) and not isinstance(value, dict) and _matches_glob(_text(value), denied)


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    return str(value).strip().lower()


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, str | int | float) else None
    except (ValueError, OverflowError):
        return None


def _quoted(name: str) -> str:
    shown = name if len(name) <= _SHOWN else name[:_SHOWN] + "…"
    return f'"{shown}"' if shown.isprintable() else ascii(shown)
