"""What an approle mount keeps, and how it is found again.

    key                             keys the hashes that stand in paths; made with the first role
    role/<name>                     a Role
    role-id/<hash of the id>        the role's name; rewritten with every write of the role, as a cache hangs on it
    secret-id/<uid>/<hash>          a SecretId of the role with that uid; of the id itself only its hash is kept
    accessor/<uid>/<accessor>       the hash of its secret id
    expiry/<second>/<uid>/<accessor>  the same again, in the order of expiry, for those that expire

A login with a secret id of unlimited uses reads memory: the role by its id, and the secret id by its hash.
"""

import os

import msgspec

from auth.approle.hashes import KEY_LENGTH, IdHashes
from auth.approle.roles import Role
from auth.approle.secret_ids import SecretId
from core.errors import IntegrityError, InvalidRequestError
from core.protocols import Entry, StorageView, Transaction

KEY = "key"
ROLES = "role/"
EXPIRIES = "expiry/"
_ACCESSOR = 36  # characters of a UUID
_NO_ROLES = IdHashes(bytes(KEY_LENGTH))  # while there is none

_encode = msgspec.msgpack.Encoder().encode
_decode_role = msgspec.msgpack.Decoder(Role).decode
_decode_secret_id = msgspec.msgpack.Decoder(SecretId).decode


class RoleStore:
    """The roles and secret ids of one mount, as one worker sees them."""

    def __init__(self, storage: StorageView) -> None:
        self._storage = storage
        self._hashes = storage.decoded_cache(_load_hashes, capacity=1)
        self._roles = storage.decoded_cache(_load_role)
        self._by_role_id = storage.decoded_cache(_load_by_role_id)
        self._secret_ids = storage.decoded_cache(_load_secret_id, capacity=50_000)

    async def hashes(self) -> IdHashes:
        """Under the mount's key; under none before there is a role."""
        return self._hashes.peek(KEY) or await self._hashes.get(KEY) or _NO_ROLES

    async def names(self, *, after: str, limit: int) -> list[str]:
        """Of the roles, in order."""
        return await self._storage.list(ROLES, after=after, limit=limit)

    async def role(self, name: str) -> Role | None:
        """By its name."""
        return await self._roles.get(ROLES + name)

    async def role_by_id(self, digest: str) -> Role | None:
        """By the hash of its role id."""
        path = role_id_path(digest)
        return self._by_role_id.peek(path) or await self._by_role_id.get(path)

    async def secret_id(self, uid: str, digest: str) -> SecretId | None:
        """What is stored of the secret id with that hash, expired or not."""
        path = secret_id_path(uid, digest)
        return self._secret_ids.peek(path) or await self._secret_ids.get(path)

    async def by_accessor(self, uid: str, accessor: str) -> tuple[SecretId, str] | None:
        """What is stored of the secret id with that accessor, and its hash."""
        if "/" in accessor or not accessor.isprintable() or len(accessor) > _ACCESSOR:
            return None
        entry = await self._storage.get(accessor_path(uid, accessor)) if accessor else None
        if entry is None:
            return None
        digest = entry.value.decode()
        found = await self._secret_ids.get(secret_id_path(uid, digest))
        return None if found is None else (found, digest)

    async def accessors(self, uid: str, *, after: str, limit: int) -> list[str]:
        """Of the secret ids of a role, in order."""
        return await self._storage.list(accessor_path(uid, ""), after=after, limit=limit)

    async def expired(self, now: int, *, limit: int) -> list[tuple[str, str, str]]:
        """Expiry, role uid and accessor of secret ids whose time is over, the oldest first."""
        found: list[tuple[str, str, str]] = []
        for second in await self._storage.list(EXPIRIES, limit=limit):
            if int(second.removesuffix("/")) > now:
                break
            for uid in await self._storage.list(EXPIRIES + second, limit=limit):
                rows = await self._storage.list(EXPIRIES + second + uid, limit=limit)
                found += [(second.removesuffix("/"), uid.removesuffix("/"), accessor) for accessor in rows]
            if len(found) >= limit:
                break
        return found[:limit]


async def _load_hashes(_view: StorageView, _path: str, entry: Entry) -> IdHashes:
    return IdHashes(entry.value)


async def _load_role(_view: StorageView, _path: str, entry: Entry) -> Role:
    return _decode_role(entry.value)


async def _load_secret_id(_view: StorageView, _path: str, entry: Entry) -> SecretId:
    return _decode_secret_id(entry.value)


