"""From a parsed message to a `WireRequest`: method, path, and what the connection knows of its peer."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp.http_parser import RawRequestMessage

from appliance.http.framing import FramingError, original_method
from appliance.wire import WireRequest

_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a connection."""

    address: str
    certificate: bytes | None  # DER
    secure: bool


def wire_request(message: RawRequestMessage, body: bytes, peer: Peer) -> WireRequest:
    """The request as the pipeline wants it. Raises FramingError for a path that is not percent-encoded UTF-8."""
    target = message.path
    if not target.startswith("/") and target != "*":
        target = str(message.url.relative())  # absolute form: "GET http://host/v1/…", as sent to a proxy
    raw_path, _, query = target.partition("#")[0].partition("?")
    return WireRequest(
        original_method(message.method),
        decoded_path(raw_path),
        raw_path,
        query,
        message.headers,
        body,
        peer.address,
        peer.certificate,
        peer.secure,
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


def check_text(message: RawRequestMessage) -> None:
    """Refuse request lines and headers that are not UTF-8: past this point they are ordinary strings."""
    texts = [message.path, *(text for pair in message.headers.items() for text in pair)]
    try:
        "".join(texts).encode()
    except UnicodeEncodeError as exc:
        raise FramingError("the request line or a header is not UTF-8") from exc
