"""What is done with secrets with versions, on plain values: no request, no JSON shapes, no storage paths."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from core.clock import Clock
from core.errors import InvalidRequestError, NotFoundError, RequestTooLargeError
from kv import exact_json
from kv import secret as rules
from kv.announcements import announcement, settings_announcement
from kv.metadata import MetadataChange, changed, check_metadata_cas
from kv.secret import CURRENT, Author, Secret, Settings, State
from kv.store import KvStore, OpenSecret, SecretChange, new_id
from kv.times import from_seconds

MAX_VALUE = 1024 * 1024  # bytes of JSON; what Vault's integrated storage takes


class Written(NamedTuple):
    """A version that was just made."""

    secret: Secret
    number: int


class Found(NamedTuple):
    """A version that may be read, with the secret as it is in: a newer one than was asked about if that was old."""

    secret: Secret
    number: int
    value: bytes


class GoneError(NotFoundError):
    """The version is there, its value may not be read: the caller is told the version."""

    def __init__(self, secret: Secret, number: int) -> None:
        super().__init__("")
        self.secret = secret
        self.number = number


class KvEngine:
    """The secrets of one mount. `prefix` is the mount's path, which events name."""

    def __init__(self, store: KvStore, clock: Clock, *, prefix: str) -> None:
        self._store = store
        self._clock = clock
        self._prefix = prefix

    def now(self) -> int:
        """Nanoseconds since the epoch."""
        return from_seconds(self._clock.now())

    # --- values -----------------------------------------------------------------------------------------------------

    async def read(self, opened: OpenSecret, *, version: int = 0, stage: str = "") -> Found:
        """A version and its JSON. Raises NotFoundError, and GoneError when it may not be read."""
        number = self._readable(opened.secret, version=version, stage=stage)
        value = await self._store.value(opened.secret, number)
        if value is not None:
            return Found(opened.secret, number, value)
        return await self._read_anew(opened.name, version=version, stage=stage)

    async def _read_anew(self, name: str, *, version: int, stage: str) -> Found:
        """What it is now that it was changed between the reading of its row and of the value."""

        async def look(change: SecretChange) -> Found:
            secret = change.before
            if secret is None:
                raise NotFoundError("")
            number = self._readable(secret, version=version, stage=stage)
            return Found(secret, number, await change.value(number))

        return await self._store.change(name, look)

    def _readable(self, secret: Secret, *, version: int = 0, stage: str = "") -> int:
        """Which version is asked for. Raises NotFoundError and GoneError."""
        number = rules.chosen(secret, version=version, stage=stage)
        if not number:
            raise NotFoundError("")
        if secret.versions[number].state(self.now()) is not State.ENABLED:
            raise GoneError(secret, number)
        return number

    async def put(
        self, name: str, value: bytes, *, author: Author, cas: int | None = None, label: str = CURRENT
    ) -> Written:
        """Add a version. Raises InvalidRequestError when `cas` does not hold, RequestTooLargeError."""
        check_size(value)
        settings = await self._store.settings()

        async def add(change: SecretChange) -> Written:
            secret, now = change.before, self.now()  # not before the transaction, which may have waited behind others
            rules.check_cas(secret, cas, label=label, settings=settings)
            if secret is None:
                secret = rules.new_secret(new_id(), now)
            version = rules.next_version(secret, now, author, settings=settings)
            after = rules.with_version(secret, version, label=label, settings=settings)
            after = await change.write(after, {after.latest: value})
            await self._announce(change, "data-write", after, number=after.latest)
            return Written(after, after.latest)

        return await self._store.change(name, add)

    async def patch(self, name: str, patch: exact_json.Json, *, author: Author, cas: int | None = None) -> Written:
        """Add a version that is the current one, merged with `patch`. Raises NotFoundError and GoneError."""
        settings = await self._store.settings()

        async def merge(change: SecretChange) -> Written:
            secret, now = change.before, self.now()
            if secret is None:
                raise NotFoundError("")
            rules.check_cas(secret, cas, label=CURRENT, settings=settings)
            number = self._readable(secret)
            merged = exact_json.merge_patch(exact_json.decode(await change.value(number)), patch)
            value = exact_json.encode(merged)
            check_size(value)
            version = rules.next_version(secret, now, author, settings=settings)
            after = rules.with_version(secret, version, label=CURRENT, settings=settings)
            after = await change.write(after, {after.latest: value})
            await self._announce(change, "data-patch", after, number=after.latest)
            return Written(after, after.latest)

        return await self._store.change(name, merge)

    # --- versions ---------------------------------------------------------------------------------------------------

    async def delete(self, name: str, numbers: Iterable[int] | None = None) -> None:
        """Delete versions softly; None: the current one. What is not there is as good as deleted."""
        now = self.now()
        wanted = None if numbers is None else list(numbers)

        def change(secret: Secret) -> Secret:
            return rules.deleted(secret, [secret.current] if wanted is None else wanted, now)

        await self._change_versions(name, change, "data-delete" if wanted is None else "delete", wanted)

    async def undelete(self, name: str, numbers: list[int]) -> None:
        """Undo `delete`."""
        await self._change_versions(name, lambda secret: rules.undeleted(secret, numbers), "undelete", numbers)

    async def destroy(self, name: str, numbers: list[int]) -> None:
        """Destroy the values of versions for good."""
        await self._change_versions(name, lambda secret: rules.destroyed(secret, numbers), "destroy", numbers)

    async def set_state(self, name: str, numbers: list[int], state: State) -> Secret:
        """Enable, disable or destroy versions. Raises NotFoundError, and InvalidRequestError for unknown versions."""

        def change(secret: Secret) -> Secret:
            _check_known(secret, numbers)
            return rules.with_state(secret, numbers, state)

        found = await self._change_versions(name, change, "state", numbers)
        if found is None:
            raise NotFoundError("")
        return found

    async def set_label(self, name: str, label: str, number: int, *, cas: int | None = None) -> Secret:
        """Move a label to a version; `cas` as in `put`.

        Raises NotFoundError, and InvalidRequestError for a version that is unknown or cannot have the label.
        """
        settings, now = await self._store.settings(), self.now()

        def change(secret: Secret) -> Secret:
            _check_known(secret, [number])
            rules.check_cas(secret, cas, label=label, settings=settings)
            rules.check_labelable(secret, label, number, now)
            return rules.with_label(secret, label, number)

        return await self._change_labels(name, change, number)

    async def remove_label(self, name: str, label: str) -> Secret:
        """The label names nothing any more. Raises NotFoundError for a label that there is none of."""
        return await self._change_labels(name, lambda secret: rules.without_label(secret, label), 0)

    async def _change_labels(self, name: str, work: Callable[[Secret], Secret], number: int) -> Secret:
        settings = await self._store.settings()

        def change(secret: Secret) -> Secret:
            return rules.within_limit(work(secret), settings)

        found = await self._change_versions(name, change, "stage", [number] if number else None)
        if found is None:
            raise NotFoundError("")
        return found

    async def _change_versions(
        self, name: str, work: Callable[[Secret], Secret], operation: str, numbers: list[int] | None
    ) -> Secret | None:
        """One change of a secret that is there; None when it is not."""

        async def apply(change: SecretChange) -> Secret | None:
            secret = change.before
            if secret is None:
                return None
            after = work(secret)
            if after == secret:
                return secret
            after = await change.write(after)
            known = [number for number in numbers if number in secret.versions] if numbers else None
            await self._announce(change, operation, after, numbers=known)
            return after

        return await self._store.change(name, apply)

    # --- metadata ---------------------------------------------------------------------------------------------------

    async def write_metadata(
        self, name: str, change: MetadataChange, *, cas: int | None = None, is_patch: bool = False
    ) -> Secret:
        """Change a secret's metadata, and make a secret without versions if there is none (a patch: NotFoundError).

        Raises InvalidRequestError when `cas` does not hold.
        """
        settings, now = await self._store.settings(), self.now()

        async def apply(row: SecretChange) -> Secret:
            secret = row.before
            if secret is None and is_patch:
                raise NotFoundError("")
            check_metadata_cas(secret, cas, settings)
            after = changed(secret or rules.new_secret(new_id(), now), change, is_patch=is_patch)
            after = await row.write(after)
            await self._announce(row, "metadata-patch" if is_patch else "metadata-write", after)
            return after

        return await self._store.change(name, apply)

    async def delete_metadata(self, name: str) -> None:
        """Remove the secret with all its versions; that there was none is as good."""

        async def remove(row: SecretChange) -> None:
            if row.before is not None:
                await row.erase()
                await self._announce(row, "metadata-delete", row.before)

        await self._store.change(name, remove)

    # --- settings of the mount --------------------------------------------------------------------------------------

    async def change_settings(self, change: Callable[[Settings], Settings]) -> None:
        """Write what holds for all secrets."""
        await self._store.change_settings(change, event=settings_announcement(self._prefix))

    # --- events -----------------------------------------------------------------------------------------------------

    async def _announce(
        self, change: SecretChange, operation: str, secret: Secret, *, number: int = 0, numbers: list[int] | None = None
    ) -> None:
        await change.txn.announce(
            announcement(operation, self._prefix, change.name, secret, number=number, numbers=numbers)
        )


def check_size(value: bytes) -> None:
    """Raise RequestTooLargeError for a value that is too large."""
    if len(value) > MAX_VALUE:
        raise RequestTooLargeError(f"a secret has at most {MAX_VALUE} bytes of JSON, and this one has {len(value)}")


def _check_known(secret: Secret, numbers: Iterable[int]) -> None:
    unknown = [str(number) for number in numbers if number not in secret.versions]
    if unknown:
        raise InvalidRequestError(f"the secret has no version {', '.join(unknown)}")
