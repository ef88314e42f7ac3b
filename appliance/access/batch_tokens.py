"""Batch tokens: an entry sealed in the token itself, so that nothing is stored when one is made or used.

"hvb.", then base64url (RFC 4648, 5) without padding of

    key id      4 bytes, big-endian: which of the cluster's keys, so that they can be rotated
    nonce       24 bytes
    ciphertext  the entry as MessagePack
    tag         16 bytes

XAES-256-GCM with "hvb." and the key id as associated data. The keys are one entry of the barrier; whoever takes a key
out of it ends every token that was sealed under it, on every worker at the next request.
"""

import binascii
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress

import msgspec

from appliance.access.subject import ROOT_NAMESPACE
from appliance.access.token_entry import BATCH, TokenEntry
from appliance.access.token_hash import BATCH_PREFIX, MAX_BATCH_TOKEN
from appliance.access.xaes import OVERHEAD, Xaes256Gcm
from core.errors import CasMismatchError, CiphertextError, InvalidRequestError
from core.protocols import CoreStorage, CoreTransaction, Entry, StorageView
from core.secret import Secret

_KEYS = "core/token-batch-keys"
_ID = 4  # bytes
_OPENED = 10_000  # tokens remembered, the oldest goes first
_TEXT = len(BATCH_PREFIX)


class _Key(msgspec.Struct, frozen=True):
    id: int
    key: bytes


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """The sealed entry; the last key is the one that seals."""

    keys: tuple[_Key, ...]
    format: int = 1


class _Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename=lambda name: name[:2]):
    """What is sealed; names of two letters, since it travels with every request."""

    policies: tuple[str, ...]
    created_by: str  # path
    issued: int
    ttl: int
    metadata: dict[str, str] | None = None
    display_name: str = ""
    ancestor: bytes = b""  # the parent's record id
    level: int = 0  # depth
    entity_id: str = ""
    namespace: str = ROOT_NAMESPACE
    unit: str = ""  # mount
    role: str = ""
    bound_cidrs: tuple[str, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Body)


class _Keys:
    """The cluster's keys, ready for use. Its identity marks a state of them."""

    __slots__ = ("by_id", "newest")

    def __init__(self, stored: _Stored) -> None:
        self.by_id = {key.id.to_bytes(_ID): Xaes256Gcm(Secret(key.key)) for key in stored.keys}
        self.newest = stored.keys[-1].id.to_bytes(_ID)


class BatchTokens:
    """Seals and opens them. Whether what is opened lives, the token store decides."""

    def __init__(self, storage: CoreStorage) -> None:
        self._storage = storage
        self._cache = storage.decoded_cache(_load_keys, capacity=1)
        self._opened: dict[str, TokenEntry] = {}
        self._opened_with: _Keys | None = None

    def peek(self, token: str) -> TokenEntry | None:
        """What was found in this token a while ago, if the keys are still the same; no I/O."""
        entry = self._opened.get(token)
        return entry if entry is not None and self._opened_with is self._cache.peek(_KEYS) else None

    async def find(self, token: str) -> TokenEntry | None:
        """The entry in a token; None when it is none of ours."""
        keys = await self._cache.get(_KEYS)
        if keys is None:
            return None
        if keys is not self._opened_with:
            self._opened.clear()
            self._opened_with = keys
        entry = self._opened.get(token) or _open(keys, token)
        if entry is not None and token not in self._opened:
            if len(self._opened) >= _OPENED:
                del self._opened[next(iter(self._opened))]
            self._opened[token] = entry
        return entry

    async def seal(self, entry: TokenEntry) -> str:
        """The token that holds this entry."""
        keys = await self._cache.get(_KEYS) or await self._first_keys()
        key_id = keys.newest
        sealed = keys.by_id[key_id].seal(_encoder.encode(_body(entry)), _associated_data(key_id))
        token = BATCH_PREFIX + urlsafe_b64encode(key_id + sealed).decode().rstrip("=")
        if len(token) > MAX_BATCH_TOKEN:
            raise InvalidRequestError(
                f"policies and metadata make a batch token of {len(token)} characters, and it may have "
                f"{MAX_BATCH_TOKEN}; make them fewer or shorter, or use a service token"
            )
        return token

    async def rotate(self, *, end_all: bool = False) -> None:
        """Seal under a new key from now on. With `end_all` no token that exists is good any more."""

        async def body(txn: CoreTransaction) -> None:
            entry = await txn.get(_KEYS)
            held = () if entry is None else msgspec.msgpack.decode(entry.value, type=_Stored).keys
            fresh = _Key(held[-1].id + 1 if held else 1, os.urandom(32))
            stored = _Stored(keys=(fresh,) if end_all else (*held, fresh))
            await txn.put(_KEYS, msgspec.msgpack.encode(stored))

        await self._storage.transact(body)

    def close(self) -> None:
        """Forget what was opened; at seal."""
        self._opened.clear()
        self._opened_with = None

    async def _first_keys(self) -> _Keys:
        """For a store from before there were batch tokens."""

        async def body(txn: CoreTransaction) -> None:
            await bootstrap_batch_key(txn)

        with suppress(CasMismatchError):  # another worker was first
            await self._storage.transact(body)
        keys = await self._cache.get(_KEYS)
        if keys is None:
            raise RuntimeError("the keys of batch tokens were written and are not there")
        return keys


async def bootstrap_batch_key(txn: CoreTransaction) -> None:
    """At initialisation: the first key."""
    await txn.put(_KEYS, msgspec.msgpack.encode(_Stored(keys=(_Key(1, os.urandom(32)),))), cas=0)


async def _load_keys(_storage: StorageView, _path: str, entry: Entry) -> _Keys:
    return _Keys(msgspec.msgpack.decode(entry.value, type=_Stored))


def _associated_data(key_id: bytes) -> bytes:
    return BATCH_PREFIX.encode() + key_id


def _open(keys: _Keys, token: str) -> TokenEntry | None:
    """Authenticated, and in the one spelling that we write: base64 has several for the same bytes."""
    text = token[_TEXT:]
    if len(token) > MAX_BATCH_TOKEN or not token.startswith(BATCH_PREFIX) or not token.isascii():
        return None
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None
    key = keys.by_id.get(raw[:_ID])
    if key is None or len(raw) < _ID + OVERHEAD or urlsafe_b64encode(raw).decode().rstrip("=") != text:
        return None
    try:
        return _entry(_decoder.decode(key.open(raw[_ID:], _associated_data(raw[:_ID]))))
    except CiphertextError:
        return None


def _body(entry: TokenEntry) -> _Body:
    return _Body(
        policies=entry.policies,
        created_by=entry.path,
        issued=entry.issue_time,
        ttl=entry.ttl,
        metadata=entry.metadata,
        display_name=entry.display_name,
        ancestor=bytes.fromhex(entry.parent),
        level=entry.depth,
        entity_id=entry.entity_id,
        namespace=entry.namespace,
        unit=entry.mount,
        role=entry.role,
        bound_cidrs=entry.bound_cidrs,
    )


def _entry(body: _Body) -> TokenEntry:
    return TokenEntry(
        record_id="",
        accessor="",
        policies=body.policies,
        path=body.created_by,
        issue_time=body.issued,
        ttl=body.ttl,
        expires_at=body.issued + body.ttl,
        metadata=body.metadata,
        display_name=body.display_name,
        parent=body.ancestor.hex(),
        depth=body.level,
        type=BATCH,
        entity_id=body.entity_id,
        namespace=body.namespace,
        mount=body.unit,
        role=body.role,
        bound_cidrs=body.bound_cidrs,
    )
