"""LIST and SCAN reach the application whatever way their bytes arrive."""

import pytest
from node_harness import Node

LIST = b"LIST /v1/secret/metadata/?after=a HTTP/1.1\r\nHost: x\r\nX-Vault-Token: hvs.t\r\n\r\n"


@pytest.mark.parametrize("method", ["LIST", "SCAN", "GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"])
def test_method_arrives_as_sent(node: Node, method: str) -> None:
    with node.talk(b"%b /v1/echo HTTP/1.1\r\nHost: x\r\n\r\n" % method.encode()) as wire:
        assert wire.reply().json()["method"] == method


@pytest.mark.parametrize("method", ["LINK", "BIND", "LOCK"])
def test_stand_in_sent_by_a_client_is_not_taken_for_list(node: Node, method: str) -> None:
    with node.talk(b"%b /v1/echo HTTP/1.1\r\nHost: x\r\n\r\n" % method.encode()) as wire:
        assert wire.reply().json()["method"] == "LOCK"


def test_list_with_keep_alive(node: Node) -> None:
    with node.talk() as wire:
        for _ in range(3):
            wire.send(LIST)
            seen = wire.reply().json()
            assert (seen["method"], seen["path"], seen["query"]) == ("LIST", "/v1/secret/metadata/", "after=a")


def test_pipelined_messages_in_one_packet(node: Node) -> None:
    post = b"POST /v1/p HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nLIST /v1/"
    get = b"GET /v1/g HTTP/1.1\r\nHost: x\r\n\r\n"
    scan = b"SCAN /v1/s HTTP/1.1\r\nHost: x\r\n\r\n"
    with node.talk(LIST + post + LIST + get + scan) as wire:
        seen = [wire.reply().json() for _ in range(5)]
    assert [one["method"] for one in seen] == ["LIST", "POST", "LIST", "GET", "SCAN"]
    assert seen[1]["body"] == "LIST /v1/"


def test_replies_keep_the_order_of_slow_and_quick_requests(node: Node) -> None:
    slow = b"GET /v1/slow?0.1 HTTP/1.1\r\nHost: x\r\n\r\n"
    with node.talk(slow + LIST, LIST) as wire:
        assert [wire.reply().json()["path"][:7] for _ in range(3)] == ["/v1/slo", "/v1/sec", "/v1/sec"]


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 6, 40, len(LIST) - 1])
def test_method_split_over_two_packets(node: Node, cut: int) -> None:
    with node.talk(LIST[:cut]) as wire:
        node.get("/v1/echo")  # the first piece has been read, on whichever worker, before the second is sent
        wire.send(LIST[cut:])
        assert wire.reply().json()["method"] == "LIST"


def test_messages_byte_by_byte(node: Node) -> None:
    post = b"POST /v1/p HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nLIST /"
    with node.talk() as wire:
        for byte in LIST + post + LIST:
            wire.send(bytes([byte]))
        seen = [wire.reply().json() for _ in range(3)]
    assert [(one["method"], one["body"]) for one in seen] == [("LIST", ""), ("POST", "LIST /"), ("LIST", "")]


def test_body_that_looks_like_a_message_is_left_alone(node: Node) -> None:
    body = b"LIST /v1/x HTTP/1.1\r\nHost: x\r\n\r\nSCAN "
    head = b"POST /v1/p HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with node.talk(head, body, LIST) as wire:
        assert wire.reply().json()["body"].encode() == body
        assert wire.reply().json()["method"] == "LIST"


def test_list_with_a_body(node: Node) -> None:
    with node.talk(b"LIST /v1/p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nLIST " + LIST) as wire:
        seen = wire.reply().json()
        assert (seen["method"], seen["body"]) == ("LIST", "LIST ")
        assert wire.reply().json()["method"] == "LIST"


CHUNKED = b"LIST /v1/c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_chunked_body_then_list_in_one_packet(node: Node) -> None:
    body = b"5\r\nLIST \r\n4;a=b\r\n\r\n\r\n\r\n0\r\n\r\n"
    with node.talk(CHUNKED + body + LIST) as wire:
        seen = wire.reply().json()
        assert (seen["method"], seen["body"]) == ("LIST", "LIST \r\n\r\n")
        assert wire.reply().json()["path"] == "/v1/secret/metadata/"


def test_chunked_body_byte_by_byte(node: Node) -> None:
    with node.talk(CHUNKED) as wire:
        for byte in b"A\r\nLIST /v1/x\r\n1\r\n\n\r\n0\r\n\r\n" + LIST:
            wire.send(bytes([byte]))
        assert wire.reply().json()["body"] == "LIST /v1/x\n"
        assert wire.reply().json()["method"] == "LIST"


def test_empty_lines_before_a_request_are_ignored(node: Node) -> None:
    with node.talk(b"\r\n\r\n" + LIST + b"\r\n" + LIST) as wire:
        assert [wire.reply().json()["method"] for _ in range(2)] == ["LIST", "LIST"]


def test_upgrade_is_ignored(node: Node) -> None:
    """RFC 9110, 7.8: a server may ignore Upgrade; what follows is HTTP/1.1 as before."""
    for protocol in (b"websocket", b"h2c"):
        upgrade = b"GET /v1/u HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: %b\r\n\r\n" % protocol
        with node.talk(upgrade + LIST) as wire:
            assert wire.reply().json()["path"] == "/v1/u"
            assert wire.reply().json()["method"] == "LIST"


def test_pipelining_far_ahead_is_served_in_full(node: Node) -> None:
    """More than the backlog holds: reading pauses and goes on."""
    with node.talk() as wire:
        wire.send(LIST * 3000)
        assert all(wire.reply().json()["method"] == "LIST" for _ in range(3000))


def test_requests_sent_before_the_client_closed_its_side_are_answered(node: Node) -> None:
    with node.talk(b"GET /v1/slow?0.05 HTTP/1.1\r\nHost: x\r\n\r\n" + LIST) as wire:
        wire.socket.shutdown(1)
        assert wire.reply().json()["path"] == "/v1/slow"
        assert wire.reply().json()["method"] == "LIST"
        assert wire.is_closed()
