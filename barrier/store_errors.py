"""Driver errors to sentences. A driver's own text never reaches anybody: it may hold values."""

import sqlite3
from typing import Any

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from core.errors import StoreUnavailableError

DRIVER_ERRORS = (SQLAlchemyError, sqlite3.Error, OSError, TimeoutError)

_LOCKED = "the database is locked by another process; try again, and stop what holds it if this goes on"
_UNREACHABLE = "the database cannot be reached; check that it runs and that the configured address is right"
_READ_ONLY = "the database is read-only; check the file's permissions, the mount, or whether the server is a standby"
_FULL = "the disk of the database is full; free some space"
_DENIED = "the database refuses the configured user; check its name, password and grants"
_NO_SCHEMA = "the database has no schema of Mimir; start the server with this database once, which makes it"
_CORRUPT = "the database file is damaged or is no SQLite database; restore it from a backup"
_OTHER = "the database failed"
CANNOT_OPEN = "the database file cannot be opened; check that its directory exists and may be written"

_SQLITE = {
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_CANTOPEN: CANNOT_OPEN,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_IOERR: "reading or writing the database file failed; check the disk",
    sqlite3.SQLITE_CORRUPT: _CORRUPT,
    sqlite3.SQLITE_NOTADB: _CORRUPT,
}
_SQLSTATE = {
    "25006": _READ_ONLY,
    "53100": _FULL,
    "53200": "the database server is out of memory",
    "53300": "the database server takes no more connections; raise its max_connections or start fewer workers",
    "55P03": _LOCKED,
    "57014": "the database took too long and the statement was cancelled",
    "42P01": _NO_SCHEMA,
    "42501": _DENIED,
    "3D000": "the configured database does not exist on the server; create it",
}
_SQLSTATE_CLASS = {
    "08": _UNREACHABLE,
    "28": _DENIED,
    "53": "the database server is out of resources",
    "57": _UNREACHABLE,
}


def store_error(exc: BaseException) -> StoreUnavailableError:
    """The sentence for an error of SQLAlchemy, a driver or the operating system."""
    if isinstance(exc, PoolTimeoutError):
        return StoreUnavailableError("every database connection is in use; the database is too slow for the load")
    cause = exc.orig if isinstance(exc, DBAPIError) else exc
    code = getattr(cause, "sqlite_errorcode", None)
    if isinstance(code, int):
        if code & 0xFF == sqlite3.SQLITE_ERROR:
            return StoreUnavailableError(_NO_SCHEMA if _is_missing_table(cause) else _OTHER)
        return StoreUnavailableError(_SQLITE.get(code & 0xFF, _OTHER))
    state = sqlstate(exc)
    if state:
        return StoreUnavailableError(_SQLSTATE.get(state) or _SQLSTATE_CLASS.get(state[:2], _OTHER))
    if isinstance(cause, OSError) or isinstance(exc, InterfaceError) or is_disconnect(exc):
        return StoreUnavailableError(_UNREACHABLE)
    return StoreUnavailableError(_OTHER)


def _is_missing_table(cause: object) -> bool:
    # SQLite has one code for every error in a statement, and ours are constant: only a missing table is left
    return isinstance(cause, sqlite3.OperationalError)


def sqlstate(exc: BaseException) -> str:
    """PostgreSQL's five-character code, or nothing."""
    cause: Any = exc.orig if isinstance(exc, DBAPIError) else exc
    return getattr(cause, "sqlstate", None) or ""


def is_conflict(exc: BaseException) -> bool:
    """Whether another transaction came first, so that running ours again from the start is right.

    Serialisation failure, deadlock, and a unique index that another transaction filled in between.
    """
    return sqlstate(exc) in {"40001", "40P01", "23505"} or isinstance(exc, IntegrityError | sqlite3.IntegrityError)


def is_disconnect(exc: BaseException) -> bool:
    """Whether the connection itself is gone (a restarted server): a new one may work at once."""
    return isinstance(exc, DBAPIError) and exc.connection_invalidated


def is_unknown_outcome(exc: BaseException) -> bool:
    """Whether a COMMIT that failed so may have happened: the server was not there, or not in time, to tell."""
    return is_disconnect(exc) or isinstance(exc, TimeoutError | OSError)


def is_locked(exc: BaseException) -> bool:
    """Whether SQLite would have had to wait for another connection."""
    cause: Any = exc.orig if isinstance(exc, DBAPIError) else exc
    return (getattr(cause, "sqlite_errorcode", None) or 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
