"""Templates of SQL statements: every placeholder is quoted by the rules of the place where it stands.

    CREATE ROLE "{{name}}" PASSWORD '{{password}}'      inside quotes: escaped as such quotes ask for
    GRANT app TO {{name}}                               bare: a name becomes a quoted identifier, all else a literal

So no name, password or date can end the quotes it stands in. Lexical rules: PostgreSQL 15, 4.1 (with
standard_conforming_strings on) and MariaDB/MySQL 8.0, 9.1 (without ANSI_QUOTES and NO_BACKSLASH_ESCAPES); plugins set
their sessions so.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from core.errors import InvalidRequestError
from dynamic.target import StatementKind, Statements, TargetRefusedError

NAMES = frozenset({"name", "username"})
VALUES = frozenset({"password", "expiration"})
_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_UNCLOSED = re.compile(r"\{\{\s*[A-Za-z]")  # and no {{1,2},{3,4}}, which is an array
_PREPARE = re.compile(r"\s*PREPARE\s", re.IGNORECASE)
_PLAIN = re.compile(r"[\w.@+:\- ]*")  # what needs no quoting in a string that is executed itself
_DOLLAR = re.compile(r"\$(?:[^\W\d]\w*)?\$")


class Dialect(Enum):
    """Whose lexical rules."""

    POSTGRESQL = "postgresql"
    MYSQL = "mysql"


class _Place(Enum):
    """Where a piece of text stands."""

    BARE = "bare"
    LITERAL = "literal"  # quotes are doubled
    ESCAPED = "escaped"  # a literal in which a backslash escapes, too
    IDENTIFIER = "identifier"
    BACKQUOTED = "backquoted"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text as it stands, or a placeholder in its place. `fence` is the $tag$ around it, if there is one.

    `is_part`: of a string in which more stands, which may be a statement itself (dblink_exec), in quotes of its own.
    """

    text: str
    place: _Place = _Place.BARE
    is_placeholder: bool = False
    fence: str = ""
    is_part: bool = False


_END = _Piece(";")  # between two statements


@dataclass(frozen=True, slots=True)
class Script:
    """Statements that were parsed."""

    pieces: tuple[_Piece, ...]
    dialect: Dialect

    def render(self, values: Mapping[str, str]) -> list[str]:
        """The statements with `values` in the places of the placeholders. Raises TargetRefusedError.

        A placeholder without a value is refused, and so is a value that its place cannot hold.
        """
        found, current = [], [""]
        for piece in self.pieces:
            if piece is _END:
                found.append("".join(current).strip())
                current = []
            else:
                current.append(self._filled(piece, values) if piece.is_placeholder else piece.text)
        found.append("".join(current).strip())
        return [statement for statement in found if statement]

    def _filled(self, piece: _Piece, values: Mapping[str, str]) -> str:
        value = values.get(piece.text)
        if value is None:
            raise TargetRefusedError(f"the statements ask for {{{{{piece.text}}}}}, which there is not here")
        is_code = piece.fence and piece.place in {_Place.LITERAL, _Place.ESCAPED}  # EXECUTE 'DROP ROLE "{{name}}"'
        is_code = is_code or (piece.is_part and piece.text in NAMES)  # callers have a say in names: display_name
        if "\0" in value or (piece.fence and "$" in value) or (is_code and not _PLAIN.fullmatch(value)):
            raise TargetRefusedError(f"the value of {{{{{piece.text}}}}} cannot stand where the statements put it")
        return _quoted(value, piece, self.dialect)


def _quoted(value: str, piece: _Piece, dialect: Dialect) -> str:
    match piece.place:
        case _Place.LITERAL:
            return value.replace("'", "''")
        case _Place.ESCAPED:
            return value.replace("\\", "\\\\").replace("'", "\\'").replace('"', '\\"')
        case _Place.IDENTIFIER:
            return value.replace('"', '""')
        case _Place.BACKQUOTED:
            return value.replace("`", "``")
        case _:
            return identifier(value, dialect) if piece.text in NAMES else literal(value, dialect)


def identifier(value: str, dialect: Dialect) -> str:
    """A name with its quotes."""
    if dialect is Dialect.MYSQL:
        return "`" + value.replace("`", "``") + "`"
    return '"' + value.replace('"', '""') + '"'


def literal(value: str, dialect: Dialect) -> str:
    """A string with its quotes."""
    if dialect is Dialect.MYSQL:
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return "'" + value.replace("'", "''") + "'"


def parse_statements(statements: Statements, dialect: Dialect, kind: StatementKind) -> Script:
    """Statements that are run in order. Raises InvalidRequestError that names the field and what is wrong."""
    pieces: list[_Piece] = []
    for number, statement in enumerate(statements, 1):
        where = f"{kind.value}, statement {number}"
        if pieces:
            pieces.append(_END)
        if dialect is Dialect.MYSQL and _PREPARE.match(statement):
            raise InvalidRequestError(f"{where}: PREPARE makes statements of strings, in which nothing can be quoted")
        pieces += _checked(list(_Lexer(statement, dialect, where).pieces()), where)
    return Script(tuple(pieces), dialect)


def mentions(script: Script, names: Sequence[str] | frozenset[str]) -> bool:
    """Whether one of the placeholders stands in it."""
    return any(piece.is_placeholder and piece.text in names for piece in script.pieces)


def _checked(pieces: list[_Piece], where: str) -> list[_Piece]:
    for piece in pieces:
        if not piece.is_placeholder:
            if _UNCLOSED.search(piece.text) and piece.place is not _Place.COMMENT:
                raise InvalidRequestError(f"{where}: a placeholder is not closed by }}}}")
            continue
        if piece.text not in NAMES | VALUES:
            known = ", ".join(f"{{{{{name}}}}}" for name in sorted(NAMES | VALUES))
            raise InvalidRequestError(f"{where}: there is no placeholder {{{{{piece.text[:32]}}}}}; there are {known}")
        if piece.place is _Place.COMMENT:
            raise InvalidRequestError(f"{where}: {{{{{piece.text}}}}} stands in a comment")
    return pieces


