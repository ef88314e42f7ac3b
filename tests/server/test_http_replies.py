"""What goes back to the client."""

import pytest
from node_harness import Node

GET = b"GET /v1/%b HTTP/1.1\r\nHost: x\r\n\r\n"


def test_json_reply_head(node: Node) -> None:
    with node.talk(GET % b"echo") as wire:
        headers = wire.reply().headers
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    assert headers["date"].endswith("GMT")
    assert "server" not in headers


def test_no_content_has_no_body_and_no_length(node: Node) -> None:
    with node.talk(GET % b"empty" + GET % b"echo") as wire:
        reply = wire.reply()
        assert (reply.status, reply.body) == (204, b"")
        assert "content-length" not in reply.headers
        assert wire.reply().status == 200


def test_head_is_answered_without_a_body(node: Node) -> None:
    with node.talk(b"HEAD /v1/echo HTTP/1.1\r\nHost: x\r\n\r\n" + GET % b"echo") as wire:
        reply = wire.reply(head_only=True)
        assert int(reply.headers["content-length"]) > 0
        assert wire.reply().json()["method"] == "GET"


def test_other_content_types_and_headers(node: Node) -> None:
    with node.talk(GET % b"pem") as wire:
        reply = wire.reply()
    assert reply.headers["content-type"] == "application/pem"
    assert reply.headers["x-more"] == "1"
    assert reply.headers["cache-control"] == "no-store"


def test_exception_is_an_internal_error_that_says_nothing(node: Node) -> None:
    with node.talk(
        b"POST /v1/fail?q HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhvs.token" + GET % b"echo"
    ) as wire:
        reply = wire.reply()
        assert (reply.status, reply.json()) == (500, {"errors": ["internal error"]})
        assert wire.reply().status == 200
    node.wait_log(reply.headers["x-request-id"])
    log = node.log.read_text()
    assert "echo_application.py" in log
    assert "hvs.token" not in log


def test_reply_header_cannot_split_the_reply(node: Node) -> None:
    with node.talk(GET % b"split") as wire:
        reply = wire.reply()
    assert (reply.status, reply.json()) == (500, {"errors": ["internal error"]})
    assert "x-evil" not in reply.headers


@pytest.mark.parametrize(
    ("head", "connection"),
    [
        (b"GET /v1/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "close"),
        (b"GET /v1/echo HTTP/1.0\r\n\r\n", "close"),
    ],
)
def test_connection_closes_when_asked(node: Node, head: bytes, connection: str) -> None:
    with node.talk(head) as wire:
        assert wire.reply().headers["connection"] == connection
        assert wire.is_closed()


def test_http_1_0_keep_alive(node: Node) -> None:
    with node.talk(b"GET /v1/echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n") as wire:
        assert wire.reply().headers["connection"] == "keep-alive"
        wire.send(GET % b"echo")
        assert wire.reply().status == 200


def test_large_reply_reaches_a_slow_reader(node: Node) -> None:
    with node.talk(GET % b"large") as wire:
        assert len(wire.reply().body) == 20_000_000


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/v1/kv/http%3A%2F%2Ftest.com%20%C3%A9?x=%20", "/v1/kv/http://test.com é", "x=%20"),
        ("/v1//a/./../b", "/v1//a/./../b", ""),
        ("http://other/v1/x?y", "/v1/x", "y"),
        ("/v1/x#fragment?no", "/v1/x", ""),
        ("/v1/x??", "/v1/x", "?"),
    ],
)
def test_path_is_decoded_once_and_not_cleaned(node: Node, target: str, path: str, query: str) -> None:
    with node.talk(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target.encode()) as wire:
        seen = wire.reply().json()
    assert (seen["path"], seen["query"]) == (path, query)


def test_request_knows_its_peer(node: Node) -> None:
    seen = node.get("/v1/echo")
    assert (seen["address"], seen["secure"], seen["certificate"]) == ("127.0.0.1", False, None)


def test_expect_continue(node: Node) -> None:
    head = b"POST /v1/p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    with node.talk(head) as wire:
        assert wire.reply().status == 100
        wire.send(b"LIST " + GET % b"echo")
        assert wire.reply().json()["body"] == "LIST "
        assert wire.reply().status == 200


def test_expect_continue_of_a_client_that_did_not_wait(node: Node) -> None:
    head = b"POST /v1/p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nabcde"
    with node.talk(head) as wire:
        assert wire.reply().json()["body"] == "abcde"
