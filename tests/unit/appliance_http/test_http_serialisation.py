"""Replies as bytes, and paths from bytes."""

import pytest

from appliance.http.framing import FramingError
from appliance.http.replies import ReplyWriter, error_reply
from appliance.http.requests import decoded_path
from appliance.wire import WireReply


def test_reply_is_one_head_and_one_body() -> None:
    data = ReplyWriter().serialise(WireReply(200, b"{}"))
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert lines[1:3] == [b"Content-Type: application/json", b"Cache-Control: no-store"]
    assert lines[-1] == b"Content-Length: 2"
    assert body == b"{}"


def test_reply_cache_control_can_be_chosen() -> None:
    data = ReplyWriter().serialise(
        WireReply(200, b"x", content_type="text/plain", headers=(("cache-control", "max-age=1"),))
    )
    assert b"no-store" not in data
    assert b"Content-Type: text/plain\r\n" in data


@pytest.mark.parametrize("status", [472, 473])
def test_status_outside_the_registry(status: int) -> None:
    """Vault's sys/health has two."""
    assert ReplyWriter().serialise(WireReply(status)).startswith(b"HTTP/1.1 %d Unknown\r\n" % status)


@pytest.mark.parametrize(
    ("name", "value"), [("X", "a\r\nb"), ("X", "a\nb"), ("X\r\nY", "a"), ("X", "a\x00"), ("X", "\x7f")]
)
def test_control_characters_in_a_header_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        ReplyWriter().serialise(WireReply(200, headers=((name, value),)))


def test_error_reply_is_vaults_envelope() -> None:
    assert error_reply(400, 'say "why"').body == b'{"errors": ["say \\"why\\""]}'


@pytest.mark.parametrize(("raw", "path"), [("/v1/a%2Fb", "/v1/a/b"), ("/v1/%25zz", "/v1/%zz"), ("/v1/é", "/v1/é")])
def test_decoded_path(raw: str, path: str) -> None:
    assert decoded_path(raw) == path


@pytest.mark.parametrize("raw", ["/%", "/%4", "/%4x", "/%ff", "/%ed%a0%80"])
def test_path_that_does_not_decode(raw: str) -> None:
    with pytest.raises(FramingError):
        decoded_path(raw)
