"""What a client may not send, and the sentence it gets."""

import time

import pytest
from node_harness import Node, Reply

HEAD = b"POST /v1/p HTTP/1.1\r\nHost: x\r\n"


def refused(node: Node, *pieces: bytes) -> Reply:
    """The connection gets one error in Vault's envelope, and is closed."""
    with node.talk(*pieces) as wire:
        reply = wire.reply()
        assert reply.headers["connection"] == "close"
        (sentence,) = reply.json()["errors"]
        assert len(sentence) > 10
        assert wire.is_closed()
    return reply


@pytest.mark.parametrize(
    "message",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"LISTEN / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"list / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/x\r\n\r\n",
        b"GET /v1/x HTTP/1.1\r\n\r\n",
        b"GET /v1/x HTTP/1.1\nHost: x\n\n",
        b"GET /v1/x HTTP/1.1\r\nHost: x\r\nX-Vault-Token: \x1b\r\n\r\n",
        b"GET /v1/x HTTP/1.1\r\nHost: x\r\nX-Vault-Token: a\x00b\r\n\r\n",
        b"GET /v1/x HTTP/1.1\r\nHost: x\r\nX-Vault-Token: a\rb\r\n\r\n",
        b"GET /v1/x HTTP/1.1\r\nHost: x\r\nX-Vault-Token: \xff\xfe\r\n\r\n",
        b"GET /v1/x HTTP/1.1\r\nHost: x\r\nX Y: a\r\n\r\n",
        b"GET /v1/\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/x HTTP/1.1\r\nHost: x\r\nA: b\r\n folded\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1e3\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n+5\r\nabcde\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nabcde\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\nabcde\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcdeXX0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 100 + b"5\r\nabcde\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n0\r\n\r\n",
    ],
)
def test_malformed_message(node: Node, message: bytes) -> None:
    assert refused(node, message).status == 400


def test_control_bytes_in_a_split_head(node: Node) -> None:
    assert (
        refused(node, b"GET /v1/x HTTP/1.1\r\nHo", b"st: x\r\nX-Vault-Token: \xff", b"\xfe\r\n", b"\r\n").status == 400
    )


def test_trailer_fields_are_refused(node: Node) -> None:
    """aiohttp 3.14 would prepend the last trailer to the headers of the connection's next request."""
    trailer = HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Vault-Token: hvs.other\r\n\r\n"
    reply = refused(node, trailer + b"GET /v1/echo HTTP/1.1\r\nHost: x\r\n\r\n")
    assert "trailer" in reply.json()["errors"][0]


@pytest.mark.parametrize("path", ["/v1/%zz", "/v1/%", "/v1/%ff", "/v1/%C3%28"])
def test_path_with_a_broken_escape(node: Node, path: str) -> None:
    with node.talk(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode()) as wire:
        reply = wire.reply()
    assert reply.status == 400
    assert "path" in reply.json()["errors"][0]


def test_connect_is_refused(node: Node) -> None:
    assert refused(node, b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n").status == 405


def test_http_2_preface_is_refused(node: Node) -> None:
    assert refused(node, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status == 400


def test_unknown_expectation(node: Node) -> None:
    assert refused(node, HEAD + b"Expect: more\r\nContent-Length: 5\r\n\r\n").status == 417


def test_body_over_the_limit_by_its_length(node: Node) -> None:
    reply = refused(node, HEAD + b"Content-Length: 1000001\r\n\r\n")
    assert reply.status == 413
    assert "1000000 bytes" in reply.json()["errors"][0]


def test_expected_body_over_the_limit_is_refused_before_it_is_sent(node: Node) -> None:
    assert refused(node, HEAD + b"Expect: 100-continue\r\nContent-Length: 1000001\r\n\r\n").status == 413


def test_body_over_the_limit_of_a_client_that_sends_it_all_first(node: Node) -> None:
    """It must get to read the answer, which a reset would destroy."""
    assert refused(node, HEAD + b"Content-Length: 8000000\r\n\r\n" + b"x" * 8_000_000).status == 413


def test_body_of_exactly_the_limit(node: Node) -> None:
    with node.talk(HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1_000_000) as wire:
        assert wire.reply().json()["body"] == 1_000_000


@pytest.mark.parametrize("size", [70_000, 3])
def test_chunked_body_over_the_limit(node: Node, size: int) -> None:
    chunk = b"%x\r\n%b\r\n" % (size, b"x" * size)
    assert refused(node, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * (2_100_000 // len(chunk))).status == 413


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 9000),
        b"GET /v1/x HTTP/1.1\r\nHost: x\r\nX-Vault-Token: %b\r\n\r\n" % (b"a" * 9000),
        b"GET /v1/x HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"GET /v1/x HTTP/1.1\r\nHost: x\r\n" + (b"A: %b\r\n" % (b"a" * 8000)) * 20 + b"\r\n",
    ],
)
def test_headers_over_the_limit(node: Node, head: bytes) -> None:
    assert refused(node, head).status == 400


def test_request_that_takes_too_long_is_ended(node: Node) -> None:
    with node.talk(b"GET /v1/slow?60 HTTP/1.1\r\nHost: x\r\n\r\n") as wire:
        reply = wire.reply()
        assert reply.status == 503
        assert "2 seconds" in reply.json()["errors"][0]
        assert wire.is_closed()


def test_slow_body_is_cut(node: Node) -> None:
    """request_timeout of this node is 2 s."""
    started = time.monotonic()
    assert refused(node, HEAD + b"Content-Length: 5\r\n\r\nab").status == 408
    assert time.monotonic() - started < 8
