"""Records by the hundred thousand: sealed as the barrier seals them, written as the databases like it best."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice

import asyncpg

from barrier.keyring import Keyring
from barrier.records import _context
from core.protocols import Record

_BATCH = 20_000
_COLUMNS = ("kind", "record_id", "expires_at", "parent", "alias", "revision", "term", "sealed", "path")
_INSERT = f"INSERT INTO records ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"


async def insert_records(url: str, keyring: Keyring, kind: str, records: Iterable[Record]) -> None:
    """New records of a barrier whose keyring this is (`barrier.storage.keyring`); no worker is told of them."""
    rows = _rows(keyring, kind, records)
    budget = keyring.budget  # a million would use up what the worker may encrypt before it reserves more
    if url.startswith("sqlite:///"):
        await asyncio.to_thread(_insert_sqlite, url.removeprefix("sqlite:///"), rows)
    else:
        await _insert_postgresql(url, rows)
    keyring.budget = budget


def _rows(keyring: Keyring, kind: str, records: Iterable[Record]) -> Iterator[tuple[object, ...]]:
    for record in records:
        sealed = keyring.encrypt(record.body, _context(kind, record, 1))
        columns = (kind, record.record_id, record.expires_at, record.parent, record.alias)
        yield (*columns, 1, keyring.term, sealed, record.path)


def _insert_sqlite(path: str, rows: Iterator[tuple[object, ...]]) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-200000")
        with connection:
            connection.executemany(_INSERT, rows)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def _insert_postgresql(url: str, rows: Iterator[tuple[object, ...]]) -> None:
    connection = await asyncpg.connect(url)
    try:
        while batch := list(islice(rows, _BATCH)):
            await connection.copy_records_to_table("records", records=batch, columns=_COLUMNS)
        await connection.execute("VACUUM ANALYZE records")
    finally:
        await connection.close()
