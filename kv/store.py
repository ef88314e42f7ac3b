"""What a mount keeps, whichever version it is of: under which path, and how it is read back.

    s/<name>                  the secret: settings, versions, labels, and values as far as there is room (a Secret)
    v/<secret id>/<00000001>  the value of a version for which there is no room there: JSON as it was given
    r/<secret id>             who read it last (kv.reads)
    config                    what holds for all secrets of the mount (a Settings)
    cursor-key                hides the names in cursors (kv.cursors)

Whatever changes a value also writes the secret's row, on which the caches hang. Version 1 keeps the same rows with one
version each, so upgrading a mount moves nothing.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from core.errors import IntegrityError, RequestTooLargeError
from core.ids import random_base62
from core.protocols import DecodedCache, Entry, Event, StorageView, Transaction
from core.requests import PreparedData
from kv.secret import DEFAULT_SETTINGS, Secret, Settings

T = TypeVar("T")

SECRETS = "s/"
VALUES = "v/"
READS = "r/"
CONFIG = "config"
INLINE = 16 * 1024  # bytes of values in a secret's row: more would make every write of metadata slow
MAX_ROW = 1024 * 1024  # bytes, some 10,000 versions: each write makes the row anew, and nobody else writes meanwhile
_BUDGET = 24 * 1024 * 1024  # bytes of decoded secrets of one mount in one worker's memory
# Bytes that a decoded secret takes, roughly: of its own, for each version, and for each byte of its row, which is kept
# decoded, as JSON and in its audited form. A member or item of the value, however short, is two objects and a hash.
_OVERHEAD, _PER_VERSION, _PER_BYTE, _PER_MEMBER = 1000, 200, 3, 150

_encode = msgspec.msgpack.Encoder().encode
_decode_secret = msgspec.msgpack.Decoder(Secret).decode
_decode_settings = msgspec.msgpack.Decoder(Settings).decode


class OpenSecret:
    """A secret in memory, with what was made of it for answers."""

    __slots__ = ("answer", "name", "noted_by", "noted_until", "secret", "size", "until")

    def __init__(self, name: str, secret: Secret, *, size: int) -> None:
        """`size` is that of the stored row."""
        self.name = name
        self.secret = secret
        self.size = size
        self.answer: PreparedData | None = None  # to a plain read
        self.until = 0  # nanoseconds: when that ends to be true
        self.noted_by: object = None  # who read it last, and until when that need not be noted again (kv.reads)
        self.noted_until = 0.0


class KvStore:
    """Secrets by name, in one mount's storage."""

    def __init__(self, storage: StorageView) -> None:
        self._storage = storage
        self._secrets: DecodedCache[OpenSecret] = storage.decoded_cache(
            _load_secret, capacity=50_000, weigh=_weigh, budget=_BUDGET
        )
        self._settings: DecodedCache[Settings] = storage.decoded_cache(
            _load_settings, capacity=1, absent=DEFAULT_SETTINGS
        )

    # --- reading ----------------------------------------------------------------------------------------------------

    def peek(self, name: str) -> OpenSecret | None:
        """The secret if it is in memory."""
        return self._secrets.peek(SECRETS + name)

    async def find(self, name: str) -> OpenSecret | None:
        """The secret, or None."""
        return await self._secrets.get(SECRETS + name)

    async def glance(self, name: str) -> Secret | None:
        """The secret, for whoever looks at all of them: what is read for that drives nothing else out of memory."""
        opened = self.peek(name)
        if opened is not None:
            return opened.secret
        entry = await self._storage.get(SECRETS + name)
        return None if entry is None else decode_secret(entry.value)

    async def value(self, secret: Secret, number: int) -> bytes | None:
        """The JSON of a version; None when it went away since the secret was read."""
        value = secret.values.get(number)
        if value is not None:
            return value
        entry = await self._storage.get(value_path(secret, number))
        return None if entry is None else entry.value

    async def settings(self) -> Settings:
        """What holds for all secrets of the mount."""
        return await self._settings.get(CONFIG) or DEFAULT_SETTINGS

    async def names(self, folder: str, *, after: str = "", limit: int = 0) -> list[str]:
        """Names below a folder ("" or "apps/"), sorted; a folder ends in "/"."""
        return await self._storage.list(SECRETS + folder, after=after, limit=limit)

    async def names_below(self, folder: str, *, after: str = "", limit: int = 0) -> list[str]:
        """Names of all secrets below a folder, at any depth, sorted; without the folder itself."""
        return await self._storage.paths(SECRETS + folder, after=after, limit=limit)

    # --- writing ----------------------------------------------------------------------------------------------------

    async def change(self, name: str, body: "Callable[[SecretChange], Awaitable[T]]") -> T:
        """Run `body` on one secret in a transaction; durable when this returns. `body` may run again."""

        async def work(txn: Transaction) -> T:
            entry = await txn.get(SECRETS + name)
            before = None if entry is None else decode_secret(entry.value)
            return await body(SecretChange(txn, name, before, entry.revision if entry else 0))

        return await self._storage.transact(work)

    async def change_settings(self, change: Callable[[Settings], Settings], *, event: Event) -> Settings:
        """Write the mount's settings anew, and announce it."""

        async def work(txn: Transaction) -> Settings:
            entry = await txn.get(CONFIG)
            changed = change(DEFAULT_SETTINGS if entry is None else _decode_settings(entry.value))
            await txn.put(CONFIG, _encode(changed), cas=entry.revision if entry else 0)
            await txn.announce(event)
            return changed

        return await self._storage.transact(work)


