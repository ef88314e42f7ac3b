"""The connections of one listener: makes them, watches their time, drains them."""

import asyncio
import contextlib

from aiohttp import web

from appliance.http.connection import Connection, Handle
from appliance.http.limits import Limits
from appliance.http.replies import ReplyWriter

_CHECK_EVERY = 1.0  # seconds; the resolution of every time limit


class HttpServer(web.Server):
    """aiohttp's low-level server with our own kind of connection; an instance is a protocol factory."""

    def __init__(self, handle: Handle, limits: Limits) -> None:
        super().__init__(self._unused)
        self.handle = handle
        self.limits = limits
        self.replies = ReplyWriter()
        self._watch = self._loop.create_task(self._check_times())

    @staticmethod
    async def _unused(request: web.BaseRequest) -> web.StreamResponse:
        """aiohttp wants a handler; `Connection` goes its own way before it would be called."""
        raise RuntimeError("requests are handled by Connection")

    def __call__(self) -> Connection:
        return Connection(self, loop=self._loop)

    async def _check_times(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_EVERY)
            now = self._loop.time()
            for connection in self.connections:
                connection.check_time(now)  # type: ignore[attr-defined]  # __call__ makes them

    async def drain(self, timeout: float) -> None:
        """Close idle connections now and busy ones after their reply; those that take longer are cut."""
        self.finish_connections()
        deadline = self._loop.time() + timeout
        while self.connections and self._loop.time() < deadline:
            await asyncio.sleep(0.02)
        self._watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._watch
        await self.shutdown(0)

    def finish_connections(self) -> None:
        """Let no connection take another request."""
        for connection in self.connections:
            connection.finish()  # type: ignore[attr-defined]  # __call__ makes them
