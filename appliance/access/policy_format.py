"""The canonical layout of a policy: two blanks a level, one setting a line, one blank line around blocks.

Works on tokens, so that comments stay: one at the end of a line stays there, one that stands inside a setting moves
before it. Strings, numbers and the order of everything are kept; the result is checked to mean the same.
"""

import json
import re
from dataclasses import dataclass, field

import msgspec

from appliance.access.policy_text import parse_policy
from appliance.access.rules import PathRule
from core.errors import InvalidRequestError

_WIDTH = 100  # a list longer than this stands one item a line
_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*|//[^\n]*|/\*[\s\S]*?\*/)"""
    r"""|(?P<string>"(?:\\[\s\S]|[^"\\])*")"""
    r"""|(?P<newline>\r?\n)|(?P<blank>[^\S\n]+)|(?P<mark>[{}\[\]=:,])|(?P<word>(?:(?!/\*|//)[^\s{}\[\]=:,"\#])+)"""
)


def format_policy(name: str, text: str) -> str:
    """The text in its canonical layout. Slow: call it in a thread.

    Raises InvalidRequestError for what is no policy of that name ("": of any).
    """
    rules = _meaning(name, text)
    formatted = _format_json(text) if text.lstrip().startswith("{") else _format_hcl(text)
    if _meaning(name, formatted) != rules:
        raise InvalidRequestError("this policy cannot be laid out anew and mean the same; it is left as it is")
    return formatted


def _meaning(name: str, text: str) -> list[PathRule]:
    """The rules without their lines."""
    return [msgspec.structs.replace(rule, line=0) for rule in parse_policy(name, text)]


def _format_json(text: str) -> str:
    document = json.loads(text)
    formatted = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    is_unicode = formatted.isascii() or "\\u" not in text  # an escape may stand for half of a pair
    return formatted if is_unicode else json.dumps(document, indent=2) + "\n"


# --- HCL: to a tree with its comments -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


@dataclass(slots=True)
class _List:
    items: list["_Item"] = field(default_factory=list)


@dataclass(slots=True)
class _Map:
    items: list["_Item"] = field(default_factory=list)


@dataclass(slots=True)
class _Item:
    """A comment of its own (no head, no value), a setting, a list's value (no head), a map's member or a block."""

    head: str = ""
    value: "str | _List | _Map | None" = None
    block: "list[_Item] | None" = None
    opening: str = ""  # the comment behind a block's brace
    trailing: str = ""
    comment: str = ""
    gap: bool = False  # a blank line stood before it


