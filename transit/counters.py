"""Counting every encryption without a write for each.

A worker reserves a block of encryptions in the store before it makes them, so the stored count never says too little,
also after SIGKILL; what a block did not use is given back when the engine closes. The next block is reserved in the
background when half of the present one is used, and blocks double from 1,024 to 65,536.
"""

import asyncio
import contextlib
from collections.abc import Callable

from core.errors import OperatorError
from core.protocols import StorageView, Transaction
from transit.errors import UnknownKeyError, UsageExhaustedError
from transit.keyring import Keyring
from transit.store import change_usage

FIRST_BLOCK = 1024
LARGEST_BLOCK = 65536
_RETRY_PAUSE = 1.0  # seconds between attempts in the background while the store is down


class _Block:
    """What one worker may still encrypt under one key version."""

    __slots__ = ("key_id", "limit", "name", "next_size", "refill", "remaining", "retry_at", "size", "version")

    def __init__(self, name: str, version: int, key_id: str, limit: int) -> None:
        self.name = name
        self.version = version
        self.key_id = key_id
        self.limit = limit  # 0: none
        self.remaining = 0
        self.size = 0
        self.next_size = FIRST_BLOCK
        self.refill: asyncio.Task[int] | None = None
        self.retry_at = 0.0


class UsageCounters:
    """The blocks of one engine in one worker."""

    def __init__(self, storage: StorageView) -> None:
        self._storage = storage
        self._blocks: dict[str, _Block] = {}  # by key id

    def take_now(self, key_id: str, count: int) -> bool:
        """Count `count` encryptions against the block at hand; False sends the caller to `take`. No I/O."""
        block = self._blocks.get(key_id)
        if block is None or block.remaining < count:
            return False
        block.remaining -= count
        if block.remaining * 2 < block.size:
            self._refill_ahead(block)
        return True

    async def take(self, name: str, version: int, key_id: str, count: int, *, keyring: Keyring) -> None:
        """Count `count` encryptions, reserving as many as needed first.

        Raises UsageExhaustedError when the version has none left, StoreUnavailableError when none can be reserved.
        """
        block = self._blocks.get(key_id)
        if block is None:
            block = self._blocks[key_id] = _Block(name, version, key_id, keyring.encryption_limit)
        block.limit = keyring.encryption_limit  # the configuration may have changed since
        while block.remaining < count:
            # shielded: others wait for the same reservation, and the store commits it whether we listen or not
            added = await asyncio.shield(self._refill(block, count - block.remaining))
            if added == 0 and block.remaining < count:
                raise _exhausted(block)
        block.remaining -= count

    def held(self, key_id: str) -> int:
        """What is reserved here and not used: the stored count is too high by at least this."""
        block = self._blocks.get(key_id)
        return 0 if block is None else block.remaining

    def _refill_ahead(self, block: _Block) -> None:
        if block.refill is None and asyncio.get_running_loop().time() >= block.retry_at:
            self._refill(block, 1)

    def _refill(self, block: _Block, need: int) -> "asyncio.Task[int]":
        if block.refill is None:
            block.refill = asyncio.get_running_loop().create_task(self._reserve(block, max(need, block.next_size)))
            block.refill.add_done_callback(_settled(block))
        return block.refill

    async def _reserve(self, block: _Block, size: int) -> int:
        async def body(txn: Transaction) -> tuple[int, int] | None:
            return await change_usage(txn, block.name, block.version, block.key_id, by=size, limit=block.limit)

        changed = await self._storage.transact(body)
        if changed is None:
            self._blocks.pop(block.key_id, None)
            raise UnknownKeyError("encryption key not found")
        added, _total = changed
        block.remaining += added
        block.size = block.remaining
        block.next_size = min(block.next_size * 2, LARGEST_BLOCK)
        return added

    async def close(self) -> None:
        """Give back what was reserved and not used. Without the store it stays counted: never too little."""
        blocks, self._blocks = self._blocks, {}
        pending = [block.refill for block in blocks.values() if block.refill is not None]
        await asyncio.gather(*pending, return_exceptions=True)
        unused = [block for block in blocks.values() if block.remaining > 0]

        async def body(txn: Transaction) -> None:
            for block in unused:
                await change_usage(txn, block.name, block.version, block.key_id, by=-block.remaining, limit=0)

        if unused:
            with contextlib.suppress(OperatorError):
                await self._storage.transact(body)


def _exhausted(block: _Block) -> UsageExhaustedError:
    return UsageExhaustedError(
        f"version {block.version} of key {block.name} has no encryptions left of the {block.limit} that its "
        "configuration and random 96-bit nonces allow (NIST SP 800-38D, 8.3); rotate the key"
    )


def _settled(block: _Block) -> "Callable[[asyncio.Task[int]], None]":
    def done(task: "asyncio.Task[int]") -> None:
        block.refill = None
        if not task.cancelled() and task.exception() is not None:
            block.retry_at = asyncio.get_running_loop().time() + _RETRY_PAUSE

    return done
