"""What transit keeps: under which path, and how it is read back.

    keys/<name>                     the key: configuration, versions, the id of each (a Keyring)
    versions/<name>/<00000001>      one version's wrapped key; written once
    usage/<name>/<00000001>         how many encryptions of that version are spoken for

Whatever changes a version's row also writes the key's row, so that every worker drops what it has decoded. Usage rows
change often and touch nothing else.
"""

import msgspec

from core.errors import IntegrityError
from core.protocols import DecodedCache, Entry, StorageView, Transaction, WrappedKey
from transit.errors import UnknownKeyError
from transit.keyring import Keyring, VersionInfo

KEYS = "keys/"

_encode = msgspec.msgpack.Encoder().encode
_decode_keyring = msgspec.msgpack.Decoder(Keyring).decode
_decode_wrapped = msgspec.msgpack.Decoder(WrappedKey).decode


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Encryptions that workers made or may still make, of the version whose key has this id."""

    key_id: str
    reserved: int


_decode_usage = msgspec.msgpack.Decoder(Usage).decode


class OpenKey:
    """A key in memory: its keyring, and the wrapped keys of the versions that were used since it was read."""

    __slots__ = ("_wrapped", "keyring", "name")

    def __init__(self, name: str, keyring: Keyring) -> None:
        self.name = name
        self.keyring = keyring
        self._wrapped: dict[int, WrappedKey] = {}

    def peek_version(self, version: int) -> WrappedKey | None:
        """The wrapped key if it was read already."""
        return self._wrapped.get(version)

    def keep_version(self, version: int, wrapped: WrappedKey) -> None:
        """Remember it; a version never changes."""
        self._wrapped[version] = wrapped


class KeyStore:
    """Keys by name, in one mount's storage."""

    def __init__(self, storage: StorageView) -> None:
        self._storage = storage
        self._cache: DecodedCache[OpenKey] = storage.decoded_cache(_load_key)

    def peek(self, name: str) -> OpenKey | None:
        """The key if it is in memory."""
        return self._cache.peek(KEYS + name)

    async def find(self, name: str) -> OpenKey | None:
        """The key, or None."""
        return self._cache.peek(KEYS + name) or await self._cache.get(KEYS + name)

    async def version(self, key: OpenKey, version: int) -> WrappedKey:
        """The wrapped key of a version that the keyring has. Raises IntegrityError when the rows do not agree."""
        found = key.peek_version(version)
        if found is None:
            found = await self._load_version(key, version)
            key.keep_version(version, found)
        return found

    async def _load_version(self, key: OpenKey, version: int) -> WrappedKey:
        path = version_path(key.name, version)
        entry = await self._storage.get(path)
        found = None if entry is None else _decode_wrapped(entry.value)
        if found is None or found.key_id != key.keyring.versions[version].key_id:
            current = await self._cache.get(KEYS + key.name)
            if current is None or current.keyring.versions.get(version) != key.keyring.versions[version]:
                raise UnknownKeyError("the key was deleted or replaced while it was used; ask again")
            raise IntegrityError(f"the entry {path} does not hold the key version that its key's entry names")
        return found

    async def names(self, *, after: str, limit: int) -> list[str]:
        """Names in order."""
        return await self._storage.list(KEYS, after=after, limit=limit)

    async def usage(self, name: str, keyring: Keyring) -> dict[int, int]:
        """Encryptions spoken for, by version."""
        found: dict[int, int] = {}
        for version, info in keyring.versions.items():
            entry = await self._storage.get(usage_path(name, version))
            usage = None if entry is None else _decode_usage(entry.value)
            found[version] = usage.reserved if usage is not None and usage.key_id == info.key_id else 0
        return found


async def _load_key(_view: StorageView, path: str, entry: Entry) -> OpenKey:
    return OpenKey(path.removeprefix(KEYS), _decode_keyring(entry.value))


def version_path(name: str, version: int) -> str:
    """Where a version's wrapped key is."""
    return f"versions/{name}/{version:08d}"


def usage_path(name: str, version: int) -> str:
    """Where a version's usage is counted."""
    return f"usage/{name}/{version:08d}"


# --- inside a transaction -------------------------------------------------------------------------------------------


async def read_keyring(txn: Transaction, name: str) -> tuple[Keyring, int] | None:
    """The key's row and its revision."""
    entry = await txn.get(KEYS + name)
    return None if entry is None else (_decode_keyring(entry.value), entry.revision)


async def write_keyring(txn: Transaction, name: str, keyring: Keyring, *, cas: int) -> None:
    """Write the key's row."""
    await txn.put(KEYS + name, _encode(keyring), cas=cas)


async def write_version(txn: Transaction, name: str, version: int, wrapped: WrappedKey) -> None:
    """Write a version's row, for the first time."""
    await txn.put(version_path(name, version), _encode(wrapped), cas=0)


async def delete_key(txn: Transaction, name: str) -> None:
    """Remove every row of a key."""
    await txn.delete(KEYS + name)
    await txn.delete_prefix(f"versions/{name}/")
    await txn.delete_prefix(f"usage/{name}/")


async def change_usage(
    txn: Transaction, name: str, version: int, info: VersionInfo, *, by: int, limit: int
) -> int | None:
    """Add `by`, or what is left below `limit`, to a version's usage; how much was added. `by` may be negative.

    None when the key is gone, or another one of that name by now.
    """
    row = await read_keyring(txn, name)
    if row is None or row[0].versions.get(version) != info:
        return None
    entry = await txn.get(usage_path(name, version))
    usage = None if entry is None else _decode_usage(entry.value)
    before = usage.reserved if usage is not None and usage.key_id == info.key_id else 0
    after = max(0, min(before + by, limit))
    if after != before:
        await txn.put(usage_path(name, version), _encode(Usage(key_id=info.key_id, reserved=after)))
    return after - before
