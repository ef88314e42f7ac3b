"""Backup of a key with all its versions, and restore: ours and those of Vault and OpenBao."""

import asyncio

import msgspec

from core.clock import Clock
from core.errors import CasMismatchError, InvalidRequestError, KeyPolicyError
from core.protocols import Custody, KeyCustodian, KeyKind, KeyUsage, StorageView, Transaction, WrappedKey
from core.secret import Secret
from transit.backup_format import (
    CONVERGENT_VERSION,
    EMPTY,
    HKDF_SHA256,
    NANOSECONDS,
    ArchivedKeys,
    KeyData,
    KeyEntry,
    Policy,
    parse_backup,
    type_number,
    write_backup,
)
from transit.backup_material import chain_of, created_at, entry_of, material_of, public_key_of
from transit.errors import UnknownKeyError
from transit.key_types import KeyType, key_type
from transit.keyring import Keyring, KeyVersion
from transit.lifecycle import HMAC_KEY_BYTES, NewKey
from transit.names import check_key_name
from transit.store import KeyStore, OpenKey, add_keyring, delete_key, read_keyring, write_version

TEMPLATE = "mimir:v{{version}}:"  # OpenBao reads and writes the prefix that a key's template names
HSM_HMAC_BYTES = 64  # what HMAC-SHA-512 asks of a key in the HSM
_ENTRIES_A_TURN = 64  # before other requests get their turn


class KeyBackups:
    """Backup and restore in one mount."""

    def __init__(self, storage: StorageView, store: KeyStore, keys: KeyCustodian, clock: Clock) -> None:
        self._storage = storage
        self._store = store
        self._keys = keys
        self._clock = clock

    # --- backup -------------------------------------------------------------------------------------------------------

    async def backup(self, name: str) -> str:
        """The key in clear, with all versions that were not trimmed. Raises KeyPolicyError unless it is allowed."""
        key = await self._store.find(name)
        if key is None:
            raise UnknownKeyError(f'key "{name}" not found')
        keyring = key.keyring
        keyring.check_usable()
        if not keyring.allow_plaintext_backup:
            raise KeyPolicyError(_backup_refused(keyring))
        entries: dict[int, KeyEntry] = {}
        for count, number in enumerate(range(keyring.first_version, keyring.latest_version + 1)):
            entries[number] = await self._entry(keyring, await self._store.version(key, number))
            if count % _ENTRIES_A_TURN == _ENTRIES_A_TURN - 1:
                await asyncio.sleep(0)
        return write_backup(_key_data(name, keyring, entries))

    async def _entry(self, keyring: Keyring, version: KeyVersion) -> KeyEntry:
        key = None if version.key is None else await self._keys.export_key(version.key)
        mac = None if version.mac is None else await self._keys.export_key(version.mac)
        convergent = CONVERGENT_VERSION if keyring.convergent else 0
        return entry_of(keyring.key_type, version, key=key, mac=mac, convergent=convergent)

    # --- restore ------------------------------------------------------------------------------------------------------

    async def restore(self, backup: str, *, name: str, force: bool, custody: Custody | None) -> OpenKey:
        """Take a backup, as a key of that name ("": its own). Nothing is written unless all of it can be.

        It is sealed, since a backup may be made of it again; with `custody` HSM it goes into the HSM and loses that
        right. Raises InvalidRequestError for a damaged backup and for a name that is taken (unless `force`), and
        KeyPolicyError for what the mount or the HSM refuses.
        """
        data = parse_backup(backup)
        name = name or data.policy.name
        check_key_name(name)
        row = key_type(data.type_name)
        if not force and await self._store.find(name) is not None:
            raise _exists(name)
        where = await self._custody(data.policy, custody)
        latest = data.entry(data.policy.latest_version)
        made = created_at(latest, otherwise=int(self._clock.now()))
        keyring = _keyring(row, data.policy, where, at=made)
        if row.is_hmac:
            keyring = msgspec.structs.replace(keyring, key_size=len(_hmac_material(latest.key, where)))
        versions: dict[int, KeyVersion] = {}
        for number in range(data.policy.first_version, keyring.latest_version + 1):
            versions[number] = await self._version(row, keyring, data, data.entry(number))
            if len(versions) % _ENTRIES_A_TURN == 0:
                await asyncio.sleep(0)

        async def write(txn: Transaction) -> None:
            present = await read_keyring(txn, name)
            if present is not None:
                if not force:
                    raise _exists(name)
                await delete_key(txn, name, present[0])
            for number, version in versions.items():
                await write_version(txn, name, number, version)
            await add_keyring(txn, name, keyring)

        try:
            await self._storage.transact(write)
        except CasMismatchError:
            raise _exists(name) from None
        return await self._store.open(name)

    async def _custody(self, policy: Policy, asked: Custody | None) -> Custody:
        required = (await self._store.config()).require_custody
        where = asked or required or Custody.SEALED
        if where is not Custody.HSM and required is Custody.HSM:
            raise KeyPolicyError("require_custody=hsm of this mount refuses a restored key that would be sealed")
        if where is Custody.HSM and policy.derived:
            raise KeyPolicyError(
                "a derived key that comes from elsewhere is sealed, so it cannot be restored into the HSM"
            )
        return where

    async def _version(self, row: KeyType, keyring: Keyring, data: KeyData, entry: KeyEntry) -> KeyVersion:
        _check_convergence(data.policy, entry)
        # an RSA key is proved to be one, which takes long
        material = await asyncio.to_thread(material_of, row, entry) if row.is_rsa else material_of(row, entry)
        key = mac = public_key = None
        if material is None:
            public_key = public_key_of(row, entry)
        else:
            if row.is_hmac:
                material = _hmac_material(entry.key, keyring.custody)
            key = await self._keys.import_key(row.kind, material, usage=keyring.usage, custody=keyring.custody)
            public_key = None if keyring.derived else key.public_key
        if not row.is_hmac:
            mac = await self._companion(entry, keyring.custody)
        return KeyVersion(
            owner=keyring.id,
            created_at=created_at(entry, otherwise=keyring.rotated_at),
            key=key,
            mac=mac,
            public_key=public_key,
            certificate_chain=chain_of(entry, public_key),
        )

    async def _companion(self, entry: KeyEntry, custody: Custody) -> WrappedKey:
        """The key that makes the version's HMACs; entries from before Vault 0.7 have none."""
        if not entry.hmac_key:
            return await self._keys.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC, custody=custody)
        material = _hmac_material(entry.hmac_key, custody)
        return await self._keys.import_key(KeyKind.HMAC, material, usage=KeyUsage.MAC, custody=custody)


