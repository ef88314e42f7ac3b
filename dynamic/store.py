"""What a mount keeps, and under which path.

config/<name>         a connection (dynamic.connection)
role/<name>           a role (dynamic.role)
static/<name>         a static role with its credentials (dynamic.static_role)
static-due/ …         and static-failing/, static-account/, static-mark: of static roles (dynamic.static_index)
intent/<username>     an account that is being made and has no lease yet (dynamic.intents)
secret                the key of the tags in user names (dynamic.usernames)
reconcile/<name>      what the last comparison of accounts with leases found (dynamic.reconcile)
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from core.protocols import DecodedCache, Entry, StorageView, Transaction
from dynamic.connection import Connection, decode_connection
from dynamic.role import Role, decode_role
from dynamic.static_role import StaticRole, decode_static_role

T = TypeVar("T")

CONNECTIONS = "config/"
ROLES = "role/"
STATIC_ROLES = "static/"
INTENTS = "intent/"


class DynamicStore:
    """One mount's storage, decoded."""

    def __init__(self, storage: StorageView) -> None:
        self.storage = storage
        self._connections: DecodedCache[Connection] = storage.decoded_cache(_load_connection, capacity=1_000)
        self._roles: DecodedCache[Role] = storage.decoded_cache(_load_role, capacity=10_000)
        self._static: DecodedCache[StaticRole] = storage.decoded_cache(_load_static, capacity=10_000)

    async def connection(self, name: str) -> Connection | None:
        """The connection of that name."""
        path = CONNECTIONS + name
        return self._connections.peek(path) or await self._connections.get(path)

    async def role(self, name: str) -> Role | None:
        """The role of that name."""
        path = ROLES + name
        return self._roles.peek(path) or await self._roles.get(path)

    async def static_role(self, name: str) -> StaticRole | None:
        """The static role of that name."""
        path = STATIC_ROLES + name
        return self._static.peek(path) or await self._static.get(path)

    async def names(self, folder: str, *, after: str = "", limit: int = 0) -> list[str]:
        """Names in order; `folder` is one of this module's."""
        return await self.storage.list(folder, after=after, limit=limit)

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """As StorageView.transact."""
        return await self.storage.transact(work)


async def _load_connection(_storage: StorageView, _path: str, entry: Entry) -> Connection:
    return decode_connection(entry.value)


async def _load_role(_storage: StorageView, _path: str, entry: Entry) -> Role:
    return decode_role(entry.value)


async def _load_static(_storage: StorageView, _path: str, entry: Entry) -> StaticRole:
    return decode_static_role(entry.value)
