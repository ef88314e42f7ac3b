"""The client of webhooks against receivers that are not what they should be."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance.http.dev_certificates import make_dev_certificates
from appliance.webhooks import sender as sender_module
from appliance.webhooks.sender import Outcome, Sender
from appliance.webhooks.webhook import Webhook
from core.clock import SystemClock

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def receiver(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


def answering(answer: bytes, then: Callable[[asyncio.StreamWriter], Awaitable[None]] | None = None) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(answer)
        await writer.drain()
        if then is not None:
            await then(writer)

    return serve


async def send_to(port: int, *, scheme: str = "http", **members: str) -> Outcome:
    url = f"{scheme}://127.0.0.1:{port}/hook"
    webhook = Webhook(id="1", name="x", url=url, key=b"k" * 32, created_at=0.0, **members)  # type: ignore[arg-type]
    sender = Sender(webhook, SystemClock(), version="0.1.0")
    try:
        return await sender.send("id-1", b"{}")
    finally:
        await sender.close()


async def outcome_of(serve: Serve) -> Outcome:
    async with receiver(serve) as port:
        return await send_to(port)


async def endless(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def silent(_writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


@pytest.mark.parametrize("status", [b"200 OK", b"201 Created", b"204 No Content", b"299 Whatever"])
async def test_2xx_is_delivered(status: bytes) -> None:
    outcome = await outcome_of(answering(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status))
    assert outcome.is_delivered


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308, 400, 401, 404, 410, 429, 500, 503])
async def test_any_other_status_is_not(status: int) -> None:
    answer = b"HTTP/1.1 %d X\r\nLocation: http://127.0.0.1:1/elsewhere\r\nContent-Length: 6\r\n\r\nsecret" % status
    outcome = await outcome_of(answering(answer))
    assert not outcome.is_delivered
    assert outcome.status == status
    assert str(status) in outcome.error
    assert "secret" not in outcome.error


async def test_a_huge_answer_is_not_read() -> None:
    started = time.monotonic()
    outcome = await outcome_of(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", endless))
    assert outcome.is_delivered
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another-protocol"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", id="long-header"),
        pytest.param(b"HTTP/1.1 abc OK\r\n\r\n", id="no-status"),
    ],
)
async def test_what_is_not_http_is_a_failure(answer: bytes) -> None:
    outcome = await outcome_of(answering(answer))
    assert (outcome.status, outcome.error) == (0, "the receiver closed the connection, or its answer was not HTTP")


async def test_a_receiver_that_is_not_there_is_a_failure() -> None:
    async with receiver(answering(b"")) as port:
        pass
    outcome = await send_to(port)
    assert outcome.error == "the receiver could not be reached (Connection refused)"


async def test_a_silent_receiver_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "TIMEOUT", 0.05)
    outcome = await outcome_of(answering(b"HTTP/1.1 200 OK\r\n", silent))
    assert "did not answer within" in outcome.error


async def test_an_answer_whose_body_never_ends_is_delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "_ANSWER_TIME", 0.05)
    outcome = await outcome_of(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", silent))
    assert outcome.is_delivered


async def test_the_pause_that_a_receiver_asks_for_is_told() -> None:
    outcome = await outcome_of(answering(b"HTTP/1.1 503 X\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n"))
    assert outcome.retry_after == 120


@pytest.mark.parametrize("value", ["soon", "-1", "1e9", "9999999999", "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_another_pause_is_not_understood(value: str) -> None:
    answer = b"HTTP/1.1 503 X\r\nRetry-After: %b\r\nContent-Length: 0\r\n\r\n" % value.encode()
    assert (await outcome_of(answering(answer))).retry_after == 0


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    outcome = await outcome_of(answering(b"HTTP/1.1 204 No Content\r\n\r\n"))
    assert outcome.is_delivered


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    make_dev_certificates(directory, host="127.0.0.1")
    return directory


@asynccontextmanager
async def tls_receiver(certificates: Path) -> AsyncIterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.pem", certificates / "server-key.pem")
    async with receiver(answering(b"HTTP/1.1 204 No Content\r\n\r\n"), context) as port:
        yield port


async def test_a_receiver_of_the_named_authority_is_trusted(certificates: Path) -> None:
    async with tls_receiver(certificates) as port:
        outcome = await send_to(port, scheme="https", ca_cert=(certificates / "ca.pem").read_text())
    assert outcome == Outcome(status=204)


async def test_a_receiver_of_an_unknown_authority_is_not(certificates: Path) -> None:
    async with tls_receiver(certificates) as port:
        outcome = await send_to(port, scheme="https")
    assert outcome.error == "the certificate of the receiver is not valid for its name and the trusted authorities"
