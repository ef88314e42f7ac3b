"""Bring a database to this version's schema: run in a short-lived process before any worker starts."""

import asyncio

from sqlalchemy import Connection, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from barrier import events
from barrier.database import check_schema_version, create_sqlite_file, make_engine, parse_url
from barrier.schema_version import SCHEMA
from barrier.store_errors import DRIVER_ERRORS, store_error
from barrier.tables import schema_version

# any constant that no other program on the server is likely to use
_ADVISORY_LOCK = 0x6D696D6972
_PATIENCE = 30.0


def upgrade(url: str) -> None:
    """Make or upgrade the schema. Raises StoreUnavailableError, also for a database newer than this program."""
    asyncio.run(upgrade_async(url))


async def upgrade_async(url: str) -> None:
    """As `upgrade`, for a caller that has an event loop."""
    parsed = parse_url(url)
    engine = make_engine(parsed, patience=_PATIENCE)
    try:
        create_sqlite_file(parsed)
        async with engine.connect() as connection:
            await _upgrade_locked(connection)
    except DRIVER_ERRORS as exc:
        raise store_error(exc) from exc
    finally:
        await engine.dispose()


async def _upgrade_locked(connection: AsyncConnection) -> None:
    """In one transaction, so that a migration happens whole, and once when two servers start together."""
    if connection.dialect.name == "sqlite":
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        await connection.exec_driver_sql("BEGIN")
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
    try:
        await connection.run_sync(_migrate)
        if connection.dialect.name == "postgresql":
            await connection.run_sync(events.settle_base)
    except BaseException:
        await connection.exec_driver_sql("ROLLBACK")
        raise
    await connection.exec_driver_sql("COMMIT")


def _migrate(connection: Connection) -> None:
    found = _found_version(connection)
    if found == SCHEMA:
        return
    if found is not None and found > SCHEMA:
        check_schema_version(found)
    _run_migrations(connection)


def _found_version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(schema_version.name):
        return None
    return connection.execute(select(schema_version.c.version_num)).scalar_one_or_none()


def _run_migrations(connection: Connection) -> None:
    from alembic import command  # late: most starts find the schema as it should be
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "barrier:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, SCHEMA)
