"""Connections to a Redis or Valkey, and finding the master among several hosts."""

import asyncio
from collections.abc import Sequence
from typing import Any

from redis import exceptions as errors
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from dynamic.targets.fields import Host
from dynamic.targets.redis_address import Address

_Connection = Any  # redis-py's, which are typed in part
Reply = Any  # str, int, None, lists of them, or a ResponseError
Command = Sequence[str]

_CONNECT_TIMEOUT = 5.0  # seconds for all hosts
_REPLY_TIMEOUT = 12.0  # seconds


class Link:
    """A few connections that are opened when they are needed; commands of one call go out together.

    A server's "no" to a command is a reply (a ResponseError), all else is raised as redis-py does.
    """

    def __init__(self, address: Address, *, most: int) -> None:
        self._address = address
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._room = asyncio.Semaphore(most)
        self._master: Host | None = None

    async def ask(self, *commands: Command) -> list[Reply]:
        """Replies to commands, from the master; once more when a connection turns out to be dead, as after a restart.

        So a command may be run twice: it must be harmless to do that.
        """
        async with self._room:
            if self._idle:
                try:
                    return await self._ask_master(self._idle.pop(), commands)
                except errors.AuthenticationError:
                    raise
                except (errors.ConnectionError, errors.ReadOnlyError):
                    await self._leave()
            return await self._ask_master(None, commands)

    async def login(self, username: str, password: str) -> None:
        """Log in as somebody else, on a connection of its own."""
        if len(self._address.hosts) > 1:
            await self.ask(("ACL", "WHOAMI"))  # finds the master
        connection = self._made(self._candidates()[0], username, password)
        try:
            await connection.connect()
        finally:
            await connection.disconnect(nowait=True)

    async def _ask_master(self, connection: _Connection | None, commands: Sequence[Command]) -> list[Reply]:
        """On a connection that is known, or on a new one to whoever is master now."""
        is_new = connection is None
        connection = connection or await self._to_master()
        self._busy.add(connection)
        try:
            if not is_new:
                await self._check_still(connection)
            replies = await _exchange(connection, commands)
        except BaseException:
            await connection.disconnect(nowait=True)  # a reply may be on its way: it is nobody's
            raise
        finally:
            was_closed = connection not in self._busy
            self._busy.discard(connection)
        if was_closed:
            await connection.disconnect(nowait=True)
        else:
            self._idle.append(connection)
        return replies

    async def _check_still(self, connection: _Connection) -> None:
        """Raise ConnectionError when the server has hung up, ReadOnlyError when it is no master any more."""
        if not connection.is_connected or await connection.can_read():
            raise errors.ConnectionError("the server has closed the connection")
        if len(self._address.hosts) > 1:
            await _check_master(connection)

    async def _to_master(self) -> _Connection:
        """A new connection; hosts are tried in their order, the last master first."""
        failures: list[tuple[Host, errors.RedisError]] = []
        for host in self._candidates():
            try:
                connection = await self._connect(host)
            except (errors.ConnectionError, errors.TimeoutError) as exc:
                failures.append((host, exc))
                continue
            self._master = host
            return connection
        for _host, failure in failures:
            if isinstance(failure, errors.AuthenticationError):
                raise failure
        if len(failures) == 1:
            raise failures[0][1]
        reasons = "; ".join(f"{host}: {failure}" for host, failure in failures)
        raise errors.ConnectionError(f"no host is a master: {reasons}")

    def _candidates(self) -> list[Host]:
        return sorted(self._address.hosts, key=lambda host: host != self._master)

    async def _connect(self, host: Host) -> _Connection:
        connection = self._made(host, self._address.username, self._address.password)
        try:
            await connection.connect()
            if len(self._address.hosts) > 1:
                await _check_master(connection)
        except errors.ReadOnlyError as exc:
            await connection.disconnect(nowait=True)
            raise errors.ConnectionError(str(exc)) from None
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    def _made(self, host: Host, username: str, password: str) -> _Connection:
        arguments: dict[str, Any] = {
            "host": host.name,
            "port": host.port,
            "username": username,
            "password": password,
            "protocol": 2,
            "decode_responses": True,
            "encoding_errors": "replace",
            "driver_info": None,  # no CLIENT SETINFO: accounts need not be allowed that
            "retry": Retry(NoBackoff(), 0),
            "socket_keepalive": True,  # a router on the way forgets idle connections
            "socket_timeout": _REPLY_TIMEOUT,
            "socket_connect_timeout": _CONNECT_TIMEOUT / len(self._address.hosts),
        }
        if self._address.tls is None:
            return Connection(**arguments)
        connection = SSLConnection(**arguments)
        connection.ssl_context.context = self._address.tls  # else the system's CAs are trusted beside those given
        return connection

    async def _leave(self) -> None:
        """Close what is idle: the server has gone, or is no master."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        """Close all connections; calls under way fail."""
        busy, self._busy = self._busy, set()
        await self._leave()
        for connection in busy:
            await connection.disconnect(nowait=True)
        await asyncio.sleep(0)  # asyncio closes a socket in the next round of its loop


async def _exchange(connection: _Connection, commands: Sequence[Command]) -> list[Reply]:
    await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    replies: list[Reply] = []
    for _ in commands:
        try:
            replies.append(await connection.read_response(disconnect_on_error=False))
        except errors.ResponseError as exc:
            replies.append(exc)
    return replies


async def _check_master(connection: _Connection) -> None:
    """Raise ReadOnlyError for a replica: ACLs can be changed there, and nobody would see it."""
    (role,) = await _exchange(connection, [("ROLE",)])
    if isinstance(role, errors.ResponseError):
        raise role
    if role[0] != "master":
        raise errors.ReadOnlyError(f"it is a {role[0]}")
