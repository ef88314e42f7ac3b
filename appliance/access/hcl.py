"""Policy text in HCL to plain blocks with line numbers, by python-hcl2's grammar.

The grammar takes about a second to build at its first use, and none of this is quick: call it in a thread. Only
literals are taken; nothing is evaluated.
"""

import re
import threading
from dataclasses import dataclass
from typing import Any

from core.errors import InvalidRequestError

MAX_TOKENS = 40_000  # more than 2,000 rules; the parser takes up to 0.1 ms for each
MAX_DEPTH = 4  # of values: a map of lists of literals is 3
_DIGITS = 32  # of a number; what is stored has at most 64 bits
_TOKEN = re.compile(
    r"""\#[^\n]*|//[^\n]*|/\*(?:[\s\S]*?\*/|[\s\S]*)"""  # comments
    r"""|"(?:\\[\s\S]|[^"\\])*"?|\w+|\n|[^\s\w]"""
)
_parsing = threading.Lock()  # the grammar is built once, and its post-lexer is not made for two threads
_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "r": "\r", "t": "\t"}


class Members(dict[str, Any]):
    """A map, or a block inside a path block, which remembers where it stands; lines are 0 in JSON policies."""

    def __init__(self, members: dict[str, Any], lines: dict[str, int], line: int) -> None:
        super().__init__(members)
        self.lines = lines  # of each member
        self.line = line


@dataclass(frozen=True, slots=True)
class Setting:
    """`name = value` inside a path block; `value` is str, int, float, bool, None, list or Members.

    A block `name { … }` is one too, and several of one name are one setting: its value is the list of their Members.
    """

    name: str
    value: Any
    line: int
    is_block: bool = False


@dataclass(frozen=True, slots=True)
class PathBlock:
    """`path "label" { … }`."""

    path: str
    line: int
    settings: list[Setting]


@dataclass(frozen=True, slots=True)
class PolicyText:
    """The path blocks of a policy, and the name of the `policy "name" { … }` block around them, if any."""

    blocks: list[PathBlock]
    name: str = ""


def parse_hcl(text: str) -> PolicyText:
    """Blocks by their order. Raises InvalidRequestError that names the line."""
    _check_length(text)
    import hcl2  # late: most processes never parse a policy
    from lark import exceptions

    try:
        with _parsing:
            tree = hcl2.parses_to_tree(text)
    except exceptions.UnexpectedInput as exc:
        line = exc.line if isinstance(exc.line, int) and exc.line > 0 else text.count("\n") + 1
        raise _error(min(line, text.count("\n") + 1), "this is not HCL") from exc
    except (exceptions.LarkError, RecursionError) as exc:
        raise InvalidRequestError("the policy is not HCL") from exc
    return _top(tree.children[0])


def _check_length(text: str) -> None:
    """Bound the parser's time: it is spent on tokens, and a kilobyte may hold a thousand of them."""
    for count, _ in enumerate(_TOKEN.finditer(text), start=1):
        if count > MAX_TOKENS:
            raise InvalidRequestError("the policy is too long; split it into several")


def _top(body: Any) -> PolicyText:
    """The bare form, or the wrapped one."""
    wrappers: list[Any] = []
    blocks: list[PathBlock] = []
    for node in _members(body):
        kind = _name(node)
        if kind == "path":
            blocks.append(_path_block(node))
        elif kind == "policy" and node.data == "block":
            wrappers.append(node)
        elif not (kind == "name" and node.data == "attribute"):
            raise _error(_line(node), f'"{kind}" is not known here, only path blocks are')
    if not wrappers:
        return PolicyText(blocks)
    if len(wrappers) > 1 or blocks:
        raise _error(_line(wrappers[-1]), "one policy block holds all path blocks")
    inner = wrappers[0]
    for node in _members(inner.children[-2]):
        if _name(node) != "path":
            raise _error(_line(node), f'"{_name(node)}" is not known in a policy block, only path blocks are')
    return PolicyText([_path_block(node) for node in _members(inner.children[-2])], _label(inner))


def _path_block(node: Any) -> PathBlock:
    if node.data != "block":
        raise _error(_line(node), 'write path "the/path" { … }')
    return PathBlock(_label(node), _line(node), list(_settings(node.children[-2], 1).values()))


