"""Policy text in JSON to the same plain blocks as HCL: `{"path": {"secret/*": {"capabilities": ["read"]}}}`."""

import json
import re
from collections.abc import Iterator
from typing import Any

from appliance.access.hcl import MAX_DEPTH, PathBlock, PolicyText, Setting
from core.errors import InvalidRequestError


def parse_json(text: str) -> PolicyText:
    """Blocks by their order, with a list wherever HCL's JSON form lets one stand. Raises InvalidRequestError."""
    try:
        document = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_refuse_constant)
    except json.JSONDecodeError as exc:
        raise InvalidRequestError(f"policy, line {exc.lineno}: this is not JSON") from exc
    except RecursionError as exc:
        raise InvalidRequestError("the policy is nested too deeply") from exc
    except ValueError as exc:  # Python's limit on the digits of a number
        raise InvalidRequestError("a number in the policy has too many digits") from exc
    name, body = _body(document)
    unknown = [key for key in body if key not in {"path", "name"}]
    if unknown:
        raise InvalidRequestError(f'policy: "{shown(unknown[0])}" is not known here, only "path" is')
    blocks = [block for part in _objects(body.get("path", {}), "path") for block in _blocks(part)]
    return PolicyText(blocks, name)


def shown(name: str) -> str:
    """A name from the text, as a sentence may quote it."""
    name = name if len(name) <= 64 else name[:64] + "…"
    return name if name.isprintable() else ascii(name)[1:-1]


def line_of_member(text: str, name: str) -> int:
    """The line where a member of this name stands; 0 when there is none or more than one."""
    lines = [text.count("\n", 0, found.start()) + 1 for found in _members_named(text, name)]
    return lines[0] if len(lines) == 1 else 0


def _members_named(text: str, name: str) -> list[re.Match[str]]:
    found = re.finditer(re.escape(json.dumps(name, ensure_ascii=False)) + r"\s{0,16}:", text)
    return [match for match, _ in zip(found, range(2), strict=False)]


def _body(document: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of the wrapped form, if it is that, and what holds the paths."""
    if "policy" not in document or "path" in document:
        return "", document
    named = [item for part in _objects(document["policy"], "policy") for item in part.items()]
    if len(named) != 1:
        raise InvalidRequestError('the policy must hold one "policy" with one name')
    ((name, inner),) = named
    bodies = list(_objects(inner, "policy"))
    if len(bodies) > 1:
        raise InvalidRequestError('the policy must hold one "policy" with one name')
    return name, bodies[0] if bodies else {}


def _blocks(paths: dict[str, Any]) -> Iterator[PathBlock]:
    for path, value in paths.items():
        for settings in _objects(value, "path"):
            for item in settings.values():
                _check_depth(item, 1)
            yield PathBlock(path, 0, [Setting(key, item, 0) for key, item in settings.items()])


def _check_depth(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH + 1:
        raise InvalidRequestError("policy: values are nested too deeply")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(item, depth + 1)


def _objects(value: Any, what: str) -> Iterator[dict[str, Any]]:
    """An object, or those in a list."""
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, dict):
            raise InvalidRequestError(f'policy: "{what}" must hold objects')
        yield item


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of two members with one name JSON would keep the last, and with it lose a `deny`."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise InvalidRequestError(f'policy: "{shown(name)}" is given twice in one object')
        members[name] = value
    return members


def _refuse_constant(name: str) -> None:
    raise InvalidRequestError(f"policy: {name} is not a JSON number")
