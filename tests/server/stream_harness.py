"""An HTTP server of this process whose answers go on, with the streams it answers with in the test's hands."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from appliance.http.limits import Limits
from appliance.http.server import HttpServer
from appliance.wire import StreamMessage, WireReply, WireRequest

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, 1.3
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
UPGRADE = b"Host: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
OPENING = b"GET /v1/stream HTTP/1.1\r\n" + UPGRADE + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY
OPENING += b"\r\n\r\n"
PLAIN = b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n\r\n"


class ScriptedStream:
    """A `MessageStream` that gives what the test puts into it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[StreamMessage | Exception | None] = asyncio.Queue()
        self.end_reason = ""
        self.received = 0
        self.closed = asyncio.Event()

    def put(self, data: bytes, message_id: str = "", kind: str = "") -> None:
        self._queue.put_nowait(StreamMessage(data, message_id, kind))

    def end(self, reason: str = "") -> None:
        self.end_reason = reason
        self._queue.put_nowait(None)

    def fail(self, exc: Exception) -> None:
        self._queue.put_nowait(exc)

    async def receive(self) -> StreamMessage | None:
        assert not self.closed.is_set()
        found = await self._queue.get()
        self.received += 1
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        assert not self.closed.is_set()
        self.closed.set()


class EndlessStream(ScriptedStream):
    """Always has another message."""

    async def receive(self) -> StreamMessage | None:
        self.received += 1
        return StreamMessage(b'"%b"' % (b"x" * 1000))


class StreamServer:
    """Answers /v1/stream with `stream`, and everything else with {}."""

    def __init__(self) -> None:
        self.http = HttpServer(self._handle, Limits())
        self.stream: ScriptedStream = ScriptedStream()
        self.extra: tuple[tuple[str, str], ...] = ()
        self.paths: list[str] = []
        self.address = ""
        self.port = 0

    async def _handle(self, request: WireRequest) -> WireReply:
        self.paths.append(request.path)
        if request.path == "/v1/stream":
            return WireReply(200, stream=self.stream, headers=self.extra)
        return WireReply(200, b"{}")

    def later(self, seconds: float) -> None:
        """Move the clock of the connections, past their time limits as it may be."""
        self.http.now += seconds
        for connection in self.http.connections:
            connection.check_time(self.http.now)  # type: ignore[attr-defined]  # HttpServer makes them

    async def talk(self, *pieces: bytes, tls: ssl.SSLContext | None = None) -> "Talk":
        talk = Talk(*await asyncio.open_connection("127.0.0.1", self.port, ssl=tls))
        for piece in pieces:
            await talk.send(piece)
        return talk

    async def closed(self) -> None:
        """The stream was closed."""
        await asyncio.wait_for(self.stream.closed.wait(), 5)

    async def deserted(self) -> None:
        """No connection is left, and no task of one."""
        async with asyncio.timeout(5):
            while self.http.connections or _connection_tasks():  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.001)


def _connection_tasks() -> list[str]:
    return [name for task in asyncio.all_tasks() if "Connection.start" in (name := str(task.get_coro()))]


class Talk:
    """A raw client connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.until(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:-2])
        return int(lines[0].split()[1]), headers

    async def until(self, end: bytes) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(end), 5)

    async def exactly(self, count: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(count), 5)

    async def rest(self) -> bytes:
        """Everything until the server hangs up."""
        return await asyncio.wait_for(self.reader.read(), 5)

    async def frame(self) -> tuple[int, bytes]:
        """A server's frame: its opcode and payload. Its first byte has FIN and nothing else set."""
        first, size = await self.exactly(2)
        assert first & 0xF0 == 0x80
        if size == 126:
            size = int.from_bytes(await self.exactly(2))
        return first & 0x0F, await self.exactly(size)

    async def close_frame(self) -> tuple[int, str]:
        opcode, payload = await self.frame()
        assert opcode == 8
        return int.from_bytes(payload[:2]), payload[2:].decode()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0) -> bytes:
    """A client's frame (RFC 6455, 5.2)."""
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2)
    mask = b"\x01\x02\x03\x04"
    hidden = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([0x80 * fin | reserved | opcode]) + size + mask + hidden


@contextlib.asynccontextmanager
async def stream_server(*, tls: ssl.SSLContext | None = None, unix: Path | None = None) -> AsyncIterator[StreamServer]:
    served = StreamServer()
    loop = asyncio.get_running_loop()
    if unix is not None:
        server: asyncio.Server = await loop.create_unix_server(served.http, str(unix))
    else:
        server = await loop.create_server(served.http, "127.0.0.1", 0, ssl=tls)
        served.port = server.sockets[0].getsockname()[1]
    try:
        yield served
    finally:
        server.close()
        await served.http.drain(1)
