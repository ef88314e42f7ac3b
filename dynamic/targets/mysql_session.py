"""One session with a MySQL server: aiomysql's connection, which trusts the server less and quotes by known rules."""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from aiomysql.connection import Connection
from pymysql.constants import CLIENT
from pymysql.err import OperationalError

from dynamic.targets.mysql_url import Address, Host

# sql_text relies on the modes and the character set. NO_AUTO_CREATE_USER (which MySQL 8 has no more) keeps GRANT from
# making an account without a password where a statement has a host wrong. What is given up here must not happen later:
# hence the limits on waits, and in MariaDB on whole statements.
_MODES = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
_SET_UP = (
    "SET NAMES utf8mb4, SESSION autocommit = 1, SESSION lock_wait_timeout = 8, SESSION innodb_lock_wait_timeout = 8, "
    f"SESSION sql_mode = IF(VERSION() LIKE '%MariaDB%' OR VERSION() < '8', '{_MODES},NO_AUTO_CREATE_USER', '{_MODES}') "
    "/*M!100101 , SESSION max_statement_time = 12 */"
)
_READ_ONLY = 1290  # ER_OPTION_PREVENTS_STATEMENT
_SSL_ERROR = 2026  # CR_SSL_CONNECTION_ERROR
_AUTH_ERROR = 2061  # CR_AUTH_PLUGIN_ERR
_SAFE_METHODS = {"", "mysql_native_password", "caching_sha2_password", "sha256_password"}
_CLEAR_METHOD = "mysql_clear_password"
_QUIT = b"\x01\x00\x00\x00\x01"  # COM_QUIT as a packet
_CLOSING = 1.0  # seconds that a server is given to close its side


async def wait_closed(writers: Iterable[asyncio.StreamWriter | None]) -> None:
    """Until sessions that were left are over; not for long."""
    with contextlib.suppress(OSError):  # TimeoutError is one
        async with asyncio.timeout(_CLOSING):
            for writer in writers:
                if writer is not None:
                    await writer.wait_closed()


class DistrustError(OperationalError):
    """The server wants what it will not be given. The text is ours."""


class ReadOnlyHostError(OperationalError):
    """The server is a replica, and there are others to try."""


class Session(Connection):
    """A connection with one host."""

    def __init__(self, host: Host, address: Address, *, user: str, password: str, database: str) -> None:
        tls = address.tls
        super().__init__(
            host=host.name,
            port=host.port,
            unix_socket=host.socket or None,
            user=user,
            password=password.encode().decode("latin-1"),  # the driver encodes it in Latin-1; a server wants UTF-8
            db=database or None,
            charset="utf8mb4",
            autocommit=None,
            ssl=tls.context if tls else None,
            program_name="mimir",
        )
        self.client_flag &= ~CLIENT.MULTI_STATEMENTS  # what quoting should miss is no second statement
        self._tls = tls
        self._allows_clear = address.sends_clear_passwords and tls is not None and tls.is_verified
        self.answers = 0  # statements that the present user of the session has run
        self.is_spoilt = False  # not to be used again
        self.opened_at = self.kept_at = 0.0  # monotonic; the pool's

    @property
    def is_dead(self) -> bool:
        """Whether the server is known to have closed it."""
        reader = self._reader
        return reader is None or reader.at_eof() or reader.exception() is not None or reader.eof_received

    async def open(self, *, writable: bool, timeout: float) -> None:  # noqa: ASYNC109 - of connect and set-up together
        """Connect, log in, set up. `writable`: raises ReadOnlyHostError for a replica."""
        try:
            async with asyncio.timeout(timeout):
                await self._connect()
                await self.query(_SET_UP)
                if writable:
                    await self._check_writable()
        except BaseException:
            self.close()
            raise
        self.answers = 0

    async def _check_writable(self) -> None:
        [(value,)] = await self.rows("SELECT @@GLOBAL.read_only")
        if value not in {0, "0", "OFF"}:
            raise ReadOnlyHostError(_READ_ONLY, "read only")

    async def run(self, statement: str) -> None:
        """Run one statement; what it answers is read and forgotten."""
        await self.query(statement)
        while self._result is not None and self._result.has_next:
            await self.next_result()
        self.answers += 1

    async def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What a query answers."""
        await self.query(statement)
        self.answers += 1
        return list(self._result.rows or ()) if self._result is not None else []

    def leave(self) -> asyncio.StreamWriter | None:
        """Say good-bye and close, without waiting; answers what can be waited for."""
        writer: asyncio.StreamWriter | None = self._writer
        if writer is not None and not self.is_dead:
            writer.write(_QUIT)
            writer.close()
            self._writer = None
        self.close()
        return writer

    def close(self) -> None:
        """At once, in the middle of whatever it is: TLS would else wait for the server's consent."""
        if self._writer is not None:
            self._writer.transport.abort()
        super().close()

    # --- steps of the driver's login, with what it lets pass refused -----------------------------------------------

    async def _request_authentication(self) -> None:
        """Also where no TLS is offered: the driver would go on in clear."""
        if self._tls is not None:
            if self._tls.is_required and not self.server_capabilities & CLIENT.SSL:
                raise DistrustError(_SSL_ERROR, "it offers no TLS")
            self._host = self._tls.server_name or self._host  # what the driver compares the certificate with
        if not self.server_capabilities & CLIENT.PLUGIN_AUTH:
            raise DistrustError(_AUTH_ERROR, "it is older than MySQL 5.5")
        self._check_method(self._server_auth_plugin)
        try:
            await super()._request_authentication()
        except BaseException:
            self.close()
            raise

    async def _process_auth(self, plugin_name: bytes, auth_packet: Any) -> Any:
        self._check_method(plugin_name.decode("ascii", "replace"))
        return await super()._process_auth(plugin_name, auth_packet)

    def _check_method(self, method: str) -> None:
        if method == _CLEAR_METHOD and not self._allows_clear:
            raise DistrustError(
                _AUTH_ERROR,
                "it asks for the password in clear, which takes verified TLS and allowCleartextPasswords=true",
            )
        if method == "mysql_old_password":
            raise DistrustError(_AUTH_ERROR, "it asks for mysql_old_password, which gives the password away")
