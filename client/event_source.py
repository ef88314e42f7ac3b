"""Server-sent events (WHATWG HTML, 9.2.6): lines in, messages out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from client.errors import NoAnswerError

MAX_LINE = 4 * 1024 * 1024  # bytes; an event holds names, never values


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message; `message_id` is what the source is to go on behind after a break."""

    data: str
    kind: str
    message_id: str


class LineSource(Protocol):
    """What an HTTP answer is."""

    def readline(self, limit: int = -1, /) -> bytes:
        """The next line with its end; b"" at the end of the answer."""
        ...


def lines_of(source: LineSource) -> Iterator[bytes]:
    """Lines without their ends, until the answer ends. NoAnswerError for an endless line."""
    while line := source.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise NoAnswerError("the appliance sent a line that is too long for an event")
        yield line.rstrip(b"\r\n")


def messages(lines: Iterable[bytes]) -> Iterator[Message]:
    """Messages that are complete; what the connection cut off is dropped, as it will be sent again."""
    pending, last_id = _Pending(), ""
    for line in lines:
        if line:
            pending.take(line)
            continue
        last_id = last_id if pending.message_id is None else pending.message_id
        if pending.data:
            yield Message(data="\n".join(pending.data), kind=pending.kind, message_id=last_id)
        pending = _Pending()


@dataclass(slots=True)
class _Pending:
    """A message of which lines are still to come."""

    data: list[str] = field(default_factory=list)
    kind: str = ""
    message_id: str | None = None

    def take(self, line: bytes) -> None:
        """One field; comments, which begin with a colon, and unknown fields are passed over."""
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self.data.append(value)
        elif name == "event":
            self.kind = value
        elif name == "id" and "\0" not in value:
            self.message_id = value
