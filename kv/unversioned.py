"""What is done with secrets without versions: those of version 1.

Each is a row as version 2 has it, with one version whose number is 1. So a mount is upgraded by serving it as 2.
"""

from msgspec.structs import replace

from core.clock import Clock
from core.errors import InvalidRequestError
from kv import secret as rules
from kv.announcements import plain_announcement
from kv.engine import check_size
from kv.secret import CURRENT, Author, Secret, Version
from kv.store import KvStore, SecretChange, new_id
from kv.times import from_seconds

ONLY = 1  # the number of the one version


class UnversionedEngine:
    """The secrets of one mount. `prefix` is the mount's path, which events name."""

    def __init__(self, store: KvStore, clock: Clock, *, prefix: str) -> None:
        self._store = store
        self._clock = clock
        self._prefix = prefix

    async def put(self, name: str, value: bytes, *, author: Author) -> None:
        """Store it in place of what was there. Raises RequestTooLargeError."""
        check_size(value)
        now = from_seconds(self._clock.now())

        async def write(row: SecretChange) -> None:
            before = row.before
            _check_unversioned(before)
            after = _with_value(before or rules.new_secret(new_id(), now), Version(created_at=now, author=author))
            await row.write(after, {ONLY: value})
            await row.txn.announce(plain_announcement("write", self._prefix, name))

        await self._store.change(name, write)

    async def delete(self, name: str) -> None:
        """Remove it; that there was none is as good."""

        async def remove(row: SecretChange) -> None:
            _check_unversioned(row.before)
            if row.before is not None:
                await row.erase()
                await row.txn.announce(plain_announcement("delete", self._prefix, name))

        await self._store.change(name, remove)


def _check_unversioned(secret: Secret | None) -> None:
    """Raise InvalidRequestError where another worker serves the mount as version 2 already."""
    if secret is not None and (secret.latest > ONLY or secret.metadata_version):
        raise InvalidRequestError("the mount was upgraded to version 2 meanwhile; nothing was changed")


def _with_value(secret: Secret, version: Version) -> Secret:
    """The secret with that one version, whose value is still to be written."""
    return replace(
        secret,
        updated_at=version.created_at,
        latest=ONLY,
        versions={ONLY: version},
        labels={CURRENT: ONLY},
        values={},
    )
