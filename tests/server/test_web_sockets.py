"""Answers that go on, as a WebSocket (RFC 6455)."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from stream_harness import ACCEPT, KEY, OPENING, PLAIN, EndlessStream, StreamServer, Talk, masked, stream_server

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


@pytest.fixture
async def server() -> AsyncIterator[StreamServer]:
    async with stream_server() as served:
        yield served


async def opened(server: StreamServer, *more: bytes) -> Talk:
    talk = await server.talk(OPENING, *more)
    assert (await talk.head())[0] == 101
    return talk


async def test_opening_handshake(server: StreamServer) -> None:
    """RFC 6455, 1.3, has this key and its answer."""
    async with await server.talk(OPENING) as talk:
        status, headers = await talk.head()
    assert status == 101
    assert headers["sec-websocket-accept"] == ACCEPT.decode().lower()
    assert (headers["upgrade"], headers["connection"]) == ("websocket", "upgrade")
    assert not {"content-length", "transfer-encoding", "sec-websocket-extensions"} & set(headers)


async def test_each_message_is_a_text_frame(server: StreamServer) -> None:
    url = f"ws://127.0.0.1:{server.port}/v1/stream"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        server.stream.put(b'{"a":1}', "17", "kv-v2/data-write")
        server.stream.put(b'"%b"' % (b"x" * 70_000))
        assert (await socket.receive_str(timeout=5)) == '{"a":1}'
        assert len(await socket.receive_str(timeout=5)) == 70_002
        server.stream.end()
        assert (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1000
    await server.closed()


async def test_compression_is_not_agreed_to(server: StreamServer) -> None:
    url = f"ws://127.0.0.1:{server.port}/v1/stream"
    async with aiohttp.ClientSession() as session, session.ws_connect(url, compress=15) as socket:
        assert socket.compress == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"GET ", b"POST "),
        (b"GET ", b"LIST "),
        (b"keep-alive, Upgrade", b"keep-alive"),
        (b"Sec-WebSocket-Key: " + KEY + b"\r\n", b""),
        (KEY, b""),
        (KEY, KEY[:-4]),
        (KEY, b"AAAA" + KEY),
        (KEY, b"!" + KEY[1:]),
        (KEY, KEY + b"\r\nSec-WebSocket-Key: " + KEY),
        (KEY, b"\xc3\xa4" + KEY),
    ],
    ids=["post", "list", "connection", "no-key", "empty-key", "short-key", "long-key", "bad-key", "two-keys", "utf8"],
)
async def test_malformed_handshake(server: StreamServer, old: bytes, new: bytes) -> None:
    """The sentence names what is missing, and the connection can be used on."""
    async with await server.talk(OPENING.replace(old, new, 1)) as talk:
        status, headers = await talk.head()
        assert (status, headers["content-type"]) == (400, "application/json")
        assert b"WebSocket" in await talk.exactly(int(headers["content-length"]))
        await server.closed()
        await talk.send(b"GET /v1/other HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await talk.head())[0] == 200


@pytest.mark.parametrize("version", [b"8", b"14", b"13, 8", b""], ids=repr)
async def test_another_version_of_the_protocol(server: StreamServer, version: bytes) -> None:
    async with await server.talk(OPENING.replace(b"Version: 13", b"Version: " + version)) as talk:
        status, headers = await talk.head()
        assert (status, headers["sec-websocket-version"], headers["upgrade"]) == (426, "13", "websocket")
        assert b"version 13" in await talk.exactly(int(headers["content-length"]))
    await server.closed()


async def test_upgrade_where_no_stream_is(server: StreamServer) -> None:
    """It is ignored, and the connection stays HTTP."""
    asked = OPENING.replace(b"/v1/stream", b"/v1/other")
    async with await server.talk(asked + asked + PLAIN) as talk:
        for _ in range(2):
            assert (await talk.head())[0] == 200
            assert await talk.exactly(2) == b"{}"
        assert (await talk.head())[1]["content-type"] == "text/event-stream"


async def test_upgrade_to_something_else(server: StreamServer) -> None:
    async with await server.talk(OPENING.replace(b"Upgrade: websocket", b"Upgrade: h2c")) as talk:
        assert (await talk.head())[1]["content-type"] == "text/event-stream"


async def test_an_upgrade_is_decided_for_each_request(server: StreamServer) -> None:
    """The same head again, on other connections: known heads do not remember what they should not."""
    for _ in range(3):
        async with await opened(server) as talk:
            server.stream.end()
            assert await talk.close_frame() == (1000, "")
        server.stream = type(server.stream)()
        async with await server.talk(PLAIN) as talk:
            assert (await talk.head())[0] == 200
        await server.closed()
        server.stream = type(server.stream)()


async def test_frames_sent_with_the_handshake(server: StreamServer) -> None:
    async with await server.talk(OPENING + masked(PING, b"hello") + masked(CLOSE, b"\x03\xe8bye")) as talk:
        assert (await talk.head())[0] == 101
        assert await talk.frame() == (PONG, b"hello")
        assert await talk.close_frame() == (1000, "bye")
        assert await talk.rest() == b""
    await server.closed()


async def test_more_than_is_held_sent_with_the_handshake(server: StreamServer) -> None:
    """Reading was stopped while the request was handled; the client still gets to know."""
    async with await server.talk(OPENING + masked(TEXT, b"x" * 4000) * 100) as talk:
        assert (await talk.head())[0] == 101
        assert (await talk.close_frame())[0] == 1008
    await server.closed()
    await server.deserted()


async def test_what_a_client_says_is_ignored(server: StreamServer) -> None:
    said = masked(TEXT, b"x" * 4096) + masked(2, b"\x00" * 10) + masked(TEXT, b"a", fin=False) + masked(0, b"b")
    async with await opened(server, said) as talk:
        server.stream.put(b"1")
        assert await talk.frame() == (TEXT, b"1")


async def test_close_without_a_code(server: StreamServer) -> None:
    async with await opened(server, masked(CLOSE)) as talk:
        assert await talk.frame() == (CLOSE, b"")
        assert await talk.rest() == b""
    await server.closed()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x81\x01a", 1002),
        (masked(TEXT, b"a", reserved=0x40), 1002),
        (masked(3, b"a"), 1002),
        (masked(11), 1002),
        (masked(PING, b"a", fin=False), 1002),
        (masked(PING, b"a" * 126), 1002),
        (masked(0, b"a"), 1002),
        (masked(TEXT, b"a", fin=False) + masked(TEXT, b"b"), 1002),
        (masked(CLOSE, b"\x03"), 1002),
        (masked(CLOSE, b"\x03\xed"), 1002),
        (b"GET /v1/other HTTP/1.1\r\nHost: x\r\n\r\n", 1002),
        (masked(TEXT, b"a" * 4097), 1009),
        (masked(TEXT, b"a" * 4000, fin=False) + masked(0, b"a" * 97), 1009),
        (b"\x81\xff\x7f" + b"\xff" * 7 + b"\x01\x02\x03\x04", 1009),
        (masked(TEXT, b"a" * 4000) * 20, 1008),
    ],
    ids=[
        "unmasked",
        "reserved-bit",
        "reserved-opcode",
        "reserved-control-opcode",
        "fragmented-control",
        "long-control",
        "continuation-of-nothing",
        "message-in-a-message",
        "half-a-code",
        "code-not-to-be-sent",
        "http",
        "large-message",
        "large-in-fragments",
        "huge-length",
        "too-many",
    ],
)
async def test_a_broken_rule_closes_with_its_code(server: StreamServer, sent: bytes, code: int) -> None:
    async with await opened(server, sent) as talk:
        assert (await talk.close_frame())[0] == code
        assert await talk.rest() == b""
    await server.closed()


async def test_the_end_says_why(server: StreamServer) -> None:
    async with await opened(server) as talk:
        server.stream.end("the token was revoked")
        assert await talk.close_frame() == (1008, "the token was revoked")
        assert await talk.rest() == b""


async def test_a_long_reason_is_cut_between_characters(server: StreamServer) -> None:
    async with await opened(server) as talk:
        server.stream.end("ä" * 100)
        assert await talk.close_frame() == (1008, "ä" * 61)


async def test_a_fault_ends_the_stream_without_its_text(
    server: StreamServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async with await opened(server) as talk:
        server.stream.fail(ValueError("hvs.secret"))
        code, reason = await talk.close_frame()
    assert code == 1011
    assert reason.startswith("internal error, request ")
    assert "hvs.secret" not in "".join(capsys.readouterr())
    await server.closed()


async def test_ping_every_15_seconds(server: StreamServer) -> None:
    async with await opened(server) as talk:
        for _ in range(4):
            server.later(14)
            server.later(1)
            assert await talk.frame() == (PING, b"")
            await talk.send(masked(PONG) + masked(PING))
            assert await talk.frame() == (PONG, b"")


async def test_a_client_that_answers_no_ping_is_cut(server: StreamServer) -> None:
    async with await opened(server) as talk:
        server.later(15)
        server.later(29)
        assert not server.stream.closed.is_set()
        server.later(1)
        await server.closed()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await talk.exactly(10_000)


async def test_a_client_that_does_not_read_is_cut(server: StreamServer) -> None:
    server.stream = EndlessStream()
    async with await opened(server) as talk:
        talk.writer.transport.pause_reading()
        await asyncio.sleep(0.2)  # let the sockets' buffers fill
        (connection,) = server.http.connections
        assert connection.transport is not None
        assert 0 < connection.transport.get_write_buffer_size() < 256 * 1024
        server.later(1)
        server.later(30)
        await server.closed()


async def test_a_client_that_vanishes_ends_its_stream(server: StreamServer) -> None:
    async with await opened(server) as talk:
        server.stream.put(b"1")
        await talk.frame()
    await server.closed()
    await server.deserted()


async def test_a_client_that_vanishes_in_a_frame(server: StreamServer) -> None:
    async with await opened(server, masked(TEXT, b"hello")[:4]) as talk:
        talk.writer.write_eof()
        await server.closed()


async def test_the_client_s_close_is_awaited_and_no_longer_than_5_seconds(server: StreamServer) -> None:
    async with await opened(server) as talk:
        server.stream.end()
        assert await talk.close_frame() == (1000, "")
        await talk.send(masked(PING))
        server.later(6)
        assert await talk.rest() == b""
        await server.deserted()


async def test_a_drain_ends_streams_at_once(server: StreamServer) -> None:
    async with await opened(server) as talk:
        await asyncio.wait_for(server.http.drain(60), 2)
        assert await talk.close_frame() == (1001, "the server is shutting down")
    await server.closed()


async def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    client = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)))
    async with stream_server(unix=path) as served, client as session:
        async with session.ws_connect("ws://x/v1/stream") as socket:
            served.stream.put(b"1")
            assert (await socket.receive_str(timeout=5)) == "1"
        await served.closed()


def tls_contexts(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and a client's."""
    from appliance.config import Config
    from appliance.http.dev_certificates import make_dev_certificates
    from appliance.http.tls import server_context

    config = Config.dev(directory / "data", "127.0.0.1:0", workers=1, tls=True)
    make_dev_certificates(Path(config.listener[0].tls_cert).parent, host="127.0.0.1")
    authority = Path(config.listener[0].tls_cert).parent / "ca.pem"
    return server_context(config.listener[0]), ssl.create_default_context(cafile=authority)


