"""Which keys are due for rotation: an index by time, so that nothing reads every key.

rotations/<due, 12 digits>/<name>     empty; kept true by every write of a key's row
"""

from typing import NamedTuple

from core.protocols import StorageView, Transaction
from transit.keyring import Keyring

PREFIX = "rotations/"


class Due(NamedTuple):
    """A row of the index."""

    at: int  # epoch seconds
    name: str


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


async def due_keys(storage: StorageView, *, now: int, limit: int, after: Due | None = None) -> list[Due]:
    """Keys whose time has come, the longest due first, behind `after`; at most `limit`."""
    found: list[Due] = []
    folders: list[str] = []
    if after is not None:
        folders.append(_folder(after.at))
    folders += await storage.list(PREFIX, after=folders[0] if folders else "", limit=limit)
    for folder in folders:
        at = int(folder.removesuffix("/"))
        if at > now or len(found) >= limit:
            break
        behind = after.name if after is not None and at == after.at else ""
        names = await storage.list(PREFIX + folder, after=behind, limit=limit - len(found))
        found += [Due(at, name) for name in names]
    return found


def _folder(due: int) -> str:
    return f"{due:012d}/"


def _path(due: int, name: str) -> str:
    return PREFIX + _folder(due) + name
