"""From a parsed message to a `WireRequest`: method, path, and what the connection knows of its peer."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp import hdrs
from aiohttp.http import HttpVersion10, HttpVersion11
from aiohttp.http_parser import RawRequestMessage

from appliance.http.framing import FramingError, original_method
from appliance.wire import Memo, WireRequest

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class RefusedError(Exception):
    """The connection cannot go on: status and sentence for the client."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a connection."""

    address: str
    certificate: bytes | None  # DER
    secure: bool


class RequestHead:
    """A parsed request line and headers, read; the same for every request with these bytes."""

    __slots__ = ("headers", "length", "memo", "message", "method", "path", "query", "raw_path")

    def __init__(self, message: RawRequestMessage) -> None:
        """Raises FramingError for a path that is not percent-encoded UTF-8."""
        target = message.path
        if not target.startswith("/") and target != "*":
            target = str(message.url.relative())  # absolute form: "GET http://host/v1/…", as sent to a proxy
        self.raw_path, _, self.query = target.partition("#")[0].partition("?")
        self.path = decoded_path(self.raw_path)
        self.method = original_method(message.method)
        self.headers = message.headers
        self.length = int(message.headers.get(hdrs.CONTENT_LENGTH, "0"))  # of the body, unless that is chunked
        self.message = message
        self.memo = Memo()

    def request(self, body: bytes, peer: Peer) -> WireRequest:
        """A request with this head, as the pipeline wants it."""
        return WireRequest(
            self.method,
            self.path,
            self.raw_path,
            self.query,
            self.headers,
            body,
            peer.address,
            peer.certificate,
            peer.secure,
            self.memo,
        )


def decoded_path(raw_path: str) -> str:
    """Percent-decoded (RFC 3986, 2.1). Raises FramingError."""
    if "%" not in raw_path:
        return raw_path
    if _BROKEN_ESCAPE.search(raw_path):
        raise FramingError("the path holds a % that does not start an escape: write it as %25")
    try:
        return unquote(raw_path, errors="strict")
    except UnicodeDecodeError as exc:
        raise FramingError("the percent-encoded path is not UTF-8") from exc


def check_head(message: RawRequestMessage, *, plain_text: bool) -> None:
    """Refuse what this server does not serve, and what is not UTF-8 (`plain_text`: it is ASCII)."""
    if message.version is not HttpVersion11 and message.version != HttpVersion10:
        raise RefusedError(400, "this server speaks HTTP/1.1 and HTTP/1.0 only")
    if message.method == "CONNECT":
        raise RefusedError(405, "this server is not a proxy")
    if not plain_text:
        try:
            _check_text(message)
        except FramingError as exc:
            raise RefusedError(400, str(exc)) from exc


def is_continuation_expected(message: RawRequestMessage) -> bool:
    """Whether the client waits for `100 Continue` before it sends the body. Raises RefusedError."""
    expected = message.headers.get(hdrs.EXPECT)
    if expected is not None and expected.lower() != "100-continue":
        raise RefusedError(417, "the only expectation this server knows is 100-continue")
    return expected is not None and message.version == HttpVersion11


def _check_text(message: RawRequestMessage) -> None:
    """Refuse request lines and headers that are not UTF-8: past this point they are ordinary strings."""
    texts = [message.path, *(text for pair in message.headers.items() for text in pair)]
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as exc:
        raise FramingError("the request line or a header is not UTF-8") from exc
