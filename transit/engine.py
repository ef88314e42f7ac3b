"""What transit does, on plain values: bytes in, bytes out."""

import asyncio
from collections.abc import Callable, Iterator, MutableSequence, Sequence
from typing import Any, TypeVar

from core.clock import Clock
from core.errors import CallerError, CasMismatchError, CiphertextError, InvalidRequestError
from core.protocols import AeadInput, KeyCustodian, StorageView, Transaction, WrappedKey
from transit.counters import UsageCounters
from transit.errors import KeyVersionError, UnknownKeyError, UsageExhaustedError, forged
from transit.key_types import KeyType
from transit.keyring import ConfigChange, Keyring, VersionInfo
from transit.store import KeyStore, OpenKey, delete_key, read_keyring, write_keyring, write_version

T = TypeVar("T")

MAX_PAYLOAD = 2**20  # an HSM takes about four times the payload of memory
ITEMS_A_PASS = 1000  # about 10 ms in a local token; other requests get their turn in between

# the version asked for (0: the latest) or named by the ciphertext, and the bytes
Versioned = tuple[int, AeadInput]


class TransitEngine:
    """Named keys in one mount, as one worker sees them."""

    def __init__(self, storage: StorageView, keys: KeyCustodian, clock: Clock) -> None:
        self._storage = storage
        self._keys = keys
        self._clock = clock
        self._counters = UsageCounters(storage)
        self.store = KeyStore(storage)

    async def close(self) -> None:
        """Give back the encryptions that were reserved and not made."""
        await self._counters.close()

    # --- keys -----------------------------------------------------------------------------------------------------

    async def create_key(self, name: str, key_type: KeyType) -> tuple[OpenKey, bool]:
        """The key of that name, made if there is none, and whether it was. Of two that race, one key stays."""
        found = await self.store.find(name)
        if found is not None:
            return found, False
        wrapped = await self._keys.generate_key(key_type.kind, usage=key_type.usage)
        keyring = Keyring(type=key_type.name, custody=wrapped.custody, versions={1: self._version_info(wrapped)})

        async def add(txn: Transaction) -> bool:
            if await read_keyring(txn, name) is not None:
                return False
            await write_version(txn, name, 1, wrapped)
            await write_keyring(txn, name, keyring, cas=0)
            return True

        try:
            created = await self._storage.transact(add)
        except CasMismatchError:
            created = False  # another worker committed between our read and our write
        return await self.open_key(name), created

    async def open_key(self, name: str) -> OpenKey:
        """Raises UnknownKeyError."""
        found = await self.store.find(name)
        if found is None:
            raise UnknownKeyError("encryption key not found")
        return found

    async def rotate_key(self, name: str) -> OpenKey:
        """Add a version, which encrypts from now on; older ones go on decrypting. Raises UnknownKeyError."""
        key_type = (await self._known_key(name, "key not found")).key_type
        wrapped = await self._keys.generate_key(key_type.kind, usage=key_type.usage)

        async def add(txn: Transaction) -> None:
            keyring, revision = await _existing(txn, name, "key not found")
            rotated = keyring.rotated(self._version_info(wrapped))
            await write_version(txn, name, rotated.latest_version, wrapped)
            await write_keyring(txn, name, rotated, cas=revision)

        await self._storage.transact(add)
        return await self.open_key(name)

    async def configure_key(self, name: str, change: ConfigChange) -> OpenKey:
        """Change a key's configuration. Raises InvalidRequestError."""

        async def write(txn: Transaction) -> None:
            keyring, revision = await _existing(txn, name, f"no existing key named {name} could be found")
            configured = keyring.configured(change)
            if configured != keyring:
                await write_keyring(txn, name, configured, cas=revision)

        await self._storage.transact(write)
        return await self.open_key(name)

    async def delete_key(self, name: str) -> None:
        """Destroy every version of a key. Raises KeyPolicyError unless its configuration allows that."""

        async def remove(txn: Transaction) -> None:
            keyring, _ = await _existing(txn, name, f"error deleting policy {name}: could not delete key; not found")
            keyring.check_deletable(name)
            await delete_key(txn, name)

        await self._storage.transact(remove)

    async def usage(self, key: OpenKey) -> dict[int, int]:
        """Encryptions by version. Never too low; too high by what other workers have reserved and not used."""
        stored = await self.store.usage(key.name, key.keyring)
        versions = key.keyring.versions
        return {v: max(0, count - self._counters.held(versions[v].key_id)) for v, count in stored.items()}

    def _version_info(self, wrapped: WrappedKey) -> VersionInfo:
        return VersionInfo(created_at=int(self._clock.now()), key_id=wrapped.key_id)

    async def _known_key(self, name: str, otherwise: str) -> Keyring:
        found = await self.store.find(name)
        if found is None:
            raise UnknownKeyError(otherwise)
        return found.keyring

    # --- data -----------------------------------------------------------------------------------------------------

    async def encrypt(self, name: str, items: Sequence[Versioned]) -> list[tuple[int, bytes] | CallerError]:
        """Encrypt each item; with each, the version that did it.

        An item that cannot be encrypted is answered by the error in its place. Items of one version go through the HSM
        together. Raises UnknownKeyError, and OperatorErrors for all of them.
        """
        key = self.store.peek(name) or await self.open_key(name)
        results: list[tuple[int, bytes] | CallerError | None] = [None] * len(items)
        for version, indexes in _by_version(key.keyring.version_to_encrypt, items, results):
            try:
                wrapped = await self._reserve(key, version, len(indexes))
            except UsageExhaustedError as exc:
                _answer_all(results, indexes, exc)
                continue
            for part in _passes(indexes):
                sealed = await self._keys.encrypt(wrapped, [items[i][1] for i in part])
                for i, octets in zip(part, sealed, strict=True):
                    results[i] = (version, octets)
                if len(part) == ITEMS_A_PASS:
                    await asyncio.sleep(0)
        return _complete(results)

    async def encrypt_one(self, key: OpenKey, item: Versioned) -> tuple[int, bytes]:
        """As `encrypt`, for one item, whose error is raised: what nearly every request is."""
        version = key.keyring.version_to_encrypt(item[0])
        [octets] = await self._keys.encrypt(await self._reserve(key, version, 1), (item[1],))
        return version, octets

    async def decrypt_one(self, key: OpenKey, item: Versioned) -> bytes:
        """As `decrypt`, for one item, whose error is raised."""
        version = key.keyring.version_to_decrypt(item[0])
        wrapped = key.peek_version(version) or await self.store.version(key, version)
        [octets] = await self._keys.decrypt(wrapped, (item[1],))
        if isinstance(octets, CiphertextError):
            raise forged()
        return octets

    async def _reserve(self, key: OpenKey, version: int, count: int) -> WrappedKey:
        """The version's key, with `count` encryptions counted."""
        wrapped = key.peek_version(version) or await self.store.version(key, version)
        if not self._counters.take_now(wrapped.key_id, count):
            keyring = key.keyring
            limit = keyring.key_type.encryption_limit
            await self._counters.take(key.name, version, keyring.versions[version], count, limit=limit)
        return wrapped

    async def decrypt(self, name: str, items: Sequence[Versioned]) -> list[bytes | CallerError]:
        """Decrypt each item under the version it names; errors stand in the places of their items, as in `encrypt`."""
        key = self.store.peek(name) or await self.open_key(name)
        results: list[bytes | CallerError | None] = [None] * len(items)
        for version, indexes in _by_version(key.keyring.version_to_decrypt, items, results):
            wrapped = key.peek_version(version) or await self.store.version(key, version)
            for part in _passes(indexes):
                opened = await self._keys.decrypt(wrapped, [items[i][1] for i in part])
                for i, octets in zip(part, opened, strict=True):
                    results[i] = forged() if isinstance(octets, CiphertextError) else octets
                if len(part) == ITEMS_A_PASS:
                    await asyncio.sleep(0)
        return _complete(results)

    async def rewrap(
        self, name: str, items: Sequence[Versioned], *, key_versions: Sequence[int]
    ) -> list[tuple[int, bytes] | CallerError]:
        """Decrypt and encrypt again under `key_versions` (0: the latest), with the same associated data."""
        opened = await self.decrypt(name, items)
        results: list[tuple[int, bytes] | CallerError] = []
        again: list[Versioned] = []
        for item, version, plaintext in zip(items, key_versions, opened, strict=True):
            if not isinstance(plaintext, CallerError):
                again.append((version, AeadInput(plaintext, item[1].associated_data)))
        sealed = iter(await self.encrypt(name, again))
        results.extend(plaintext if isinstance(plaintext, CallerError) else next(sealed) for plaintext in opened)
        return results


