"""A `WireReply` as bytes: one head and one body for a single write."""

import json
import time
from email.utils import formatdate
from http import HTTPStatus

from appliance.wire import WireReply

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_JSON = "application/json"
_BODILESS = frozenset({204, 304})

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def error_reply(status: int, sentence: str) -> WireReply:
    """Vault's error body with one sentence."""
    return WireReply(status, json.dumps({"errors": [sentence]}).encode())


class ReplyWriter:
    """Turns replies into bytes. Heads without headers of their own are made once per status, type and second."""

    __slots__ = ("_heads", "_others", "_second")

    def __init__(self) -> None:
        self._heads: dict[int, bytes] = {}  # of JSON
        self._others: dict[tuple[int, str], bytes] = {}
        self._second = 0

    def serialise(self, reply: WireReply, *, head_only: bool = False, connection: bytes = b"") -> bytes:
        """Status line, headers and body. `connection` is b"close", b"keep-alive" or nothing.

        `head_only` answers HEAD: the length of a body that is not sent. Raises ValueError for a header that would
        break the framing.
        """
        status, body = reply.status, reply.body
        if reply.headers:
            head = self._special_head(reply)
        else:
            second = int(time.time())
            if second != self._second:
                self._second = second
                self._heads.clear()
                self._others.clear()
            if reply.content_type == _JSON:
                head = self._heads.get(status) or self._json_head(status)
            else:
                head = self._others.get((status, reply.content_type)) or self._other_head(reply)
        if connection:
            head += b"Connection: %b\r\n" % connection
        if status in _BODILESS:
            return head + b"\r\n"
        if head_only:
            return b"%bContent-Length: %d\r\n\r\n" % (head, len(body))
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)

    def _json_head(self, status: int) -> bytes:
        head = self._heads[status] = reply_head(status, [("Content-Type", _JSON), ("Cache-Control", "no-store")])
        return head

    def _other_head(self, reply: WireReply) -> bytes:
        head = self._others[reply.status, reply.content_type] = self._special_head(reply)
        return head

    @staticmethod
    def _special_head(reply: WireReply) -> bytes:
        headers = [("Content-Type", reply.content_type)] if reply.content_type else []
        if not any(name.lower() == "cache-control" for name, _ in reply.headers):
            headers.append(("Cache-Control", "no-store"))
        return reply_head(reply.status, [*headers, *reply.headers])


def reply_head(status: int, headers: list[tuple[str, str]]) -> bytes:
    """Status line and headers, without the empty line behind them. Raises ValueError."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in [*headers, ("Date", formatdate(usegmt=True))]]
    if any(not line.isprintable() for line in lines):
        raise ValueError("a reply header holds a control character")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n"
