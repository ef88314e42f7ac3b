"""A port that leads to a server, perhaps with TLS before it, and that can be cut off and come back."""

import asyncio
import contextlib
import ssl


class TcpFront:
    """Listens on 127.0.0.1 and hands on what comes, both ways."""

    def __init__(self, target: str, *, tls: ssl.SSLContext | None = None) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()
        self.port = 0
        self.answers = asyncio.Event()  # cleared: what the server says is kept back
        self.answers.set()

    async def start(self) -> None:
        """Listen, again on the same port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """End what is open, and listen on."""
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def stop(self) -> None:
        """Be as a server that is down."""
        if self._server is not None:
            self._server.close()
            await self.cut()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        own = asyncio.current_task()
        if own is None:
            raise RuntimeError("a connection is served by a task")
        self._pumps.add(own)
        own.add_done_callback(self._pumps.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            there, back = await asyncio.open_connection(*self._target)
            try:
                pumps = [
                    asyncio.ensure_future(_pump(reader, back)),
                    asyncio.ensure_future(_pump(there, writer, self.answers)),
                ]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)
            finally:
                back.close()
        writer.close()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, allowed: asyncio.Event | None = None
) -> None:
    while data := await reader.read(65536):
        if allowed is not None:
            await allowed.wait()
        writer.write(data)
        await writer.drain()