def check_payload(octets: bytes, *, field: str, overhead: int = 0) -> None:
    """Raises InvalidRequestError for what is too large to go through an HSM."""
    if len(octets) > MAX_PAYLOAD + overhead:
        raise InvalidRequestError(
            f"{field} is over 1 MiB, the most that goes through the HSM; encrypt it under a data key of your own, and "
            "send that data key here (envelope encryption)"
        )


async def _existing(txn: Transaction, name: str, otherwise: str) -> tuple[Keyring, int]:
    row = await read_keyring(txn, name)
    if row is None:
        raise UnknownKeyError(otherwise)
    return row


def _by_version(
    choose: Callable[[int], int], items: Sequence[Versioned], results: MutableSequence[Any]
) -> list[tuple[int, list[int]]]:
    """The places of the items of each version; an item whose version is refused is answered at once."""
    groups: dict[int, list[int]] = {}
    for i, item in enumerate(items):
        try:
            groups.setdefault(choose(item[0]), []).append(i)
        except KeyVersionError as exc:
            results[i] = exc
    return list(groups.items())


def _passes(indexes: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(indexes), ITEMS_A_PASS):
        yield indexes[start : start + ITEMS_A_PASS]


def _answer_all(results: MutableSequence[Any], indexes: list[int], error: CallerError) -> None:
    for i in indexes:
        results[i] = error


def _complete(results: list[T | None]) -> list[T]:
    """Every item was answered, or this is our mistake."""
    answers = [answer for answer in results if answer is not None]
    if len(answers) != len(results):
        raise RuntimeError("an item of a batch was left without an answer")
    return answers
