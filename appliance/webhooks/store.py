"""Webhooks as they are stored: one sealed entry with all of them, and one with the progress of each.

The first changes only when an operator says so, and one comparison tells a process whether it still knows it.
"""

import contextlib
from collections.abc import Callable, Mapping

import msgspec

from appliance.webhooks.webhook import OVERLAP, Progress, Webhook
from core.clock import Clock
from core.errors import CasMismatchError, InvalidRequestError, NotFoundError
from core.ids import new_uuid
from core.protocols import CoreStorage, CoreTransaction, Entry, StorageView

ENTRY = "core/webhooks/all"
PROGRESS = "core/webhooks/progress/"
MAX_WEBHOOKS = 64  # each is a task and a connection of the housekeeper

Webhooks = dict[str, Webhook]  # by name


class WebhookStore:
    """Reads and changes them, each change in one transaction."""

    def __init__(self, storage: CoreStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock

    async def all(self) -> Webhooks:
        """By name."""
        return _webhooks(await self._storage.get(ENTRY))

    async def get(self, name: str) -> Webhook:
        """Raises NotFoundError."""
        return _found(await self.all(), name)

    async def create(self, name: str, make: Callable[[str, float], Webhook]) -> Webhook:
        """What `make` makes of a new id and the time; it begins behind the newest event."""
        _, newest = await self._storage.event_bounds()
        webhook = make(new_uuid(), self._clock.now())

        async def body(txn: CoreTransaction) -> Webhook:
            present = _webhooks(await txn.get(ENTRY))
            if name in present:
                raise CasMismatchError("a webhook of that name was made meanwhile; read it first")
            if len(present) >= MAX_WEBHOOKS:
                raise InvalidRequestError(f"there can be {MAX_WEBHOOKS} webhooks; delete one first")
            await _write(txn, {**present, name: webhook})
            await txn.put(_progress_path(webhook), _encode(Progress(cursor=newest)), cas=0)
            return webhook

        return await self._storage.transact(body)

    async def change(self, name: str, alter: Callable[[Webhook], Webhook]) -> Webhook:
        """Replace it by what `alter` makes of it. Raises NotFoundError."""

        async def body(txn: CoreTransaction) -> Webhook:
            present = _webhooks(await txn.get(ENTRY))
            before = _found(present, name)
            changed = alter(before)
            if changed != before:
                await _write(txn, {**present, name: changed})
            return changed

        return await self._storage.transact(body)

    async def rotate_key(self, name: str, key: bytes) -> Webhook:
        """Sign with `key` from now on, and with the present one for another day."""
        until = self._clock.now() + OVERLAP

        def rotate(webhook: Webhook) -> Webhook:
            return msgspec.structs.replace(webhook, key=key, previous_key=webhook.key, previous_until=until)

        return await self.change(name, rotate)

    async def delete(self, name: str) -> None:
        """Absent is as good."""

        async def body(txn: CoreTransaction) -> None:
            present = _webhooks(await txn.get(ENTRY))
            webhook = present.pop(name, None)
            if webhook is not None:
                await _write(txn, present)
                await txn.delete(_progress_path(webhook))

        await self._storage.transact(body)

    async def move(self, name: str, *, after: int) -> None:
        """Deliver from behind that number, be it back or ahead. Raises NotFoundError."""

        async def body(txn: CoreTransaction) -> None:
            present = _webhooks(await txn.get(ENTRY))
            webhook = _found(present, name)
            moved = msgspec.structs.replace(webhook, replays=webhook.replays + 1)
            await _write(txn, {**present, name: moved})
            before = _progress(await txn.get(_progress_path(webhook)))
            progress = Progress(cursor=after, last_success=before.last_success if before else 0.0)
            await txn.put(_progress_path(webhook), _encode(progress))

        await self._storage.transact(body)

    async def progress(self, webhook: Webhook) -> tuple[Progress, int]:
        """How far its delivery has come, and the revision to save the next one with. Raises NotFoundError."""
        entry = await self._storage.get(_progress_path(webhook))
        progress = _progress(entry)
        if entry is None or progress is None:
            raise NotFoundError("there is no webhook of that name")
        return progress, entry.revision

    async def save(self, webhook: Webhook, progress: Progress, *, revision: int) -> int:
        """The new revision. Raises CasMismatchError when somebody else has moved it, or the webhook is gone."""
        return await self._storage.put(_progress_path(webhook), _encode(progress), cas=revision)

    async def lowest(self) -> int | None:
        """Up to where all that are enabled have got every event; None without any. See events.retention."""
        cursors = []
        for webhook in (await self.all()).values():
            if webhook.enabled:
                with contextlib.suppress(NotFoundError):  # deleted meanwhile
                    cursors.append((await self.progress(webhook))[0].cursor)
        return min(cursors, default=None)


class FollowedWebhooks:
    """The webhooks as the housekeeper knows them, kept current without asking the store."""

    def __init__(self, storage: CoreStorage) -> None:
        self._storage = storage
        self._cache = storage.decoded_cache(_load, capacity=1)
        self._seen: Webhooks | None = None

    @property
    def value(self) -> Mapping[str, Webhook]:
        """Those of the last look."""
        return self._seen or {}

    async def refresh(self) -> None:
        """Read them, where they were changed; the entry is made at first, so that there is something to compare."""
        if self._seen is not None and self._cache.peek(ENTRY) is self._seen:
            return
        found = await self._cache.get(ENTRY)
        if found is None:
            with contextlib.suppress(CasMismatchError):  # another process was first
                await self._storage.put(ENTRY, _encode({}), cas=0)
            found = await self._cache.get(ENTRY)
        self._seen = found

    def forget(self) -> None:
        """At seal."""
        self._seen = None


def _webhooks(entry: Entry | None) -> Webhooks:
    return _decode(entry.value) if entry else {}


def _progress(entry: Entry | None) -> Progress | None:
    return _decode_progress(entry.value) if entry else None


def _found(webhooks: Webhooks, name: str) -> Webhook:
    if name not in webhooks:
        raise NotFoundError("there is no webhook of that name")
    return webhooks[name]


async def _write(txn: CoreTransaction, webhooks: Webhooks) -> None:
    await txn.put(ENTRY, _encode(webhooks))


def _progress_path(webhook: Webhook) -> str:
    return PROGRESS + webhook.id


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Webhooks).decode
_decode_progress = msgspec.json.Decoder(Progress).decode


async def _load(_storage: StorageView, _path: str, entry: Entry) -> Webhooks:
    return _decode(entry.value)