async def _load_by_role_id(view: StorageView, _path: str, entry: Entry) -> Role | None:
    row = await view.get(ROLES + entry.value.decode())
    return None if row is None else _decode_role(row.value)  # deleted between the two reads


# --- paths ----------------------------------------------------------------------------------------------------------


def role_id_path(digest: str) -> str:
    """Where the hash of a role id leads to its role."""
    return "role-id/" + digest


def secret_id_path(uid: str, digest: str) -> str:
    """Where a secret id is."""
    return f"secret-id/{uid}/{digest}"


def accessor_path(uid: str, accessor: str) -> str:
    """Where an accessor leads to its secret id."""
    return f"accessor/{uid}/{accessor}"


def _expiry_path(uid: str, secret: SecretId) -> str:
    return f"{EXPIRIES}{secret.expires_at:012d}/{uid}/{secret.accessor}"


# --- inside a transaction -------------------------------------------------------------------------------------------


async def ensure_hashes(txn: Transaction) -> IdHashes:
    """Their key is made if there is none."""
    entry = await txn.get(KEY)
    if entry is not None:
        return IdHashes(entry.value)
    key = os.urandom(KEY_LENGTH)
    await txn.put(KEY, key, cas=0)
    return IdHashes(key)


async def read_role(txn: Transaction, name: str) -> Role | None:
    """The role's row."""
    entry = await txn.get(ROLES + name)
    return None if entry is None else _decode_role(entry.value)


async def write_role(txn: Transaction, role: Role, *, before: Role | None) -> None:
    """Write the role and what leads to it. Raises InvalidRequestError when its id is another role's."""
    hashes = await ensure_hashes(txn)
    path = role_id_path(hashes.role_id(role.role_id))
    taken = await txn.get(path)
    if taken is not None and taken.value.decode() != role.name:
        raise InvalidRequestError("role_id already in use")
    if before is not None and before.role_id != role.role_id:
        await txn.delete(role_id_path(hashes.role_id(before.role_id)))
    await txn.put(ROLES + role.name, _encode(role))
    await txn.put(path, role.name.encode())


async def delete_role(txn: Transaction, role: Role) -> None:
    """Remove the role with its secret ids; what is left of them in the order of expiry goes when its time comes."""
    await txn.delete(ROLES + role.name)
    await txn.delete(role_id_path((await ensure_hashes(txn)).role_id(role.role_id)))
    await txn.delete_prefix(secret_id_path(role.uid, ""))
    await txn.delete_prefix(accessor_path(role.uid, ""))


async def add_secret_id(txn: Transaction, uid: str, digest: str, secret: SecretId) -> None:
    """Write a new secret id. Raises InvalidRequestError when the role has it already."""
    path = secret_id_path(uid, digest)
    if await txn.get(path) is not None:
        raise InvalidRequestError("failed to store secret_id: SecretID is already registered")
    await txn.put(path, _encode(secret), cas=0)
    await txn.put(accessor_path(uid, secret.accessor), digest.encode(), cas=0)
    if secret.expires_at is not None:
        await txn.put(_expiry_path(uid, secret), b"", cas=0)


async def read_secret_id(txn: Transaction, uid: str, digest: str) -> SecretId | None:
    """The secret id's row."""
    entry = await txn.get(secret_id_path(uid, digest))
    return None if entry is None else _decode_secret_id(entry.value)


async def replace_secret_id(txn: Transaction, uid: str, digest: str, secret: SecretId) -> None:
    """Write it with fewer uses; its accessor and expiry stay."""
    await txn.put(secret_id_path(uid, digest), _encode(secret))


async def delete_secret_id(txn: Transaction, uid: str, digest: str) -> bool:
    """Remove its rows; whether there were any."""
    secret = await read_secret_id(txn, uid, digest)
    if secret is None:
        return False
    await txn.delete(secret_id_path(uid, digest))
    await txn.delete(accessor_path(uid, secret.accessor))
    if secret.expires_at is not None:
        await txn.delete(_expiry_path(uid, secret))
    return True


async def delete_expired(txn: Transaction, second: str, uid: str, accessor: str) -> None:
    """Remove a secret id that `RoleStore.expired` named."""
    entry = await txn.get(accessor_path(uid, accessor))
    if entry is not None:
        secret = await read_secret_id(txn, uid, entry.value.decode())
        if secret is None or secret.accessor != accessor:
            raise IntegrityError(f"the entries of the secret id with accessor {accessor} do not agree")
        await delete_secret_id(txn, uid, entry.value.decode())
    await txn.delete(f"{EXPIRIES}{second}/{uid}/{accessor}")
