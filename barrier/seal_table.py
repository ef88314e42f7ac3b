"""The table `seal`: what must be readable before the keyring is open.

`cluster` is plain. The others are encrypted inside the HSM under the barrier root key, bound to their name and to every
byte of `cluster`: an edited threshold, a foreign KEK or a root key from elsewhere makes them unreadable.
`usage` is plain too: counts of encryptions by term, a safety margin and no secret.
"""

import hashlib
from typing import Any, TypeVar

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update

from barrier.connection import Statements
from barrier.database import WriteConflictError
from barrier.ports import SealHsm
from barrier.share_counts import ShareCounts
from barrier.tables import seal
from core.errors import CiphertextError, IntegrityError, NotInitializedError
from core.protocols import AeadInput, KeyKind, KeyUsage, WrappedKey
from core.secret import Secret

M = TypeVar("M")

CLUSTER, KEYRING, RECOVERY, PROGRESS, USAGE = "cluster", "keyring", "recovery", "unseal-progress", "usage"
# what a quorum of recovery keys is about to do
ATTEMPTS = GENERATE_ROOT, ROTATE_ROOT, ROTATE_RECOVERY = "generate-root", "rotate-root", "rotate-recovery"

_LOAD = select(seal.c.value).where(seal.c.name == bindparam("name_"))
_HEAD = select(seal.c.revision).where(seal.c.name == bindparam("name_"))
_INSERT = insert(seal)
_UPDATE = (
    update(seal)
    .where(seal.c.name == bindparam("name_"), seal.c.revision == bindparam("revision_"))
    .values(revision=bindparam("new_revision"), value=bindparam("new_value"))
)
_DELETE = delete(seal).where(seal.c.name == bindparam("name_"))


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """Who this store belongs to and how it opens."""

    cluster_id: str
    cluster_name: str
    created_at: int  # epoch seconds
    kek_id: str
    root_key: WrappedKey
    sealing_key: WrappedKey
    recovery: ShareCounts
    escrow: ShareCounts
    escrow_id: str = ""
    format: int = 1


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Encryptions under a term that processes have reserved."""

    term: int
    reserved: int


def decode(record: type[M], raw: bytes, name: str) -> M:
    """A stored struct. Raises IntegrityError."""
    try:
        return msgspec.json.decode(raw, type=record)
    except msgspec.DecodeError as exc:
        raise IntegrityError(f"seal/{name} is not one that this version can read: the row was edited") from exc


async def load_plain(connection: Statements, name: str) -> bytes | None:
    """The row's bytes."""
    found: Any = (await connection.execute(_LOAD, {"name_": name})).scalar()
    return None if found is None else bytes(found)


async def store_plain(connection: Statements, name: str, value: bytes) -> None:
    """Insert or replace."""
    present = (await connection.execute(_HEAD, {"name_": name})).scalar()
    if present is None:
        await connection.execute(_INSERT, {"name": name, "revision": 1, "value": value})
        return
    change = {"name_": name, "revision_": present, "new_revision": present + 1, "new_value": value}
    if (await connection.execute(_UPDATE, change)).rowcount != 1:
        raise WriteConflictError


async def remove(connection: Statements, name: str) -> None:
    """Delete the row, if it is there."""
    await connection.execute(_DELETE, {"name_": name})


class SealRecords:
    """The HSM-encrypted rows of one cluster."""

    def __init__(self, hsm: SealHsm, cluster_raw: bytes) -> None:
        self.cluster = decode(Cluster, cluster_raw, CLUSTER)
        self._hsm = hsm
        self._digest = hashlib.sha256(cluster_raw).digest()

    @classmethod
    async def load_from(cls, connection: Statements, hsm: SealHsm) -> "SealRecords":
        """Of the cluster in this store. Raises NotInitializedError."""
        raw = await load_plain(connection, CLUSTER)
        if raw is None:
            raise NotInitializedError("Mimir is not initialized; run: mimir operator init")
        return cls(hsm, raw)

    def is_of(self, cluster_raw: bytes | None) -> bool:
        """Whether these are the records of that row `cluster`, byte for byte."""
        return cluster_raw is not None and hashlib.sha256(cluster_raw).digest() == self._digest

    async def replace_cluster(self, connection: Statements, cluster: Cluster) -> "SealRecords":
        """Write another row `cluster`, and bind to it what was bound to this one; attempts under way are forgotten."""
        kept = {name: await self.load(connection, name) for name in (KEYRING, RECOVERY)}
        raw = msgspec.json.encode(cluster)
        await store_plain(connection, CLUSTER, raw)
        replaced = SealRecords(self._hsm, raw)
        for name, value in kept.items():
            if value is not None:
                await replaced.store(connection, name, value)
        for name in (PROGRESS, *ATTEMPTS):
            await remove(connection, name)
        return replaced

    async def new_root_key(self) -> WrappedKey:
        """A fresh key as `cluster.root_key` is one."""
        return await self._hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)

    def _associated_data(self, name: str) -> bytes:
        return b"mimir seal 1\0" + self._digest + name.encode()

    async def load(self, connection: Statements, name: str) -> Secret | None:
        """The row, decrypted by the HSM. Raises IntegrityError that names it."""
        raw = await load_plain(connection, name)
        if raw is None:
            return None
        item = AeadInput(raw, self._associated_data(name))
        [plain] = await self._hsm.decrypt(self.cluster.root_key, [item])
        if isinstance(plain, CiphertextError):
            raise IntegrityError(
                f"seal/{name} does not authenticate: it, or seal/{CLUSTER}, was edited or moved"
            ) from plain
        return Secret(plain)

    async def store(self, connection: Statements, name: str, value: Secret) -> None:
        """Encrypt inside the HSM, and insert or replace the row."""
        item = AeadInput(value.expose(), self._associated_data(name))
        [sealed] = await self._hsm.encrypt(self.cluster.root_key, [item])
        await store_plain(connection, name, sealed)
