"""Whether a token lives: neither it nor any of its ancestors is revoked, expired or missing.

Also its namespace and the login mount that granted it must still be there, and those of its ancestors. The children of
a token that was revoked alone ("revoke-orphan") live on, also while they still name it as their parent.
"""

import math
from collections.abc import Awaitable, Callable
from typing import Protocol

from appliance.access.subject import ROOT_NAMESPACE
from appliance.access.token_entry import BATCH, KIND, TokenEntry, decode
from core.clock import Clock
from core.protocols import DecodedCache, RecordReader


class TokenScopes(Protocol):
    """What a token belongs to besides its parent."""

    def is_live(self, namespace_id: str, mount_uuid: str) -> bool:
        """Whether the namespace exists, and the login mount in it ("" for none); no I/O."""
        ...


class Lives:
    """Looks a token's ancestors up, in memory, through the cache, or within a transaction."""

    def __init__(self, clock: Clock, cache: DecodedCache[TokenEntry], scopes: TokenScopes | None) -> None:
        self._clock = clock
        self._cache = cache
        self._scopes = scopes

    def is_current(self, entry: TokenEntry, now: float) -> bool:
        """Whether nothing but an ancestor can be against it."""
        if entry.revoked or (entry.expires_at is not None and entry.expires_at <= now):
            return False
        if self._scopes is None or (not entry.mount and entry.namespace == ROOT_NAMESPACE):
            return True
        return self._scopes.is_live(entry.namespace, entry.mount)

    def is_live_in_memory(self, entry: TokenEntry) -> bool:
        """Whether it and all its ancestors are in memory and current; no I/O."""
        now, link = self._clock.now(), entry
        while self.is_current(link, now):
            if not link.parent:
                return True
            above = self._cache.peek(link.parent)
            if above is None:
                return False
            if above.spares:
                return link.type != BATCH
            link = above
        return False

    def until(self, entry: TokenEntry) -> float:
        """When a live token ceases to be, if nothing is stored meanwhile; 0 when memory cannot tell."""
        until, link = math.inf, entry
        while True:
            if link.expires_at is not None:
                until = min(until, link.expires_at)
            if not link.parent:
                return until
            above = self._cache.peek(link.parent)
            if above is None:
                return 0.0
            if above.spares:
                return until
            link = above

    async def is_live(self, entry: TokenEntry) -> bool:
        """Whether it lives; reads what is not in memory."""
        return await self._is_live(entry, self._cache.get)

    async def is_live_in(self, txn: RecordReader, entry: TokenEntry) -> bool:
        """The same past the cache, within a transaction that has just read `entry`."""

        async def read(record_id: str) -> TokenEntry | None:
            record = await txn.get_record(KIND, record_id)
            return None if record is None else decode(record)

        return await self._is_live(entry, read)

    async def _is_live(self, entry: TokenEntry, read: Callable[[str], Awaitable[TokenEntry | None]]) -> bool:
        now, link = self._clock.now(), entry
        while self.is_current(link, now):
            if not link.parent:
                return True
            above = await read(link.parent)
            if above is None:
                return False
            if above.spares:
                return link.type != BATCH
            link = above
        return False
