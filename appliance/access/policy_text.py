"""From the text of a policy to its rules: HCL or JSON, bare or inside `policy "name" { … }`.

Whatever is not understood is refused, and so is what is understood but not enforced: a policy never says less than it
seems to.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from appliance.access.condition_text import (
    CONDITIONS,
    PlacedError,
    UnknownMemberError,
    parse_environment,
    parse_require_reason,
    parse_source_cidrs,
    parse_time_windows,
)
from appliance.access.hcl import PathBlock, Setting, parse_hcl
from appliance.access.policy_json import line_of_member, parse_json, shown
from appliance.access.rules import CAPABILITIES, Conditions, PathRule
from appliance.access.templates import check_template, is_template
from core.durations import parse_duration
from core.errors import InvalidRequestError

T = TypeVar("T")

MAX_TEXT = 256 * 1024  # bytes; room for the comments of as many rules as are parsed in seconds
MAX_PATH = 1024  # characters
MAX_EVENT_TYPE = 128  # characters

_NAME = re.compile(r"[a-z0-9_.@:+=~-]{1,128}", re.ASCII)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_LEGACY = {
    "deny": ("deny",),
    "read": ("list", "read"),
    "write": ("create", "delete", "list", "read", "update"),
    "sudo": ("create", "delete", "list", "read", "sudo", "update"),
}
_CONSTRAINTS = (
    "allowed_parameters",
    "denied_parameters",
    "required_parameters",
    "min_wrapping_ttl",
    "max_wrapping_ttl",
    "subscribe_event_types",
)
_NOT_ENFORCED = {
    "mfa_methods": "logins here have no second factor that a policy could ask for",
    "control_group": "there are no approvals of requests here",
    "pagination_limit": "lists are not cut into pages by policies here",
    "list_scan_response_keys_filter_path": "what a list answers is not filtered by policies here",
}
_KNOWN = {"capabilities", "policy", "comment", "expiration", *_CONSTRAINTS, *CONDITIONS, *_NOT_ENFORCED}
_MAX_NUMBER = 2**63 - 1  # what is stored of numbers


class _UnknownKeyError(InvalidRequestError):
    """A key that nothing knows; in JSON its line is looked for afterwards."""

    def __init__(self, key: str, *, line: int, path: str, problem: str) -> None:
        super().__init__(_sentence(line, path, problem))
        self.key = key
        self.line = line
        self.path = path
        self.problem = problem


def policy_name(name: str) -> str:
    """The name in lower case, as it is stored. Raises InvalidRequestError."""
    ascii_name = name.isascii()  # before lower-casing: some letters beyond ASCII become ASCII ones
    name = name.strip().lower()
    if not ascii_name or not _NAME.fullmatch(name) or name in {".", ".."}:
        raise InvalidRequestError("a policy name is 1 to 128 letters, digits or characters of _.@:+=~-")
    return name


def parse_policy(name: str, text: str) -> tuple[PathRule, ...]:
    """The rules of a policy; `name` "" stands for whatever the text names. Slow: call it in a thread.

    Raises InvalidRequestError that names the line, for text that does not parse and for what is not enforced.
    """
    _check_text(text)
    is_json = text.lstrip().startswith("{")
    parsed = parse_json(text) if is_json else parse_hcl(text)
    if parsed.name and name and parsed.name.lower() != name:
        raise InvalidRequestError(
            f'the text names the policy "{shown(parsed.name)}", but it is being written as "{name}"; make them the same'
        )
    try:
        return tuple(_rule(block) for block in parsed.blocks)
    except _UnknownKeyError as exc:
        if exc.line or not is_json:
            raise
        raise _refusal(line_of_member(text, exc.key), exc.path, exc.problem) from exc


def _check_text(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as exc:
        raise InvalidRequestError("the text of a policy must be Unicode") from exc
    if size > MAX_TEXT:
        raise InvalidRequestError(f"a policy may have at most {MAX_TEXT // 1024} KiB of text")


def _rule(block: PathBlock) -> PathRule:
    path = _path(block)
    settings = {setting.name: setting for setting in block.settings}
    for setting in block.settings:
        _check_known(setting, path)

    def read(name: str, convert: Callable[[Any], T], default: T) -> T:
        setting = settings.get(name)
        return default if setting is None else _converted(setting, path, convert)

    conditions = Conditions(
        source_cidrs=read("source_cidrs", parse_source_cidrs, ()),
        time_windows=read("time_window", parse_time_windows, ()),
        environment=read("environment", parse_environment, ()),
        require_reason=read("require_reason", parse_require_reason, False),
    )
    rule = PathRule(
        path=path,
        capabilities=_capabilities(settings, path),
        line=block.line,
        allowed_parameters=read("allowed_parameters", _parameters, None),
        denied_parameters=read("denied_parameters", _parameters, None),
        required_parameters=read("required_parameters", _parameter_names, ()),
        min_wrapping_ttl=read("min_wrapping_ttl", _seconds, 0),
        max_wrapping_ttl=read("max_wrapping_ttl", _seconds, 0),
        subscribe_event_types=read("subscribe_event_types", _event_types, ()),
        conditions=None if conditions == Conditions() else conditions,
        expires_at=read("expiration", _moment, None),
    )
    _check_sense(rule, settings)
    return rule


def _check_known(setting: Setting, path: str) -> None:
    if setting.name not in _KNOWN:
        problem = f'"{shown(setting.name)}" is not known in a path block'
        raise _UnknownKeyError(setting.name, line=setting.line, path=path, problem=problem)
    if setting.name in _NOT_ENFORCED:
        problem = (
            f"{setting.name} is not enforced by this version ({_NOT_ENFORCED[setting.name]}), "
            "so the policy is refused rather than granted without it"
        )
        raise _refusal(setting.line, path, problem)


def _check_sense(rule: PathRule, settings: dict[str, Setting]) -> None:
    if 0 < rule.max_wrapping_ttl < rule.min_wrapping_ttl:
        raise _refusal(rule.line, rule.path, "max_wrapping_ttl cannot be less than min_wrapping_ttl")
    if rule.subscribe_event_types and not {"subscribe", "deny"} & set(rule.capabilities):
        problem = 'subscribe_event_types does nothing without the capability "subscribe"'
        raise _refusal(settings["subscribe_event_types"].line, rule.path, problem)
    if "deny" not in rule.capabilities:
        return
    for name in (*CONDITIONS, *_CONSTRAINTS):
        if name in settings:
            problem = f"a path that is denied cannot have {name}: deny always holds; put limits where you grant"
            raise _refusal(settings[name].line, rule.path, problem)


def _path(block: PathBlock) -> str:
    path = block.path.removeprefix("/")
    if not path or len(path) > MAX_PATH or not path.isprintable():
        raise _refusal(block.line, "", f"a path must be 1 to {MAX_PATH} printable characters")
    if "+*" in path:
        raise _refusal(block.line, path, '"+*" is not allowed, use "+/*" or "*"')
    if is_template(path) or "}}" in path:
        try:
            check_template(path)
        except ValueError as exc:
            raise _refusal(block.line, path, str(exc)) from exc
    return path


def _capabilities(settings: dict[str, Setting], path: str) -> tuple[str, ...]:
    found: set[str] = set()
    if legacy := settings.get("policy"):
        if not isinstance(legacy.value, str) or legacy.value not in _LEGACY:
            raise _refusal(legacy.line, path, 'policy must be "deny", "read", "write" or "sudo"')
        found.update(_LEGACY[legacy.value])
    if listed := settings.get("capabilities"):
        names = _converted(listed, path, _names)
        for name in names:
            if name not in CAPABILITIES:
                problem = f'"{shown(name)}" is no capability; there are {", ".join(sorted(CAPABILITIES))}'
                raise _refusal(listed.line, path, problem)
        found.update(names)
    return ("deny",) if "deny" in found else tuple(sorted(found))


def _converted(setting: Setting, path: str, convert: Callable[[Any], T]) -> T:
    try:
        return convert(setting.value)
    except UnknownMemberError as exc:
        problem = f'{setting.name} {exc}: "{shown(exc.name)}" is not known'
        raise _UnknownKeyError(exc.name, line=exc.line, path=path, problem=problem) from exc
    except PlacedError as exc:
        raise _refusal(exc.line or setting.line, path, f"{setting.name}: {exc}") from exc
    except ValueError as exc:
        raise _refusal(setting.line, path, f"{setting.name} {exc}") from exc


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of strings")
    return tuple(value)


def _parameter_names(value: Any) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.lower() for name in _names(value)))
    if not all(name and name.isprintable() for name in names):
        raise ValueError("must be names of parameters")
    return names


def _event_types(value: Any) -> tuple[str, ...]:
    types = tuple(dict.fromkeys(_names(value)))
    if not types or not all(name and len(name) <= MAX_EVENT_TYPE and name.isprintable() for name in types):
        raise ValueError('must be a list of event types, which may have "*" in them: ["kv-v2/data-*"]')
    return types


def _parameters(value: Any) -> dict[str, list[Any]] | None:
    if isinstance(value, list) and len(value) == 1:  # written as a block
        (value,) = value
    if not isinstance(value, dict) or not all(isinstance(item, list) for item in value.values()):
        raise ValueError("must be a map from names to lists of values")
    names = _parameter_names(list(value))
    if len(names) != len(value):
        raise ValueError("names a parameter twice; the case of letters does not matter")
    return {name: [_plain(item) for item in values] for name, values in zip(names, value.values(), strict=True)}


def _plain(value: Any) -> Any:
    """A value as it can be stored."""
    if isinstance(value, dict):
        return {_plain(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, int | float) and not -_MAX_NUMBER <= value <= _MAX_NUMBER:
        raise ValueError("has a number of more than 64 bits")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise ValueError("has a value that is not Unicode") from exc
    return value


def _moment(value: Any) -> float:
    """Epoch seconds from RFC 3339 or, as in OpenBao, from epoch seconds."""
    problem = 'must be a time like "2027-01-31T18:00:00Z" or "2027-01-31T18:00:00+01:00"'
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**40:
        return float(value)
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError(problem)
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError) as exc:
        raise ValueError(problem) from exc


def _seconds(value: Any) -> int:
    try:
        seconds = parse_duration(value)
    except (InvalidRequestError, OverflowError) as exc:
        raise ValueError('must be a number of seconds or a duration like "1h30m"') from exc
    if seconds < 0:
        raise ValueError("must not be negative")
    return seconds


def _refusal(line: int, path: str, problem: str) -> InvalidRequestError:
    return InvalidRequestError(_sentence(line, path, problem))


def _sentence(line: int, path: str, problem: str) -> str:
    where = f"policy, line {line}" if line else "policy"
    return f'{where}, path "{path}": {problem}' if path else f"{where}: {problem}"
