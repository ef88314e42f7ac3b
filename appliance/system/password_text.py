"""Vault's password policy language: a length, and character sets of which so many must be in the password.

    length = 20
    rule "charset" {
      charset = "abcdefghijklmnopqrstuvwxyz"
      min-chars = 1
    }

The same as JSON: {"length": 20, "rule": [{"charset": {"charset": "abc…", "min-chars": 1}}]}.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from core.errors import InvalidRequestError

MAX_TEXT = 32 * 1024  # characters
MIN_LENGTH, MAX_LENGTH = 4, 1000
MAX_RULES = 64
MAX_CHARSET = 256  # different characters of all rules together

_TOKEN = re.compile(
    r"""(?P<blank>[^\S\n]+|\#[^\n]*|//[^\n]*|/\*[\s\S]*?\*/)"""
    r"""|(?P<string>"(?:\\[^\n]|[^"\\\n])*")|(?P<number>\d{1,9}(?![\w.]))|(?P<word>[A-Za-z_][\w-]*)|(?P<sign>[={}\n])"""
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)")
_ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "r": "\r", "t": "\t"}

Token = tuple[str, Any, int]  # kind ("string", "number", "word", "=", "{", "}", "end"), value, line


class Charset(msgspec.Struct, frozen=True):
    """At least `min_chars` of these characters; each stands here once."""

    characters: str
    min_chars: int = 0


class PasswordPolicy(msgspec.Struct, frozen=True):
    """What a password of this policy is made of."""

    length: int
    rules: tuple[Charset, ...]

    @property
    def alphabet(self) -> str:
        """The characters of all rules, each once."""
        return "".join(dict.fromkeys("".join(rule.characters for rule in self.rules)))


def parse_password_policy(text: str) -> PasswordPolicy:
    """The policy. Raises InvalidRequestError that names the line."""
    if len(text) > MAX_TEXT:
        raise InvalidRequestError(f"a password policy has at most {MAX_TEXT} characters")
    length, rules = _from_json(text) if text.lstrip().startswith("{") else _from_hcl(text)
    policy = PasswordPolicy(length, tuple(_charset(line, members) for line, members in rules))
    _check(policy)
    return policy


def _check(policy: PasswordPolicy) -> None:
    if not MIN_LENGTH <= policy.length <= MAX_LENGTH:
        raise InvalidRequestError(f"length must be between {MIN_LENGTH} and {MAX_LENGTH}")
    if not policy.rules:
        raise InvalidRequestError('a password policy needs at least one rule "charset" { … }')
    if len(policy.rules) > MAX_RULES or len(policy.alphabet) > MAX_CHARSET:
        raise InvalidRequestError(f"a password policy has at most {MAX_RULES} rules and {MAX_CHARSET} characters")
    required = sum(rule.min_chars for rule in policy.rules)
    if required > policy.length:
        raise InvalidRequestError(
            f"specified rules require at least {required} characters but {policy.length} is specified"
        )
    if len(policy.alphabet) < 2:
        raise InvalidRequestError("the rules together must have at least two different characters")


def _charset(line: int, members: dict[str, Any]) -> Charset:
    unknown = sorted(set(members) - {"charset", "min-chars", "min_chars"})
    if unknown:
        raise _error(line, f'"{unknown[0]}" is not known in a charset rule, only charset and min-chars are')
    characters, least = members.get("charset"), members.get("min-chars", members.get("min_chars", 0))
    if not isinstance(characters, str) or not characters:
        raise _error(line, "a charset rule needs a charset of at least one character")
    if not characters.isprintable():
        raise _error(line, "a charset holds printable characters only")
    if isinstance(least, bool) or not isinstance(least, int) or not 0 <= least <= MAX_LENGTH:
        raise _error(line, "min-chars must be a whole number that is not negative")
    return Charset("".join(dict.fromkeys(characters)), least)


# --- HCL ----------------------------------------------------------------------------------------------------------


