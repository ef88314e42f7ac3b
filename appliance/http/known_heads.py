"""Heads of requests that were parsed before: the same bytes mean the same, so they are not parsed again.

A client that keeps its connection sends the same request line and headers again and again. The parser keeps nothing
from one message to the next, so what it made of a head holds for every message whose head has the same bytes, all of
which are compared here. Then neither head nor body goes through the parser: the body is counted, as `framing` does for
every message. Heads hold tokens, as the pipeline's caches do that are keyed by them; these are few, and end with the
listener.
"""

from aiohttp import hdrs
from aiohttp.http_parser import RawRequestMessage

from appliance.http.requests import RequestHead

_CAPACITY = 512
_LONGEST = 1024  # bytes


class KnownHeads:
    """Those of one listener."""

    __slots__ = ("_known", "find")

    def __init__(self) -> None:
        self._known: dict[bytes, RequestHead] = {}
        self.find = self._known.get

    def note(self, octets: bytes, head: RequestHead) -> None:
        """Remember a head that came in one piece, unless it asks for more than a body of a known length."""
        if len(octets) > _LONGEST or not is_plain(head.message):
            return
        if len(self._known) >= _CAPACITY:
            self._known.clear()
        self._known[octets] = head


def is_plain(message: RawRequestMessage) -> bool:
    """Whether nothing in the head asks the connection for anything but a body of a known length, or of none."""
    return not (message.chunked or message.upgrade or hdrs.EXPECT in message.headers)
