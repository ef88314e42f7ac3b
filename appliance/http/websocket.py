"""A stream as a WebSocket (RFC 6455): the opening handshake, and one text frame for each message.

Frames are read and written by the package `websockets`, without extensions. It is loaded when the first client asks for
a WebSocket. What a client sends is checked and ignored: there is nothing to say to a stream.
"""

import base64
import binascii
import logging
from typing import ClassVar

from aiohttp import hdrs
from aiohttp.http import HttpVersion11
from aiohttp.http_parser import RawRequestMessage

from appliance.http.outlets import EndCode, Ending, Outlet
from appliance.http.replies import error_reply
from appliance.wire import StreamMessage, WireReply

MAX_MESSAGE = 4096  # bytes of a client's message, however many frames it has

_UPGRADE = (("Upgrade", "websocket"), ("Connection", "Upgrade"))
_VERSION = "13"
_KEY_LENGTH = 16
_MAX_REASON = 123  # bytes: a control frame holds 125, the code takes two

_silent = logging.getLogger("mimir.websocket")  # the package would log each connection, and tracebacks
_silent.setLevel(logging.CRITICAL + 1)


class HandshakeError(Exception):
    """The client's half of the opening handshake is wrong; `reply` says how."""

    def __init__(self, reply: WireReply) -> None:
        super().__init__(reply.status)
        self.reply = reply


def is_asked_for(message: RawRequestMessage) -> bool:
    """Whether the request wants a WebSocket. HTTP/1.0 knows no upgrades (RFC 9110, 7.8)."""
    return message.version is HttpVersion11 and "websocket" in _tokens(message, hdrs.UPGRADE)


def accept_headers(message: RawRequestMessage) -> tuple[tuple[str, str], ...]:
    """The server's half of the opening handshake (RFC 6455, 4.2). Raises HandshakeError."""
    key = _checked_key(message)
    from websockets.utils import accept_key

    return (*_UPGRADE, ("Sec-WebSocket-Accept", accept_key(key)))


def _checked_key(message: RawRequestMessage) -> str:
    if message.method != hdrs.METH_GET:
        raise _malformed(f"a WebSocket is opened with GET, not {message.method}")
    if "upgrade" not in _tokens(message, hdrs.CONNECTION):
        raise _malformed("a WebSocket needs the header Connection: Upgrade; a proxy may have removed it")
    if message.headers.getall(hdrs.SEC_WEBSOCKET_VERSION, []) != [_VERSION]:
        reply = error_reply(426, "this server speaks WebSocket version 13: send Sec-WebSocket-Version: 13")
        reply.headers = (*_UPGRADE, ("Sec-WebSocket-Version", _VERSION))  # RFC 9110, 15.5.22
        raise HandshakeError(reply)
    keys = message.headers.getall(hdrs.SEC_WEBSOCKET_KEY, [])
    if len(keys) != 1 or not _is_key(keys[0]):
        raise _malformed("a WebSocket needs one header Sec-WebSocket-Key: 16 random bytes in base64")
    return keys[0]


def _malformed(sentence: str) -> HandshakeError:
    return HandshakeError(error_reply(400, sentence))


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == _KEY_LENGTH
    except (binascii.Error, ValueError):  # the latter for what is not ASCII
        return False


def _tokens(message: RawRequestMessage, name: str) -> set[str]:
    """The members of a header that is a list, in lower case."""
    return {token.strip().lower() for line in message.headers.getall(name, []) for token in line.split(",")}


class WebSocket(Outlet):
    """One client's frames, after the handshake."""

    awaits_close: ClassVar[bool] = True

    def __init__(self, head: bytes) -> None:
        from websockets.protocol import SERVER, Protocol

        self.head = head
        self._protocol = Protocol(SERVER, max_size=MAX_MESSAGE, logger=_silent)
        self._asked: float | None = None  # when the first ping was sent that no pong has answered

    def message(self, message: StreamMessage) -> bytes:
        """One text frame."""
        self._protocol.send_text(message.data)
        return self._written()

    def heartbeat(self, now: float) -> bytes:
        """A ping."""
        self._protocol.send_ping(b"")
        if self._asked is None:
            self._asked = now
        return self._written()

    def end(self, ending: Ending) -> bytes:
        """The close frame; the client's answer to it finishes."""
        code = EndCode.POLICY if ending.reason and ending.code is EndCode.NORMAL else ending.code
        self._protocol.send_close(code, _cut(ending.reason))
        return self._written()

    def received(self, data: bytes) -> bytes:
        """Pongs to pings, the close frame's echo, or one that tells a broken rule (1002, 1007, 1009)."""
        from websockets.frames import PONG, Frame

        self._protocol.receive_data(data)
        if any(isinstance(event, Frame) and event.opcode is PONG for event in self._protocol.events_received()):
            self._asked = None
        self.finished = self._protocol.eof_sent
        return self._written()

    def unanswered(self, now: float) -> float:
        """Since the first ping without a pong."""
        return 0.0 if self._asked is None else now - self._asked

    def noticed(self, now: float) -> None:
        """Its pong comes after what it has yet to read."""
        if self._asked is not None:
            self._asked = now

    def _written(self) -> bytes:
        return b"".join(self._protocol.data_to_send())


def _cut(reason: str) -> str:
    """As much of it as a close frame holds, in whole characters."""
    return reason.encode()[:_MAX_REASON].decode(errors="ignore")
