"""From the text of a policy to its rules: HCL or JSON, bare or inside `policy "name" { … }`.

Whatever is not understood is refused, and so is what is understood but not enforced: a policy never says less than it
seems to.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from appliance.access.hcl import PathBlock, PolicyText, Setting, parse_hcl
from appliance.access.rules import CAPABILITIES, PathRule
from core.durations import parse_duration
from core.errors import InvalidRequestError

T = TypeVar("T")

MAX_TEXT = 256 * 1024  # bytes; room for the comments of as many rules as are parsed in seconds
MAX_PATH = 1024  # characters

_NAME = re.compile(r"[a-z0-9_.@:+=~-]{1,128}", re.ASCII)
_ALL_CAPABILITIES = ", ".join(sorted(CAPABILITIES))
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
)
_UNKNOWN_TO_RULES = {
    "mfa_methods",
    "pagination_limit",
    "expiration",
    "control_group",
    "list_scan_response_keys_filter_path",
}
_KNOWN = {"capabilities", "policy", "comment", *_CONSTRAINTS} | _UNKNOWN_TO_RULES


def policy_name(name: str) -> str:
    """The name in lower case, as it is stored. Raises InvalidRequestError."""
    ascii_name = name.isascii()  # before lower-casing: some letters beyond ASCII become ASCII ones
    name = name.strip().lower()
    if not ascii_name or not _NAME.fullmatch(name) or name in {".", ".."}:
        raise InvalidRequestError("a policy name is 1 to 128 letters, digits or characters of _.@:+=~-")
    return name


def compile_policy(name: str, text: str) -> tuple[PathRule, ...]:
    """The rules of a policy that may be stored. Slow: call it in a thread.

    Raises InvalidRequestError that names the line, for text that does not parse and for what is not enforced yet.
    """
    rules = parse_policy(name, text)
    for rule in rules:
        check_enforced(rule)
    return rules


def parse_policy(name: str, text: str) -> tuple[PathRule, ...]:
    """The rules, with everything the policy language can say; `name` "" stands for whatever the text names."""
    if len(text.encode()) > MAX_TEXT:
        raise InvalidRequestError(f"a policy may have at most {MAX_TEXT // 1024} KiB of text")
    parsed = _parse_json(text) if text.lstrip().startswith("{") else parse_hcl(text)
    if parsed.name and name and parsed.name.lower() != name:
        raise InvalidRequestError(
            f'the text names the policy "{parsed.name}", but it is being written as "{name}"; make them the same'
        )
    return tuple(_rule(block) for block in parsed.blocks)


def check_enforced(rule: PathRule) -> None:
    """Refuse a rule with constraints that requests are not checked against yet."""
    for name in _CONSTRAINTS:
        if getattr(rule, name) not in (None, (), 0):
            raise _refusal(rule.line, rule.path, _not_enforced(name))
    if "{{" in rule.path:
        raise _refusal(rule.line, rule.path, _not_enforced("a template in a path"))


def _rule(block: PathBlock) -> PathRule:
    path = _path(block)
    settings = {setting.name: setting for setting in block.settings}
    for setting in block.settings:
        if setting.name not in _KNOWN:
            raise _refusal(setting.line, path, f'"{setting.name}" is not known in a path block')
        if setting.name in _UNKNOWN_TO_RULES:
            raise _refusal(setting.line, path, _not_enforced(setting.name))

    def read(name: str, convert: Callable[[Any], T], default: T) -> T:
        setting = settings.get(name)
        return default if setting is None else _converted(setting, path, convert)

    rule = PathRule(
        path=path,
        capabilities=_capabilities(settings, path),
        line=block.line,
        allowed_parameters=read("allowed_parameters", _parameters, None),
        denied_parameters=read("denied_parameters", _parameters, None),
        required_parameters=read("required_parameters", _names, ()),
        min_wrapping_ttl=read("min_wrapping_ttl", _seconds, 0),
        max_wrapping_ttl=read("max_wrapping_ttl", _seconds, 0),
    )
    if 0 < rule.max_wrapping_ttl < rule.min_wrapping_ttl:
        raise _refusal(block.line, path, "max_wrapping_ttl cannot be less than min_wrapping_ttl")
    return rule


def _path(block: PathBlock) -> str:
    path = block.path.removeprefix("/")
    if not path or len(path) > MAX_PATH or not path.isprintable():
        raise _refusal(block.line, "", f"a path must be 1 to {MAX_PATH} printable characters")
    if "+*" in path:
        raise _refusal(block.line, path, '"+*" is not allowed, use "+/*" or "*"')
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
                raise _refusal(
                    listed.line, path, f'"{name}" is no capability; there are {", ".join(sorted(CAPABILITIES))}'
                )
        found.update(names)
    return ("deny",) if "deny" in found else tuple(sorted(found))


def _converted(setting: Setting, path: str, convert: Callable[[Any], T]) -> T:
    try:
        return convert(setting.value)
    except ValueError as exc:
        raise _refusal(setting.line, path, f"{setting.name} {exc}") from exc


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of strings")
    return tuple(value)


def _parameters(value: Any) -> dict[str, list[Any]] | None:
    if not isinstance(value, dict) or not all(isinstance(item, list) for item in value.values()):
        raise ValueError("must be a map from names to lists of values")
    return {name.lower(): list(values) for name, values in value.items()}


def _seconds(value: Any) -> int:
    try:
        seconds = parse_duration(value)
    except InvalidRequestError as exc:
        raise ValueError('must be a number of seconds or a duration like "1h30m"') from exc
    if seconds < 0:
        raise ValueError("must not be negative")
    return seconds


# --- JSON ---------------------------------------------------------------------------------------------------------


def _parse_json(text: str) -> PolicyText:
    """`{"path": {"secret/*": {"capabilities": ["read"]}}}`, with a list wherever HCL's JSON form lets one stand."""
    try:
        document = json.loads(text, object_pairs_hook=_without_twins)
    except json.JSONDecodeError as exc:
        raise InvalidRequestError(f"policy, line {exc.lineno}: this is not JSON") from exc
    except RecursionError as exc:
        raise InvalidRequestError("the policy is nested too deeply") from exc
    name, body = "", document
    if "policy" in document and "path" not in document:
        named = [item for part in _objects(document["policy"], "policy") for item in part.items()]
        if len(named) != 1:
            raise InvalidRequestError('the policy must hold one "policy" with one name')
        (name, inner) = named[0]
        (body,) = list(_objects(inner, "policy"))[:1] or [{}]
    unknown = [key for key in body if key not in {"path", "name"}]
    if unknown:
        raise InvalidRequestError(f'policy: "{unknown[0]}" is not known here, only "path" is')
    blocks = [block for part in _objects(body.get("path", {}), "path") for block in _json_blocks(part)]
    return PolicyText(blocks, name)


def _json_blocks(paths: dict[str, Any]) -> Iterator[PathBlock]:
    for path, value in paths.items():
        for settings in _objects(value, "path"):
            yield PathBlock(path, 0, [Setting(key, item, 0) for key, item in settings.items()])


def _objects(value: Any, what: str) -> Iterator[dict[str, Any]]:
    """An object, or those in a list."""
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, dict):
            raise InvalidRequestError(f'policy: "{what}" must hold objects')
        yield item


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of two members with one name JSON would keep the last, and with it lose a `deny`."""
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise InvalidRequestError(f'policy: "{twin}" is given twice in one object')
    return members


def _refusal(line: int, path: str, problem: str) -> InvalidRequestError:
    where = f"policy, line {line}" if line else "policy"
    return InvalidRequestError(f'{where}, path "{path}": {problem}' if path else f"{where}: {problem}")


def _not_enforced(what: str) -> str:
    return f"{what} is not enforced by this version, so the policy is refused rather than granted without it"
