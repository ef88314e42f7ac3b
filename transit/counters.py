"""Counting every encryption without a write for each, and rotating a key before its version is used up.

A worker reserves a block of encryptions in the store before it makes them, so the stored count never says too little,
also after SIGKILL; what a block did not use is given back when the engine closes. The next block is reserved in the
background when half of the present one is used, and blocks double from 1,024 to 65,536, under a low limit to less.

When reservations come near the limit of a version, callers are warned, and then the key is rotated in the background
(transit.limits says when). Whoever still finds the version used up waits for that rotation.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice

import structlog

from core.engine import Meter, NoMeter
from core.errors import MimirError, OperatorError
from core.protocols import StorageView, Transaction
from transit.errors import SupersededError, UnknownKeyError, UsageExhaustedError
from transit.keyring import Keyring
from transit.limits import FIRST_BLOCK, LARGEST_BLOCK, block_size, is_due, is_near, warning
from transit.store import UsageChange, change_usage

log = structlog.get_logger("mimir.transit")

Rotate = Callable[[str, int], Awaitable[object]]  # by name, if that version is the latest

_RETRY_PAUSE = 1.0  # seconds between attempts in the background while the store or the HSM is down
_CAPACITY = 20_000  # blocks in memory, about 10 MB
_AT_ONCE = 64  # blocks given back in one transaction
_CLOSING_SECONDS = 1.0  # for giving back; a block takes a quarter of a millisecond, and there may be thousands


class _Block:
    """What one worker may still encrypt under one key version."""

    __slots__ = (
        "can_rotate",
        "is_latest",
        "key_id",
        "limit",
        "name",
        "next_size",
        "owner",
        "refill",
        "remaining",
        "retry_at",
        "rotate_again_at",
        "rotation",
        "size",
        "version",
    )

    def __init__(self, name: str, version: int, key_id: str, keyring: Keyring) -> None:
        self.name = name
        self.version = version
        self.key_id = key_id
        self.owner = keyring.id
        self.remaining = 0
        self.size = 0
        self.next_size = FIRST_BLOCK
        self.refill: asyncio.Task[int] | None = None
        self.retry_at = 0.0
        self.rotation: asyncio.Task[None] | None = None
        self.rotate_again_at = 0.0
        self.learn(keyring)

    def learn(self, keyring: Keyring) -> None:
        """What the key's row says by now."""
        self.limit = keyring.encryption_limit  # 0: none
        self.is_latest = keyring.latest_version == self.version
        self.can_rotate = keyring.can_rotate


