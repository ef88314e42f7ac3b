"""One client connection: aiohttp's RequestHandler, reduced to what an API server needs.

What differs from its parent, and why:
- the parser gets one message at a time (see `framing`); what the client sends ahead waits in a bounded backlog;
- a request is read whole before it is handled, so reading has no flow control of its own;
- one task serves a connection, not one task per request, and no request, response or stream-writer objects are made:
  the reply's head and body are one write;
- times are limits set when a phase begins and checked by the server once a second: nothing is scheduled per request.

A handler is not cancelled when its client goes away: what it began is finished and audited. It is when it takes longer
than `request_timeout`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from aiohttp import hdrs
from aiohttp.http import HttpVersion11
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler

from appliance.http.bodies import MALFORMED, IncomingBody
from appliance.http.faults import internal_error
from appliance.http.framing import END_OF_HEAD, TOKEN_LENGTH, FramingError, parseable_start
from appliance.http.limits import Limits
from appliance.http.outlets import SHUTDOWN
from appliance.http.replies import CONTINUE, ReplyWriter, error_reply
from appliance.http.requests import Peer, RefusedError, RequestHead, check_head, is_continuation_expected
from appliance.http.streams import LiveStream, open_outlet
from appliance.wire import MessageStream, WireReply, WireRequest

if TYPE_CHECKING:
    from appliance.http.server import HttpServer

Handle = Callable[[WireRequest], Awaitable[WireReply]]

# phases of a connection
IDLE: Final = 0  # between messages
HEAD: Final = 1  # the first bytes of a message are here
BODY: Final = 2  # its head is complete
SERVING: Final = 3  # it is complete, its reply is not written
STREAMING: Final = 4  # its reply goes on
REFUSED: Final = 5  # the last reply was written; what still comes is thrown away until the client hangs up


class Connection(RequestHandler):
    """Reads messages, has them handled one after the other, writes the replies."""

    __slots__ = (
        "_backlog",
        "_began",
        "_closing",
        "_deadline",
        "_eof",
        "_handle",
        "_head",
        "_head_octets",
        "_head_size",
        "_head_tail",
        "_incoming",
        "_limits",
        "_live",
        "_message",
        "_peer",
        "_phase",
        "_plain_text",
        "_reading_held",
        "_ready",
        "_replies",
        "_server",
        "_timed_out",
    )

    def __init__(self, server: "HttpServer", *, loop: asyncio.AbstractEventLoop) -> None:
        limits = server.limits
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=0,
            access_log=None,  # type: ignore[arg-type]  # None is how aiohttp's own server turns it off
            auto_decompress=False,
            max_line_size=limits.max_line,
            max_field_size=limits.max_line,
            max_headers=limits.max_headers,
            read_bufsize=limits.max_body,
        )
        self._server: HttpServer = server
        self._handle: Handle = server.handle
        self._limits: Limits = limits
        self._replies: ReplyWriter = server.replies
        self._peer = Peer("", None, False)
        self._phase: int = IDLE
        self._deadline = 0.0
        self._began = 0.0
        self._backlog = b""
        self._head: RequestHead | None = None  # of the message in progress, when it was known or is read
        self._head_octets = b""  # what to remember it by
        self._head_tail = b""
        self._head_size = 0
        self._plain_text = True
        self._message: RawRequestMessage | None = None
        self._incoming: IncomingBody | None = None
        self._live: LiveStream | None = None
        self._eof = False
        self._ready: bytes | None = None
        self._reading_held = False
        self._closing = False
        self._timed_out = False

    # --- the connection's life ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note who the peer is; the client has `head_timeout` to begin."""
        name = transport.get_extra_info("peername")
        tls: Any = transport.get_extra_info("ssl_object")  # ssl.SSLObject
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        address = str(name[0]) if isinstance(name, tuple) else ""
        self._peer = Peer(address, certificate, tls is not None)
        self._deadline = self._server.now + self._limits.head_timeout
        super().connection_made(transport)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio wants to know; aiohttp says no
        """Keep a half-closed connection for the reply that is being made, but not for a stream."""
        self._eof = True
        if self._phase == STREAMING and self._live is not None:
            self._live.stop(None)
        return self._phase == SERVING and not self._peer.secure

    def connection_lost(self, exc: BaseException | None) -> None:
        """A stream ends with its client; a handler does not."""
        if self._live is not None:
            self._live.stop(None)
            self._live = None
        super().connection_lost(exc)

    def pause_reading(self) -> None:
        """Called by aiohttp's stream when it is full: bodies are limited and read whole, so nothing is paused."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """As `pause_reading`."""

    @property
    def serving(self) -> bool:
        """Whether a request waits for its reply, or for the end of it."""
        return self._phase in {SERVING, STREAMING}

    def finish(self) -> None:
        """Draining: close now when idle, else after the reply in progress; a stream ends now."""
        self._closing = True
        if self._phase == STREAMING and self._live is not None:
            self._live.stop(SHUTDOWN)
        elif self._phase != SERVING and self.transport is not None:
            self.force_close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - aiohttp's signature
        """Cut the connection and cancel what it serves."""
        task = self._task_handler
        self.force_close()
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=timeout)

    def check_time(self, now: float) -> None:
        """Cut what takes too long; called about once a second."""
        if now < self._deadline or self.transport is None:
            return
        if self._phase == STREAMING and self._live is not None:
            self._live.check_time(now)
        elif self._phase in {HEAD, BODY}:
            self._refuse(RefusedError(408, "the request did not arrive in time"))
        elif self._phase == SERVING and not self._timed_out and self._task_handler is not None:
            self._timed_out = True
            self._deadline = now + self._limits.linger  # for the reply that says so
            self._task_handler.cancel()
        elif self._phase == SERVING or self.transport.get_write_buffer_size():  # it does not read what it is sent
            self.transport.abort()
        else:
            self.force_close()

    # --- reading ----------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Advance the message in progress by what came; later messages wait."""
        if self._phase >= SERVING:
            if self._phase == SERVING:
                self._hold(data)
            elif self._live is not None:
                self._live.received(data)
            return
        try:
            if self._phase == IDLE:
                self._begin(data)
            elif self._phase == HEAD:
                self._take_head(data)
            else:
                self._take_body(data)
        except RefusedError as exc:
            self._refuse(exc)

    def _hold(self, data: bytes) -> None:
        self._backlog += data
        if len(self._backlog) > self._limits.backlog and not self._reading_held:
            self._reading_held = True
            self._pause_transport_reading()

    def _begin(self, data: bytes) -> None:
        """The first bytes of a message: give it a method the parser knows."""
        if self._backlog:
            data, self._backlog = self._backlog + data, b""
        if data[0] in b"\r\n":  # empty lines before a request line are ignored (RFC 9112, 2.2)
            data = data.lstrip(b"\r\n")
        if len(data) < TOKEN_LENGTH:
            if data and not self._began:
                self._start_clock(self._limits.head_timeout)
            self._backlog = data
            return
        self._take_head(parseable_start(data))

    def _start_clock(self, timeout: float) -> None:
        self._began = self._server.now
        self._deadline = self._began + timeout

    def _take_head(self, data: bytes) -> None:
        """Feed the parser up to the empty line, and not beyond."""
        tail = self._head_tail
        found = (tail + data).find(END_OF_HEAD) if tail else data.find(END_OF_HEAD)
        if found < 0:
            self._take_partial_head(data)
            return
        end = found + len(END_OF_HEAD) - len(tail)
        head, rest = (data, b"") if end == len(data) else (data[:end], data[end:])
        if self._phase == IDLE:
            known = self._server.heads.find(head)
            if known is not None:
                self._take_known(known, rest)
                return
            self._head_octets = head
        if self._head_size + end > self._limits.max_head:
            raise RefusedError(400, f"the headers are longer than {self._limits.max_head} bytes")
        messages = self._parse(head)
        if len(messages) != 1:
            raise RefusedError(400, MALFORMED)
        message, stream = messages[0]
        self._message = message
        check_head(message, plain_text=self._plain_text and head.isascii())
        self._head_tail, self._head_size, self._plain_text = b"", 0, True
        if stream is EMPTY_PAYLOAD:
            self._complete(b"", rest)
        else:
            self._expect_body(message, stream, rest)

    def _take_known(self, head: RequestHead, rest: bytes) -> None:
        """A head that was parsed and accepted before: its message does not go through the parser."""
        self._head, self._message = head, head.message
        size = len(rest)
        if size == head.length:
            self._complete(rest, b"")
        elif size > head.length:
            self._complete(rest[: head.length], rest[head.length :])
        else:
            self._begin_body(head.length, None)
            if rest:
                self._take_body(rest)

    def _take_partial_head(self, data: bytes) -> None:
        if self._phase == IDLE:
            self._phase = HEAD
            if not self._began:
                self._start_clock(self._limits.head_timeout)
        self._head_size += len(data)
        if self._head_size > self._limits.max_head:
            raise RefusedError(400, f"the headers are longer than {self._limits.max_head} bytes")
        self._head_tail = (self._head_tail + data)[1 - len(END_OF_HEAD) :]
        self._plain_text = self._plain_text and data.isascii()
        if self._parse(data):
            raise RefusedError(400, MALFORMED)

    def _parse(self, data: bytes) -> Any:  # a sequence of pairs (message, stream)
        parser = self._parser
        try:
            messages, upgraded, _ = parser.feed_data(data)  # type: ignore[union-attr]  # present while connected
        except LineTooLong as exc:
            raise RefusedError(400, f"the request line or a header is longer than {self.max_line_size} bytes") from exc
        except HttpProcessingError as exc:
            raise RefusedError(400, MALFORMED) from exc
        if upgraded:  # we upgrade to nothing: an Upgrade header may be ignored (RFC 9110, 7.8)
            parser.set_upgraded(False)  # type: ignore[union-attr]
        return messages

    def _expect_body(self, message: RawRequestMessage, stream: StreamReader, rest: bytes) -> None:
        # the parser has checked that the length is a number
        self._begin_body(None if message.chunked else int(message.headers[hdrs.CONTENT_LENGTH]), stream)
        if rest:
            self._take_body(rest)
        elif is_continuation_expected(message) and self.transport is not None:
            self.transport.write(CONTINUE)

    def _begin_body(self, length: int | None, parsed: StreamReader | None) -> None:
        self._phase = BODY
        self._incoming = IncomingBody(length, self._limits, parsed)
        if not self._began:
            self._start_clock(self._limits.request_timeout)
        else:
            self._deadline = self._began + self._limits.request_timeout

    def _take_body(self, data: bytes) -> None:
        """Feed the parser up to the end of the body, and not beyond; it has not seen the head of a known one."""
        incoming = self._incoming
        if incoming is None:
            raise RuntimeError("no body is expected")
        end = incoming.end(data)
        if end is None or end == len(data):
            piece, rest = data, b""
        else:
            piece, rest = data[:end], data[end:]
        if incoming.parsed is not None and self._parse(piece):
            raise RefusedError(400, MALFORMED)
        body = incoming.take(piece, complete=end is not None)
        if end is not None:
            self._complete(body, rest)

    def _complete(self, body: bytes, rest: bytes) -> None:
        """Hand the message to the connection's task; what came after it waits."""
        self._phase = SERVING
        self._parser.message_consumed()  # type: ignore[union-attr]  # as above; it stops at 32 otherwise
        if not self._began:
            self._start_clock(self._limits.request_timeout)
        else:
            self._deadline = self._began + self._limits.request_timeout
        self._incoming = None
        self._ready = body
        if rest:
            self._hold(rest)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- serving ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Serve the connection's messages in their order; aiohttp runs this as the connection's task."""
        try:
            while not self._force_close:
                if self._ready is None:
                    self._waiter = self._loop.create_future()
                    try:
                        await self._waiter
                    except asyncio.CancelledError:
                        return
                    finally:
                        self._waiter = None
                body, self._ready = self._ready, None
                if body is None or not await self._serve(body):
                    break
                self._next()
        finally:
            self._end()

    async def _serve(self, body: bytes) -> bool:
        """Handle one message and write its reply; whether the connection goes on."""
        message = self._message
        if message is None:
            raise RuntimeError("no message to serve")
        try:
            head = self._head or self._read_head(message)
            reply = await self._handle(head.request(body, self._peer))
        except FramingError as exc:
            reply = error_reply(400, str(exc))
        except asyncio.CancelledError:
            if not self._timed_out:
                raise
            asyncio.current_task().uncancel()  # type: ignore[union-attr]  # this is the connection's task
            self._closing = True
            reply = error_reply(503, f"the request was ended after {self._limits.request_timeout:g} seconds")
        except Exception as exc:  # noqa: BLE001 - the outermost frame of a request
            reply = internal_error(message, exc)
        if reply.stream is not None:
            return await self._go_on(message, reply, reply.stream)
        goes_on = self._reply(message, reply)
        if self._paused:
            await self._wait_written()
        return goes_on

    def _read_head(self, message: RawRequestMessage) -> RequestHead:
        head = RequestHead(message)
        if self._head_octets:
            self._server.heads.note(self._head_octets, head)
        return head

    def _reply(self, message: RawRequestMessage, reply: WireReply) -> bool:
        """Write it; whether the connection goes on."""
        transport = self.transport
        if transport is None:
            return False
        close = self._closing or message.should_close
        connection = b"close" if close else b"keep-alive" if message.version is not HttpVersion11 else b""
        head_only = message.method == hdrs.METH_HEAD
        try:
            data = self._replies.serialise(reply, head_only=head_only, connection=connection)
        except ValueError as exc:
            reply = internal_error(message, exc)
            data = self._replies.serialise(reply, head_only=head_only, connection=connection)
        transport.write(data)
        return not close

    async def _go_on(self, message: RawRequestMessage, reply: WireReply, source: MessageStream) -> bool:
        """Answer with a stream, which is the last on its connection; one that cannot be opened is an ordinary reply."""
        opened = open_outlet(message, reply)
        if isinstance(opened, WireReply):
            source.close()
            return self._reply(message, opened)
        transport = self.transport
        if transport is None or self._eof or message.method == hdrs.METH_HEAD:
            source.close()
            if transport is not None:
                transport.write(opened.head)
            return False
        self._live = live = LiveStream(source, opened, message, transport, limits=self._limits, now=self._server.now)
        self._phase = STREAMING
        self._deadline = 0.0  # the stream has its own
        self._release_backlog(live)
        if self._closing:
            live.stop(SHUTDOWN)
        if await live.run(self._drain_helper):
            self._phase = REFUSED
            self._deadline = self._server.now + self._limits.linger
            live.hang_up()
        return False

    def _release_backlog(self, live: LiveStream) -> None:
        """What came behind the head of the request is for the stream."""
        if self._reading_held:
            self._reading_held = False
            self._resume_transport_reading()
        if self._backlog:
            data, self._backlog = self._backlog, b""
            live.received(data)

    async def _wait_written(self) -> None:
        """Serve a slow reader no further requests than it reads replies."""
        try:
            await self._drain_helper()
        except ConnectionError:
            self._closing = True

    def _next(self) -> None:
        """Ready for the next message, which may be here already."""
        self._message = self._head = None
        self._head_octets = b""
        self._phase = IDLE
        self._deadline = self._server.now + self._limits.idle_timeout
        self._began = 0.0
        if self._reading_held:
            self._reading_held = False
            self._resume_transport_reading()
        if self._backlog:
            data, self._backlog = self._backlog, b""
            self.data_received(data)
        if self._eof and self._phase < SERVING:
            self.force_close()

    def _end(self) -> None:
        """The task ends: close, unless a refused client is still being listened to."""
        self._task_handler = None
        if self._phase != REFUSED:
            self._phase = REFUSED
            self._deadline = self._server.now + self._limits.linger
            if self.transport is not None:
                self.transport.close()
        self._server.ended()

    def _refuse(self, refusal: RefusedError) -> None:
        """Answer, then throw away what still comes: closing at once could destroy the answer on its way."""
        transport = self.transport
        if transport is None:
            return
        self._phase = REFUSED
        self._backlog = b""
        self._incoming = None
        self._deadline = self._server.now + self._limits.linger
        transport.write(self._replies.serialise(error_reply(refusal.status, refusal.sentence), connection=b"close"))
        if transport.can_write_eof():
            transport.write_eof()
        if self._waiter is not None:
            self._waiter.cancel()
