"""The schema: made, left alone, upgraded, and refused when it is newer than the program."""

import stat
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from barrier.database import Database
from barrier.schema import upgrade, upgrade_async
from barrier.schema_version import SCHEMA
from barrier.tables import metadata
from core.errors import ConfigError, StoreUnavailableError
from tests.barrier.nodes import Node, execute
from tests.support.postgres import ThrowAwayPostgres


def test_the_program_and_its_migrations_agree() -> None:
    config = Config()
    config.set_main_option("script_location", "barrier:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA


async def test_the_migrations_make_the_tables_that_the_program_uses(url: str) -> None:
    database = Database(url)
    try:
        for table in metadata.sorted_tables:
            rows = await database._read(lambda connection, table=table: connection.execute(table.select()))
            assert list(rows.keys()) == [column.name for column in table.columns]
    finally:
        await database.close()


async def test_upgrading_again_changes_nothing(node: Node) -> None:
    await upgrade_async(node.url)
    await node.worker()


async def test_a_newer_schema_is_refused_by_name(node: Node) -> None:
    await execute(node.url, "UPDATE alembic_version SET version_num = '9999'")
    for refused in (lambda: upgrade_async(node.url), node.worker):
        with pytest.raises(StoreUnavailableError, match="schema 9999, newer than"):
            await refused()


async def test_an_older_schema_is_refused_by_a_worker(node: Node) -> None:
    await execute(node.url, "UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(StoreUnavailableError, match="restart the server, which upgrades"):
        await node.worker()


async def test_a_database_without_schema_is_refused_by_a_worker(url: str, tmp_path: Path) -> None:
    await execute(url, "DROP TABLE alembic_version")
    with pytest.raises(StoreUnavailableError, match="no schema of Mimir"):
        await Node(url, tmp_path).worker()


def test_a_new_sqlite_file_is_its_owners_only(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path}/new.db")
    assert stat.S_IMODE((tmp_path / "new.db").stat().st_mode) == 0o600


def test_a_directory_that_is_not_there_is_named_as_the_cause(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="directory exists"):
        upgrade(f"sqlite:///{tmp_path}/no/such/new.db")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "new.db").write_text("certainly not a database " * 100)
    with pytest.raises(StoreUnavailableError, match="no SQLite database"):
        upgrade(f"sqlite:///{tmp_path}/new.db")


def test_a_missing_postgresql_database_is_named_as_the_cause(postgres: ThrowAwayPostgres) -> None:
    with pytest.raises(StoreUnavailableError, match="does not exist"):
        upgrade(postgres.url("nowhere"))


def test_a_server_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        upgrade(f"postgresql://postgres@/mimir?host={tmp_path}")


@pytest.mark.parametrize(
    "url", ["", "mimir.db", "sqlite://", "sqlite:///:memory:", "mysql://root:hunter2@localhost/x", "postgresql:hunter2"]
)
def test_other_storage_urls_are_refused_without_repeating_them(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        upgrade(url)
    assert "hunter2" not in caught.value.sentence
