"""A worker's listening sockets: open, reload certificates, stop, drain.

Every worker binds each TCP address itself (SO_REUSEPORT), so the kernel spreads connections; a unix socket is bound
once, by the supervisor, and inherited. The kernel socket outlives the server object on it: new certificates come by
putting a new server on the same socket, and no waiting client is turned away.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from appliance.config import ListenerConfig
from appliance.http.addresses import bind_shared
from appliance.http.connection import Handle
from appliance.http.limits import Limits
from appliance.http.server import HttpServer
from appliance.http.tls import server_context
from core.errors import ConfigError

log = structlog.get_logger("mimir.http")

_BACKLOG = 1024
_HANDSHAKE_TIMEOUT = 10.0


@dataclass(slots=True)
class _Open:
    config: ListenerConfig
    socket: socket.socket
    http: HttpServer
    server: asyncio.Server


class Listeners:
    """All of one worker's listeners. `inherited` holds the bound sockets of unix listeners, by position."""

    def __init__(
        self,
        configs: Sequence[ListenerConfig],
        handle: Handle,
        *,
        limits: Limits,
        inherited: Mapping[int, socket.socket] | None = None,
    ) -> None:
        self._configs = configs
        self._handle = handle
        self._limits = limits
        self._inherited = inherited or {}
        self._open: list[_Open] = []

    async def start(self) -> None:
        """Accept connections on every address. Raises ConfigError."""
        contexts = [_context(config) for config in self._configs]
        for position, (config, context) in enumerate(zip(self._configs, contexts, strict=True)):
            bound = self._inherited.get(position) or bind_shared(config)
            http = HttpServer(self._handle, self._limits)
            self._open.append(_Open(config, bound, http, await _serve(http, bound, context)))

    async def reload(self) -> None:
        """Read certificate files again; new connections use them. A listener whose files are broken keeps the old."""
        for entry in self._open:
            if not entry.config.tls_cert:
                continue
            try:
                context = _context(entry.config)
            except ConfigError as exc:
                log.warning("certificate not reloaded", address=entry.config.address, reason=exc.sentence)
                continue
            old = entry.server
            entry.server = await _serve(entry.http, entry.socket, context)
            old.close()
            log.info("certificate reloaded", address=entry.config.address)

    def stop_accepting(self) -> None:
        """Close the listening sockets; connections go on."""
        for entry in self._open:
            entry.server.close()
            entry.socket.close()

    async def drain(self, limit: float) -> None:
        """Let requests in progress finish within `limit` seconds, then cut."""
        await asyncio.gather(*(entry.http.drain(limit) for entry in self._open))


def _context(config: ListenerConfig) -> ssl.SSLContext | None:
    return server_context(config) if config.tls_cert else None


async def _serve(http: HttpServer, bound: socket.socket, context: ssl.SSLContext | None) -> asyncio.Server:
    return await asyncio.get_running_loop().create_server(
        http,
        sock=bound.dup(),
        ssl=context,
        backlog=_BACKLOG,
        ssl_handshake_timeout=_HANDSHAKE_TIMEOUT if context else None,
    )
