"""Statements that operators write for MySQL: which are taken, and what is run of them, how far."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from core.errors import InvalidRequestError
from dynamic.sql_text import NAMES, Dialect, Script, mentions, parse_statements
from dynamic.target import StatementKind, Statements
from dynamic.targets.mysql_session import Session

_NAMED = {StatementKind.CREATION, StatementKind.RENEWAL, StatementKind.REVOCATION, StatementKind.ROTATION}
_FIELDS = {
    StatementKind.CREATION: "the role's creation statements",
    StatementKind.REVOCATION: "the role's revocation statements",
    StatementKind.ROLLBACK: "the role's rollback statements",
    StatementKind.RENEWAL: "the role's renew statements",
    StatementKind.ROTATION: "the rotation statements",
    StatementKind.VERIFICATION: "the role's verify statements",
}
_PASSWORDS = {StatementKind.ROTATION, StatementKind.ROOT_ROTATION}
# Quoting by rules takes that the rules stay as they are, and that no statement is made of strings.
_RULES = re.compile(r"\bsql_mode\b|\bcharacter_set_\w|^SET\s+(NAMES|CHARACTER\s+SET|CHARSET)\b", re.IGNORECASE)
_OF_STRINGS = re.compile(r"(PREPARE|EXECUTE\s+IMMEDIATE)\b", re.IGNORECASE)
_SAMPLE = {"name": "n", "username": "n", "password": "p", "expiration": "e"}
# What leaves a session as it found it. All else (SET, USE, LOCK, CALL, START) spoils it for the next one.
_HARMLESS = re.compile(
    r"\s*(CREATE(?!\s+(OR\s+REPLACE\s+)?TEMPORARY)|GRANT|REVOKE|ALTER|DROP|INSERT|UPDATE|DELETE|SELECT|FLUSH|RENAME)\b",
    re.IGNORECASE,
)
_CREATE_USER = re.compile(r"\s*CREATE\s+(USER|ROLE)\b", re.IGNORECASE)
_EXISTS = 1396  # ER_CANNOT_USER


class Steps:
    """Statements that are run one after the other; `str` says which one it is at, for the sentence of an error."""

    def __init__(self, statements: list[str], kind: StatementKind) -> None:
        self._statements = statements
        self._kind = kind
        self._at = 0
        self.attempts = 0

    def __str__(self) -> str:
        place = f", statement {self._at + 1} of {len(self._statements)}" if len(self._statements) > 1 else ""
        return _FIELDS[self._kind] + place

    async def run(self, session: Session) -> None:
        """All of them, from the first."""
        self.attempts += 1
        if not all(map(_HARMLESS.match, self._statements)):
            session.is_spoilt = True
        for self._at, statement in enumerate(self._statements):  # noqa: B020 - how far it came is what is kept
            await session.run(statement)

    def met_existing(self, number: int) -> bool:
        """Whether an error says that an account could not be made because it is there, and is not of our making."""
        return number == _EXISTS and self.attempts == 1 and _CREATE_USER.match(self._statements[self._at]) is not None


class Scripts:
    """Statements parsed once."""

    def __init__(self) -> None:
        self._parsed: dict[tuple[StatementKind, Statements], Script] = {}

    def steps(self, kind: StatementKind, statements: Statements, values: Mapping[str, str]) -> Steps:
        """Ready to run. Raises TargetRefusedError for a value that cannot stand where it would."""
        key = (kind, statements)
        script = self._parsed.get(key)
        if script is None:
            if len(self._parsed) >= 1_000:
                self._parsed.clear()
            script = self._parsed[key] = _parse(kind, statements)
        return Steps(script.render(values), kind)


def check_statements(kind: StatementKind, statements: Statements) -> None:
    """Raise InvalidRequestError for statements that cannot be rendered or do nothing for the account."""
    if kind is StatementKind.CREATION and not statements:
        raise InvalidRequestError(
            "creation_statements are required, such as CREATE USER '{{name}}'@'%' IDENTIFIED BY '{{password}}'; "
            "GRANT SELECT ON shop.* TO '{{name}}'@'%'"
        )
    script = _parse(kind, statements)
    if statements and kind in _NAMED and not mentions(script, NAMES):
        raise InvalidRequestError(f"{kind.value} must name the account: '{{{{name}}}}'@'%'")
    if statements and kind in _PASSWORDS and not mentions(script, ("password",)):
        raise InvalidRequestError(f"{kind.value} must set the password: '{{{{password}}}}'")


def _parse(kind: StatementKind, statements: Statements) -> Script:
    script = parse_statements(statements, Dialect.MYSQL, kind)
    for statement in script.render(_SAMPLE):
        if _RULES.search(statement):
            raise InvalidRequestError(
                f"{kind.value} cannot change sql_mode or character sets of the session, by which names are quoted"
            )
        if _OF_STRINGS.match(statement):
            raise InvalidRequestError(f"{kind.value} cannot make statements of strings, in which nothing is quoted")
    return script


def values_of(username: str, password: str = "", expires_at: int | None = None) -> dict[str, str]:
    """What placeholders stand for."""
    values = {"name": username, "username": username}
    if password:
        values["password"] = password
    if expires_at is not None:
        values["expiration"] = datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%d %H:%M:%S+0000")
    return values