class _Lexer:
    """Cuts one statement into what is quoted, commented and bare."""

    def __init__(self, text: str, dialect: Dialect, where: str, *, fence: str = "") -> None:
        if "\0" in text:
            raise InvalidRequestError(f"{where}: a NUL character")
        self._text = text
        self._dialect = dialect
        self._where = where
        self._fence = fence

    def pieces(self) -> Iterator[_Piece]:
        """In the order of the text; `_END` for each ";" that ends a statement."""
        at, bare = 0, 0
        while at < len(self._text):
            span = self._special(at)
            if span is None:
                at += 1
                continue
            yield from self._split(self._text[bare:at], _Place.BARE)
            end, place = span
            yield from self._inside(at, end, place)
            at = bare = end
        yield from self._split(self._text[bare:], _Place.BARE)

    def _inside(self, start: int, end: int, place: _Place | None) -> Iterator[_Piece]:
        if place is None:
            yield from self._end_of_statement()
        elif place is _Place.BARE:  # between dollar quotes stands SQL again
            fence = _fence_at(self._text, start)
            yield _Piece(fence)
            body = self._text[start + len(fence) : end - len(fence)]
            yield from _Lexer(body, self._dialect, self._where, fence=fence).pieces()
            yield _Piece(fence)
        else:
            yield from self._split(self._text[start:end], place)

    def _end_of_statement(self) -> Iterator[_Piece]:
        yield _Piece(";") if self._fence else _END  # inside dollar quotes it ends nothing

    def _special(self, at: int) -> tuple[int, _Place | None] | None:
        """Where what begins here ends, and what it is; None for bare text."""
        char = self._text[at]
        if char == ";":
            return at + 1, None
        return self._quotes(char, at) or self._comment(char, at) or self._dollars(char, at)

    def _quotes(self, char: str, at: int) -> tuple[int, _Place | None] | None:
        is_mysql = self._dialect is Dialect.MYSQL
        if char == "'":
            escapes = is_mysql or self._is_escape_string(at)
            return self._closing(at, "'", escapes=escapes), _Place.ESCAPED if escapes else _Place.LITERAL
        if char == '"':
            return self._closing(at, '"', escapes=is_mysql), _Place.ESCAPED if is_mysql else _Place.IDENTIFIER
        if is_mysql and char == "`":
            return self._closing(at, "`", escapes=False), _Place.BACKQUOTED
        return None

    def _comment(self, char: str, at: int) -> tuple[int, _Place | None] | None:
        pair = self._text[at : at + 2]
        if pair == "/*":
            return self._comment_end(at), _Place.COMMENT
        if (pair == "--" and self._is_line_comment(at)) or (self._dialect is Dialect.MYSQL and char == "#"):
            end = self._text.find("\n", at)
            return (len(self._text) if end < 0 else end + 1), _Place.COMMENT
        return None

    def _dollars(self, char: str, at: int) -> tuple[int, _Place | None] | None:
        if (
            self._dialect is Dialect.POSTGRESQL
            and char == "$"
            and not _is_word(self._text[at - 1 : at])
            and (fence := _fence_at(self._text, at))
        ):
            end = self._text.find(fence, at + len(fence))
            if end < 0:
                raise InvalidRequestError(f"{self._where}: what {fence} begins is not ended")
            return end + len(fence), _Place.BARE
        return None

    def _is_line_comment(self, at: int) -> bool:
        return self._dialect is Dialect.POSTGRESQL or self._text[at + 2 : at + 3] in {"", " ", "\t", "\n", "\r"}

    def _is_escape_string(self, at: int) -> bool:
        return self._text[at - 1 : at] in {"e", "E"} and not _is_word(self._text[at - 2 : at - 1] if at > 1 else "")

    def _closing(self, at: int, quote: str, *, escapes: bool) -> int:
        place = at + 1
        while place < len(self._text):
            char = self._text[place]
            if escapes and char == "\\":
                place += 2
            elif char != quote:
                place += 1
            elif self._text[place + 1 : place + 2] == quote:
                place += 2
            else:
                return place + 1
        raise InvalidRequestError(f"{self._where}: a quote ({quote}) is not closed")

    def _comment_end(self, at: int) -> int:
        depth, place = 1, at + 2
        nests = self._dialect is Dialect.POSTGRESQL
        while place < len(self._text):
            pair = self._text[place : place + 2]
            if pair == "*/":
                depth, place = depth - 1, place + 2
                if not depth:
                    return place
            elif nests and pair == "/*":
                depth, place = depth + 1, place + 2
            else:
                place += 1
        raise InvalidRequestError(f"{self._where}: a comment is not ended")

    def _split(self, text: str, place: _Place) -> Iterator[_Piece]:
        """Text and placeholders in turn."""
        at = 0
        for match in _PLACEHOLDER.finditer(text):
            if match.start() > at:
                yield _Piece(text[at : match.start()], place)
            is_part = place in {_Place.LITERAL, _Place.ESCAPED} and match.span() != (1, len(text) - 1)
            yield _Piece(match.group(1), place, is_placeholder=True, fence=self._fence, is_part=is_part)
            at = match.end()
        if at < len(text):
            yield _Piece(text[at:], place)


def _fence_at(text: str, at: int) -> str:
    found = _DOLLAR.match(text, at)
    return found.group() if found else ""


def _is_word(char: str) -> bool:
    return bool(char) and (char.isalnum() or char in "_$")