def _keyring(row: KeyType, policy: Policy, custody: Custody, *, at: int) -> Keyring:
    """The key's row as the policy has it. Raises InvalidRequestError for what does not go together."""
    stays = custody is Custody.HSM
    new = NewKey(
        key_type=row,
        derived=policy.derived,
        convergent=policy.convergent_encryption,
        exportable=policy.exportable and not stays,
        allow_plaintext_backup=policy.allow_plaintext_backup and not stays,
        auto_rotate_period=policy.auto_rotate_period // NANOSECONDS,
    )
    new.check()
    return msgspec.structs.replace(
        new.keyring(custody, at=at),
        latest_version=policy.latest_version,
        min_available_version=policy.min_available_version,
        min_decryption_version=policy.min_decryption_version,
        min_encryption_version=policy.min_encryption_version,
        deletion_allowed=policy.deletion_allowed,
        imported=True,
        takes_imports=policy.Imported,
        allow_rotation=policy.AllowImportedKeyRotation or not policy.Imported,
        soft_deleted=policy.soft_deleted,
    )


def _key_data(name: str, keyring: Keyring, entries: dict[int, KeyEntry]) -> KeyData:
    """The policy as Vault and OpenBao read it; the archive holds every version."""
    first = keyring.min_available_version
    policy = Policy(
        name=name,
        type=type_number(keyring.type),
        parameter_set=keyring.key_type.parameter_set,
        key_size=keyring.key_size,
        keys={str(number): entry for number, entry in entries.items() if number >= keyring.min_decryption_version},
        derived=keyring.derived,
        kdf=HKDF_SHA256 if keyring.derived else 0,
        convergent_encryption=keyring.convergent,
        convergent_version=-1 if keyring.convergent else 0,
        exportable=keyring.exportable,
        min_decryption_version=keyring.min_decryption_version,
        min_encryption_version=keyring.min_encryption_version,
        latest_version=keyring.latest_version,
        archive_version=keyring.latest_version,
        archive_min_version=first,
        min_available_version=first,
        deletion_allowed=keyring.deletion_allowed,
        allow_plaintext_backup=True,
        version_template=TEMPLATE,
        auto_rotate_period=keyring.auto_rotate_period * NANOSECONDS,
        Imported=keyring.takes_imports,
        AllowImportedKeyRotation=keyring.allow_rotation,
    )
    archive = [entries.get(number, EMPTY) for number in range(first, keyring.latest_version + 1)]
    return KeyData(policy=policy, archived_keys=ArchivedKeys(keys=archive))


def _hmac_material(octets: bytes | None, custody: Custody) -> Secret:
    """An HMAC key; a short one is filled with zeros for the HSM, which changes no MAC (FIPS 198-1, 4, step 3).

    Raises InvalidRequestError for a length that no such key has.
    """
    if octets is None or len(octets) not in HMAC_KEY_BYTES:
        raise InvalidRequestError("the backup holds an HMAC key without 32 to 512 bytes; nothing was restored")
    return Secret(octets if custody is Custody.SEALED else octets.ljust(HSM_HMAC_BYTES, b"\0"))


def _check_convergence(policy: Policy, entry: KeyEntry) -> None:
    if policy.convergent_encryption and (entry.convergent_version or policy.convergent_version) != CONVERGENT_VERSION:
        raise InvalidRequestError(
            "the backup holds a key of an old kind of convergent encryption (before version 3), which is not safe"
        )


def _backup_refused(keyring: Keyring) -> str:
    reason = ": it is in the HSM and cannot leave it" if keyring.custody is Custody.HSM else ""
    return f"plaintext backup is disallowed on the policy{reason}"


def _exists(name: str) -> InvalidRequestError:
    return InvalidRequestError(f'key "{name}" already exists; give another name, or force=true to replace it')
