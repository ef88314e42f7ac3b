"""Where secrets go to: written by import/, then read back and compared."""

from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from client import exact_json
from client.errors import LocalError, RefusedError
from client.kv_moves.moved import MovedSecret, comparable
from client.kv_moves.source import KvSource
from client.kv_moves.wire import canonical, instant

if TYPE_CHECKING:
    from client.api import Client, JsonObject
    from client.kv_path import KvPath

_PART = 8 * 1024 * 1024  # bytes of values in one request; the appliance takes 32 MiB
_VERSIONS = 500  # in one request; it takes 1,000


class Outcome(Enum):
    """What became of a secret."""

    IMPORTED = "imported"
    PRESENT = "present"  # all of it was there
    SKIPPED = "skipped"  # it was there and differs, and was to be left as it is


class Done(NamedTuple):
    """Of one secret."""

    outcome: Outcome
    versions: int = 0  # that were written
    notes: tuple[str, ...] = ()


class _Sent(NamedTuple):
    """What one request did."""

    versions: int
    changed: bool


class VersionsTarget:
    """A folder of a mount that keeps versions."""

    def __init__(self, client: "Client", place: "KvPath", *, source_limit: int, skip: bool) -> None:
        self._client = client
        self._place = place
        self._mount = KvSource(client, place.mount, "")
        self._limit = self._mount.limit
        self._source_limit = source_limit
        self._skip = skip

    def take(self, name: str, secret: MovedSecret) -> Done:
        """Write it, read it back, compare. RefusedError and LocalError are of this secret alone."""
        raised = self._keep_all(secret)
        where = self._place.name + name
        try:
            sent = [self._send(where, part) for part in _parts(secret)]
            self._check(where, secret)
        except (RefusedError, LocalError):
            if self._skip and self._is_there(where):
                return Done(Outcome.SKIPPED)
            raise
        outcome = Outcome.IMPORTED if any(part.changed for part in sent) else Outcome.PRESENT
        return Done(outcome, sum(part.versions for part in sent), _notes(secret, raised))

    def _keep_all(self, secret: MovedSecret) -> int:
        """Raise max_versions where versions would be dropped that the source has; the new number, or 0."""
        limit = int(secret.metadata.get("max_versions") or 0) or self._limit
        needed = span(secret)
        if needed <= limit:
            return 0
        secret.metadata["max_versions"] = max(needed, self._source_limit)
        return int(secret.metadata["max_versions"])

    def _send(self, where: str, part: "JsonObject") -> _Sent:
        data = self._client.request("POST", f"{self._place.mount}import/{where}", body=part).data
        dropped = data.get("dropped")
        if dropped:
            raise LocalError(f"versions {', '.join(map(str, dropped))} were not kept: raise max_versions of the mount")
        imported = data.get("imported")
        count = len(imported) if isinstance(imported, list) else 0
        return _Sent(count, changed=count > 0 or data.get("created") is True)

    def _is_there(self, where: str) -> bool:
        try:
            self._client.read(f"{self._place.mount}metadata/{where}")
        except RefusedError:
            return False
        return True

    def _check(self, where: str, secret: MovedSecret) -> None:
        difference = differences(secret, self._mount.read(where))
        if difference:
            raise LocalError(f"it is not what the source has: {difference}")


def span(secret: MovedSecret) -> int:
    """How many versions a secret must keep for none of these to be dropped. Those with a label are kept anyway."""
    labelled = set((secret.stages or {}).values())
    latest = max(secret.versions, default=0)
    return latest - min((number for number in secret.versions if number not in labelled), default=latest) + 1


def _notes(secret: MovedSecret, raised: int) -> tuple[str, ...]:
    notes = []
    if secret.without_data:
        notes.append(f"without data: {', '.join(map(str, secret.without_data))}")
    if raised:
        notes.append(f"max_versions raised to {raised}")
    return tuple(notes)


def _parts(secret: MovedSecret) -> "Iterator[JsonObject]":
    """Bodies of import/, in order; the labels come with the last versions."""
    part: dict[str, JsonObject] = {}
    size = 0
    for number, row in secret.versions.items():
        weight = len(exact_json.compact(row))
        if part and (size + weight > _PART or len(part) >= _VERSIONS):
            yield {"metadata": secret.metadata, "versions": part}
            part, size = {}, 0
        part[str(number)] = _sent(row)
        size += weight
    labels = {} if secret.stages is None or not secret.versions else {"stages": secret.stages}
    yield {"metadata": secret.metadata, "versions": part, **labels}


def _sent(row: "JsonObject") -> "JsonObject":
    """What is neither readable nor deleted was disabled: it comes as destroyed, as its data does not come."""
    if row.get("data") is None and not row.get("deletion_time"):
        return {**row, "state": "", "destroyed": True}
    return {**row, "state": ""} if row.get("data") is None else row


def differences(secret: MovedSecret, found: MovedSecret) -> str:
    """The first thing in which they differ, as the middle of a sentence; "" when they are the same. No values."""
    for number, row in secret.versions.items():
        if number not in found.versions:
            return f"version {number} is not there"
        member = _row_difference(row, found.versions[number])
        if member:
            return f"version {number} differs: {member}"
    newest = max(found.versions, default=0)
    if newest > max(secret.versions, default=0):
        return f"it has a newer version, {newest}"
    if secret.stages is not None and secret.stages != found.stages:
        return "its stages differ"
    return _metadata_difference(secret, found) if secret.metadata else ""


def _row_difference(row: "JsonObject", found: "JsonObject") -> str:
    if row.get("created_time") and instant(row["created_time"]) != instant(found.get("created_time")):
        return "created_time"
    if instant(row.get("deletion_time")) != instant(found.get("deletion_time")):
        return "deletion_time"
    gone, is_gone = row.get("data") is None, found.get("data") is None
    if gone or is_gone:  # what is deleted by now on both sides cannot be compared
        return "" if gone == is_gone or found.get("deletion_time") else "data"
    if (row.get("state") == "disabled") != (found.get("state") == "disabled"):
        return "state"
    return "" if canonical(row["data"]) == canonical(found["data"]) else "data"


def _metadata_difference(secret: MovedSecret, found: MovedSecret) -> str:
    expected, has = comparable(secret.metadata), comparable(found.metadata)
    return next((f"its {name} differs" for name, value in expected.items() if has.get(name) != value), "")
