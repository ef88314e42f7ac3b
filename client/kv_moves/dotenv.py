r"""Files of KEY=VALUE lines, as programs keep them in `.env`. Nothing is interpolated: $NAME stays as it is.

# a comment                    export KEY=VALUE     the word export is passed over
KEY=plain text # comment       the value ends before the blank in front of #; blanks around it do not count
KEY='as it is'                 no escapes but \' and \\
KEY="with\nescapes"            \n \r \t \f \b \v \a \" \' \\ \` \$; any other backslash stays
KEY="of several                what is in quotes goes on until the quote ends
lines"
"""

import re

from client.errors import LocalError

_KEY = re.compile(r"(?:export[ \t]+)?([A-Za-z_][\w.\-]*)[ \t]*=[ \t]*", re.ASCII)
_SINGLE = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BACKTICK = re.compile(r"`([^`]*)`")
_END = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_COMMENT = re.compile(r"[ \t]+#.*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {char: char for char in "\"'\\$`"} | {
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "f": "\f",
    "b": "\b",
    "v": "\v",
    "a": "\a",
}


def parse_dotenv(text: str) -> dict[str, str]:
    """Names and values. LocalError names a line, never what stands there."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    found: dict[str, str] = {}
    place = 0
    while place < len(text):
        blank = _BLANK.match(text, place)
        if blank is not None and blank.end() > place:
            place = blank.end()
            continue
        line = text.count("\n", 0, place) + 1
        place = _indented(text, place)
        key = _KEY.match(text, place)
        if key is None:
            raise LocalError(f"line {line} is not KEY=VALUE")
        if key[1] in found:
            raise LocalError(f"line {line} gives {key[1]} a second time")
        found[key[1]], place = _value(text, key.end(), line)
    return found


def _indented(text: str, place: int) -> int:
    while text[place] in " \t":
        place += 1
    return place


def _value(text: str, place: int, line: int) -> tuple[str, int]:
    """The value, and where the next line begins."""
    quote = text[place : place + 1]
    if quote not in {"'", '"', "`"}:
        end = text.find("\n", place)
        end = len(text) if end < 0 else end
        if quote == "#" and text[place - 1] != "=":  # as in a shell: A=#b has a value, A= #b has none
            return "", end + 1
        return _COMMENT.sub("", text[place:end], count=1).strip(" \t"), end + 1
    match = {"'": _SINGLE, '"': _DOUBLE, "`": _BACKTICK}[quote].match(text, place)
    if match is None:
        raise LocalError(f"line {line} begins a value in quotes that does not end")
    after = _END.match(text, match.end())
    if after is None:
        raise LocalError(f"line {line} holds something behind a value in quotes")
    return _unescaped(match[1], quote), after.end()


def _unescaped(content: str, quote: str) -> str:
    if quote == "`":
        return content
    if quote == "'":
        return re.sub(r"\\(['\\])", r"\1", content)
    return _ESCAPE.sub(lambda match: _ESCAPES.get(match[1], match[0]), content)
