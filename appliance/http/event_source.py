"""A stream as server-sent events (WHATWG HTML, 9.2): text of `field: value` lines, an empty line behind each event."""

import json

from appliance.http.outlets import Ending, Outlet
from appliance.wire import StreamMessage

HEADERS = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-store"),
    ("X-Accel-Buffering", "no"),  # asks a proxy in between not to collect what it should pass on
    ("Connection", "close"),  # a stream is the last thing on its connection
)
CHUNKED = ("Transfer-Encoding", "chunked")

_HEARTBEAT = b": keep-alive\n\n"


class EventSource(Outlet):
    """One client's events, in chunks for HTTP/1.1."""

    def __init__(self, head: bytes, *, chunked: bool) -> None:
        self.head = head
        self._chunked = chunked

    def message(self, message: StreamMessage) -> bytes:
        """One event. Raises ValueError for an id or a kind that would break the framing."""
        return self._piece(_event(message))

    def heartbeat(self, now: float) -> bytes:
        """A comment, which clients ignore and proxies count as life."""
        del now
        return self._piece(_HEARTBEAT)

    def end(self, ending: Ending) -> bytes:
        """The event that says why, if there is something to say, and the end of the body."""
        last = b""
        if ending.reason:
            data = json.dumps({"reason": ending.reason}).encode()
            last = self._piece(_event(StreamMessage(data, kind="end")))
        return last + b"0\r\n\r\n" if self._chunked else last

    def received(self, data: bytes) -> bytes:
        """A request sent behind this one is not served: the connection closes."""
        del data
        return b""

    def _piece(self, text: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(text), text) if self._chunked else text


def _event(message: StreamMessage) -> bytes:
    lines = []
    for name, value in (("id", message.message_id), ("event", message.kind)):
        if not value.isprintable():  # a line break in it would begin a field
            raise ValueError("a control character in the id or the kind of a message")
        if value:
            lines.append(f"{name}: {value}".encode())
    lines += [b"data: " + line for line in message.data.splitlines() or [b""]]  # splits where clients do: CR, LF, CRLF
    return b"\n".join(lines) + b"\n\n"
