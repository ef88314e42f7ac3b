"""Fills secrets into a stopped development server: `python -m bench.kv_rows DIRECTORY MOUNT-UUID COUNT`.

The rows are those that the engine itself makes, over a storage that only collects them; they are sealed as the barrier
seals them, and written past it: through the API a million would take half an hour. A process of its own, since SoftHSM
reads its configuration when it is loaded.
"""

import asyncio
import contextlib
import json
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

from appliance.composition import hsm_settings
from appliance.config import Config
from appliance.processes.node import child_environment
from barrier.changes import ChangeRing
from barrier.entries import _context
from barrier.keyring import Keyring
from barrier.seal import Barrier
from bench.kv_secrets import VALUE, secret_name
from core.clock import SystemClock
from core.protocols import Event, StorageView, Transaction
from kv.engine import KvEngine
from kv.secret import Author
from kv.store import KvStore
from pkcs11_glue.hsm import Hsm

T = TypeVar("T")
Row = tuple[str, int, int, bytes]
_BATCH = 20_000


class Collector:
    """A storage in which nothing is yet; keeps what a transaction puts."""

    def __init__(self) -> None:
        self.put_rows: list[tuple[str, bytes]] = []

    async def get(self, _path: str) -> None:
        """Nothing."""

    async def put(self, path: str, value: bytes, *, cas: int | None = None) -> int:
        """Keep it."""
        self.put_rows.append((path, value))
        return (cas or 0) + 1

    async def announce(self, _event: Event) -> None:
        """Nobody listens to a server that is stopped."""

    async def transact(self, body: Callable[[Transaction], Awaitable[T]]) -> T:
        """At once."""
        return await body(cast("Transaction", self))

    def decoded_cache(self, *_given: Any, **_named: Any) -> "Collector":
        """Of nothing."""
        return self


async def rows(keyring: Keyring, mount: str, count: int) -> list[Row]:
    """The sealed rows of so many secrets with one version each, in the order of their paths."""
    collector = Collector()
    engine = KvEngine(KvStore(cast("StorageView", collector)), SystemClock(), prefix="secret/")
    author, value = Author(name="token", address="127.0.0.1"), json.dumps(VALUE, separators=(",", ":")).encode()
    sealed: list[Row] = []
    for number in range(count):
        await engine.put(secret_name(number), value, author=author)
        for path, row in collector.put_rows:
            whole = f"logical/{mount}/{path}"
            sealed.append((whole, 1, keyring.term, keyring.encrypt(row, _context(whole, 1))))
        collector.put_rows.clear()
    return sorted(sealed)


def insert(database: str, sealed: Iterator[Row]) -> None:
    """In large transactions."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-200000")
        while batch := list(islice(sealed, _BATCH)):
            with connection:
                connection.executemany("INSERT INTO entries (path, revision, term, sealed) VALUES (?, ?, ?, ?)", batch)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def fill(directory: Path, mount: str, *, count: int) -> None:
    """Open the stopped server's token and store as a worker does, and write the rows."""
    config = Config.dev(directory, "127.0.0.1:0", workers=1)
    os.environ.update(child_environment(config))
    ring_path = directory / "fill-ring"
    ChangeRing.create(ring_path).close()
    hsm = await Hsm.open(hsm_settings(config))
    barrier = await Barrier.open(config.store.url, ChangeRing.open(ring_path), hsm, clock=SystemClock())
    await barrier.unseal_from_hsm()
    sealed = await rows(barrier.storage.keyring, mount, count)
    await asyncio.to_thread(insert, config.store.url.removeprefix("sqlite:///"), iter(sealed))
    await barrier.close()
    await hsm.close()
    ring_path.unlink()


if __name__ == "__main__":
    asyncio.run(fill(Path(sys.argv[1]), sys.argv[2], count=int(sys.argv[3])))
