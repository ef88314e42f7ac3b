"""What transit keeps: under which path, and how it is read back.

    keys/<name>                     the key: type, custody, configuration, number of versions (a Keyring)
    versions/<name>/<00000001>      one version: its wrapped keys, public key, certificates (a KeyVersion)
    usage/<name>/<00000001>         how many encryptions of that version are spoken for
    rotations/<due>/<name>          when a key is rotated by itself (transit.schedule)
    config/keys                     what holds for all keys of the mount

Whatever changes a version's row also writes the key's row, so that every worker drops what it has decoded. Usage rows
change often and touch nothing else. The key's row does not grow with its versions.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from core.errors import IntegrityError
from core.protocols import Custody, DecodedCache, Entry, StorageView, Transaction
from transit.errors import UnknownKeyError
from transit.keyring import Keyring, KeyVersion
from transit.schedule import reschedule

KEYS = "keys/"
MOUNT_CONFIG = "config/keys"
_OPEN_VERSIONS = 16  # of one key in memory

_encode = msgspec.msgpack.Encoder().encode
_decode_keyring = msgspec.msgpack.Decoder(Keyring).decode
_decode_version = msgspec.msgpack.Decoder(KeyVersion).decode


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Encryptions that workers made or may still make, of the version whose key has this id."""

    key_id: str
    reserved: int


class MountConfig(msgspec.Struct, frozen=True, kw_only=True):
    """config/keys: `require_custody` HSM refuses to make or import a key that would not be in the HSM.

    `cache_size` is only shown, to those who set it.
    """

    disable_upsert: bool = False
    require_custody: Custody | None = None
    cache_size: int = 0


class UsageChange(NamedTuple):
    """What became of a version's usage, and the key's row in the same transaction."""

    added: int
    reserved: int  # the new sum
    keyring: Keyring


_decode_usage = msgspec.msgpack.Decoder(Usage).decode
_decode_config = msgspec.msgpack.Decoder(MountConfig).decode


class OpenKey:
    """A key in memory: its keyring, and the versions that were used since it was read.

    `is_direct`: a cipher that can be used without a derivation, which is what most requests are for. `overhead`: what
    a ciphertext has more than its plaintext.
    """

    __slots__ = ("_versions", "is_direct", "keyring", "name", "overhead")

    def __init__(self, name: str, keyring: Keyring) -> None:
        self.name = name
        self.keyring = keyring
        self.overhead = keyring.key_type.overhead
        self.is_direct = keyring.key_type.is_cipher and not keyring.derived and not keyring.soft_deleted
        self._versions: dict[int, KeyVersion] = {}

    def peek_version(self, version: int) -> KeyVersion | None:
        """The version if it was read already."""
        return self._versions.get(version)

    def keep_version(self, version: int, row: KeyVersion) -> None:
        """Remember it; this object is dropped when a version changes."""
        if len(self._versions) >= _OPEN_VERSIONS:
            del self._versions[next(iter(self._versions))]
        self._versions[version] = row


class KeyStore:
    """Keys by name, in one mount's storage."""

    def __init__(self, storage: StorageView) -> None:
        self._storage = storage
        self._cache: DecodedCache[OpenKey] = storage.decoded_cache(_load_key)
        self._config: DecodedCache[MountConfig] = storage.decoded_cache(_load_config, capacity=1)

    def peek(self, name: str) -> OpenKey | None:
        """The key if it is in memory."""
        return self._cache.peek(KEYS + name)

    async def find(self, name: str) -> OpenKey | None:
        """The key, or None."""
        return self._cache.peek(KEYS + name) or await self._cache.get(KEYS + name)

    async def open(self, name: str) -> OpenKey:
        """The key, softly deleted or not. Raises UnknownKeyError."""
        found = self._cache.peek(KEYS + name) or await self._cache.get(KEYS + name)
        if found is None:
            raise UnknownKeyError("encryption key not found")
        return found

    async def usable(self, name: str) -> OpenKey:
        """The key, to work with. Raises UnknownKeyError, and KeyPolicyError while it is softly deleted."""
        found = await self.open(name)
        if found.keyring.soft_deleted:
            found.keyring.check_usable()
        return found

    async def version(self, key: OpenKey, version: int) -> KeyVersion:
        """A version that the keyring has. Raises IntegrityError when the rows do not agree."""
        found = key.peek_version(version)
        if found is None:
            found = await self._load_version(key, version)
            key.keep_version(version, found)
        return found

    async def _load_version(self, key: OpenKey, version: int) -> KeyVersion:
        path = version_path(key.name, version)
        entry = await self._storage.get(path)
        found = None if entry is None else _decode_version(entry.value)
        if found is None or found.owner != key.keyring.id:
            # read past the cache, which hears of another worker's commit only with the next request
            row = await self._storage.get(KEYS + key.name)
            current = None if row is None else _decode_keyring(row.value)
            if current is None or current.id != key.keyring.id or version < current.first_version:
                raise UnknownKeyError("the key was deleted, replaced or trimmed while it was used; ask again")
            raise IntegrityError(f"the entry {path} does not hold a version of the key that its key's entry names")
        return found

    async def names(self, *, after: str, limit: int) -> list[str]:
        """Names in order."""
        return await self._storage.list(KEYS, after=after, limit=limit)

    async def usage(self, name: str, version: int, row: KeyVersion) -> int:
        """Encryptions of a version that are spoken for."""
        entry = await self._storage.get(usage_path(name, version))
        usage = None if entry is None else _decode_usage(entry.value)
        return usage.reserved if usage and row.key and usage.key_id == row.key.key_id else 0

    async def config(self) -> MountConfig:
        """What holds for all keys of the mount."""
        return self._config.peek(MOUNT_CONFIG) or await self._config.get(MOUNT_CONFIG) or MountConfig()

    async def change_config(self, change: Callable[[MountConfig], MountConfig]) -> MountConfig:
        """Write what `change` makes of the present one."""

        async def write(txn: Transaction) -> MountConfig:
            entry = await txn.get(MOUNT_CONFIG)
            changed = change(MountConfig() if entry is None else _decode_config(entry.value))
            await txn.put(MOUNT_CONFIG, _encode(changed))
            return changed

        return await self._storage.transact(write)


