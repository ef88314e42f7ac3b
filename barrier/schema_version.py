"""Which schema this code reads and writes, and a quick look whether a database has it, without SQLAlchemy."""

import contextlib
import sqlite3
from urllib.parse import quote

SCHEMA = "0004"

_PREFIX = "sqlite:///"
_PATIENCE = 1.0  # seconds; who holds the lock for longer may be migrating


def is_current(url: str) -> bool:
    """Whether the database is SQLite and has our schema. Every doubt is a no.

    Looks under the write lock, as a migration works under it.
    """
    path = url.removeprefix(_PREFIX)
    if path == url or "?" in path or "%" in path:
        return False
    try:
        with contextlib.closing(_open(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            connection.execute("ROLLBACK")
    except (sqlite3.Error, ValueError):  # the long way says in a sentence what it is
        return False
    return found == [(SCHEMA,)]


def _open(path: str) -> sqlite3.Connection:
    """Never makes the file."""
    return sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True, timeout=_PATIENCE, isolation_level=None)
