"""The connections of one listener: makes them, watches their time, drains them."""

import asyncio
import contextlib

from aiohttp import web

from appliance.http.connection import Connection, Handle
from appliance.http.known_heads import KnownHeads
from appliance.http.limits import Limits
from appliance.http.replies import ReplyWriter

_CHECK_EVERY = 1.0  # seconds; the resolution of every time limit
_CANCELLED_WITHIN = 1.0  # seconds for a handler to notice


class HttpServer(web.Server):
    """aiohttp's low-level server with our own kind of connection; an instance is a protocol factory."""

    def __init__(self, handle: Handle, limits: Limits) -> None:
        super().__init__(self._unused)
        self.handle = handle
        self.limits = limits
        self.replies = ReplyWriter()
        self.heads = KnownHeads()
        self.now = self._loop.time()  # of the last check; exact enough for time limits, and free
        self._empty: asyncio.Event | None = None
        self._watch = self._loop.create_task(self._check_times())

    @staticmethod
    async def _unused(_: web.BaseRequest) -> web.StreamResponse:
        """What aiohttp would call; `Connection` goes its own way before."""
        raise RuntimeError("requests are handled by Connection")

    def __call__(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(self, loop=self._loop)

    async def _check_times(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_EVERY)
            self.now = self._loop.time()
            for connection in self.connections:
                connection.check_time(self.now)  # type: ignore[attr-defined]  # __call__ makes them

    @property
    def busy(self) -> bool:
        """Whether a request is being served."""
        return any(connection.serving for connection in self.connections)  # type: ignore[attr-defined]  # as above

    async def drain(self, limit: float) -> None:
        """Close idle connections now and busy ones after their reply; after `limit` seconds those left are cut."""
        self.finish_connections()
        if self.busy:
            self._empty = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), limit)
        self._watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watch
        await self.shutdown(_CANCELLED_WITHIN)

    def ended(self) -> None:
        """A connection has answered its last request."""
        if self._empty is not None and not self.busy:
            self._empty.set()

    def finish_connections(self) -> None:
        """Let no connection take another request."""
        for connection in self.connections:
            connection.finish()  # type: ignore[attr-defined]  # __call__ makes them