def _from_hcl(text: str) -> tuple[int, list[tuple[int, dict[str, Any]]]]:
    tokens = _tokens(text)
    length: int | None = None
    rules: list[tuple[int, dict[str, Any]]] = []
    for kind, value, line in tokens:
        if kind == "end":
            break
        if kind == "word" and value == "length" and length is None:
            _expect(tokens, "=", line, "length = 20")
            length = int(_expect(tokens, "number", line, "length = 20"))
        elif kind == "word" and value == "rule":
            if _expect(tokens, "string", line, 'rule "charset" { … }') != "charset":
                raise _error(line, 'the only kind of rule is "charset"')
            _expect(tokens, "{", line, 'rule "charset" { … }')
            rules.append((line, dict(_members(tokens, line))))
        else:
            raise _error(line, 'only one length and rule "charset" { … } are known here')
    if length is None:
        raise InvalidRequestError("the password policy says no length")
    return length, rules


def _members(tokens: Iterator[Token], opened: int) -> Iterator[tuple[str, Any]]:
    seen: set[str] = set()
    for kind, value, line in tokens:
        if kind == "}":
            return
        if kind != "word" or value in seen:
            raise _error(line, "a rule holds name = value, each name once, and ends with }")
        seen.add(value)
        _expect(tokens, "=", line, f"{value} = …")
        given, found, _ = next(tokens)
        if given not in ("string", "number"):
            raise _error(line, f"{value} must be a string in quotes or a number")
        yield value, found
    raise _error(opened, "this rule is not closed")


def _expect(tokens: Iterator[Token], wanted: str, line: int, example: str) -> Any:
    kind, value, _ = next(tokens, ("end", None, line))
    if kind != wanted:
        raise _error(line, f"write {example}")
    return value


def _tokens(text: str) -> Iterator[Token]:
    """Every token with its line; "end" comes last, and again for who asks on."""
    at, line = 0, 1
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise _error(line, "this is not a password policy")
        kind, raw = found.lastgroup, found.group()
        if kind == "string":
            yield "string", _unescape(raw[1:-1], line), line
        elif kind == "number":
            yield "number", int(raw), line
        elif kind == "word":
            yield "word", raw, line
        elif raw in ("=", "{", "}"):
            yield raw, raw, line
        line += raw.count("\n")
        at = found.end()
    while True:
        yield "end", None, line


def _unescape(text: str, line: int) -> str:
    def plain(escape: re.Match[str]) -> str:
        letter = escape[1]
        if len(letter) > 1:
            return chr(int(letter[1:], 16))
        if letter not in _ESCAPES:
            raise _error(line, "this string has an unknown escape")
        return _ESCAPES[letter]

    return _ESCAPE.sub(plain, text)


# --- JSON ---------------------------------------------------------------------------------------------------------


def _from_json(text: str) -> tuple[int, list[tuple[int, dict[str, Any]]]]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequestError("the password policy is neither HCL nor JSON") from None
    if not isinstance(document, dict) or set(document) - {"length", "rule"}:
        raise InvalidRequestError('the password policy as JSON has the members "length" and "rule"')
    length, given = document.get("length"), document.get("rule", [])
    if isinstance(length, bool) or not isinstance(length, int):
        raise InvalidRequestError("length must be a whole number")
    rules: list[tuple[int, dict[str, Any]]] = []
    for item in given if isinstance(given, list) else [given]:
        members = item.get("charset") if isinstance(item, dict) and set(item) == {"charset"} else None
        # HCL's JSON writes a block as an object or as a list of objects
        for rule in members if isinstance(members, list) else [members]:
            if not isinstance(rule, dict):
                raise InvalidRequestError('each rule is {"charset": {"charset": "…", "min-chars": 1}}')
            rules.append((1, rule))
    return length, rules


def _error(line: int, problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"password policy, line {line}: {problem}")
