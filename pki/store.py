"""What a mount keeps, and under which path.

    ca                  the index: ids, defaults, settings (a CaIndex)
    issuer/<id>         an issuer (an IssuerRow); its certificate stays when its key goes
    key/<id>            a key (a CaKey), wrapped by the HSM or sealed
    role/<name>         a role (pki.role)
    crl/…               the CRLs as they were signed last, by key and name (pki.crl_store), and wishes for new ones
    ocsp/<issuer id>    a responder that signs OCSP answers for the issuer (pki.ocsp_delegates)
    catalog "certs"     the certificates (pki.certificates)

Whatever changes an issuer or a key also writes "ca", on which the caches hang.
"""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from core.errors import IntegrityError
from core.protocols import DecodedCache, Entry, StorageView, Transaction
from pki.authority import Authority, CaIndex, CaKey, Issuer, IssuerRow
from pki.certificates import CATALOG, Known, decode_row
from pki.crl_scope import scope_of
from pki.role import OpenRole, Role

T = TypeVar("T")

INDEX = "ca"
ISSUERS = "issuer/"
KEYS = "key/"
ROLES = "role/"

_encode = msgspec.msgpack.Encoder().encode
_decode_index = msgspec.msgpack.Decoder(CaIndex).decode
_decode_issuer = msgspec.msgpack.Decoder(IssuerRow).decode
_decode_key = msgspec.msgpack.Decoder(CaKey).decode
_decode_role = msgspec.msgpack.Decoder(Role).decode
_EMPTY = Authority(CaIndex(), {}, {})


class PkiStore:
    """One mount's storage."""

    def __init__(self, storage: StorageView) -> None:
        self.storage = storage
        self._authority: DecodedCache[Authority] = storage.decoded_cache(_load_authority, capacity=1, absent=_EMPTY)
        self._roles: DecodedCache[OpenRole] = storage.decoded_cache(_load_role, capacity=2_000)
        self._certificates: DecodedCache[Known] = storage.row_cache(CATALOG, decode_row, capacity=20_000)

    async def authority(self) -> Authority:
        """Keys, issuers and settings as they are now."""
        return self._authority.peek(INDEX) or await self._authority.get(INDEX) or _EMPTY

    def authority_in_memory(self) -> Authority | None:
        """The same without I/O; None sends the caller to `authority`."""
        return self._authority.peek(INDEX)

    async def certificate(self, serial: str) -> Known | None:
        """What is known of a serial number."""
        return self._certificates.peek(serial) or await self._certificates.get(serial)

    async def role(self, name: str) -> OpenRole | None:
        """The role of that name."""
        path = ROLES + name
        return self._roles.peek(path) or await self._roles.get(path)

    async def role_names(self, *, after: str = "", limit: int = 0) -> list[str]:
        """Names in order."""
        return await self.storage.list(ROLES, after=after, limit=limit)

    async def change_role(self, work: Callable[["RoleChange"], Awaitable[T]]) -> T:
        """Change roles in one transaction; `work` may run again, as in StorageView.transact."""
        return await self.storage.transact(lambda txn: work(RoleChange(txn)))

    async def delete_role(self, name: str) -> None:
        """What is not there is as good as deleted."""
        await self.storage.delete(ROLES + name)

    async def change_authority(self, work: Callable[["AuthorityChange"], Awaitable[T]]) -> T:
        """Change keys, issuers or settings in one transaction; `work` may run again, as in StorageView.transact."""

        async def body(txn: Transaction) -> T:
            change = AuthorityChange(txn, await _read_authority(txn))
            result = await work(change)
            await change.finish()
            return result

        return await self.storage.transact(body)


class RoleChange:
    """Roles inside a transaction."""

    def __init__(self, txn: Transaction) -> None:
        self._txn = txn

    async def get(self, name: str) -> Role | None:
        """As it is now."""
        entry = await self._txn.get(ROLES + name)
        return None if entry is None else _decode_role(entry.value)

    async def put(self, name: str, role: Role) -> None:
        """Write it."""
        await self._txn.put(ROLES + name, _encode(role))


