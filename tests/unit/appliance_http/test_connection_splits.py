"""However the network cuts and joins a stream of messages, the same requests come out."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from appliance.http.limits import Limits
from appliance.http.server import HttpServer
from appliance.wire import WireReply, WireRequest

MESSAGES = [
    (b"LIST /v1/a/ HTTP/1.1\r\nHost: x\r\n\r\n", ("LIST", "/v1/a/", b"")),
    (
        b"POST /v1/b HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\nLIST /\r\n\r\nGE",
        ("POST", "/v1/b", b"LIST /\r\n\r\nGE"),
    ),
    (b"\r\nSCAN /v1/c HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", ("SCAN", "/v1/c", b"")),
    (
        (
            b"LIST /v1/d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"9\r\n\r\n0\r\n\r\nLI\r\n2;q=1\r\nST\r\n0\r\n\r\n"
        ),
        ("LIST", "/v1/d", b"\r\n0\r\n\r\nLIST"),
    ),
    (b"GET /v1/e?LIST%20/ HTTP/1.1\r\nHost: x\r\nX: LIST /\r\n\r\n", ("GET", "/v1/e", b"")),
]


class Sink(asyncio.Transport):
    """Takes what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


@pytest.fixture
async def seen() -> AsyncIterator[tuple[HttpServer, list[tuple[str, str, bytes]]]]:
    requests: list[tuple[str, str, bytes]] = []

    async def handle(request: WireRequest) -> WireReply:
        requests.append((request.method, request.path, request.body))
        if request.path == "/v1/b":
            await asyncio.sleep(0)
        return WireReply(204)

    server = HttpServer(handle, Limits())
    yield server, requests
    await server.drain(0.1)


@pytest.mark.parametrize("seed", range(40))
async def test_same_requests_whatever_the_packets(
    seen: tuple[HttpServer, list[tuple[str, str, bytes]]], seed: int
) -> None:
    server, requests = seen
    source = random.Random(seed)  # noqa: S311 - repeatable on purpose
    chosen = source.choices(MESSAGES, k=12)
    stream = b"".join(message for message, _ in chosen)
    connection, transport = server(), Sink()
    connection.connection_made(transport)
    longest = source.choice([1, 3, 20, 150, 2000])
    at = 0
    while at < len(stream):
        step = source.randint(1, longest)
        connection.data_received(stream[at : at + step])
        at += step
        for _ in range(source.choice([0, 0, 1, 5])):
            await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert requests == [expected for _, expected in chosen]
    assert transport.written.count(b"HTTP/1.1 204 No Content\r\n") == len(chosen)
    connection.connection_lost(None)
