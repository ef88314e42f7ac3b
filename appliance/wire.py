"""What passes between the HTTP listener and the request pipeline, and what a worker asks of its application."""

from collections.abc import Mapping
from typing import Protocol

import msgspec


class Memo:
    """What was read from a head that comes again and again; one object for all requests with the same bytes there."""

    __slots__ = ("asked",)

    def __init__(self) -> None:
        self.asked: object = None  # the pipeline's


class WireRequest(msgspec.Struct):
    """One complete HTTP request, its body read, nothing in it trusted yet."""

    method: str  # GET POST PUT PATCH DELETE LIST SCAN HEAD OPTIONS, or any other token the parser knows
    path: str  # percent-decoded, with its prefix: "/v1/transit/encrypt/orders"
    raw_path: str  # as it came
    query: str  # as it came, without "?"
    headers: Mapping[str, str]  # case-insensitive
    body: bytes
    client_address: str  # an IP address; "" on a unix socket
    tls_peer: bytes | None  # the client's certificate, DER
    secure: bool  # came over TLS
    memo: Memo | None = None

    def __repr__(self) -> str:
        return f"WireRequest({self.method}, {len(self.body)} bytes)"  # tokens and plaintexts are in the rest


class StreamMessage(msgspec.Struct, frozen=True):
    """One message of an answer that goes on: an event of an SSE stream, a text frame of a WebSocket."""

    data: bytes  # one line of JSON
    message_id: str = ""  # what a client names to go on behind it: `Last-Event-ID`
    kind: str = ""  # SSE's `event`


class MessageStream(Protocol):
    """What goes on after the head of a reply; the connection reads it as fast as its client does."""

    async def receive(self) -> StreamMessage | None:
        """The next message; None at the end. `end_reason` then says why it ended. May be cancelled: `close` follows."""
        ...

    @property
    def end_reason(self) -> str:
        """A sentence for the client: "the token was revoked"; "" at an ordinary end."""
        ...

    def close(self) -> None:
        """Called once, whoever ended it: `receive` is not called again, and may never have been."""
        ...


class WireReply(msgspec.Struct):
    """One HTTP response."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    stream: MessageStream | None = None  # instead of a body: server-sent events, or a WebSocket if asked for

    def __repr__(self) -> str:
        return f"WireReply({self.status}, {len(self.body)} bytes)"


class Application(Protocol):
    """What a worker or the housekeeper runs."""

    async def start(self) -> None:
        """Open what requests need; afterwards `handle` may be called. Raises OperatorError."""
        ...

    async def handle(self, request: WireRequest) -> WireReply:
        """Answer one request. Never raises for what a caller can cause."""
        ...

    async def drain(self) -> None:
        """No new request will come; finish what runs beside requests."""
        ...

    async def close(self) -> None:
        """Release everything."""
        ...

    def status_line(self) -> str:
        """A few words for `systemctl status`: "unsealed"."""
        ...
