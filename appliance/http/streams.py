"""Answers that go on: messages from the application to one client, as fast as that client reads.

The connection's task asks the stream for a message, writes it, and asks for the next when the transport has room. So a
client that does not read stops its own stream and nothing else; what waits for it here is what the transport holds
(`_HIGH_WATER`) and one message. Times are checked by the server once a second, as all times of connections.
"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog
from aiohttp import hdrs
from aiohttp.http import HttpVersion11
from aiohttp.http_parser import RawRequestMessage

from appliance.http import event_source
from appliance.http.faults import internal_error, log_fault
from appliance.http.limits import Limits
from appliance.http.outlets import EndCode, Ending, Outlet
from appliance.http.replies import reply_head
from appliance.http.websocket import HandshakeError, WebSocket, accept_headers, is_asked_for
from appliance.wire import MessageStream, WireReply

log = structlog.get_logger("mimir.http")

_HIGH_WATER = 64 * 1024  # bytes in the transport at which it is full; over TLS what is encrypted already comes on top
_TURN = 64  # messages after which other connections get their turn, should none of them have been waited for


def open_outlet(message: RawRequestMessage, reply: WireReply) -> Outlet | WireReply:
    """How the messages of a reply that goes on are written, or the reply to a client that asked for it wrongly."""
    try:
        return _web_socket(message, reply) if _is_web_socket(message) else _event_source(message, reply)
    except HandshakeError as exc:
        return exc.reply
    except ValueError as exc:  # a header of the reply
        return internal_error(message, exc)


def _is_web_socket(message: RawRequestMessage) -> bool:
    return message.method != hdrs.METH_HEAD and is_asked_for(message)


def _web_socket(message: RawRequestMessage, reply: WireReply) -> Outlet:
    headers = [*accept_headers(message), *reply.headers]
    return WebSocket(reply_head(HTTPStatus.SWITCHING_PROTOCOLS, headers) + b"\r\n")


def _event_source(message: RawRequestMessage, reply: WireReply) -> Outlet:
    chunked = message.version is HttpVersion11
    headers = [*event_source.HEADERS, *([event_source.CHUNKED] if chunked else []), *reply.headers]
    return event_source.EventSource(reply_head(reply.status, headers) + b"\r\n", chunked=chunked)


class LiveStream:
    """One stream on its way to one client; made in the connection's task, which then runs it."""

    def __init__(
        self,
        source: MessageStream,
        outlet: Outlet,
        message: RawRequestMessage,
        transport: asyncio.Transport,
        *,
        limits: Limits,
        now: float,
    ) -> None:
        self._source = source
        self._outlet = outlet
        self._message = message
        self._transport = transport
        self._limits = limits
        self._task = asyncio.current_task()
        self._moved = now  # when the client last took something, or had nothing to take
        self._beat = now
        self._written = 0  # bytes, ever
        self._taken = 0  # of them
        self._budget = limits.backlog  # bytes the client may send until the next heartbeat
        self._ending: Ending | None = None  # why it was stopped; None: there is nobody to tell
        self._stopped = False
        self._ended = False  # nothing more is written
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        self._write(outlet.head)

    # --- sending ----------------------------------------------------------------------------------------------------

    async def run(self, writable: Callable[[], Awaitable[None]]) -> bool:
        """Send messages until one side ends it; whether the client was told the end.

        `writable` returns when the transport has room, and raises ConnectionError when it is gone.
        """
        try:
            ending = await self._pump(writable)
        except asyncio.CancelledError:
            if not self._stopped:
                raise
            if self._task is not None:
                self._task.uncancel()
            ending = self._ending
        except Exception as exc:  # noqa: BLE001 - the outermost frame of a stream
            request_id = log_fault(self._message, exc)
            ending = Ending(EndCode.INTERNAL_ERROR, f"internal error, request {request_id}")
        finally:
            self._stopped = True
            self._source.close()
        if ending is not None and not self._outlet.finished:
            self._write(self._outlet.end(ending))
        self._ended = True
        return ending is not None or self._outlet.finished

    def hang_up(self) -> None:
        """After the end, so that it reaches a client that is still sending: that one closes first if it can tell."""
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        elif self._outlet.finished or not self._outlet.awaits_close:
            self._transport.close()

    async def _pump(self, writable: Callable[[], Awaitable[None]]) -> Ending | None:
        sent = 0
        while not self._is_stopped():
            try:
                await writable()
            except ConnectionError:
                return None
            message = await self._source.receive()
            if self._is_stopped():
                break
            if message is None:
                return Ending(EndCode.NORMAL, self._source.end_reason)
            self._write(self._outlet.message(message))
            sent += 1
            if sent % _TURN == 0:
                await asyncio.sleep(0)
        return self._ending

    def _is_stopped(self) -> bool:
        return self._stopped

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._written += len(data)
            self._transport.write(data)

    # --- what happens beside ----------------------------------------------------------------------------------------

    def stop(self, ending: Ending | None) -> None:
        """End it now; None when there is nobody left to tell."""
        if not self._stopped:
            self._stopped = True
            self._ending = ending
            if self._task is not None and asyncio.current_task() is not self._task:
                self._task.cancel()

    def received(self, data: bytes) -> None:
        """Answer what the client sent, and end when it wants that or sends too much."""
        if self._ended:
            self._await_close(data)
            return
        self._budget -= len(data)
        if self._budget < 0:
            self.stop(Ending(EndCode.POLICY, f"more than {self._limits.backlog} bytes were sent to a stream"))
            return
        answer = self._outlet.received(data)
        if answer:
            self._write(answer)
        if self._outlet.finished:
            self.stop(None)

    def _await_close(self, data: bytes) -> None:
        self._outlet.received(data)
        if self._outlet.finished:
            self._transport.close()

    def check_time(self, now: float) -> None:
        """Cut a client that is gone or takes nothing, and let the others see that this side lives."""
        if self._stopped or self._transport.is_closing():
            return
        waiting = self._transport.get_write_buffer_size()
        taken = self._written - waiting
        if not waiting:
            self._moved = now
        elif taken > self._taken:
            self._moved = now
            self._outlet.noticed(now)
        self._taken = taken
        if now - self._moved >= self._limits.stall_timeout:
            self._cut("the client reads nothing")
        elif not waiting and self._outlet.unanswered(now) >= self._limits.stall_timeout:
            self._cut("the client answers no ping")
        elif not waiting and now - self._beat >= self._limits.heartbeat:
            self._beat = now
            self._budget = self._limits.backlog
            self._write(self._outlet.heartbeat(now))

    def _cut(self, reason: str) -> None:
        log.info("stream cut", reason=reason)
        self._transport.abort()
        self.stop(None)
