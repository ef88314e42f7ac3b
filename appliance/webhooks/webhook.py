"""A webhook: where to, which events, signed by what; and how far its delivery has come."""

import msgspec

from appliance.access.globs import matches_any
from appliance.events.record import EventRecord
from core.secret import Secret

OVERLAP = 24 * 3600.0  # seconds for which the key before the present one also signs


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """As it is stored. Its id is new each time one is made, so that an old one's progress is nobody's."""

    id: str
    name: str
    url: str
    key: bytes
    created_at: float  # epoch seconds
    event_types: tuple[str, ...] = ("*",)  # patterns
    path_prefixes: tuple[str, ...] = ()  # with namespace and mount: "team-a/secret/data/apps/"; none: all paths
    namespaces: tuple[str, ...] = ("*",)  # patterns of paths without the last slash; "" is the root
    description: str = ""
    enabled: bool = True
    ca_cert: str = ""  # PEM; "": the machine's authorities
    previous_key: bytes = b""
    previous_until: float = 0.0  # epoch seconds
    replays: int = 0  # a new number has the delivery begin anew where its progress says

    def __repr__(self) -> str:
        return f"Webhook({self.name})"  # the keys, and what a URL may hold, stay out of tracebacks

    def keys(self, now: float) -> tuple[Secret, ...]:
        """What signs at that time, the present key first."""
        if self.previous_key and now < self.previous_until:
            return Secret(self.key), Secret(self.previous_key)
        return (Secret(self.key),)

    def takes(self, record: EventRecord) -> bool:
        """Whether its receiver is told of that event."""
        return (
            matches_any(self.event_types, record.type)
            and matches_any(self.namespaces, record.namespace.removesuffix("/"))
            and (not self.path_prefixes or self._is_below_prefix(record))
        )

    def _is_below_prefix(self, record: EventRecord) -> bool:
        paths = (record.full_path, record.data_path, record.metadata_path)
        return any(path.startswith(self.path_prefixes) for path in paths)


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """As it is stored, apart from the webhook: it changes with every delivery. Times are epoch seconds, 0: never."""

    cursor: int  # every event up to this number was delivered, or not asked for
    last_success: float = 0.0
    last_error: str = ""  # a sentence of ours: nothing that the receiver said
    last_failure: float = 0.0
    failures: int = 0  # since the last success
    failing_since: float = 0.0
    next_attempt: float = 0.0
    missed_from: int = 0  # numbers that had left the log before they were delivered
    missed_to: int = 0

    def passed(self, number: int) -> "Progress":
        """Nothing up to that number is still to be delivered."""
        return msgspec.structs.replace(self, cursor=number)

    def delivered(self, number: int, *, now: float) -> "Progress":
        """The receiver has that event."""
        return msgspec.structs.replace(
            self, cursor=number, last_success=now, failures=0, failing_since=0.0, next_attempt=0.0
        )

    def failed(self, error: str, *, now: float, pause: float) -> "Progress":
        """The receiver was not there, or did not take it; it is tried again after the pause."""
        return msgspec.structs.replace(
            self,
            last_error=error,
            last_failure=now,
            failures=self.failures + 1,
            failing_since=self.failing_since or now,
            next_attempt=now + pause,
        )

    def missed(self, *, up_to: int) -> "Progress":
        """The events behind the cursor up to that number are no longer in the log."""
        first = self.missed_from or self.cursor + 1
        return msgspec.structs.replace(self, cursor=up_to, missed_from=first, missed_to=up_to)