class SecretChange:
    """One secret inside a transaction: what it was, and how it is written."""

    __slots__ = ("_revision", "before", "name", "txn")

    def __init__(self, txn: Transaction, name: str, before: Secret | None, revision: int) -> None:
        self.txn = txn
        self.name = name
        self.before = before
        self._revision = revision

    async def value(self, number: int) -> bytes:
        """The JSON of a version of `before`. Raises IntegrityError when its row is gone."""
        before = self.before
        if before is None:
            raise RuntimeError("there is no secret")
        value = before.values.get(number)
        if value is not None:
            return value
        entry = await self.txn.get(value_path(before, number))
        if entry is None:
            raise IntegrityError(
                f"the value of version {number} of a secret is missing: rows were removed outside Mimir"
            )
        return entry.value

    async def write(self, after: Secret, values: Mapping[int, bytes] | None = None) -> Secret:
        """Store the secret with the values of its new versions, each where the docstring of this module says.

        Raises RequestTooLargeError when they are more versions than a row holds.
        """
        found = {number: value for number, value in after.values.items() if after.has_value(number)}
        kept, displaced = _placed({**found, **(values or {})}, after.current)
        after = replace(after, values=kept)
        row = _encode(after)
        if len(row) > MAX_ROW and len(after.versions) > (len(self.before.versions) if self.before else 0):
            raise RequestTooLargeError("the secret has so many versions that there is no room; lower its max_versions")
        for number in self._with_rows():
            if number in kept or (number not in displaced and not after.has_value(number)):
                await self.txn.delete(value_path(after, number))
        for number, value in displaced.items():
            await self.txn.put(value_path(after, number), value)
        await self.txn.put(SECRETS + self.name, row, cas=self._revision)
        return after

    def _with_rows(self) -> list[int]:
        """The versions whose values have rows of their own now."""
        before = self.before
        if before is None or len(before.values) == len(before.versions):
            return []
        return [number for number in before.versions if before.has_value(number) and number not in before.values]

    async def erase(self) -> None:
        """Remove the secret with all its values."""
        if self.before is None:
            return
        await self.txn.delete_prefix(f"{VALUES}{self.before.secret_id}/")
        await self.txn.delete(f"{READS}{self.before.secret_id}")
        await self.txn.delete(SECRETS + self.name)


def _placed(values: dict[int, bytes], head: int) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """Those that stand in the secret's row, the current one and the latest first, and those for which no room is."""
    if sum(map(len, values.values())) <= INLINE:
        return values, {}
    kept: dict[int, bytes] = {}
    displaced: dict[int, bytes] = {}
    room = INLINE
    for number in sorted(values, key=lambda number: (number == head, number), reverse=True):
        fits = len(values[number]) <= room
        (kept if fits else displaced)[number] = values[number]
        room -= len(values[number]) if fits else 0
    return kept, displaced


def new_id() -> str:
    """For a new secret: 95 bits, so that none is ever given twice."""
    return random_base62(16)


def value_path(secret: Secret, number: int) -> str:
    """Where the value of a version is when it does not stand in the secret's row."""
    return f"{VALUES}{secret.secret_id}/{number:08d}"


def decode_secret(value: bytes) -> Secret:
    """A stored row. Raises IntegrityError for one of a newer version of Mimir."""
    secret = _decode_secret(value)
    if secret.format != 1:
        raise IntegrityError("a secret was written by a newer version of Mimir")
    return secret


async def _load_secret(_view: StorageView, path: str, entry: Entry) -> OpenSecret:
    return OpenSecret(path[len(SECRETS) :], decode_secret(entry.value), size=len(entry.value))


async def _load_settings(_view: StorageView, _path: str, entry: Entry) -> Settings:
    return _decode_settings(entry.value)


def _weigh(opened: OpenSecret) -> int:
    secret = opened.secret
    members = secret.values.get(secret.current, b"").count(b",")
    return _OVERHEAD + _PER_VERSION * len(secret.versions) + _PER_BYTE * opened.size + _PER_MEMBER * members
