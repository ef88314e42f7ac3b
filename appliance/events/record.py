"""An event as the log keeps it, and as subscribers and webhooks are told of it."""

import msgspec

from appliance.mount_table import MountEntry
from core.clock import Clock, rfc3339
from core.ids import new_uuid
from core.protocols import Event, StoredEvent

SOURCE = "vault://mimir"
GAP = "mimir/gap"  # the type of what tells of events that are no longer there


class EventRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happened, and where. Names and numbers, never values."""

    id: str  # a UUID: who is told twice knows it by this
    time: float  # epoch seconds
    type: str  # "kv-v2/data-write"
    path: str  # below the mount: "data/apps/web"
    mount_path: str  # "secret/"
    mount_type: str
    mount_accessor: str
    mount_uuid: str
    mount_version: str = ""  # of kv: "1" or "2"
    namespace: str = ""  # its path: "team-a/"
    namespace_id: str = ""
    metadata: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def full_path(self) -> str:
        """With mount and namespace, as policies see it."""
        return self.namespace + self.mount_path + self.path

    @property
    def data_path(self) -> str:
        """Where the changed secret is read, with the namespace; the changed path itself where there is no other."""
        path = self.metadata.get("data_path", "")
        return self.namespace + path if path.startswith(self.mount_path) else self.full_path

    @property
    def metadata_path(self) -> str:
        """Where version 2 of kv has the metadata of the changed secret; "" elsewhere."""
        data = f"{self.namespace}{self.mount_path}data/"
        if self.mount_type != "kv" or not self.type.startswith("kv-v2/") or not self.data_path.startswith(data):
            return ""
        return f"{self.namespace}{self.mount_path}metadata/{self.data_path[len(data) :]}"


class Announcer:
    """Makes records of what is announced at one mount."""

    __slots__ = ("_clock", "_entry")

    def __init__(self, entry: MountEntry, clock: Clock) -> None:
        self._entry = entry
        self._clock = clock

    def body(self, event: Event) -> bytes:
        """The record as the log keeps it."""
        entry = self._entry
        record = EventRecord(
            id=new_uuid(),
            time=self._clock.now(),
            type=event.type,
            path=event.path,
            mount_path=entry.path,
            mount_type=entry.type,
            mount_accessor=entry.accessor,
            mount_uuid=entry.uuid,
            mount_version=(entry.options or {}).get("version", ""),
            namespace=entry.namespace_path,
            namespace_id=entry.namespace,
            metadata=event.metadata,
        )
        return _encode(record)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(EventRecord).decode


def load_record(stored: StoredEvent) -> EventRecord | None:
    """The record; None for one that did not open, or that a later version wrote and this one cannot read."""
    try:
        return _decode(stored.body) if stored.body else None
    except msgspec.DecodeError:
        return None


def cloud_event(record: EventRecord) -> bytes:
    """As Vault sends it: CloudEvents 1.0 in one line of JSON, its members spelled as Vault spells them."""
    plugin = {
        "mount_class": "auth" if record.mount_path.startswith("auth/") else "secret",
        "mount_accessor": record.mount_accessor,
        "mount_path": record.mount_path,
        "plugin": record.mount_type,
    }
    if record.mount_version:
        plugin["version"] = record.mount_version
    received: dict[str, object] = {
        "event": {"id": record.id, "metadata": record.metadata},
        "event_type": record.type,
        "plugin_info": plugin,
    }
    if record.namespace:
        received["namespace"] = record.namespace
    return _envelope(record.id, record.time, received)


def _envelope(event_id: str, time: float, data: object) -> bytes:
    return _encode(
        {
            "id": event_id,
            "source": SOURCE,
            "specversion": "1.0",
            "type": "*",
            "data": data,
            "datacontentype": "application/cloudevents",
            "time": rfc3339(time),
        }
    )


def gap_event(*, after: int, oldest: int, newest: int, now: float) -> bytes:
    """Tells a subscriber that events it asked for are no longer there; it must read again what it keeps."""
    if after > newest:
        reason = "the log ends before the event you named, as after a restore; read again what you keep"
    else:
        reason = "events behind the one you named were removed for their age; read again what you keep"
    metadata = {"after": str(after), "oldest": str(oldest), "newest": str(newest), "reason": reason}
    event_id = new_uuid()
    return _envelope(event_id, now, {"event": {"id": event_id, "metadata": metadata}, "event_type": GAP})
