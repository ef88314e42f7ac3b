"""Which keys are due for rotation: an index by time, so that nothing reads every key.

rotations/<due, 12 digits>/<name>     empty; kept true by every write of a key's row
"""

from core.protocols import StorageView, Transaction
from transit.keyring import Keyring

PREFIX = "rotations/"


def due_at(keyring: Keyring) -> int | None:
    """When a version is to be made, in epoch seconds."""
    if not keyring.auto_rotate_period or keyring.soft_deleted or not keyring.can_rotate:
        return None
    return keyring.rotated_at + keyring.auto_rotate_period


async def reschedule(txn: Transaction, name: str, before: Keyring | None, after: Keyring | None) -> None:
    """Bring the index in step with a key's row, inside the transaction that writes it."""
    old = None if before is None else due_at(before)
    new = None if after is None else due_at(after)
    if old == new:
        return
    if old is not None:
        await txn.delete(_path(old, name))
    if new is not None:
        await txn.put(_path(new, name), b"")


async def due_keys(storage: StorageView, *, now: int, limit: int) -> list[str]:
    """Names of keys whose time has come, the longest due first; at most `limit`."""
    names: list[str] = []
    for folder in await storage.list(PREFIX, limit=limit):
        if int(folder.removesuffix("/")) > now:
            break
        names += await storage.list(PREFIX + folder, limit=limit - len(names))
        if len(names) >= limit:
            break
    return names


def _path(due: int, name: str) -> str:
    return f"{PREFIX}{due:012d}/{name}"
