"""Keys made elsewhere: imported under the mount's wrapping key, or as a public key alone."""

import dataclasses
from dataclasses import dataclass

import msgspec

from core.clock import Clock
from core.errors import CasMismatchError, InvalidRequestError, KeyPolicyError
from core.protocols import Custody, KeyCustodian, KeyKind, KeyUsage, StorageView, Transaction
from core.public_keys import check_public_key
from core.secret import Secret
from transit.errors import UnknownKeyError
from transit.key_types import KeyType
from transit.keyring import Keyring, KeyVersion
from transit.lifecycle import HMAC_KEY_BYTES, NewKey
from transit.store import (
    KeyStore,
    OpenKey,
    add_keyring,
    existing_keyring,
    read_keyring,
    read_version,
    replace_keyring,
    write_version,
)

ALREADY_THERE = (
    "the import path cannot be used with an existing key; use import_version to add a version to an imported key"
)


@dataclass(frozen=True, slots=True)
class PublicKeyOnly:
    """What is imported without its private half: SubjectPublicKeyInfo, DER, of the key's own type."""

    public_key: bytes


Imported = Secret | PublicKeyOnly


class KeyImporter:
    """Imports into one mount."""

    def __init__(self, storage: StorageView, store: KeyStore, keys: KeyCustodian, clock: Clock) -> None:
        self._storage = storage
        self._store = store
        self._keys = keys
        self._clock = clock

    async def import_key(self, name: str, new: NewKey, *, allow_rotation: bool, given: Imported) -> OpenKey:
        """A new key of one version. Raises InvalidRequestError, KeyPolicyError; of two that race, one fails so."""
        new = _with_import_rules(new, allow_rotation=allow_rotation)
        new.check()
        await self.check_free(name)
        version = await self._version(new.key_type, given, derived=new.derived, custody=new.wanted_custody)
        custody = self._custody_of(new, version)
        keyring = msgspec.structs.replace(
            new.keyring(custody, at=version.created_at),
            imported=True,
            takes_imports=True,
            allow_rotation=allow_rotation,
            key_size=_key_size(new.key_type, given),
        )

        async def add(txn: Transaction) -> None:
            if await read_keyring(txn, name) is not None:
                raise InvalidRequestError(ALREADY_THERE)
            await write_version(txn, name, 1, msgspec.structs.replace(version, owner=keyring.id))
            await add_keyring(txn, name, keyring)

        try:
            await self._storage.transact(add)
        except CasMismatchError:
            raise InvalidRequestError(ALREADY_THERE) from None
        return await self._store.open(name)

    async def check_free(self, name: str) -> None:
        """Raises InvalidRequestError when there is a key of that name."""
        if await self._store.find(name) is not None:
            raise InvalidRequestError(ALREADY_THERE)

    async def import_version(self, name: str, given: Imported, *, number: int | None) -> OpenKey:
        """One more version; or, with `number`, the private half of a version that has its public half only.

        Without `number` a private key that fits the latest version completes that one. Raises UnknownKeyError,
        KeyPolicyError, InvalidRequestError.
        """
        before = (await self.open_imported(name)).keyring
        version = await self._version(before.key_type, given, derived=before.derived, custody=before.custody)

        async def add(txn: Transaction) -> None:
            row = await existing_keyring(txn, name, _nothing_to_extend(name))
            keyring = row[0]
            _check_takes_imports(keyring)
            if keyring.id != before.id:
                raise UnknownKeyError("the key was replaced while a version was imported; ask again")
            place, stored = await _place(txn, name, keyring, version, number)
            await write_version(txn, name, place, stored, new=place > keyring.latest_version)
            changed = msgspec.structs.replace(
                keyring,
                latest_version=max(place, keyring.latest_version),
                rotated_at=stored.created_at if place > keyring.latest_version else keyring.rotated_at,
                key_size=_key_size(keyring.key_type, given) or keyring.key_size,
            )
            await replace_keyring(txn, name, row, changed)

        await self._storage.transact(add)
        return await self._store.open(name)

    async def open_imported(self, name: str) -> OpenKey:
        """The key, if it takes versions from elsewhere."""
        key = await self._store.find(name)
        if key is None:
            raise UnknownKeyError(_nothing_to_extend(name))
        _check_takes_imports(key.keyring)
        return key

    async def _version(self, row: KeyType, given: Imported, *, derived: bool, custody: Custody | None) -> KeyVersion:
        """Its keys; the companion that makes HMACs is generated here."""
        key, public_key = None, None
        if isinstance(given, PublicKeyOnly):
            if derived:
                raise InvalidRequestError("a derived key cannot be imported as a public key alone: send its ciphertext")
            public_key = given.public_key
            custody = custody or self._keys.custody_of(row.kind, row.usage)
        else:
            if row.is_hmac and len(given) not in HMAC_KEY_BYTES:
                raise InvalidRequestError("an hmac key must have between 32 and 512 bytes")
            key = await self._keys.import_key(row.kind, given, usage=row.usage_for(derived=derived), custody=custody)
            public_key = None if derived else key.public_key
            custody = key.custody
        mac = None
        if not row.is_hmac:
            mac = await self._keys.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC, custody=custody)
        return KeyVersion(owner="", created_at=int(self._clock.now()), key=key, mac=mac, public_key=public_key)

    def _custody_of(self, new: NewKey, version: KeyVersion) -> Custody:
        """Where the key is; of a public key alone, where its private half will be."""
        if version.key is not None:
            return version.key.custody
        return new.wanted_custody or self._keys.custody_of(new.key_type.kind, new.key_type.usage)


