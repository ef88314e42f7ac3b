"""The quick look at the schema says yes only when there is nothing to do and nothing wrong."""

import sqlite3
from pathlib import Path

import pytest

from barrier.schema import upgrade
from barrier.schema_version import is_current


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "a store #1.db"
    upgrade(f"sqlite:///{path}")
    return path


def edit(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


def test_a_store_that_was_just_upgraded_is_current(store: Path) -> None:
    assert is_current(f"sqlite:///{store}")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE alembic_version SET version_num = '0000'",
        "UPDATE alembic_version SET version_num = '9999'",
        "INSERT INTO alembic_version VALUES ('0000')",
        "DELETE FROM alembic_version",
        "DROP TABLE alembic_version",
    ],
)
def test_another_version_is_not_current(store: Path, statement: str) -> None:
    edit(store, statement)
    assert not is_current(f"sqlite:///{store}")


def test_no_file_is_not_current_and_is_not_made(tmp_path: Path) -> None:
    assert not is_current(f"sqlite:///{tmp_path}/new.db")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_database_is_not_current(store: Path) -> None:
    store.write_text("certainly not a database " * 100)
    assert not is_current(f"sqlite:///{store}")


def test_a_locked_store_is_not_current(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who holds the lock may be migrating."""
    monkeypatch.setattr("barrier.schema_version._PATIENCE", 0.0)
    holder = sqlite3.connect(store, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert not is_current(f"sqlite:///{store}")
    holder.close()


@pytest.mark.parametrize(
    "url", ["postgresql://u@localhost/x", "sqlite://", "sqlite:///x?mode=memory", "sqlite:///x%20y", "sqlite:///\0"]
)
def test_other_urls_are_left_to_the_long_way(url: str) -> None:
    assert not is_current(url)
