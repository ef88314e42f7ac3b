"""What subscribers are told of a change: Vault's event types and metadata of kv; names and numbers, never values."""

from core.protocols import Event
from kv.secret import Secret

# operation -> the part of the mount whose path it is announced under
_PARTS = {
    "data-write": "data",
    "data-patch": "data",
    "data-delete": "data",
    "delete": "delete",
    "undelete": "undelete",
    "destroy": "destroy",
    "metadata-write": "metadata",
    "metadata-patch": "metadata",
    "metadata-delete": "metadata",
    "stage": "stages",
    "state": "states",
    "import": "import",
}


def announcement(
    operation: str,
    mount: str,
    name: str,
    secret: Secret,
    *,
    number: int = 0,
    numbers: list[int] | None = None,
) -> Event:
    """A change of a secret at the mount "secret/"; `numbers` are the versions it was about."""
    path = f"{_PARTS[operation]}/{name}"
    metadata = {
        "operation": operation,
        "path": mount + path,
        "data_path": f"{mount}data/{name}",
        "modified": "true",
        "current_version": str(secret.current),
        "oldest_version": str(secret.oldest),
    }
    if number:
        metadata["version"] = str(number)
    if numbers:
        metadata["versions"] = ",".join(map(str, numbers))
    return Event(type=f"kv-v2/{operation}", path=path, metadata=metadata)


def plain_announcement(operation: str, mount: str, name: str) -> Event:
    """A write or delete of a secret without versions."""
    path = mount + name
    metadata = {"operation": operation, "path": path, "data_path": path, "modified": "true"}
    return Event(type=f"kv-v1/{operation}", path=name, metadata=metadata)


def settings_announcement(mount: str) -> Event:
    """A change of what holds for all secrets of the mount."""
    metadata = {"operation": "config-write", "path": mount + "config", "modified": "true"}
    return Event(type="kv-v2/config-write", path="config", metadata=metadata)