class AuthorityChange:
    """A change under way. `before` is what the transaction found; the members of `index` are changed by `set_index`."""

    def __init__(self, txn: Transaction, before: Authority) -> None:
        self.txn = txn
        self.before = before
        self.index = before.index
        self._is_written = False

    def set_index(self, index: CaIndex) -> None:
        """Write other defaults or settings."""
        self.index = index
        self._is_written = True

    async def put_issuer(self, row: IssuerRow) -> None:
        """Add an issuer, or write one again. The first with a key becomes the default; others as the settings say."""
        await self.txn.put(ISSUERS + row.issuer_id, _encode(row))
        self._is_written = True
        if row.issuer_id in self.index.issuers:
            return
        index = replace(self.index, issuers=(*self.index.issuers, row.issuer_id))
        if row.key_id and (not index.default_issuer or index.default_follows_latest_issuer):
            index = replace(index, default_issuer=row.issuer_id)
        self.index = index

    async def put_key(self, key: CaKey) -> None:
        """Add a key, or write one again. The first one becomes the default."""
        await self.txn.put(KEYS + key.key_id, _encode(key))
        self._is_written = True
        if key.key_id not in self.index.keys:
            self.index = replace(
                self.index, keys=(*self.index.keys, key.key_id), default_key=self.index.default_key or key.key_id
            )

    async def delete_issuer(self, issuer_id: str) -> None:
        """Remove it; a default that it was is then unset."""
        await self.txn.delete(ISSUERS + issuer_id)
        issuer = self.before.issuers.get(issuer_id)
        former = {} if issuer is None else {issuer_id: scope_of(issuer)}
        revoked = {}
        if issuer is not None and issuer.row.revoked_at:
            revoked = {fingerprint_of(issuer.row.certificate): issuer.row.revoked_at}
        self.set_index(
            replace(
                self.index,
                former=self.index.former | former,
                former_revoked=self.index.former_revoked | revoked,
                issuers=tuple(i for i in self.index.issuers if i != issuer_id),
                default_issuer="" if self.index.default_issuer == issuer_id else self.index.default_issuer,
            )
        )

    async def delete_key(self, key_id: str) -> None:
        """Remove it for good; a default that it was is then unset."""
        await self.txn.delete(KEYS + key_id)
        self.set_index(
            replace(
                self.index,
                keys=tuple(k for k in self.index.keys if k != key_id),
                default_key="" if self.index.default_key == key_id else self.index.default_key,
            )
        )

    async def finish(self) -> None:
        """Write the index if anything was changed."""
        if self._is_written:
            await self.txn.put(INDEX, _encode(self.index))


def fingerprint_of(certificate: bytes) -> str:
    """SHA-256 of a certificate (DER), in hex."""
    return sha256(certificate).hexdigest()


async def _load_authority(view: StorageView, path: str, entry: Entry) -> Authority:
    while True:
        try:
            return await _gather(view.get, _decode_index(entry.value))
        except IntegrityError:  # something that the index names is missing: was it removed since the index was read?
            newer = await view.get(path)
            if newer is None or newer.revision == entry.revision:
                raise
            entry = newer


async def _load_role(_view: StorageView, path: str, entry: Entry) -> OpenRole:
    return OpenRole(path.removeprefix(ROLES), _decode_role(entry.value))


async def _read_authority(txn: Transaction) -> Authority:
    entry = await txn.get(INDEX)
    return _EMPTY if entry is None else await _gather(txn.get, _decode_index(entry.value))


async def _gather(get: Callable[[str], Awaitable[Entry | None]], index: CaIndex) -> Authority:
    keys = {key_id: _decode_key(await _existing(get, KEYS + key_id)) for key_id in index.keys}
    issuers: dict[str, Issuer] = {}
    for issuer_id in index.issuers:
        row = _decode_issuer(await _existing(get, ISSUERS + issuer_id))
        issuers[issuer_id] = Issuer(row, keys.get(row.key_id))
    return Authority(index, issuers, keys)


async def _existing(get: Callable[[str], Awaitable[Entry | None]], path: str) -> bytes:
    entry = await get(path)
    if entry is None:
        raise IntegrityError(f"the entry {path} is missing, which the index of its mount names")
    return entry.value
