"""The log of events, and how far back it no longer reaches."""

import sqlalchemy as sa
from alembic import op

from barrier.tables import EVENT_BASE

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make both tables; the floor has one row for ever."""
    is_postgres = op.get_context().dialect.name == "postgresql"
    # SQLite counts by itself only what is called INTEGER, and AUTOINCREMENT never gives a number again
    number = sa.BigInteger() if is_postgres else sa.Integer()
    op.create_table(
        "events",
        sa.Column("number", number, primary_key=True, autoincrement=not is_postgres),
        sa.Column("event_id", sa.LargeBinary(), nullable=False),
        sa.Column("term", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sqlite_autoincrement=True,
    )
    floor = op.create_table("event_floor", sa.Column("dropped", sa.BigInteger(), nullable=False))
    op.bulk_insert(floor, [{"dropped": 0}])
    if is_postgres:
        op.execute(f"CREATE SEQUENCE {EVENT_BASE}")
