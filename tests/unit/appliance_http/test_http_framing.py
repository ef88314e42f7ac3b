"""Where messages begin and end."""

import pytest

from appliance.http.framing import ChunkedBody, FramingError, original_method, parseable_start


@pytest.mark.parametrize("method", ["LIST", "SCAN"])
def test_method_survives_the_round_trip(method: str) -> None:
    stand_in = parseable_start(f"{method} /v1/x HTTP/1.1\r\n".encode())
    token, _, rest = stand_in.partition(b" ")
    assert token.decode() != method
    assert original_method(token.decode()) == method
    assert rest == b"/v1/x HTTP/1.1\r\n"


@pytest.mark.parametrize("method", ["LINK", "BIND"])
def test_stand_ins_are_not_ambiguous(method: str) -> None:
    token = parseable_start(f"{method} /v1/x".encode()).partition(b" ")[0].decode()
    assert original_method(token) not in {"LIST", "SCAN"}


@pytest.mark.parametrize("start", [b"GET /LIST ", b"LISTS /", b"LIS /x", b"list /x", b"SCANN", b"POST /", b"LIST\t/"])
def test_other_starts_are_left_alone(start: bytes) -> None:
    assert parseable_start(start) is start


BODY = b"5\r\nhello\r\nA;x=y\r\n0\r\n\r\n12345\r\n0\r\n\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
def test_end_of_a_chunked_body(step: int) -> None:
    body, after, taken = ChunkedBody(), b"LIST /", 0
    stream = BODY + after
    while True:
        piece = stream[taken : taken + step]
        end = body.end(piece)
        if end is not None:
            assert taken + end == len(BODY)
            return
        taken += len(piece)
        assert taken < len(BODY)


@pytest.mark.parametrize(
    "body", [b"x\r\n", b"\r\n", b"-1\r\n", b"0\r\nA: b\r\n\r\n", b"0\r\n\n", b"1" * 100, b"0" * 63 + b";\r\n"]
)
def test_chunk_framing_that_is_refused(body: bytes) -> None:
    with pytest.raises(FramingError):
        ChunkedBody().end(body)


def test_chunk_line_limit_holds_over_pieces() -> None:
    body = ChunkedBody()
    assert all(body.end(b"1") is None for _ in range(64))
    with pytest.raises(FramingError):
        body.end(b"1")
