"""What MySQL and its driver raise, as the engine knows it.

Numbers below 2000 are the server's, those from 2000 on the driver's ("MySQL 8.0 Error Message Reference").
"""

import ssl
import struct
from collections.abc import Iterable

import pymysql
from pymysql.constants import ER

from dynamic.scrubbing import HIDDEN, scrubbed
from dynamic.target import TargetAwayError, TargetLoginError, TargetRefusedError
from dynamic.targets.mysql_session import DistrustError, ReadOnlyHostError

_WINDOW = 4  # characters of a secret in a row that are no coincidence
_SYMBOLS = {number: name for name, number in vars(ER).items() if isinstance(number, int) and name != "ERROR_FIRST"}
_SYMBOLS |= {1698: "ACCESS_DENIED_NO_PASSWORD_ERROR", 3118: "ACCOUNT_HAS_BEEN_LOCKED", 4151: "ACCOUNT_HAS_BEEN_LOCKED"}

# When a session begins: access denied (also without a password), no account for this host, locked, password expired.
_LOGIN = frozenset({1045, 1130, 1698, 1820, 1862, 3118, 3955, 4151, 4165})
_DATABASE = frozenset({1044, 1049})  # no right to it, not there
_GONE = frozenset({1053, 1927, 2006, 2013, 2055})  # shutdown, killed, lost
_FULL = frozenset({1040, 1129, 1203, 1226})  # connections; errors of this host; resources of this user
_LATE = frozenset({1205, 1317, 1969, 3024})  # a lock was waited for in vain; interrupted; took too long
_AWAY = _GONE | _FULL | {2002, 2003, 2005, 2026, 2061}
_MOVED = frozenset({1290, 1836})  # the server takes no writes (any more)

# What the driver raises when the other side does not speak MySQL's protocol.
CONFUSED = (struct.error, LookupError, ValueError, AssertionError, TypeError)


class MySqlRefusedError(TargetRefusedError):
    """With the server's number."""

    def __init__(self, sentence: str, *, detail: str, number: int) -> None:
        super().__init__(sentence, detail=detail)
        self.number = number


def number_of(exc: BaseException) -> int:
    """0 where there is none."""
    found = exc.args[0] if isinstance(exc, pymysql.Error) and exc.args else 0
    return found if isinstance(found, int) else 0


def is_lost(exc: BaseException, *, moves: bool) -> bool:
    """Whether the session is over, and another one may serve. `moves`: there are several hosts, of which one writes."""
    if isinstance(exc, OSError | pymysql.InterfaceError):
        return True
    number = number_of(exc)
    return number in _GONE or (moves and number in _MOVED)


def of_connecting(exc: BaseException, name: str) -> TargetAwayError | TargetLoginError | TargetRefusedError:
    """The error for a connection that was not made; refused is a database that is not there, or not for this user."""
    if isinstance(exc, TimeoutError):
        return TargetAwayError(f"the database {name} did not answer in time")
    number = number_of(exc)
    if number in _LOGIN:
        return TargetLoginError(f"the database {name} refuses the user name or the password ({_code(number)})")
    if number in _DATABASE:
        return MySqlRefusedError(
            f"the database {name} refuses the database that the connection names ({_code(number)})",
            detail=_detail(exc, number, ()),
            number=number,
        )
    return TargetAwayError(f"the database {name} cannot be reached: {_reason(exc, number)}")


def of_statements(exc: BaseException, name: str, *, what: object, hidden: Iterable[str]) -> Exception:
    """The error for statements that failed on a connection that had been made."""
    number = number_of(exc)
    if isinstance(exc, TimeoutError) or number in _LATE:
        return TargetAwayError(f"the database {name} did not answer in time")
    if isinstance(exc, OSError | pymysql.InterfaceError | pymysql.InternalError) and number < 1000:
        return TargetAwayError(f"the database {name} cannot be reached: the connection was lost")
    if number in _AWAY:
        return TargetAwayError(f"the database {name} cannot be reached: {_reason(exc, number)}")
    return MySqlRefusedError(
        f"the database {name} refused {what} ({_code(number)})", detail=_detail(exc, number, hidden), number=number
    )


def _detail(exc: BaseException, number: int, hidden: Iterable[str]) -> str:
    """The server's text. It quotes statements cut to 80 characters, so a part of a password is looked for, too."""
    secrets = tuple(hidden)
    text = scrubbed(f"{_code(number)}: {exc.args[-1] if exc.args else ''}", secrets)
    head, _, quoted = text.partition(" near '")
    shown = quoted or head
    if any(secret[at : at + _WINDOW] in shown for secret in secrets for at in range(len(secret) - _WINDOW + 1)):
        return f"{_code(number)}: {HIDDEN} (the text shows a part of the password)"
    return text


def _code(number: int) -> str:
    symbol = _SYMBOLS.get(number)
    return f"{number} ER_{symbol}" if symbol else str(number)


def _reason(exc: BaseException, number: int) -> str:
    """Without names of hosts and users, which are not for everybody who asks for credentials."""
    if isinstance(exc, DistrustError):
        return str(exc.args[1])
    if isinstance(exc, ReadOnlyHostError) or number in _MOVED:
        return "none of its hosts takes writes"
    if isinstance(exc, CONFUSED):
        return "what answers there does not speak MySQL's protocol"
    cause = exc if isinstance(exc, OSError) else exc.__cause__
    if isinstance(cause, OSError):
        return _reason_of_system(cause)
    return _code(number) if number else "the connection was lost"


def _reason_of_system(cause: OSError) -> str:
    if isinstance(cause, TimeoutError):
        return "it did not answer in time"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({cause.verify_message})"
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed ({cause.reason or 'no reason given'})"
    return cause.strerror or "the connection was lost"