def parse_public_key(row: KeyType, pem: str) -> PublicKeyOnly:
    """A public key of that type. Raises InvalidRequestError for a type that has none, and for another's."""
    if not row.is_asymmetric:
        raise InvalidRequestError("provided type does not support public_key import")
    return PublicKeyOnly(check_public_key(row.kind, pem))


def _with_import_rules(new: NewKey, *, allow_rotation: bool) -> NewKey:
    """What holds for imports beyond what holds for all keys."""
    if new.convergent:
        raise InvalidRequestError("import cannot be used on keys with convergent encryption enabled")
    if new.auto_rotate_period and not allow_rotation:
        raise InvalidRequestError("allow_rotation must be set to true if auto-rotation is enabled")
    if not new.derived:
        return new
    if new.wanted_custody is Custody.HSM:
        raise KeyPolicyError(
            "a derived key that comes from elsewhere is sealed, because the HSM derives in a way of its own: leave out"
            " custody=hsm and require_custody=hsm, or derived"
        )
    return dataclasses.replace(new, custody=Custody.SEALED)


def _check_takes_imports(keyring: Keyring) -> None:
    keyring.check_usable()
    if not keyring.imported:
        raise KeyPolicyError("the import_version endpoint can only be used with an imported key")
    if not keyring.takes_imports:
        raise KeyPolicyError("this key was rotated here after its import, so it takes no more versions from elsewhere")
    if keyring.convergent:
        raise KeyPolicyError("import_version cannot be used on keys with convergent encryption enabled")


async def _place(
    txn: Transaction, name: str, keyring: Keyring, version: KeyVersion, number: int | None
) -> tuple[int, KeyVersion]:
    """Which version the row becomes, and the row as it is to be stored."""
    if number is None:
        latest = await read_version(txn, name, keyring.latest_version, keyring)
        if latest.key is None and version.key is not None and latest.public_key == version.public_key:
            return keyring.latest_version, _completed(latest, version)
        return keyring.latest_version + 1, msgspec.structs.replace(version, owner=keyring.id)
    if not keyring.first_version <= number <= keyring.latest_version:
        raise InvalidRequestError(
            f"no such key version: this key has {keyring.first_version} to {keyring.latest_version}"
        )
    stored = await read_version(txn, name, number, keyring)
    if stored.key is not None:
        raise KeyPolicyError("private key imported, key version cannot be updated")
    if version.key is None:
        raise InvalidRequestError("cannot add a public key to a key version that already has a public key set")
    if stored.public_key != version.public_key:
        raise InvalidRequestError("cannot import key, key pair does not match")
    return number, _completed(stored, version)


def _completed(stored: KeyVersion, private: KeyVersion) -> KeyVersion:
    return msgspec.structs.replace(stored, key=private.key)


def _key_size(row: KeyType, given: Imported) -> int:
    return len(given) if row.is_hmac and isinstance(given, Secret) else 0


def _nothing_to_extend(name: str) -> str:
    return f"no key found with name {name}; to import a new key, use the import/ endpoint"
