"""After several failed logins in a row a name is refused for a while, whatever password comes with it.

Every worker counts together, in the store. A login by a name without failures reads memory and writes nothing:

    <namespace>lockouts/<mount accessor>/epoch          rewritten by every change below it; what is known hangs on it
    <namespace>lockouts/<mount accessor>/names/<hash>   Failures of one name

Names that do not exist are counted like others, so a lockout tells nothing. While a name is being tried as often as it
may fail, further tries of it wait in their worker: many at once do not outrun the count.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import TypeVar

import msgspec

from appliance.namespaces import data_prefix
from core.clock import Clock
from core.durations import parse_duration
from core.errors import CasMismatchError, InvalidRequestError, LoginFailedError, PermissionDeniedError
from core.protocols import CoreStorage, CoreTransaction, Entry, StorageView

T = TypeVar("T")

_SHOWN = 1024  # characters kept of a name, which may be of any length
_KNOWN = 10_000  # names remembered of one mount
_PAGE = 500
_TRUE, _FALSE = frozenset({"1", "t", "true"}), frozenset({"", "0", "f", "false"})


class LockoutRules(msgspec.Struct, frozen=True, kw_only=True):
    """When a name of a mount is locked; Vault's defaults. Durations are seconds."""

    threshold: int = 5  # failures in a row
    duration: int = 900
    counter_reset: int = 900  # without a failure for so long, counting begins anew
    is_disabled: bool = False


DEFAULT_RULES = LockoutRules()


def parse_rules(config: Mapping[str, str] | None) -> LockoutRules:
    """The rules in a mount's `user_lockout_config`. Raises InvalidRequestError."""
    return _parsed(frozenset(config.items())) if config else DEFAULT_RULES


@lru_cache(maxsize=1024)
def _parsed(items: frozenset[tuple[str, str]]) -> LockoutRules:
    config = dict(items)
    threshold = config.get("lockout_threshold") or "5"
    if not re.fullmatch(r"[1-9]\d{0,6}", threshold, re.ASCII):
        raise InvalidRequestError("lockout_threshold must be a whole number, 1 to 9999999")
    disable = config.get("lockout_disable", "").lower()
    if disable not in _TRUE | _FALSE:
        raise InvalidRequestError("lockout_disable must be true or false")
    return LockoutRules(
        threshold=int(threshold),
        duration=_seconds(config, "lockout_duration"),
        counter_reset=_seconds(config, "lockout_counter_reset"),
        is_disabled=disable in _TRUE,
    )


def _seconds(config: Mapping[str, str], field: str) -> int:
    seconds = parse_duration(config.get(field) or "15m", field=field)
    if seconds <= 0:
        raise InvalidRequestError(f"{field} must be above 0")
    return seconds


