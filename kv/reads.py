"""Who read a secret last, noted without a write on the way of a read.

A read costs a comparison. Once in a quarter of an hour for each secret and reader it is noted in the worker's memory,
and about twice a minute what was noted is written, in transactions so small that nobody waits for them. What a worker
has noted since is lost when it is killed. A row of another worker that tells of a later read is left as it is.

Names of secrets are not kept: a row belongs to a secret's id, and goes away with it.
"""

import asyncio
from collections import OrderedDict
from functools import partial
from typing import NamedTuple

import msgspec
import structlog

from core.clock import Clock
from core.errors import CasMismatchError, IntegrityError, StoreUnavailableError, UnsupportedPathError
from core.protocols import StorageView, Transaction
from core.requests import Caller, Request
from kv.store import READS, SECRETS, OpenSecret, decode_secret
from kv.times import SECOND, from_seconds

RESOLUTION = 900.0  # seconds in which reads of one secret by one reader count as one
MAX_WAITING = 50_000  # secrets; about 15 MiB
_MAX_REMEMBERED = 50_000  # pairs of secret and reader; about 10 MiB
_BATCH = 25  # rows of one transaction: on SQLite nobody else of the worker runs meanwhile, some 2 ms
_ATTEMPTS = 5
_PAUSE = 0.08  # seconds between two, so that notes take a twentieth of the time of who reads and writes
_DAY = 86400 * SECOND
_SAME = (int(RESOLUTION) - 60) * SECOND  # another worker has written the same reader so shortly before

_log = structlog.get_logger("mimir.kv")


class ReadRecord(msgspec.Struct, frozen=True, array_like=True):
    """The last read of a secret. Times in nanoseconds since the epoch."""

    format: int
    at: int
    by: str = ""  # display name of the token
    entity_id: str = ""
    address: str = ""
    first_at: int = 0
    days: int = 0  # on how many days it was read, in UTC


class _Seen(NamedTuple):
    """A read that waits to be written."""

    at: int
    name: str
    caller: Caller | None
    address: str


class _Row(NamedTuple):
    """A record as it is to be written over the revision that it was made from."""

    path: str
    value: bytes
    revision: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ReadRecord).decode


