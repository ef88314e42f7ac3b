"""Taking a mount away from its place: disabling it with all that hangs on it, or moving it.

First the mount is tainted, so that no request reaches it; then its leases (a login method: its tokens) are revoked,
which may take long; then it is removed or moved. A process that dies in between leaves a tainted mount, and the same
request made again goes on.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from appliance.mount_table import MountEntry
from appliance.mounts import MountStore, check_vacated
from appliance.namespaces import Namespace
from core.errors import InvalidRequestError, MimirError, NotFoundError
from core.ids import new_uuid
from core.protocols import CoreStorage

_STATUS = "core/remounts/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependents:
    """What hangs on a mount, each with the way to end it. Paths are those of mounts, in the namespace of that id."""

    revoke_leases: Callable[[str, str], Awaitable[None]]  # raises when a target refuses
    revoke_tokens: Callable[[str, str], Awaitable[None]]
    forget_logins: Callable[[MountEntry], Awaitable[None]]  # aliases and failed logins of a login mount


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A move as `sys/remount/status` shows it."""

    source: str
    target: str
    status: str


class MountMoves:
    """Disables and moves, one mount at a time."""

    def __init__(self, store: MountStore, storage: CoreStorage, dependents: Dependents) -> None:
        self._store = store
        self._storage = storage
        self._dependents = dependents

    async def disable(self, entry: MountEntry) -> None:
        """Remove the mount, its leases or tokens, and its data. Gone already is as good."""
        if not await self._vacate(entry):
            return
        if entry.is_auth:
            await self._dependents.forget_logins(entry)
        await self._store.remove(entry)

    async def move(self, entry: MountEntry, *, to: str, within: Namespace) -> str:
        """Move the mount to the path `to` in `within`; answers the id under which `status` knows it."""
        if entry.is_auth is not to.startswith("auth/"):
            raise InvalidRequestError("cannot move an engine to the login methods, or a login method to the engines")
        target = within.path + to
        if target == entry.full_path:
            raise InvalidRequestError("the mount is there already")
        if not await self._vacate(entry):
            raise InvalidRequestError(f"no matching mount at {entry.path}")

        def moved(now: MountEntry) -> MountEntry:
            check_vacated(now, entry)
            return msgspec.structs.replace(now, path=to, namespace=within.id, namespace_path=within.path, tainted=False)

        try:
            if await self._store.change(entry.uuid, moved) is None:
                raise InvalidRequestError(f"no matching mount at {entry.path}")
        except MimirError:
            await self._store.change(entry.uuid, lambda now: msgspec.structs.replace(now, tainted=False))
            raise
        migration = new_uuid()
        status = Move(source=entry.full_path, target=target, status="success")
        await self._storage.put(_STATUS + migration, msgspec.json.encode(status))
        return migration

    async def status(self, migration: str) -> Move:
        """A move of before. Raises NotFoundError."""
        stored = await self._storage.get(_STATUS + migration)
        if stored is None:
            raise NotFoundError("")
        return msgspec.json.decode(stored.value, type=Move)

    async def end_tokens(self, namespace: Namespace) -> None:
        """Delete every token of a tainted namespace; they are refused already."""
        await self._dependents.revoke_tokens(namespace.id, "")

    async def _vacate(self, entry: MountEntry) -> bool:
        """Taint the mount and end what hangs on it; whether it was still there."""
        if await self._store.change(entry.uuid, lambda now: msgspec.structs.replace(now, tainted=True)) is None:
            return False
        if entry.is_auth:
            await self._dependents.revoke_tokens(entry.namespace, entry.path)
        else:
            await self._dependents.revoke_leases(entry.namespace, entry.path)
        return True
