"""A database that refuses: one sentence, nothing half-written, and service again when it is mended."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from barrier.database import Database
from barrier.schema import upgrade_async
from barrier.seal import Barrier
from core.errors import StoreUnavailableError
from tests.barrier.nodes import Node, execute, initialize
from tests.support.postgres import ThrowAwayPostgres


@pytest.fixture
def postgres_url(postgres: ThrowAwayPostgres, postgres_template: str) -> str:
    return postgres.url(postgres.create_database(template=postgres_template))


async def initialized(url: str, directory: Path, *, patience: float = 5.0) -> tuple[Node, Barrier]:
    node = Node(url, directory)
    barrier = await node.worker(patience=patience)
    await initialize(barrier)
    await barrier.storage.put("kept", b"x")
    return node, barrier


async def assert_put_refused(barrier: Barrier, *, match: str, value: bytes = b"y") -> None:
    with pytest.raises(StoreUnavailableError, match=match) as caught:
        await barrier.storage.put("secret-path", value)
    assert "secret-path" not in caught.value.sentence


async def test_a_locked_database_is_waited_for_within_bounds(sqlite_url: str, tmp_path: Path) -> None:
    node, barrier = await initialized(sqlite_url, tmp_path, patience=0.2)
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await assert_put_refused(barrier, match="locked by another process")
        assert await barrier.storage.get("kept") is not None  # readers are not in the way of a writer
        other.execute("ROLLBACK")
    await barrier.storage.put("after", b"x")
    await node.close()


async def test_a_full_database_refuses_and_serves_again(sqlite_url: str, tmp_path: Path) -> None:
    """`max_page_count` makes SQLite answer SQLITE_FULL as a full disk does."""
    node, barrier = await initialized(sqlite_url, tmp_path)
    pages = limit_pages(barrier, 1)
    await assert_put_refused(barrier, match="full", value=os.urandom(200_000))
    assert await barrier.storage.get("secret-path") is None
    limit_pages(barrier, pages + 1_000_000)
    await barrier.storage.put("after", os.urandom(200_000))
    await node.close()


def limit_pages(barrier: Barrier, pages: int) -> int:
    """Set the limit on the writer's connection; the present size is the least that SQLite accepts."""
    return pragma(barrier, f"max_page_count={pages}")


def pragma(barrier: Barrier, setting: str) -> int:
    writer = barrier._database._writer
    assert writer is not None
    with writer._engine.connect() as connection:
        found = connection.exec_driver_sql(f"PRAGMA {setting}")
        return int(found.scalar_one()) if found.returns_rows else 0


@contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    directory.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", str(directory)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


async def test_a_full_disk_refuses_and_serves_again(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk):
        url = f"sqlite:///{disk}/store.db"
        await upgrade_async(url)
        node, barrier = await initialized(url, tmp_path)
        (disk / "ballast").write_bytes(b"x" * 800_000)
        await assert_put_refused(barrier, match="disk", value=os.urandom(900_000))
        assert await barrier.storage.get("secret-path") is None
        (disk / "ballast").unlink()
        await barrier.storage.put("after", b"x")
        assert await barrier.storage.list("") == ["after", "kept"]
        await node.close()


async def test_a_read_only_database_serves_reads(sqlite_url: str, tmp_path: Path) -> None:
    node, barrier = await initialized(sqlite_url, tmp_path)
    for query_only in (1, 0):
        pragma(barrier, f"query_only={query_only}")
        if query_only:
            await assert_put_refused(barrier, match="read-only")
            assert await barrier.storage.get("kept") is not None
    await barrier.storage.put("after", b"x")
    await node.close()


async def test_a_damaged_file_is_named_as_such(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(StoreUnavailableError, match="damaged"):
        await Node(sqlite_url, tmp_path).worker()


async def test_a_read_only_server_serves_reads(postgres_url: str, tmp_path: Path) -> None:
    node, _barrier = await initialized(postgres_url, tmp_path)
    name = make_url(postgres_url).database
    await execute(postgres_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    worker = await node.worker()  # new connections have the setting
    await worker.unseal_from_hsm()
    await assert_put_refused(worker, match="read-only")
    assert await worker.storage.get("kept") is not None
    await node.close()


async def test_a_restarted_server_costs_no_request(
    postgres: ThrowAwayPostgres, postgres_url: str, tmp_path: Path
) -> None:
    node, barrier = await initialized(postgres_url, tmp_path)
    postgres.stop()
    postgres.start()
    assert await barrier.storage.get("kept") is not None
    await barrier.storage.put("after", b"x")
    await node.close()


async def test_a_stopped_server_is_unreachable_until_it_is_back(
    postgres: ThrowAwayPostgres, postgres_url: str, tmp_path: Path
) -> None:
    node, barrier = await initialized(postgres_url, tmp_path)
    postgres.stop()
    try:
        await assert_put_refused(barrier, match="cannot be reached")
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            await barrier.storage.get("kept")
        assert not (await barrier.status()).sealed  # told without the store
    finally:
        postgres.start()
    await barrier.storage.put("after", b"x")
    await node.close()


class NoAnswerToCommit:
    """A transaction whose COMMIT is sent, and whose answer does not come in time."""

    dialect = None

    def __init__(self) -> None:
        self.statements: list[str] = []

    async def exec_driver_sql(self, statement: str) -> None:
        self.statements.append(statement)
        if statement == "COMMIT":
            raise TimeoutError

    async def invalidate(self) -> None:
        self.statements.append("invalidate")


async def test_a_commit_without_an_answer_is_told_to_every_cache(postgres_url: str) -> None:
    """The server may have done it: then the other workers must not go on with what they remember."""
    database, told = Database(postgres_url), []
    with pytest.raises(StoreUnavailableError, match="may or may not have happened; read it back"):
        await database._commit(NoAnswerToCommit(), lambda: told.append(1))
    assert told == [1]
    await database.close()


async def test_a_refused_login_is_named_as_such(postgres_url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="refuses the configured user"):
        await Node(postgres_url.replace("postgres@", "nobody@"), tmp_path).worker()
