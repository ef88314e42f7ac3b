"""What a role of Redis or Valkey says: rules of ACL SETUSER, which are checked when they are written.

Only rules that say what an account may do are taken. Those that hold a password or switch the account on, off or back
(`>`, `<`, `#`, `!`, nopass, reset, …) are not the role's: https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
"""

import re
import shlex

import msgspec

from core.errors import InvalidRequestError
from dynamic.target import StatementKind, Statements, TargetRefusedError

DEFAULT_RULES = ("~*", "+@read")  # as Vault's and OpenBao's plugins have it
_MOST = 256  # rules of a role

_PLAIN = frozenset(
    {"allkeys", "resetkeys", "allchannels", "resetchannels", "allcommands", "nocommands", "clearselectors"}
    | {"sanitize-payload", "skip-sanitize-payload", "alldbs", "resetdbs"}
)
_SWITCHES = frozenset({"on", "off", "nopass", "resetpass", "reset"})
_PATTERN = re.compile(r"(?:~|&|%(?:R|W|RW|WR)~)[^\s\"'()\x00-\x1f\x7f]*", re.IGNORECASE)
_COMMAND = re.compile(r"[+-]@?[a-z0-9_.-]+(?:\|[a-z0-9_.:-]+)?", re.IGNORECASE | re.ASCII)
_DATABASES = re.compile(r"db=[0-9]{1,5}(?:,[0-9]{1,5})*", re.ASCII)
_SELECTOR = re.compile(r"\(([^()]*)\)")
_TOKEN = re.compile(r"\([^()]*\)|\S+")


def parse_rules(statements: Statements) -> tuple[str, ...]:
    """Rules from creation statements: JSON arrays of them, or rules in plain text. Raises InvalidRequestError."""
    rules = tuple(rule for statement in statements for rule in _split(statement))
    if len(rules) > _MOST:
        raise InvalidRequestError(f"creation_statements: at most {_MOST} ACL rules")
    for rule in rules:
        _check_rule(rule)
    return rules or DEFAULT_RULES


def _split(statement: str) -> list[str]:
    text = statement.strip()
    if not text.startswith(("[", "{", '"')):
        return _TOKEN.findall(text)
    try:
        return [rule.strip() for rule in msgspec.json.decode(text, type=list[str])]
    except msgspec.DecodeError:
        raise InvalidRequestError(
            'creation_statements must be a JSON array of ACL rules: ["~cache:*", "+@read"]'
        ) from None


def _check_rule(rule: str) -> None:
    selector = _SELECTOR.fullmatch(rule)
    for part in selector[1].split() if selector else [rule]:
        _check_part(part)


def _check_part(rule: str) -> None:
    if rule[:1] in set("<>#!") or rule.lower() in _SWITCHES:
        shown = repr(rule) if rule.lower() in _SWITCHES else f"beginning with {rule[0]!r}"  # the rest is a password
        raise InvalidRequestError(
            f"creation_statements: a rule {shown} is not for a role: passwords and switches are set by the engine"
        )
    if rule.lower() in _PLAIN or any(known.fullmatch(rule) for known in (_PATTERN, _COMMAND, _DATABASES)):
        return
    raise InvalidRequestError(
        f"creation_statements: {rule[:40]!r} is no ACL rule: a rule is like +@read, -del, ~cache:*, %R~jobs:*, &news"
        " or (+get ~public:*)"
    )


def parse_commands(statements: Statements) -> list[list[str]]:
    """Verify statements: a Redis command each, as JSON array or as in redis-cli. Raises InvalidRequestError."""
    return [_command(statement) for statement in statements]


def _command(statement: str) -> list[str]:
    try:
        words = (
            msgspec.json.decode(statement, type=list[str])
            if statement.lstrip().startswith("[")
            else shlex.split(statement)
        )
    except (msgspec.DecodeError, ValueError):
        words = []
    if not words:
        raise InvalidRequestError("verify_statements must be Redis commands: GET cache:1")
    return words


def check_statements(kind: StatementKind, statements: Statements) -> None:
    """Raise InvalidRequestError for statements that Redis has no use for, or that a role may not say."""
    if kind is StatementKind.CREATION:
        parse_rules(statements)
    elif kind is StatementKind.VERIFICATION:
        parse_commands(statements)
    elif statements:
        raise InvalidRequestError(
            f"{kind.value} are not for Redis: accounts are removed by ACL DELUSER and changed by ACL SETUSER"
        )


def check_name(username: str) -> None:
    """Raise TargetRefusedError for a name that an ACL file or redis.conf cannot hold."""
    if not username or len(username) > 256 or any(_breaks(char) for char in username):
        raise TargetRefusedError("a Redis user name has no spaces, quotes or control characters")


def _breaks(char: str) -> bool:
    return char in "\"'" or char.isspace() or not char.isprintable()
