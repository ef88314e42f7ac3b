"""A secret on its way: what it was where it comes from, in the words of kv's API."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from client.kv_moves.wire import instant, seconds

if TYPE_CHECKING:
    from client.api import JsonObject

_KEPT = ("max_versions", "cas_required", "metadata_cas_required", "delete_version_after", "custom_metadata")
_OURS = ("owner", "classification", "rotate_every", "expires_at")
_TIMES = ("created_time", "updated_time")
METADATA = (*_KEPT, *_OURS, *_TIMES)


@dataclass(slots=True)
class MovedSecret:
    """All of it. `versions` are by number, sorted, each as import/ takes it; without `data` where it cannot be read."""

    metadata: "JsonObject" = field(default_factory=dict)
    versions: dict[int, "JsonObject"] = field(default_factory=dict)
    stages: dict[str, int] | None = None  # None: of a source without labels
    raised: int = 0  # max_versions here, where there are more versions than the source would keep

    @property
    def without_data(self) -> list[int]:
        """Versions that were deleted, or disabled: their data cannot be read, and they come as destroyed ones."""
        return [number for number, row in self.versions.items() if row.get("data") is None and not row["destroyed"]]


def kept_metadata(given: "JsonObject") -> "JsonObject":
    """Those members of metadata/ that move."""
    found = {name: given[name] for name in METADATA if given.get(name) is not None}
    return {name: value for name, value in found.items() if value != "" or name in _OURS}


def version_row(block: "JsonObject", data: Any) -> "JsonObject":
    """A version as import/ takes it, of its block in metadata/. What is disabled and has no data comes as destroyed."""
    row = {
        "created_time": block.get("created_time") or "",
        "deletion_time": block.get("deletion_time") or "",
        "destroyed": bool(block.get("destroyed")) and data is None,
        "data": data,
    }
    if instant(row["deletion_time"]) == 0:
        row["deletion_time"] = ""
    if block.get("state") == "disabled":
        row["state"] = "disabled"
    return row


def comparable(metadata: "JsonObject") -> dict[str, object]:
    """The members that are to be the same on both sides, each in one form; times of changes are not among them."""
    said: dict[str, object] = {
        "max_versions": metadata.get("max_versions") or 0,
        "cas_required": bool(metadata.get("cas_required")),
        "metadata_cas_required": bool(metadata.get("metadata_cas_required")),
        "delete_version_after": seconds(metadata.get("delete_version_after") or 0),
        "custom_metadata": metadata.get("custom_metadata") or {},
        "rotate_every": seconds(metadata.get("rotate_every") or 0),
        "expires_at": instant(metadata.get("expires_at")),
    }
    said |= {name: metadata.get(name) or "" for name in ("owner", "classification")}
    if metadata.get("created_time"):
        said["created_time"] = instant(metadata["created_time"])
    return said