async def _load_key(_view: StorageView, path: str, entry: Entry) -> OpenKey:
    return OpenKey(path.removeprefix(KEYS), _decode_keyring(entry.value))


async def _load_config(_view: StorageView, _path: str, entry: Entry) -> MountConfig:
    return _decode_config(entry.value)


def version_path(name: str, version: int) -> str:
    """Where a version is."""
    return f"versions/{name}/{version:08d}"


def usage_path(name: str, version: int) -> str:
    """Where a version's usage is counted."""
    return f"usage/{name}/{version:08d}"


# --- inside a transaction -------------------------------------------------------------------------------------------


async def read_keyring(txn: Transaction, name: str) -> tuple[Keyring, int] | None:
    """The key's row and its revision."""
    entry = await txn.get(KEYS + name)
    return None if entry is None else (_decode_keyring(entry.value), entry.revision)


async def existing_keyring(
    txn: Transaction, name: str, otherwise: str = "encryption key not found"
) -> tuple[Keyring, int]:
    """As `read_keyring`. Raises UnknownKeyError with the sentence `otherwise`."""
    row = await read_keyring(txn, name)
    if row is None:
        raise UnknownKeyError(otherwise)
    return row


async def add_keyring(txn: Transaction, name: str, keyring: Keyring) -> None:
    """Write the row of a new key. Raises CasMismatchError when there is one of that name."""
    await txn.put(KEYS + name, _encode(keyring), cas=0)
    await reschedule(txn, name, None, keyring)


async def replace_keyring(txn: Transaction, name: str, row: tuple[Keyring, int], keyring: Keyring) -> None:
    """Write the row again over `row`, as it was read. Also where only a version changed: caches hang on this row."""
    await txn.put(KEYS + name, _encode(keyring), cas=row[1])
    await reschedule(txn, name, row[0], keyring)


async def read_version(txn: Transaction, name: str, version: int, keyring: Keyring) -> KeyVersion:
    """A version that the keyring has. Raises IntegrityError."""
    entry = await txn.get(version_path(name, version))
    found = None if entry is None else _decode_version(entry.value)
    if found is None or found.owner != keyring.id:
        raise IntegrityError(f"the entry {version_path(name, version)} does not hold a version of its key")
    return found


async def write_version(txn: Transaction, name: str, version: int, row: KeyVersion, *, new: bool = True) -> None:
    """Write a version's row: for the first time, unless it is not `new`. The key's row must be written, too."""
    await txn.put(version_path(name, version), _encode(row), cas=0 if new else None)


async def delete_key(txn: Transaction, name: str, keyring: Keyring) -> None:
    """Remove every row of a key."""
    await txn.delete(KEYS + name)
    await reschedule(txn, name, keyring, None)
    await txn.delete_prefix(f"versions/{name}/")
    await txn.delete_prefix(f"usage/{name}/")


async def delete_versions(txn: Transaction, name: str, versions: range) -> None:
    """Remove versions and what is counted of them."""
    for version in versions:
        await txn.delete(version_path(name, version))
        await txn.delete(usage_path(name, version))


async def change_usage(
    txn: Transaction, name: str, version: int, key_id: str, *, owner: str, by: int
) -> UsageChange | None:
    """Add `by`, or what is left below the key's limit, to the usage of a version that was read with its keyring.

    `owner` is that keyring's id, and `by` may be negative. None when the key is gone, or another one of that name by
    now. A version keeps its key for life, so its row need not be read again.
    """
    row = await read_keyring(txn, name)
    if row is None or row[0].id != owner or not row[0].first_version <= version <= row[0].latest_version:
        return None
    path = usage_path(name, version)
    entry = await txn.get(path)
    usage = None if entry is None else _decode_usage(entry.value)
    before = usage.reserved if usage is not None and usage.key_id == key_id else 0
    after = max(0, before + by)
    limit = row[0].encryption_limit
    if limit and by > 0:
        after = max(before, min(after, limit))
    if after != before:
        await txn.put(path, _encode(Usage(key_id=key_id, reserved=after)), cas=entry.revision if entry else 0)
    return UsageChange(after - before, after, row[0])
