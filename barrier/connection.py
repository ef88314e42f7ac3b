"""What runs statements: SQLAlchemy's async connection, or for reads of SQLite a synchronous one without a thread."""

from collections.abc import Mapping
from typing import Any, Protocol

from sqlalchemy import Connection, CursorResult, Dialect, Executable


class Statements(Protocol):
    """The part of sqlalchemy.ext.asyncio.AsyncConnection that the barrier uses."""

    @property
    def dialect(self) -> Dialect:
        """Which engine it is."""
        ...

    async def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | None = None
    ) -> CursorResult[Any]:  # rows are typed where they are taken apart
        """Run it and fetch the result."""
        ...


class InlineStatements:
    """Runs on the event loop's thread; only for reads, which in WAL mode wait for nobody.

    A look-up takes 10 us, a thread hop and back 100 us, and aiosqlite makes four of them a statement.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def dialect(self) -> Dialect:
        """SQLite."""
        return self._connection.dialect

    async def execute(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> CursorResult[Any]:
        """Run it; the rows are fetched as the caller takes them."""
        return self._connection.execute(statement, parameters)
