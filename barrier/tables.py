"""The tables, of the version `barrier.schema_version.SCHEMA`. Migrations make them.

Indexes stand in the migrations alone: a partial one loads the dialects of both engines, and no statement names it.
"""

from sqlalchemy import BigInteger, Column, Dialect, Integer, LargeBinary, MetaData, SmallInteger, String, Table, Text
from sqlalchemy.types import TypeDecorator

metadata = MetaData()


class ByteOrdered(TypeDecorator[str]):
    """Text that both engines compare by its UTF-8 bytes."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Text:
        """SQLite's default collation, BINARY, is already that."""
        return Text(collation="C") if dialect.name == "postgresql" else Text()


schema_version = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))

# what is needed before the keyring is open: plain, or encrypted by the HSM
seal = Table(
    "seal",
    metadata,
    Column("name", ByteOrdered, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("value", LargeBinary, nullable=False),
)

# path -> sealed value; `term` repeats the sealed value's, so that a re-encryption finds what is left under an old one
entries = Table(
    "entries",
    metadata,
    Column("path", ByteOrdered, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("term", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

records = Table(
    "records",
    metadata,
    Column("kind", ByteOrdered, primary_key=True),
    Column("record_id", ByteOrdered, primary_key=True),
    Column("expires_at", BigInteger, nullable=True),
    Column("parent", ByteOrdered, nullable=False),
    Column("alias", ByteOrdered, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("term", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("path", ByteOrdered, nullable=False),
)

# what engines announced, in the order of `number` (how that is made: barrier.events); `event_id` is random
events = Table(
    "events",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("event_id", LargeBinary, nullable=False),
    Column("term", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)

# one row: the number of the last event that was removed for its age, 0 before that
event_floor = Table("event_floor", metadata, Column("dropped", BigInteger, nullable=False))

# a catalog's path is its view's prefix and its name; its short number stands in every row and index
catalogs = Table(
    "catalogs",
    metadata,
    Column("catalog", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("path", ByteOrdered, nullable=False, unique=True),
    sqlite_autoincrement=True,
)

# catalogs whose mount is gone; what is left of them is removed little by little
catalogs_dropped = Table("catalogs_dropped", metadata, Column("catalog", BigInteger, primary_key=True))

# `key_term` is the keyring's, as `term` is elsewhere; `terms` are those that stand in catalog_terms, to remove them by
catalog_rows = Table(
    "catalog_rows",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("catalog", BigInteger, nullable=False),
    Column("row_id", ByteOrdered, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("row_group", ByteOrdered, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("key_term", Integer, nullable=False),
    Column("terms", ByteOrdered, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)

catalog_terms = Table(
    "catalog_terms",
    metadata,
    Column("catalog", BigInteger, primary_key=True),
    Column("term", ByteOrdered, primary_key=True),
    Column("due_at", BigInteger, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)

# PostgreSQL only: a sequence whose value is what numbers are counted from; never advanced, set at start
EVENT_BASE = "event_base"
