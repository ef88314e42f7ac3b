"""How the messages of a stream become a client's bytes: what server-sent events and a WebSocket have in common."""

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Protocol

from appliance.wire import StreamMessage


class EndCode(IntEnum):
    """Why a stream ends, as a WebSocket's close code (RFC 6455, 7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001  # this server is
    POLICY = 1008
    INTERNAL_ERROR = 1011


@dataclass(frozen=True, slots=True)
class Ending:
    """The last that a client hears of its stream."""

    code: EndCode
    reason: str = ""


SHUTDOWN = Ending(EndCode.GOING_AWAY, "the server is shutting down")


class Outlet(Protocol):
    """One client's side of a stream. Does no I/O: what it returns is to be written, in this order."""

    head: bytes  # of the reply
    finished: bool = False  # the client has ended it, or broken its rules: nothing more is to be written
    awaits_close: ClassVar[bool] = False  # the client answers the end; this side waits for that before it hangs up

    def message(self, message: StreamMessage) -> bytes:
        """One message. Raises ValueError for one that cannot be framed."""
        ...

    def heartbeat(self, now: float) -> bytes:
        """What keeps the connection open while there is no message."""
        ...

    def end(self, ending: Ending) -> bytes:
        """The end of the stream; nothing but `received` is called afterwards."""
        ...

    def received(self, data: bytes) -> bytes:
        """What the client sent; the answer to it."""
        ...

    def unanswered(self, now: float) -> float:
        """For how many seconds the client has owed an answer to a heartbeat."""
        del now
        return 0.0

    def noticed(self, now: float) -> None:
        """The client takes what waited for it, so it lives, though its answers must be late."""
        del now
