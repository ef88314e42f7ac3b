"""Records get a path to be searched by; the children of one parent come in the order of their ids."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column and its index. Rows that are there have no path."""
    collation = "C" if op.get_context().dialect.name == "postgresql" else None
    op.add_column("records", sa.Column("path", sa.Text(collation=collation), nullable=False, server_default=""))
    placed = sa.text("path <> ''")
    op.create_index(
        "records_by_path", "records", ["kind", "path"], unique=True, sqlite_where=placed, postgresql_where=placed
    )
    op.drop_index("records_by_parent", "records")
    op.create_index("records_by_parent", "records", ["kind", "parent", "record_id"])
