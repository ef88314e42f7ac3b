"""A key's life: created, configured, rotated, trimmed, softly deleted and destroyed."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from core.clock import Clock
from core.engine import Meter, NoMeter
from core.errors import CasMismatchError, InvalidRequestError, KeyPolicyError
from core.ids import new_uuid
from core.protocols import Custody, KeyCustodian, KeyKind, KeyUsage, StorageView, Transaction
from transit.errors import UnknownKeyError
from transit.key_types import KeyType
from transit.keyring import (
    ConfigChange,
    Keyring,
    KeyVersion,
    check_max_encryptions,
    check_may_leave,
    check_rotation_period,
)
from transit.store import (
    KeyStore,
    OpenKey,
    add_keyring,
    delete_key,
    delete_versions,
    existing_keyring,
    read_keyring,
    replace_keyring,
    write_version,
)

HMAC_KEY_BYTES = range(32, 513)  # Vault's limits of key_size


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """What a key is to be. `custody` None: inside the HSM if the token can; `required_custody` refuses another."""

    key_type: KeyType
    derived: bool = False
    convergent: bool = False
    exportable: bool = False
    allow_plaintext_backup: bool = False
    auto_rotate_period: int = 0  # seconds
    max_encryptions: int = 0
    key_size: int = 0  # bytes
    custody: Custody | None = None
    required_custody: Custody | None = None

    def check(self) -> None:
        """Raises InvalidRequestError or KeyPolicyError for what does not go together."""
        row = self.key_type
        if self.derived and not row.supports_derivation:
            raise InvalidRequestError(f"key derivation is not supported for keys of type {row.name}")
        if self.convergent and not (self.derived and row.supports_convergence):
            raise InvalidRequestError(
                "convergent encryption requires derivation to be enabled"
                if row.supports_convergence
                else f"convergent encryption is not supported for keys of type {row.name}"
            )
        if self.key_size and not row.is_hmac:
            raise InvalidRequestError(f"key_size is not valid for algorithm {row.name}")
        if self.key_size and self.key_size not in HMAC_KEY_BYTES:
            raise InvalidRequestError("key_size of an hmac key must be between 32 and 512 bytes")
        check_rotation_period(self.auto_rotate_period)
        check_max_encryptions(self.max_encryptions, row)
        if self.wanted_custody is Custody.SEALED and self.required_custody is Custody.HSM:
            raise KeyPolicyError(
                "require_custody=hsm refuses a key that would be sealed: leave out custody=sealed, exportable and "
                "allow_plaintext_backup, since a key in the HSM cannot leave it"
            )

    @property
    def wanted_custody(self) -> Custody | None:
        """Where the key must be, if that is not left to the token. Raises KeyPolicyError for a contradiction."""
        for what, asked in (("exportable", self.exportable), ("allow_plaintext_backup", self.allow_plaintext_backup)):
            if asked:
                if self.custody is Custody.HSM:
                    check_may_leave(what, Custody.HSM)
                return Custody.SEALED
        return self.custody or (Custody.HSM if self.required_custody is Custody.HSM else None)

    def check_accepts(self, key: OpenKey) -> OpenKey:
        """The key that has the name, again. Raises KeyPolicyError when it is not where it is required to be."""
        if self.required_custody is Custody.HSM and key.keyring.custody is not Custody.HSM:
            raise KeyPolicyError(
                "there is a key of this name already and it is sealed, which require_custody=hsm refuses"
            )
        return key

    def keyring(self, custody: Custody, *, at: int) -> Keyring:
        """The row of such a key, of one version."""
        return Keyring(
            id=new_uuid(),
            type=self.key_type.name,
            custody=custody,
            rotated_at=at,
            derived=self.derived,
            convergent=self.convergent,
            exportable=self.exportable,
            allow_plaintext_backup=self.allow_plaintext_backup,
            auto_rotate_period=self.auto_rotate_period,
            max_encryptions=self.max_encryptions,
            key_size=self.key_size,
        )


class KeyLifecycle:
    """Changes to the keys of one mount."""

    def __init__(
        self, storage: StorageView, store: KeyStore, keys: KeyCustodian, clock: Clock, meter: Meter | None = None
    ) -> None:
        self._storage = storage
        self._store = store
        self._keys = keys
        self._clock = clock
        self._meter = NoMeter() if meter is None else meter

    async def create(self, name: str, new: NewKey) -> tuple[OpenKey, bool]:
        """The key of that name, made if there is none, and whether it was. Of two that race, one key stays."""
        new.check()
        found = await self._store.find(name)
        if found is not None:
            return new.check_accepts(found), False
        version = await self._make_version(
            new.key_type,
            usage=new.key_type.usage_for(derived=new.derived),
            custody=new.wanted_custody,
            size=new.key_size,
        )
        if version.key is None:
            raise RuntimeError("a new key has no key")
        keyring = new.keyring(version.key.custody, at=version.created_at)

        async def add(txn: Transaction) -> bool:
            if await read_keyring(txn, name) is not None:
                return False
            await write_version(txn, name, 1, msgspec.structs.replace(version, owner=keyring.id))
            await add_keyring(txn, name, keyring)
            return True

        try:
            created = await self._storage.transact(add)
        except CasMismatchError:
            created = False  # another worker committed between our read and our write
        return new.check_accepts(await self._store.open(name)), created

    async def make_version(self, keyring: Keyring) -> KeyVersion:
        """Keys for one more version, in the same custody; stored by the caller."""
        version = await self._make_version(
            keyring.key_type, usage=keyring.usage, custody=keyring.custody, size=keyring.key_size
        )
        return msgspec.structs.replace(version, owner=keyring.id)

    async def _make_version(
        self, key_type: KeyType, *, usage: KeyUsage, custody: Custody | None, size: int
    ) -> KeyVersion:
        key = await self._keys.generate_key(key_type.kind, usage=usage, custody=custody, size=size)
        mac = None
        if not key_type.is_hmac:
            mac = await self._keys.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC, custody=key.custody)
        public_key = None if usage is KeyUsage.DERIVE else key.public_key
        return KeyVersion(owner="", created_at=int(self._clock.now()), key=key, mac=mac, public_key=public_key)

    async def rotate(self, name: str, *, only_from: int | None = None) -> OpenKey:
        """Add a version, which encrypts from now on; older ones go on decrypting.

        `only_from`: do nothing unless that is still the latest version, so that of many who find it used up, or due,
        one rotates. Raises UnknownKeyError, and KeyPolicyError for an imported key that takes no version made here.
        """
        found = await self._store.open(name)
        keyring = found.keyring
        if only_from is not None and keyring.latest_version != only_from:
            return found
        keyring.check_rotatable()
        version = await self.make_version(keyring)

        async def add(txn: Transaction) -> bool:
            row = await existing_keyring(txn, name, "key not found")
            row[0].check_rotatable()
            if row[0].id != keyring.id:
                raise UnknownKeyError("the key was replaced while it was rotated; ask again")
            if only_from is not None and row[0].latest_version != only_from:
                return False
            rotated = row[0].rotated(at=version.created_at)
            owned = msgspec.structs.replace(version, owner=rotated.id)
            await write_version(txn, name, rotated.latest_version, owned)
            await replace_keyring(txn, name, row, rotated)
            return True

        if await self._storage.transact(add):
            self._meter.count("key_rotated")
        return await self._store.open(name)

    async def configure(self, name: str, change: ConfigChange) -> OpenKey:
        """Change a key's configuration. Raises InvalidRequestError."""
        return await self._change(
            name, lambda keyring: keyring.configured(change), f"no existing key named {name} could be found"
        )

    async def set_soft_deleted(self, name: str, deleted: bool) -> OpenKey:
        """Refuse to use a key until it is restored, or restore it."""
        return await self._change(
            name, lambda keyring: msgspec.structs.replace(keyring, soft_deleted=deleted), "encryption key not found"
        )

    async def trim(self, name: str, min_available_version: int) -> OpenKey:
        """Destroy the versions before `min_available_version`. Raises InvalidRequestError."""

        async def remove(txn: Transaction) -> None:
            row = await existing_keyring(txn, name, "invalid key name")
            trimmed = row[0].trimmed(min_available_version)
            await delete_versions(txn, name, range(row[0].first_version, trimmed.first_version))
            await replace_keyring(txn, name, row, trimmed)

        await self._storage.transact(remove)
        return await self._store.open(name)

    async def delete(self, name: str) -> None:
        """Destroy every version of a key. Raises KeyPolicyError unless its configuration allows that."""

        async def remove(txn: Transaction) -> None:
            keyring, _ = await existing_keyring(
                txn, name, f"error deleting policy {name}: could not delete key; not found"
            )
            keyring.check_deletable(name)
            await delete_key(txn, name, keyring)

        await self._storage.transact(remove)

    async def _change(self, name: str, change: Callable[[Keyring], Keyring], otherwise: str) -> OpenKey:
        async def write(txn: Transaction) -> None:
            row = await existing_keyring(txn, name, otherwise)
            changed = change(row[0])
            if changed != row[0]:
                await replace_keyring(txn, name, row, changed)

        await self._storage.transact(write)
        return await self._store.open(name)
