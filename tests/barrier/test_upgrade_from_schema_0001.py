"""A cluster of the first schema, as the first release wrote it, upgraded on both engines.

schema_0001.json holds its rows. It was written by the code of the commit before migration 0002, on the KEK of
tests.unit.barrier.software_hsm: a mount entry, two tokens, one of them renewed, and a lease.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from barrier.database import Database, make_engine, parse_url
from barrier.schema import upgrade_async
from barrier.seal import Barrier
from core.errors import StoreUnavailableError
from core.protocols import CatalogQuery, CatalogRow, CoreTransaction, Record
from tests.barrier.nodes import Node
from tests.support.postgres import ThrowAwayPostgres

ROWS = json.loads((Path(__file__).parent / "schema_0001.json").read_text())
CHILD = Record(
    record_id="child",
    body=b"the child, renewed",
    expires_at=1_800_007_200,
    parent="parent",
    alias="accessor-of-the-child",
    revision=2,
)


def value(stored: object) -> object:
    return bytes.fromhex(stored["hex"]) if isinstance(stored, dict) else stored


def write(connection: Connection) -> None:
    """The first schema, and the rows."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "barrier:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")
    for table in ("seal", "entries", "records"):
        for row in ROWS[table]:
            names = ", ".join(row)
            places = ", ".join(f":{name}" for name in row)
            statement = text(f"INSERT INTO {table} ({names}) VALUES ({places})")
            connection.execute(statement, {name: value(stored) for name, stored in row.items()})


@pytest.fixture(params=["sqlite", "postgresql"])
def nothing(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Two databases of each engine without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/one.db", f"sqlite:///{tmp_path}/two.db"
    server: ThrowAwayPostgres = request.getfixturevalue("postgres")
    return server.url(server.create_database()), server.url(server.create_database())


@pytest.fixture
async def old(nothing: tuple[str, str], tmp_path: Path) -> AsyncIterator[Node]:
    """A node whose store is still of schema 0001."""
    engine = make_engine(parse_url(nothing[0]), patience=1)
    async with engine.connect() as connection:
        await connection.run_sync(write)
    await engine.dispose()
    node = Node(nothing[0], tmp_path)
    yield node
    await node.close()


async def upgraded(old: Node) -> Barrier:
    await upgrade_async(old.url)
    barrier = await old.worker()
    await barrier.unseal_from_hsm()
    return barrier


async def test_a_worker_refuses_the_old_schema(old: Node) -> None:
    with pytest.raises(StoreUnavailableError, match="restart the server, which upgrades to 0004"):
        await old.worker()


async def test_every_row_of_the_old_schema_still_opens(old: Node) -> None:
    storage = (await upgraded(old)).storage
    entry = await storage.get("core/mounts")
    assert entry is not None
    assert entry.value == b"mounts of schema 1"
    assert await storage.get_record("token", "child") == CHILD
    assert await storage.record_by_alias("token", "accessor-of-the-child") == CHILD
    assert await storage.child_records("token", "parent") == [CHILD]
    assert [r.body for r in await storage.list_records("token")] == [b"the child, renewed", b"the parent"]
    assert [r.body for r in await storage.expired_records("lease", before=1_800_000_060, limit=9)] == [b"the lease"]


async def test_rows_of_the_old_schema_have_no_path(old: Node) -> None:
    storage = (await upgraded(old)).storage
    assert await storage.records_below("token", "") == []
    assert await storage.record_names("token", "") == []
    assert await storage.count_records("token") == 2


async def test_an_upgraded_store_has_a_log_of_events(old: Node) -> None:
    storage = (await upgraded(old)).storage
    await storage.transact(lambda transaction: transaction.append_event(b"first"))
    assert [event.body for event in await storage.events_after(0, limit=9)] == [b"first"]


async def test_an_upgraded_store_has_catalogs(old: Node) -> None:
    storage = (await upgraded(old)).storage
    await storage.transact(lambda txn: txn.put_row("m/certs", CatalogRow(row_id="a", body=b"first", terms=("t",))))
    page = await storage.find_rows("m/certs", CatalogQuery(terms=("t",)))
    assert [row.body for row in page.rows] == [b"first"]


async def test_a_row_of_the_old_schema_is_given_a_path_by_writing_it(old: Node) -> None:
    storage = (await upgraded(old)).storage
    moved = Record(record_id="child", body=b"moved", parent="parent", path="root/auth/token/child")

    async def body(transaction: CoreTransaction) -> int:
        return await transaction.put_record("token", moved, cas=2)

    assert await storage.transact(body) == 3
    assert [r.body for r in await storage.records_below("token", "root/")] == [b"moved"]


async def test_the_upgraded_schema_is_the_one_that_a_new_store_gets(old: Node, nothing: tuple[str, str]) -> None:
    for url in nothing:
        await upgrade_async(url)
    assert await indexes(nothing[0]) == await indexes(nothing[1])
    assert len(await indexes(nothing[0])) >= 4


async def indexes(url: str) -> list[str]:
    """How the database says that it made the indexes."""
    where = "sqlite_master WHERE type = 'index' AND sql IS NOT NULL" if url.startswith("sqlite") else "pg_indexes"
    column = "sql" if url.startswith("sqlite") else "indexdef"
    database = Database(url)
    try:
        found = await database.read(lambda connection: connection.execute(text(f"SELECT {column} FROM {where}")))
        return sorted(row[0] for row in found.all() if "records" in row[0])
    finally:
        await database.close()