async def test_tls(tmp_path: Path) -> None:
    """Both sides close, and the end arrives."""
    ours, theirs = tls_contexts(tmp_path)
    async with stream_server(tls=ours) as served:
        async with await served.talk(OPENING, tls=theirs) as talk:
            await talk.head()
            served.stream.put(b"1")
            assert await talk.frame() == (TEXT, b"1")
            served.stream.end("revoked")
            assert await talk.close_frame() == (1008, "revoked")
            await talk.send(masked(CLOSE, b"\x03\xf0"))
            assert await talk.rest() == b""
        await served.closed()
        served.stream = type(served.stream)()
        async with await served.talk(PLAIN.replace(b"1.1", b"1.0"), tls=theirs) as talk:
            await talk.head()
            served.stream.end("revoked")
            assert await talk.rest() == b'event: end\ndata: {"reason": "revoked"}\n\n'


async def test_a_client_that_does_not_read_is_cut_over_tls(tmp_path: Path) -> None:
    """There are two buffers then: what is encrypted, and what is not yet."""
    ours, theirs = tls_contexts(tmp_path)
    async with stream_server(tls=ours) as served:
        served.stream = EndlessStream()
        async with await served.talk(OPENING, tls=theirs) as talk:
            await talk.head()
            talk.writer.transport.pause_reading()
            await asyncio.sleep(0.2)  # let the sockets' buffers fill
            (connection,) = served.http.connections
            assert connection.transport is not None
            assert 0 < connection.transport.get_write_buffer_size() < 256 * 1024
            served.later(1)
            served.later(30)
            await served.closed()