def _settings(body: Any, depth: int) -> dict[str, Setting]:
    """What stands in a block, by name."""
    settings: dict[str, Setting] = {}
    for member in _members(body):
        name, line, is_block = _name(member), _line(member), member.data == "block"
        held = settings.get(name)
        if held is not None and not (is_block and held.is_block):
            raise _error(line, f'"{name}" is given twice')
        if held is not None:
            held.value.append(_inner_block(member, depth + 1))
        elif is_block:
            settings[name] = Setting(name, [_inner_block(member, depth + 1)], line, is_block=True)
        else:
            settings[name] = Setting(name, _value(member.children[-1], depth), line)
    return settings


def _inner_block(block: Any, depth: int) -> Members:
    """A block inside another; each label is a map around it, as in HCL's JSON form."""
    line = _line(block)
    if depth > MAX_DEPTH:
        raise _error(line, "blocks are nested too deeply")
    settings = _settings(block.children[-2], depth)
    lines = {name: setting.line for name, setting in settings.items()}
    members = Members({name: setting.value for name, setting in settings.items()}, lines, line)
    for label in reversed(_labels(block)):
        members = Members({label: members}, {label: line}, line)
    return members


def _members(body: Any) -> list[Any]:
    return [node for node in body.children if node.data != "new_line_or_comment"]


def _name(node: Any) -> str:
    return str(node.children[0].children[0])


def _label(block: Any) -> str:
    """The one quoted label of a block: [name, label, maybe line breaks, "{", body, "}"]."""
    labels = [node for node in block.children[1:-3] if not _is_filler(node)]
    if len(labels) != 1 or labels[0].data != "string":
        raise _error(_line(block), f'write {_name(block)} "…" {{ … }} with one label in quotes')
    return _string(labels[0])


def _labels(block: Any) -> list[str]:
    labels = [node for node in block.children[1:-3] if not _is_filler(node)]
    return [_string(node) if node.data == "string" else str(node.children[0]) for node in labels]


def _value(node: Any, depth: int) -> Any:
    """A literal."""
    if depth > MAX_DEPTH:
        raise _error(_line(node), "values are nested too deeply")
    if node.data == "expr_term" and len(node.children) == 1:
        node = node.children[0]
    if node.data == "string":
        return _string(node)
    if node.data in ("int_lit", "float_lit"):
        return _number(str(node.children[0]), _line(node))
    if node.data == "literal_value":
        return {"true": True, "false": False, "null": None}[str(node.children[0])]
    if node.data == "tuple":
        return [_value(item, depth + 1) for item in node.children if not _is_filler(item)]
    if node.data == "object":
        return _object(node, depth)
    if node.data == "unary_op" and str(node.children[0]) == "-":
        value = _value(node.children[1], depth + 1)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return -value
    raise _error(_line(node), "only literal strings, numbers, lists and maps are taken here")


def _number(text: str, line: int) -> int | float:
    if len(text) > _DIGITS:
        raise _error(line, f"a number may have at most {_DIGITS} digits")
    return int(text) if text.lstrip("-").isdecimal() else float(text)


def _object(node: Any, depth: int) -> Members:
    members: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for item in node.children:
        if _is_filler(item):
            continue
        key = item.children[0].children[0]
        key = key.children[0] if getattr(key, "data", "") == "expr_term" else key
        data = getattr(key, "data", "")
        if data not in ("string", "identifier"):
            raise _error(_line(item), "the names in a map must be plain strings")
        name = _string(key) if data == "string" else str(key.children[0])
        if name in members:
            raise _error(_line(item), "a name is given twice in this map")
        members[name] = _value(item.children[-1], depth + 1)
        lines[name] = _line(item)
    return Members(members, lines, _line(node))


def _is_filler(node: Any) -> bool:
    """Brackets, commas, line breaks and comments."""
    return not hasattr(node, "data") or node.data == "new_line_or_comment"


def _string(node: Any) -> str:
    parts = [part.children[0] for part in node.children if hasattr(part, "data")]
    if any(getattr(part, "type", "") != "STRING_CHARS" for part in parts):
        raise _error(_line(node), "strings with ${…} or %{…} are not taken here")
    return _unescape("".join(parts), _line(node))


def _unescape(text: str, line: int) -> str:
    def plain(escape: re.Match[str]) -> str:
        if escape[1] not in _ESCAPES:
            raise _error(line, "this string has an unknown escape")
        return _ESCAPES[escape[1]]

    return re.sub(r"\\([\s\S]?)", plain, text) if "\\" in text else text


def _line(node: Any) -> int:
    """Where a node starts: the line of its first token."""
    while hasattr(node, "data"):
        node = next(child for child in node.children if not (hasattr(child, "data") and not child.children))
    return int(node.line)


def _error(line: int, problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"policy, line {line}: {problem}")
