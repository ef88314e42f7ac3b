"""A store of each engine, and appliances on it: the same suite runs on both."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from barrier.schema import upgrade
from barrier.schema_version import SCHEMA
from barrier.seal import Barrier
from tests.barrier.nodes import QUORUM, Node, no_first_writes
from tests.support.postgres import ThrowAwayPostgres, postgres

__all__ = ["postgres"]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file: copying it is quicker than migrating for each test."""
    path = tmp_path_factory.mktemp("template") / "store.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres: ThrowAwayPostgres) -> str:
    """A migrated, empty PostgreSQL database."""
    name = postgres.create_database()
    upgrade(postgres.url(name))
    return name


@pytest.fixture(scope="session")
def shared_database(postgres: ThrowAwayPostgres, postgres_template: str) -> str:
    """One for many tests: emptying it is quicker than making another."""
    return postgres.create_database(template=postgres_template)


async def empty(url: str) -> None:
    """The shared database, as if it were new."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            f"CREATE TABLE IF NOT EXISTS alembic_version (version_num varchar(32) PRIMARY KEY);"
            f"TRUNCATE seal, entries, records, events, catalogs, catalogs_dropped, catalog_rows, catalog_terms,"
            f" alembic_version; UPDATE event_floor SET dropped = 0;"
            f"INSERT INTO alembic_version VALUES ('{SCHEMA}')"
        )
    finally:
        await connection.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each engine."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "store.db")
        return f"sqlite:///{tmp_path}/store.db"
    server: ThrowAwayPostgres = request.getfixturevalue("postgres")
    shared = server.url(request.getfixturevalue("shared_database"))
    asyncio.run(empty(shared))
    return shared


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh SQLite store, for what only SQLite does."""
    shutil.copy(sqlite_template, tmp_path / "store.db")
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
async def node(url: str, tmp_path: Path) -> AsyncIterator[Node]:
    """A node whose store is empty."""
    node = Node(url, tmp_path)
    yield node
    await node.close()


@pytest.fixture
async def barrier(node: Node) -> Barrier:
    """A worker that has initialised the cluster, and is unsealed."""
    barrier = await node.worker()
    await barrier.initialize(QUORUM, no_first_writes)
    return barrier