class LoginName(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a login is for."""

    namespace: str  # id
    mount: str  # accessor
    name: str

    @property
    def folder(self) -> str:
        """Of the mount."""
        return mount_folder(self.namespace, self.mount)

    @property
    def path(self) -> str:
        """Where the name's failures are. Names are of any length and alphabet, hashes are not."""
        return f"{self.folder}names/{hashlib.sha256(self.name.encode('utf-8', 'surrogatepass')).hexdigest()}"


def lockout_prefix(namespace: str) -> str:
    """Below it stand the failures of a namespace."""
    return data_prefix(namespace) + "lockouts/"


@lru_cache(maxsize=1024)
def mount_folder(namespace: str, mount: str) -> str:
    """Below it stand the failures of a mount."""
    return f"{lockout_prefix(namespace)}{mount}/"


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """Failed logins in a row. Times are epoch seconds."""

    name: str
    count: int
    last: float
    ends: float  # then they are forgotten
    locked_until: float = 0.0

    def is_locked(self, now: float) -> bool:
        """Whether the name is refused."""
        return now < self.locked_until


class _Known:
    """What one worker has read of a mount since the last change there: failures by name, None for none."""

    __slots__ = ("failures",)

    def __init__(self) -> None:
        self.failures: dict[str, Failures | None] = {}


class Lockouts:
    """All names of all mounts, as one worker sees them."""

    def __init__(self, storage: CoreStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self._epochs = storage.decoded_cache(_load_known, capacity=1000)
        self._trying: dict[LoginName, tuple[asyncio.Semaphore, list[None]]] = {}

    async def guard(self, who: LoginName, rules: LockoutRules, attempt: Callable[[], Awaitable[T]]) -> T:
        """Run a login's handler, and count how it ends.

        Raises PermissionDeniedError for a locked name, before the attempt, and what the attempt raises.
        """
        if rules.is_disabled or not who.name:
            return await attempt()
        semaphore, users = self._trying.setdefault(who, (asyncio.Semaphore(rules.threshold), []))
        users.append(None)
        try:
            async with semaphore:  # as many at once as may fail
                return await self._counted(who, rules, attempt)
        finally:
            users.pop()
            if not users:
                self._trying.pop(who, None)

    async def _counted(self, who: LoginName, rules: LockoutRules, attempt: Callable[[], Awaitable[T]]) -> T:
        if await self.is_locked(who):
            raise PermissionDeniedError("permission denied")
        try:
            result = await attempt()
        except LoginFailedError:
            await self.note_failure(who, rules)
            raise
        await self.note_success(who)
        return result

    async def is_locked(self, who: LoginName) -> bool:
        """Whether the name is refused now."""
        found = await self._failures(who)
        return found is not None and found.is_locked(self._clock.now())

    async def note_failure(self, who: LoginName, rules: LockoutRules) -> bool:
        """Count one more; whether the name is locked by it."""

        async def count(txn: CoreTransaction) -> Failures:
            entry = await txn.get(who.path)
            before = None if entry is None else _decode(entry.value)
            after = _one_more(_shown(who.name), before, rules, self._clock.now())
            await txn.put(who.path, _encode(after))
            await txn.put(who.folder + "epoch", b"")
            return after

        return (await self._storage.transact(count)).is_locked(self._clock.now())

    async def note_success(self, who: LoginName) -> None:
        """Forget the name's failures, if there are any."""
        if await self._failures(who) is not None:
            await self.unlock(who)

    async def unlock(self, who: LoginName) -> None:
        """Forget the name's failures."""
        await self._forget(who.folder, [who.path])

    # --- looking and tidying --------------------------------------------------------------------------------------

    async def locked(self, namespace: str) -> dict[str, list[str]]:
        """The locked names of a namespace, by mount accessor."""
        now, found = self._clock.now(), {}
        for folder in await self._storage.list(lockout_prefix(namespace)):
            mount = folder.removesuffix("/")
            rows = [row async for _, row in self._rows(mount_folder(namespace, mount))]
            if names := sorted(row.name for row in rows if row.is_locked(now)):
                found[mount] = names
        return found

    async def tidy(self, namespace: str) -> int:
        """Delete failures that no longer count; how many there were."""
        now, removed = self._clock.now(), 0
        for name in await self._storage.list(lockout_prefix(namespace)):
            folder = lockout_prefix(namespace) + name
            paths = [path async for path, row in self._rows(folder) if row.ends <= now]
            for start in range(0, len(paths), _PAGE):
                removed += await self._forget(folder, paths[start : start + _PAGE], ended_by=now)
        return removed

    async def forget_mount(self, namespace: str, mount: str) -> None:
        """Delete all that was counted for a mount that is gone."""

        async def remove(txn: CoreTransaction) -> None:
            await txn.delete_prefix(mount_folder(namespace, mount))

        await self._storage.transact(remove)

    async def _rows(self, folder: str) -> AsyncIterator[tuple[str, Failures]]:
        after = ""
        while names := await self._storage.list(folder + "names/", after=after, limit=_PAGE):
            for name in names:
                entry = await self._storage.get(f"{folder}names/{name}")
                if entry is not None:
                    yield f"{folder}names/{name}", _decode(entry.value)
            after = names[-1]

    async def _forget(self, folder: str, paths: list[str], *, ended_by: float | None = None) -> int:
        async def remove(txn: CoreTransaction) -> int:
            removed = 0
            for path in paths:
                entry = await txn.get(path)
                if entry is not None and (ended_by is None or _decode(entry.value).ends <= ended_by):
                    removed += await txn.delete(path)
            if removed:
                await txn.put(folder + "epoch", b"")
            return removed

        return await self._storage.transact(remove)

    async def _failures(self, who: LoginName) -> Failures | None:
        """Of the name; from memory, unless something changed at its mount since it was last read."""
        epoch = who.folder + "epoch"
        known = self._epochs.peek(epoch) or await self._epochs.get(epoch)
        if known is None:  # the first login by this mount: from now on there is something to hang on
            with suppress(CasMismatchError):
                await self._storage.put(epoch, b"", cas=0)
            known = await self._epochs.get(epoch) or _Known()
        if who.name in known.failures:
            return known.failures[who.name]
        entry = await self._storage.get(who.path)
        found = None if entry is None else _decode(entry.value)
        if len(who.name) <= _SHOWN:  # what is longer is no name that logs in often
            if len(known.failures) >= _KNOWN:
                known.failures.clear()
            known.failures[who.name] = found
        return found


async def _load_known(_storage: StorageView, _path: str, _entry: Entry) -> _Known:
    return _Known()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Failures).decode


def _shown(name: str) -> str:
    """The name as a listing shows it, and as any store can hold it."""
    return name[:_SHOWN].encode("utf-8", "replace").decode()


def _one_more(name: str, before: Failures | None, rules: LockoutRules, now: float) -> Failures:
    """With one failure more, unless the former ones no longer count: then with one."""
    is_over = before is None or before.ends <= now or (before.locked_until and not before.is_locked(now))
    count = 1 if before is None or is_over else before.count + 1
    locked_until = now + rules.duration if count >= rules.threshold else 0.0
    return Failures(
        name=name, count=count, last=now, ends=max(now + rules.counter_reset, locked_until), locked_until=locked_until
    )
