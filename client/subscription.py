"""Following a stream of events through broken connections."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from client import exact_json
from client.errors import CliError, NoAnswerError, UnavailableError
from client.event_source import Message, lines_of, messages
from client.text import printable

if TYPE_CHECKING:
    from client.api import Client, JsonObject

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between two attempts; twice as long each time
_END = "end"  # the kind of the last message, which says why there are no more


def follow(
    client: "Client",
    path: str,
    query: dict[str, str],
    *,
    tell: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[Message]:
    """Messages without end. A connection that was there once is made anew, behind the last message that came.

    A refusal ends it: who may not subscribe any more, or whose place in the stream is gone, is not to try again.
    """
    last_id, waiting, connected = "", _FIRST_PAUSE, False
    while True:
        try:
            with client.stream(path, _query(query, last_id), _headers(last_id)) as response:
                connected = True
                for message in messages(lines_of(response)):
                    if message.kind == _END:
                        why = _reason(message)
                        break
                    waiting = _FIRST_PAUSE
                    last_id = message.message_id or last_id
                    yield message
                else:
                    why = "the appliance ended the stream"
        except (NoAnswerError, UnavailableError) as exc:
            if not connected:
                raise
            why = exc.sentence
        tell(f"{why}; trying again in {waiting:g} s")
        pause(waiting)
        waiting = min(2 * waiting, _LONGEST_PAUSE)


def _query(query: dict[str, str], last_id: str) -> dict[str, str]:
    """Where to begin is said once; from then on the last event says it."""
    return {name: value for name, value in query.items() if name != "after" or not last_id}


def _headers(last_id: str) -> dict[str, str]:
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    return headers | {"Last-Event-ID": last_id} if last_id else headers


def _reason(message: Message) -> str:
    try:
        said = exact_json.loads(message.data)
    except ValueError:
        said = None
    reason = said.get("reason") if isinstance(said, dict) else None
    return printable(str(reason or "the appliance ended the stream"))


def event_of(message: Message) -> "JsonObject":
    """The event in a message, and its place in the stream as CloudEvents' extension `sequence`."""
    try:
        event = exact_json.loads(message.data)
    except ValueError as exc:
        raise _no_event() from exc
    if not isinstance(event, dict):
        raise _no_event()
    return event | {"sequence": message.message_id} if message.message_id else event


def _no_event() -> CliError:
    return NoAnswerError("a message of the stream is no event in JSON: is it Mimir? Check MIMIR_ADDR")
