"""The first schema: seal, entries, records."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _text() -> sa.Text:
    """Compared by bytes: SQLite's default collation is that, PostgreSQL's is called "C"."""
    return sa.Text(collation="C") if op.get_context().dialect.name == "postgresql" else sa.Text()


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "seal",
        sa.Column("name", _text(), primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "entries",
        sa.Column("path", _text(), primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("term", sa.Integer, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "records",
        sa.Column("kind", _text(), primary_key=True),
        sa.Column("record_id", _text(), primary_key=True),
        sa.Column("expires_at", sa.BigInteger, nullable=True),
        sa.Column("parent", _text(), nullable=False),
        sa.Column("alias", _text(), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("term", sa.Integer, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("records_by_expiry", "records", ["kind", "expires_at"])
    op.create_index("records_by_parent", "records", ["kind", "parent"])
    named = sa.text("alias <> ''")
    op.create_index(
        "records_by_alias", "records", ["kind", "alias"], unique=True, sqlite_where=named, postgresql_where=named
    )