class _Reader:
    """Descends through tokens that the grammar has already accepted."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._at = 0
        self._hoisted: list[str] = []  # comments inside the present item, which move before it

    def body(self, closing: str) -> list[_Item]:
        """The items up to `closing`, which is taken ("" is the end of the text)."""
        items: list[_Item] = []
        breaks = 0
        while (token := self._peek()) is not None and token.text != closing:
            if token.kind == "newline":
                breaks += 1
                self._at += 1
            elif token.kind == "comment":
                self._at += 1
                self._place_comment(items, token.text, breaks)
                breaks = 0
            elif token.text == ",":
                self._at += 1
            else:
                items += self._with_hoisted(self._item(is_value=closing == "]"), gap=breaks > 1)
                breaks = 0
        self._at += 1
        return items

    def _peek(self) -> _Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    @staticmethod
    def _place_comment(items: list[_Item], text: str, breaks: int) -> None:
        """Behind the item that its line begins with, or on a line of its own."""
        last = items[-1] if items else None
        if breaks == 0 and last is not None and not last.comment:
            last.trailing = f"{last.trailing} {text}".strip()
        else:
            items.append(_Item(comment=text, gap=breaks > 1))

    def _with_hoisted(self, item: _Item, *, gap: bool) -> list[_Item]:
        comments = [_Item(comment=text) for text in self._hoisted]
        self._hoisted = []
        found = [*comments, item]
        found[0].gap = gap
        return found

    def _item(self, *, is_value: bool) -> _Item:
        if is_value:
            return _Item(value=self._value())
        words = [self._next().text]
        while (token := self._next()).text not in {"=", ":", "{"}:
            words.append(token.text)
        if token.text == "{":
            return self._block(" ".join(words))
        return _Item(head=" ".join(words), value=self._value())

    def _block(self, head: str) -> _Item:
        opening = ""
        while (token := self._peek()) is not None and token.kind == "comment":
            opening = f"{opening} {token.text}".strip()
            self._at += 1
        hoisted, self._hoisted = self._hoisted, []
        item = _Item(head=head, block=self.body("}"), opening=opening)
        self._hoisted = hoisted
        return item

    def _value(self) -> "str | _List | _Map":
        token = self._next()
        if token.text not in {"[", "{"}:
            return token.text
        hoisted, self._hoisted = self._hoisted, []
        value = _List(self.body("]")) if token.text == "[" else _Map(self.body("}"))
        self._hoisted = hoisted
        return value

    def _next(self) -> _Token:
        """The next token of the item; comments and line breaks on the way are put aside."""
        while (token := self._peek()) is not None:
            self._at += 1
            if token.kind == "comment":
                self._hoisted.append(token.text)
            elif token.kind != "newline":
                return token
        raise _unexpected()


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise _unexpected()
        at = found.end()
        if found.lastgroup == "comment":
            lines = [line.rstrip() for line in found[0].split("\n")]
            tokens.append(_Token("comment", "\n".join(lines)))
        elif found.lastgroup != "blank":
            tokens.append(_Token(found.lastgroup, found[0]))
    return tokens


def _unexpected() -> InvalidRequestError:
    return InvalidRequestError("this policy is written in a way that cannot be laid out anew; it is left as it is")


# --- and back to text ---------------------------------------------------------------------------------------------


def _format_hcl(text: str) -> str:
    lines = _lines(_Reader(text).body(""), 0)
    return "\n".join(lines) + "\n" if lines else ""


def _lines(items: list[_Item], depth: int, *, separator: str = "") -> list[str]:
    lines: list[str] = []
    for position, item in enumerate(items):
        if lines and (item.gap or _is_at_block(items, position)):
            lines.append("")
        lines += _item_lines(item, depth, separator)
    return lines


def _is_at_block(items: list[_Item], position: int) -> bool:
    """Whether a block begins here (with the comments before it), or ended just before."""
    if items[position - 1].block is not None:
        return True
    if items[position - 1].comment:
        return False
    following = next((item for item in items[position:] if not item.comment), None)
    return following is not None and following.block is not None


def _item_lines(item: _Item, depth: int, separator: str) -> list[str]:
    indent = "  " * depth
    if item.comment:
        return [indent + item.comment]
    trailing = f" {item.trailing}" if item.trailing else ""
    if item.block is not None:
        opening = f" {item.opening}" if item.opening else ""
        return [f"{indent}{item.head} {{{opening}", *_lines(item.block, depth + 1), f"{indent}}}{trailing}"]
    head = f"{item.head} = " if item.head else ""
    value = item.value if item.value is not None else ""
    first, *rest = _value_lines(value, depth, room=_WIDTH - len(indent + head))
    lines = [f"{indent}{head}{first}", *rest]
    lines[-1] += separator + trailing
    return lines


def _value_lines(value: "str | _List | _Map", depth: int, *, room: int) -> list[str]:
    """The first line without its indent, the others with theirs."""
    if isinstance(value, str):
        return [value]
    opening, closing, separator = ("[", "]", ",") if isinstance(value, _List) else ("{", "}", "")
    if not value.items:
        return [opening + closing]
    if isinstance(value, _List) and (line := _one_line(value)) is not None and len(line) <= room:
        return [line]
    return [opening, *_lines(value.items, depth + 1, separator=separator), "  " * depth + closing]


def _one_line(value: _List) -> str | None:
    """A list of plain values without comments."""
    words: list[str] = []
    for item in value.items:
        if item.comment or item.trailing:
            return None
        if isinstance(item.value, _List):
            inner = _one_line(item.value)
        else:
            inner = item.value if isinstance(item.value, str) else None
        if inner is None:
            return None
        words.append(inner)
    return "[" + ", ".join(words) + "]"
