"""Catalogs: sealed rows by the million, with columns and terms to find them by."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def _text() -> sa.Text:
    """Compared by bytes: SQLite's default collation is that, PostgreSQL's is called "C"."""
    return sa.Text(collation="C") if op.get_context().dialect.name == "postgresql" else sa.Text()


def _counted(name: str) -> sa.Column[int]:
    """A number that the database gives, and never again; SQLite counts by itself only what is called INTEGER."""
    if op.get_context().dialect.name == "postgresql":
        return sa.Column(name, sa.BigInteger, sa.Identity(always=False), primary_key=True)
    return sa.Column(name, sa.Integer, primary_key=True)


def upgrade() -> None:
    """Make the tables; of SQLite's the terms are nothing but an index."""
    op.create_table(
        "catalogs",
        _counted("catalog"),
        sa.Column("path", _text(), nullable=False, unique=True),
        sqlite_autoincrement=True,
    )
    op.create_table("catalogs_dropped", sa.Column("catalog", sa.BigInteger, primary_key=True, autoincrement=False))
    op.create_table(
        "catalog_rows",
        _counted("number"),
        sa.Column("catalog", sa.BigInteger, nullable=False),
        sa.Column("row_id", _text(), nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False),
        sa.Column("row_group", _text(), nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("key_term", sa.Integer, nullable=False),
        sa.Column("terms", _text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "catalog_terms",
        sa.Column("catalog", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("term", _text(), primary_key=True),
        sa.Column("due_at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_index("catalog_rows_by_id", "catalog_rows", ["catalog", "row_id"], unique=True)
    op.create_index("catalog_rows_by_number", "catalog_rows", ["catalog", "number", "state"])
    op.create_index("catalog_rows_by_due", "catalog_rows", ["catalog", "state", "due_at", "number", "row_group"])
    changed = sa.text("changed_at <> 0")
    op.create_index(
        "catalog_rows_by_change",
        "catalog_rows",
        ["catalog", "row_group", "state", "changed_at"],
        sqlite_where=changed,
        postgresql_where=changed,
    )
