"""Where secrets of files go to: put as any other, each only if it is not there yet, and read back."""

from typing import TYPE_CHECKING

from client.errors import AbsentError, LocalError, RefusedError
from client.kv_moves.target import Done, Outcome
from client.kv_moves.wire import canonical

if TYPE_CHECKING:
    from client.api import Client, JsonObject
    from client.kv_path import KvPath


class FileTarget:
    """A folder of a mount. `on_conflict` of what is there and differs: fail, skip, new-version."""

    def __init__(self, client: "Client", place: "KvPath", *, on_conflict: str) -> None:
        self._client = client
        self._prefix = f"{place.mount}data/{place.name}"
        self._on_conflict = on_conflict

    def take(self, name: str, data: "JsonObject") -> Done:
        """Put it unless it is there, read it back, compare."""
        path = self._prefix + name
        number, values = self._current(path)
        if values is not None and canonical(values) == canonical(data):
            return Done(Outcome.PRESENT)
        if number and self._on_conflict == "skip":
            return Done(Outcome.SKIPPED)
        if number and self._on_conflict == "fail":
            raise LocalError("it is there already and differs: see --on-conflict")
        try:
            self._client.write(path, {"data": data, "options": {"cas": number}})
        except RefusedError:  # unless the answer to an earlier attempt was lost, and this is what it wrote
            _, values = self._current(path)
            if values is None or canonical(values) != canonical(data):
                raise
        self._check(path, data)
        return Done(Outcome.IMPORTED, 1)

    def _check(self, path: str, data: "JsonObject") -> None:
        _, values = self._current(path)
        if values is None or canonical(values) != canonical(data):
            raise LocalError("what was read back is not what was written: somebody else writes there, too")

    def _current(self, path: str) -> "tuple[int, JsonObject | None]":
        """Its number and its values; 0 when there is none, no values when they were deleted."""
        try:
            answer = self._client.request("GET", path, partial=True)
        except AbsentError:
            return 0, None
        block, values = answer.data.get("metadata"), answer.data.get("data")
        number = block.get("version") if isinstance(block, dict) else None
        if not isinstance(number, int):
            raise LocalError("the answer holds no version of a secret: is a kv engine of version 2 mounted there?")
        return number, values if isinstance(values, dict) else None
