"""A head that comes again is not parsed again, and means what it meant the first time: nothing more."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from appliance.http.connection import Connection
from appliance.http.limits import Limits
from appliance.http.server import HttpServer
from appliance.wire import WireReply, WireRequest
from tests.unit.appliance_http.test_connection_splits import Sink

_POST = b"POST /v1/a HTTP/1.1\r\nHost: x\r\nX-Vault-Token: t\r\nContent-Length: 4\r\n\r\n"


class Peer(Sink):
    """As Sink, with an address of its own."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._extra["peername"] = (address, 1)  # type: ignore[attr-defined]  # asyncio's own dictionary


@pytest.fixture
async def server() -> AsyncIterator[HttpServer]:
    async def handle(request: WireRequest) -> WireReply:
        served.append(request)
        return WireReply(204)

    served: list[WireRequest] = []
    made = HttpServer(handle, Limits(max_body=4096))
    made.served = served  # type: ignore[attr-defined]  # of this test
    yield made
    await made.drain(0.1)


def _connect(server: HttpServer, address: str = "192.0.2.1") -> tuple[Connection, Peer]:
    connection, transport = server(), Peer(address)
    connection.connection_made(transport)
    return connection, transport


async def _send(connection: Connection, *pieces: bytes) -> None:
    for piece in pieces:
        connection.data_received(piece)
        for _ in range(5):
            await asyncio.sleep(0)


def _served(server: HttpServer) -> list[WireRequest]:
    return server.served  # type: ignore[attr-defined,no-any-return]  # as above


async def test_second_request_with_the_same_head_has_its_own_body(server: HttpServer) -> None:
    connection, transport = _connect(server)
    await _send(connection, _POST + b"one1", _POST + b"two2")
    assert [request.body for request in _served(server)] == [b"one1", b"two2"]
    assert [request.path for request in _served(server)] == ["/v1/a"] * 2
    assert _served(server)[0].memo is _served(server)[1].memo
    assert transport.written.count(b"204") == 2


async def test_peer_is_the_connections_own(server: HttpServer) -> None:
    for address in ("192.0.2.1", "192.0.2.2"):
        connection, _ = _connect(server, address)
        await _send(connection, _POST + b"body")
    assert [request.client_address for request in _served(server)] == ["192.0.2.1", "192.0.2.2"]


@pytest.mark.parametrize("cut", range(len(_POST) + 3))
async def test_known_head_in_two_pieces(server: HttpServer, cut: int) -> None:
    connection, _ = _connect(server)
    message = _POST + b"body"
    await _send(connection, message, message[: cut + 1], message[cut + 1 :], message)
    assert [request.body for request in _served(server)] == [b"body"] * 3


async def test_body_of_a_known_head_may_end_within_a_piece(server: HttpServer) -> None:
    connection, _ = _connect(server)
    await _send(connection, _POST + b"body", _POST + b"b", b"od", b"2" + _POST + b"3333" + _POST + b"4")
    await _send(connection, b"444")
    assert [request.body for request in _served(server)] == [b"body", b"bod2", b"3333", b"4444"]


async def test_another_byte_is_another_head(server: HttpServer) -> None:
    connection, _ = _connect(server)
    other = _POST.replace(b"Token: t", b"Token: u")
    await _send(connection, _POST + b"body", other + b"body")
    assert [request.headers["X-Vault-Token"] for request in _served(server)] == ["t", "u"]
    assert _served(server)[0].memo is not _served(server)[1].memo


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
        b"POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nX: " + b"x" * 1024 + b"\r\n\r\n",
    ],
    ids=["chunked", "expectation", "long"],
)
async def test_heads_that_are_not_kept(server: HttpServer, head: bytes) -> None:
    connection, _ = _connect(server)
    body = b"4\r\nbody\r\n0\r\n\r\n" if b"chunked" in head else b"body"
    await _send(connection, head + body, head + body)
    assert [request.body for request in _served(server)] == [b"body"] * 2
    assert server.heads.find(head) is None


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4097\r\n\r\n", b"413"),
        (b"POST /v1/%zz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n", b"400"),
        (b"POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n", b"400"),
        (b"POST /v1/a HTTP/1.1\r\nHost : x\r\nContent-Length: 4\r\n\r\n", b"400"),
    ],
)
async def test_refused_heads_are_refused_again(server: HttpServer, head: bytes, status: bytes) -> None:
    for _ in range(2):
        connection, transport = _connect(server)
        await _send(connection, head + b"body")
        assert transport.written.startswith(b"HTTP/1.1 " + status)
    assert not _served(server)
    assert server.heads.find(head) is None


async def test_close_is_asked_for_each_time(server: HttpServer) -> None:
    head = _POST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    for _ in range(2):
        connection, transport = _connect(server)
        await _send(connection, head + b"body" + head + b"body")
        assert transport.written.count(b"Connection: close") == 1
    assert len(_served(server)) == 2


async def test_heads_are_forgotten_when_there_are_too_many(server: HttpServer) -> None:
    connection, _ = _connect(server)
    for number in range(513):
        await _send(connection, b"GET /v1/%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
    assert server.heads.find(b"GET /v1/0 HTTP/1.1\r\nHost: x\r\n\r\n") is None
    assert server.heads.find(b"GET /v1/512 HTTP/1.1\r\nHost: x\r\n\r\n") is not None