class UsageCounters:
    """The blocks of one engine in one worker. `warnings`: what to tell callers, by key and version; mostly none."""

    def __init__(self, storage: StorageView, *, rotate: Rotate, meter: Meter | None = None) -> None:
        self._storage = storage
        self._rotate = rotate
        self._meter = NoMeter() if meter is None else meter
        self._blocks: dict[str, _Block] = {}  # by key id
        self._returning: set[asyncio.Task[None]] = set()
        self.warnings: dict[tuple[str, int], str] = {}

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

        Raises SupersededError when the version has none left and a newer one is there, which this may have waited for;
        UsageExhaustedError when there can be none; OperatorError when nothing can be reserved or rotated now.
        """
        while True:
            block = self._blocks.get(key_id) or self._open(_Block(name, version, key_id, keyring))
            if block.remaining >= count:
                block.remaining -= count
                return
            # shielded: others wait for the same reservation, and the store commits it whether we listen or not
            added = await asyncio.shield(self._refill(block, count - block.remaining))
            if added == 0 and block.remaining < count:
                await self._give_way(block, count)

    def held(self, key_id: str) -> int:
        """What is reserved here and not used: the stored count is too high by at least this."""
        block = self._blocks.get(key_id)
        return 0 if block is None else block.remaining

    def warnings_of(self, name: str, versions: Iterable[int]) -> list[str]:
        """What to tell callers of those versions of a key that are near their limit. No I/O."""
        found = (self.warnings.get((name, version)) for version in sorted(set(versions)))
        return [sentence for sentence in found if sentence]

    # --- reserving ----------------------------------------------------------------------------------------------------

    def _refill_ahead(self, block: _Block) -> None:
        if block.refill is None and asyncio.get_running_loop().time() >= block.retry_at:
            self._refill(block, 1)

    def _refill(self, block: _Block, need: int) -> "asyncio.Task[int]":
        # one that is done may still stand there: its callbacks run a turn later, and who waits for it does not wait
        if block.refill is None or block.refill.done():
            size = max(need, block_size(block.next_size, limit=block.limit))
            block.refill = asyncio.get_running_loop().create_task(self._reserve(block, size))
            block.refill.add_done_callback(_settled(block))
        return block.refill

    async def _reserve(self, block: _Block, size: int) -> int:
        async def body(txn: Transaction) -> UsageChange | None:
            return await change_usage(txn, block.name, block.version, block.key_id, owner=block.owner, by=size)

        changed = await self._storage.transact(body)
        if changed is None:
            self._forget(block)
            raise UnknownKeyError("encryption key not found")
        block.remaining += changed.added
        block.size = block.remaining
        block.next_size = min(block.next_size * 2, LARGEST_BLOCK)
        block.learn(changed.keyring)
        self._watch_limit(block, changed)
        return changed.added

    # --- near the limit -----------------------------------------------------------------------------------------------

    def _watch_limit(self, block: _Block, changed: UsageChange) -> None:
        if not is_near(changed.reserved, block.limit):
            self.warnings.pop((block.name, block.version), None)
            return
        if changed.added:
            self._meter.count("encryption_limit_near")
        self.warnings[block.name, block.version] = warning(
            block.name,
            block.version,
            reserved=changed.reserved,
            limit=block.limit,
            is_latest=block.is_latest,
            can_rotate=block.can_rotate,
        )
        if block.is_latest and block.can_rotate and is_due(changed.reserved, block.limit):
            self._rotation(block)

    async def _give_way(self, block: _Block, count: int) -> None:
        """The version has not enough left: make sure that there is a newer one, and raise SupersededError."""
        if 0 < block.limit < count:
            raise UsageExhaustedError(
                f"{count} encryptions at once are more than the {block.limit} that one version of key {block.name} may "
                "make; send smaller batches"
            )
        if block.is_latest and not block.can_rotate:
            self._meter.count("encryption_limit_reached")
            raise UsageExhaustedError(_used_up(block) + "; import a new version")
        if block.is_latest:
            await asyncio.shield(self._rotation(block))
        raise SupersededError(_used_up(block) + "; leave out key_version, so that a newer one encrypts")

    def _rotation(self, block: _Block) -> "asyncio.Task[None]":
        """The rotation away from the block's version; one that failed a moment ago is not begun again."""
        loop = asyncio.get_running_loop()
        task = block.rotation
        if task is None or (task.done() and loop.time() >= block.rotate_again_at):
            task = block.rotation = loop.create_task(self._rotate_from(block))
            task.add_done_callback(_rotated(block))
        return task

    async def _rotate_from(self, block: _Block) -> None:
        await self._rotate(block.name, block.version)

    # --- giving back --------------------------------------------------------------------------------------------------

    def _open(self, block: _Block) -> _Block:
        if len(self._blocks) >= _CAPACITY:
            self._evict()
        self._blocks[block.key_id] = block
        return block

    def _evict(self) -> None:
        """Give back the oldest blocks. Nobody can use one any more, also who waits for it: it is empty."""
        oldest = list(islice(self._blocks.values(), _AT_ONCE))
        unused = [(block, self._empty(block)) for block in oldest if block.refill is None and not _is_rotating(block)]
        task = asyncio.get_running_loop().create_task(self._return_quietly(unused))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    def _empty(self, block: _Block) -> int:
        unused, block.remaining = block.remaining, 0
        self._forget(block)
        return unused

    def _forget(self, block: _Block) -> None:
        self._blocks.pop(block.key_id, None)
        self.warnings.pop((block.name, block.version), None)

    async def _return_quietly(self, unused: Sequence[tuple[_Block, int]]) -> None:
        with contextlib.suppress(MimirError):  # it stays counted: never too little
            await self._return(unused)

    async def _return(self, unused: Sequence[tuple[_Block, int]]) -> None:
        async def body(txn: Transaction) -> None:
            for block, number in unused:
                if number:
                    await change_usage(txn, block.name, block.version, block.key_id, owner=block.owner, by=-number)

        await self._storage.transact(body)

    async def close(self) -> None:
        """Give back what was reserved and not used, as much as there is time for.

        First what is much of a limit; the rest, and all without the store, stays counted: never too little.
        """
        blocks, self._blocks = list(self._blocks.values()), {}
        rotations = [block.rotation for block in blocks if block.rotation is not None]
        for rotation in rotations:
            rotation.cancel()
        refills = [block.refill for block in blocks if block.refill is not None]
        await asyncio.gather(*refills, *rotations, *self._returning, return_exceptions=True)
        unused = [(block, block.remaining) for block in blocks if block.remaining > 0]
        unused.sort(key=_share, reverse=True)
        until = asyncio.get_running_loop().time() + _CLOSING_SECONDS
        with contextlib.suppress(OperatorError):
            for start in range(0, len(unused), _AT_ONCE):
                await self._return(unused[start : start + _AT_ONCE])
                if asyncio.get_running_loop().time() >= until:
                    break


def _share(unused: tuple[_Block, int]) -> float:
    """How much of its key's limit a block holds."""
    block, number = unused
    return number / block.limit if block.limit else 0.0


def _used_up(block: _Block) -> str:
    return (
        f"version {block.version} of key {block.name} has no encryptions left of the {block.limit} that its "
        "configuration and random 96-bit nonces allow (NIST SP 800-38D, 8.3)"
    )


def _is_rotating(block: _Block) -> bool:
    return block.rotation is not None and not block.rotation.done()


def _settled(block: _Block) -> "Callable[[asyncio.Task[int]], None]":
    def done(task: "asyncio.Task[int]") -> None:
        if block.refill is task:
            block.refill = None
        if not task.cancelled() and task.exception() is not None:
            block.retry_at = asyncio.get_running_loop().time() + _RETRY_PAUSE

    return done


def _rotated(block: _Block) -> "Callable[[asyncio.Task[None]], None]":
    def done(task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            return
        exc = task.exception()
        if exc is None:
            block.is_latest = False
            return
        block.rotate_again_at = asyncio.get_running_loop().time() + _RETRY_PAUSE
        reason = exc.sentence if isinstance(exc, MimirError) else type(exc).__qualname__
        log.warning("a key near its limit was not rotated", key=block.name, version=block.version, reason=reason)

    return done