class ReadLog:
    """What a worker has seen of reads, until it is worth a write."""

    def __init__(self, storage: StorageView, clock: Clock) -> None:
        self._storage = storage
        self._now = clock.now
        self._waiting: dict[str, _Seen] = {}  # by the secret's id
        self._until: OrderedDict[int, float] = OrderedDict()  # by secret and reader: when to note it again
        self._writing = asyncio.Lock()
        self._overflowed = 0  # reads that found no room to wait: the secret's next read tries again

    # --- noting -----------------------------------------------------------------------------------------------------

    def note(self, opened: OpenSecret, request: Request) -> None:
        """The request is being answered with a value of the secret."""
        # bounded on both sides: the clock may have been set back
        if opened.noted_by is request.caller and 0.0 < opened.noted_until - self._now() <= RESOLUTION:
            return
        self._note(opened, request)

    def _note(self, opened: OpenSecret, request: Request) -> None:
        now, caller, secret_id = self._now(), request.caller, opened.secret.secret_id
        reader = hash((secret_id, _reader(caller)))
        until = self._until.get(reader, 0.0)
        if not 0.0 < until - now <= RESOLUTION:
            if len(self._waiting) >= MAX_WAITING and secret_id not in self._waiting:
                self._overflowed += 1
                return
            self._waiting[secret_id] = _Seen(from_seconds(now), opened.name, caller, request.client_address)
            until = now + RESOLUTION
            self._remember(reader, until)
        opened.noted_by = caller
        opened.noted_until = until

    def _remember(self, reader: int, until: float) -> None:
        """What is forgotten, since there are too many, is noted again: it costs a write."""
        self._until[reader] = until
        self._until.move_to_end(reader)
        if len(self._until) > _MAX_REMEMBERED:
            self._until.popitem(last=False)

    # --- reading ----------------------------------------------------------------------------------------------------

    async def last(self, secret_id: str) -> ReadRecord | None:
        """The last read as far as it is written, or was seen by this worker."""
        entry = await self._storage.get(READS + secret_id)
        record = None if entry is None else _load(entry.value)
        seen = self._waiting.get(secret_id)
        return record if seen is None else _merged(record, seen, self._now()) or record

    # --- writing ----------------------------------------------------------------------------------------------------

    async def tend(self) -> None:
        """Write what waits. What could not be written waits for the next time."""
        async with self._writing:
            self._tell_overflow()
            rows = sorted(self._waiting.items())  # in one order in all workers: they do not lock each other out
            self._waiting = {}
            done = 0
            try:
                while done < len(rows):
                    await self._write(rows[done : done + _BATCH])
                    done += _BATCH
                    if done < len(rows):
                        await asyncio.sleep(_PAUSE)
            except UnsupportedPathError:  # the mount is gone, and the secrets with it
                done = len(rows)
            finally:
                for secret_id, seen in rows[done:]:
                    self._waiting.setdefault(secret_id, seen)

    def _tell_overflow(self) -> None:
        if self._overflowed:
            _log.warning("more secrets are read than can be noted; some look unread", reads=self._overflowed)
            self._overflowed = 0

    async def _write(self, rows: list[tuple[str, _Seen]]) -> None:
        """One transaction, which only writes: what it needs to know is read before, where others get their turn."""
        for _ in range(_ATTEMPTS):
            changed = [row for row in [await self._next(*row) for row in rows] if row is not None]
            if not changed:
                return
            try:
                await self._storage.transact(partial(_put_all, rows=changed))
            except CasMismatchError:  # another worker was faster with one of them
                continue
            await self._drop_orphans(rows)
            return
        raise StoreUnavailableError("too many workers note reads of the same secrets; they try again")

    async def _next(self, secret_id: str, seen: _Seen) -> _Row | None:
        """The row to be written; None when there is nothing to write."""
        path = READS + secret_id
        try:
            entry = await self._storage.get(path)
            record = _merged(None if entry is None else _load(entry.value), seen, self._now())
        except IntegrityError:  # whoever asks for that row is told; the others are written
            return None
        return None if record is None else _Row(path, _encode(record), entry.revision if entry else 0)

    async def _drop_orphans(self, rows: list[tuple[str, _Seen]]) -> None:
        """Remove rows of secrets that were deleted before they were written: nothing else ever would."""
        for secret_id, seen in rows:
            if await self._is_gone(secret_id, seen.name):
                await self._storage.delete(READS + secret_id)

    async def _is_gone(self, secret_id: str, name: str) -> bool:
        try:
            entry = await self._storage.get(SECRETS + name)
            return entry is None or decode_secret(entry.value).secret_id != secret_id
        except IntegrityError:  # not for us to tell
            return False


async def _put_all(txn: Transaction, rows: list[_Row]) -> None:
    for row in rows:
        await txn.put(row.path, row.value, cas=row.revision)


def _reader(caller: Caller | None) -> str:
    """Tokens of one entity are one reader."""
    return "" if caller is None else caller.entity_id or caller.display_name


def _load(value: bytes) -> ReadRecord:
    """Raises IntegrityError for one of a newer version of Mimir."""
    record = _decode(value)
    if record.format != 1:
        raise IntegrityError("a read record was written by a newer version of Mimir")
    return record


def _merged(before: ReadRecord | None, seen: _Seen, now: float) -> ReadRecord | None:
    """The record with the read that was seen; None when it tells of that, or of a later one, already."""
    caller = seen.caller
    by, entity_id = ("", "") if caller is None else (caller.display_name, caller.entity_id)
    if before is None:
        return ReadRecord(1, seen.at, by, entity_id, seen.address, seen.at, 1)
    if before.at <= from_seconds(now + RESOLUTION):  # else it was written by a clock that was wrong
        gap = seen.at - before.at
        if gap <= 0 or (gap < _SAME and (before.by, before.entity_id) == (by, entity_id)):
            return None
    days = before.days + (seen.at // _DAY != before.at // _DAY)
    return ReadRecord(1, seen.at, by, entity_id, seen.address, before.first_at, days)
