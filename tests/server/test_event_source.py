"""Answers that go on, as server-sent events (WHATWG HTML, 9.2)."""

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from stream_harness import PLAIN, EndlessStream, StreamServer, stream_server


@pytest.fixture
async def server() -> AsyncIterator[StreamServer]:
    async with stream_server() as served:
        yield served


def events(text: bytes) -> list[list[str]]:
    """As a client parses them: at each empty line, the fields before it."""
    assert text.endswith(b"\n\n") or not text
    return [event.split("\n") for event in text.decode().split("\n\n")[:-1]]


async def body(server: StreamServer) -> bytes:
    """What an independent client reads to the end of the stream."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{server.port}/v1/stream") as reply:
        assert reply.status == 200
        return await reply.read()


async def test_head_keeps_caches_and_proxies_from_holding_events(server: StreamServer) -> None:
    server.extra = (("X-Request-Id", "7"),)
    async with await server.talk(PLAIN) as talk:
        status, headers = await talk.head()
    assert status == 200
    assert headers.pop("date")
    assert headers == {
        "content-type": "text/event-stream",
        "cache-control": "no-store",
        "x-accel-buffering": "no",
        "transfer-encoding": "chunked",
        "connection": "close",
        "x-request-id": "7",
    }


async def test_each_message_is_an_event(server: StreamServer) -> None:
    server.stream.put(b'{"a":1}', "17", "kv-v2/data-write")
    server.stream.put(b"{}")
    server.stream.end()
    assert events(await body(server)) == [["id: 17", "event: kv-v2/data-write", 'data: {"a":1}'], ["data: {}"]]
    await server.closed()


async def test_an_event_is_sent_when_it_comes(server: StreamServer) -> None:
    async with await server.talk(PLAIN) as talk:
        await talk.head()
        server.stream.put(b"1")
        assert await talk.until(b"\n\n\r\n") == b"9\r\ndata: 1\n\n\r\n"
        server.stream.put(b"2")
        assert await talk.until(b"\n\n\r\n") == b"9\r\ndata: 2\n\n\r\n"


async def test_line_breaks_in_data_do_not_break_the_framing(server: StreamServer) -> None:
    """A client joins the lines with LF: the same JSON."""
    server.stream.put(b'{"a":\r\n\r\n1,\rid: 9\n}')
    server.stream.end()
    assert events(await body(server)) == [['data: {"a":', "data: ", "data: 1,", "data: id: 9", "data: }"]]


@pytest.mark.parametrize(
    ("message_id", "kind"), [("1\ndata: x", ""), ("1\r", ""), ("1\x00", ""), ("", "a\n\nb")], ids=repr
)
async def test_an_id_or_kind_with_a_control_character_is_a_fault(
    server: StreamServer, message_id: str, kind: str
) -> None:
    server.stream.put(b"{}", message_id, kind)
    ((name, data),) = events(await body(server))
    assert name == "event: end"
    assert json.loads(data.removeprefix("data: "))["reason"].startswith("internal error, request ")


async def test_the_end_says_why(server: StreamServer) -> None:
    server.stream.end('the token\n"x" was revoked')
    ((name, data),) = events(await body(server))
    assert name == "event: end"
    assert json.loads(data.removeprefix("data: ")) == {"reason": 'the token\n"x" was revoked'}


async def test_a_fault_ends_the_stream_without_its_text(
    server: StreamServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.stream.put(b"1")
    server.stream.fail(ValueError("hvs.secret"))
    first, (name, data) = events(await body(server))
    assert (first, name) == (["data: 1"], "event: end")
    request_id = json.loads(data.removeprefix("data: "))["reason"].removeprefix("internal error, request ")
    logged = "".join(capsys.readouterr())
    assert request_id in logged
    assert "ValueError" in logged
    assert "hvs.secret" not in logged
    assert "Traceback" not in logged
    await server.closed()


async def test_http_1_0_gets_no_chunks(server: StreamServer) -> None:
    server.stream.put(b"{}")
    server.stream.end()
    async with await server.talk(b"GET /v1/stream HTTP/1.0\r\n\r\n") as talk:
        _, headers = await talk.head()
        assert "transfer-encoding" not in headers
        assert headers["connection"] == "close"
        assert await talk.rest() == b"data: {}\n\n"


async def test_http_1_0_knows_no_upgrade(server: StreamServer) -> None:
    """RFC 9110, 7.8: the header is ignored."""
    opening = b"GET /v1/stream HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with await server.talk(opening) as talk:
        assert (await talk.head())[1]["content-type"] == "text/event-stream"


async def test_head_request_gets_the_head_alone(server: StreamServer) -> None:
    async with await server.talk(PLAIN.replace(b"GET", b"HEAD")) as talk:
        assert (await talk.head())[1]["content-type"] == "text/event-stream"
        assert await talk.rest() == b""
    await server.closed()


async def test_a_header_that_would_split_the_head_is_an_error(server: StreamServer) -> None:
    server.extra = (("X-Bad", "a\r\nX-Evil: b"),)
    async with await server.talk(PLAIN) as talk:
        status, headers = await talk.head()
        assert (status, "x-evil" in headers) == (500, False)
    await server.closed()


async def test_a_request_sent_behind_is_not_served(server: StreamServer) -> None:
    async with await server.talk(PLAIN + b"GET /v1/other HTTP/1.1\r\nHost: x\r\n\r\n") as talk:
        await talk.head()
        await talk.send(b"GET /v1/another HTTP/1.1\r\nHost: x\r\n\r\n")
        server.stream.end()
        assert await talk.rest() == b"0\r\n\r\n"
    assert server.paths == ["/v1/stream"]


async def test_requests_before_a_stream_are_served(server: StreamServer) -> None:
    async with await server.talk(b"GET /v1/other HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + PLAIN) as talk:
        for _ in range(2):
            await talk.head()
            assert await talk.exactly(2) == b"{}"
        assert (await talk.head())[1]["content-type"] == "text/event-stream"


async def test_a_client_that_sends_too_much_is_refused(server: StreamServer) -> None:
    async with await server.talk(PLAIN) as talk:
        await talk.head()
        await talk.send(b"x" * 70_000)
        assert b"65536 bytes" in await talk.rest()
    await server.closed()


async def test_heartbeat_every_15_seconds(server: StreamServer) -> None:
    async with await server.talk(PLAIN) as talk:
        await talk.head()
        server.later(14)
        server.later(2)
        server.later(15)
        server.stream.end()
        assert await talk.rest() == b"e\r\n: keep-alive\n\n\r\n" * 2 + b"0\r\n\r\n"


async def test_request_timeout_does_not_end_a_stream(server: StreamServer) -> None:
    async with await server.talk(PLAIN) as talk:
        await talk.head()
        server.later(100_000)
        server.stream.put(b"1")
        assert (await talk.until(b"data: 1")).endswith(b"data: 1")


async def test_a_client_that_goes_away_ends_its_stream(server: StreamServer) -> None:
    async with await server.talk(PLAIN) as talk:
        await talk.head()
    await server.closed()
    await server.deserted()


async def test_a_client_that_closes_its_side_ends_its_stream(server: StreamServer) -> None:
    async with await server.talk(PLAIN) as talk:
        await talk.head()
        talk.writer.write_eof()
        await server.closed()
        await talk.rest()


async def test_a_client_that_was_gone_before_the_stream_began(server: StreamServer) -> None:
    async with await server.talk() as talk:
        talk.writer.write(PLAIN)
        talk.writer.write_eof()
        await server.closed()


async def test_a_client_that_does_not_read_stops_its_stream(server: StreamServer) -> None:
    """What waits is what the kernel holds and a little more; then it is cut."""
    server.stream = stream = EndlessStream()
    async with await server.talk(PLAIN) as talk:
        talk.writer.transport.pause_reading()
        await settled(stream)
        (connection,) = server.http.connections
        transport = connection.transport
        assert transport is not None
        assert 0 < transport.get_write_buffer_size() < 256 * 1024
        server.later(1)
        server.later(29)
        assert not stream.closed.is_set()
        server.later(1)
        await server.closed()
        await asyncio.sleep(0)
        assert transport.is_closing()


async def settled(stream: EndlessStream) -> None:
    """Until no further message is taken."""
    before = -1
    while before != stream.received:
        before = stream.received
        await asyncio.sleep(0.05)


async def test_a_client_that_reads_again_in_time_is_not_cut(server: StreamServer) -> None:
    server.stream = stream = EndlessStream()
    async with await server.talk(PLAIN) as talk:
        await settled(stream)  # asyncio's reader stops by itself when nobody takes what it has
        for _ in range(3):
            before = stream.received
            server.later(1)
            server.later(28)
            while stream.received < before + 1000:
                await talk.exactly(100_000)
            await settled(stream)
        assert not stream.closed.is_set()


async def test_an_end_without_a_reader_is_cut(server: StreamServer) -> None:
    """The connection is not kept for what nobody takes."""
    server.stream = stream = EndlessStream()
    async with await server.talk(PLAIN) as talk:
        talk.writer.transport.pause_reading()
        await settled(stream)
        server.http.finish_connections()
        await server.closed()
        await asyncio.sleep(0)
        server.later(6)
        await server.deserted()


async def test_a_drain_ends_streams_at_once(server: StreamServer) -> None:
    reading = asyncio.create_task(body(server))
    while not server.stream.received:
        server.stream.put(b"1")
        await asyncio.sleep(0.01)
    await asyncio.wait_for(server.http.drain(60), 2)
    *_, (name, data) = events(await reading)
    assert (name, data) == ("event: end", 'data: {"reason": "the server is shutting down"}')
    await server.closed()
