"""Rows of a catalog by the hundred thousand: sealed as the barrier seals them, written into SQLite past it."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterable, Iterator

from barrier.catalog_rows import context, joined
from barrier.keyring import Keyring
from core.protocols import CatalogRow

_COLUMNS = (
    "number, catalog, row_id, state, row_group, due_at, changed_at, revision, key_term, terms, sealed"  # of a new row
)
_INSERT = f"INSERT INTO catalog_rows ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?)"


async def insert_rows(url: str, keyring: Keyring, path: str, rows: Iterable[CatalogRow]) -> None:
    """New rows; no worker is told of them. `path` is the view's prefix and the catalog's name."""
    budget = keyring.budget  # a million would use up what the worker may encrypt before it reserves more
    await asyncio.to_thread(_insert, url.removeprefix("sqlite:///"), keyring, path, rows)
    keyring.budget = budget


def _insert(file: str, keyring: Keyring, path: str, rows: Iterable[CatalogRow]) -> None:
    terms: list[tuple[int, str, int, int]] = []
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-400000")
        with connection:
            connection.execute("INSERT INTO catalogs (path) VALUES (?) ON CONFLICT (path) DO NOTHING", (path,))
            [catalog] = connection.execute("SELECT catalog FROM catalogs WHERE path = ?", (path,)).fetchone()
            [last] = connection.execute("SELECT coalesce(max(number), 0) FROM catalog_rows").fetchone()
            connection.executemany(_INSERT, _rows(keyring, path, catalog, rows, terms, first=last + 1))
            terms.sort()
            connection.executemany("INSERT INTO catalog_terms VALUES (?, ?, ?, ?)", terms)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _rows(
    keyring: Keyring,
    path: str,
    catalog: int,
    rows: Iterable[CatalogRow],
    terms: list[tuple[int, str, int, int]],
    *,
    first: int,
) -> Iterator[tuple[object, ...]]:
    for number, row in enumerate(rows, first):
        own = sorted(set(row.terms or ()))
        terms.extend((catalog, term, row.due_at, number) for term in own)
        sealed = keyring.encrypt(row.body, context(path, row, 1))
        columns = (row.row_id, row.state, row.group, row.due_at, row.changed_at)
        yield (number, catalog, *columns, keyring.term, joined(own), sealed)
