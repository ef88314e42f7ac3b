"""Every failure of a driver becomes a sentence of ours, decided by its code and never by its text."""

import sqlite3

import pytest
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from barrier.store_errors import is_conflict, is_disconnect, is_locked, store_error


class PostgresError(Exception):
    """As asyncpg's, which carry SQLSTATE."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__("secret-value in the driver's text")
        self.sqlstate = sqlstate


def sqlite_error(code: int) -> OperationalError:
    error = sqlite3.OperationalError("secret-value in the driver's text")
    error.sqlite_errorcode = code
    return OperationalError("SELECT secret-value", None, error)


def postgres_error(sqlstate: str) -> DBAPIError:
    return DBAPIError("SELECT secret-value", None, PostgresError(sqlstate))


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (sqlite_error(sqlite3.SQLITE_READONLY), "read-only"),
        (sqlite_error(sqlite3.SQLITE_READONLY_DBMOVED), "read-only"),
        (sqlite_error(sqlite3.SQLITE_FULL), "full"),
        (sqlite_error(sqlite3.SQLITE_BUSY), "locked"),
        (sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT), "locked"),
        (sqlite_error(sqlite3.SQLITE_IOERR_FSYNC), "check the disk"),
        (sqlite_error(sqlite3.SQLITE_CORRUPT), "damaged"),
        (sqlite_error(sqlite3.SQLITE_NOTADB), "damaged"),
        (sqlite_error(sqlite3.SQLITE_CANTOPEN), "cannot be opened"),
        (sqlite_error(sqlite3.SQLITE_ERROR), "no schema"),
        (sqlite_error(sqlite3.SQLITE_MISUSE), "failed"),
        (postgres_error("25006"), "read-only"),
        (postgres_error("53100"), "full"),
        (postgres_error("53300"), "no more connections"),
        (postgres_error("28P01"), "refuses the configured user"),
        (postgres_error("3D000"), "does not exist"),
        (postgres_error("57P03"), "cannot be reached"),
        (postgres_error("08006"), "cannot be reached"),
        (postgres_error("42P01"), "no schema"),
        (postgres_error("XX000"), "failed"),
        (ConnectionRefusedError(), "cannot be reached"),
        (TimeoutError(), "cannot be reached"),
        (InterfaceError("secret-value", None, Exception()), "cannot be reached"),
        (PoolTimeoutError("secret-value"), "too slow"),
    ],
)
def test_the_sentence_follows_from_the_code(error: Exception, sentence: str) -> None:
    found = store_error(error).sentence
    assert sentence in found
    assert "secret-value" not in found


@pytest.mark.parametrize(
    ("sqlstate", "conflict"), [("40001", True), ("40P01", True), ("23505", True), ("25006", False)]
)
def test_what_is_run_again(sqlstate: str, conflict: bool) -> None:
    assert is_conflict(postgres_error(sqlstate)) == conflict


def test_a_lock_is_neither_a_conflict_nor_a_disconnect() -> None:
    locked = sqlite_error(sqlite3.SQLITE_BUSY)
    assert is_locked(locked)
    assert not is_conflict(locked)
    assert not is_disconnect(locked)
    assert not is_locked(postgres_error("40001"))
