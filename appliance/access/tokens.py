"""Client tokens: created, found, used, renewed and revoked. Service tokens are one sealed record each.

A record's id is the keyed hash of its token, its alias the keyed hash of its accessor: accessors revoke tokens, so they
are not left readable in a database column either. Its parent is the parent's record id, its path
"<namespace id>/<what created it>/<record id>".

What makes a token live is in `token_lives`, how it ends in `token_trees`, what a batch token is in `batch_tokens`.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from appliance.access.batch_tokens import BatchTokens, bootstrap_batch_key
from appliance.access.lifetimes import SYSTEM_DEFAULT_TTL, SYSTEM_MAX_TTL, Lifetime, granted_ttl, lesser
from appliance.access.token_entry import BATCH, KIND, Terms, TokenEntry, TokenSpec, as_record, decode
from appliance.access.token_hash import BATCH_PREFIX, TokenHasher, is_possible, new_accessor, new_token
from appliance.access.token_lives import Lives, TokenScopes
from appliance.access.token_trees import Attachment, TokenTrees
from appliance.transactions import transact_again
from core.addresses import is_within
from core.clock import Clock
from core.errors import CasMismatchError, IntegrityError, InvalidRequestError, PermissionDeniedError, SealedError
from core.protocols import CoreStorage, CoreTransaction
from core.secret import Secret

__all__ = ["KIND", "Attachment", "Terms", "TokenEntry", "TokenScopes", "TokenSpec", "TokenStore"]

T = TypeVar("T")

MAX_DEPTH = 64  # of the tree: every use of a token looks at all its ancestors
_SALT = "core/token-salt"
_RECENT = 10_000
_PAGE = 1000


class TokenStore:
    """All tokens of the cluster. `open` after every unseal, `close` at seal."""

    def __init__(
        self,
        storage: CoreStorage,
        clock: Clock,
        *,
        scopes: TokenScopes | None = None,
        attachments: Sequence[Attachment] = (),
        default_ttl: int = SYSTEM_DEFAULT_TTL,
        max_ttl: int = SYSTEM_MAX_TTL,
    ) -> None:
        self.storage = storage
        self._clock = clock
        self._default_ttl = default_ttl
        self._max_ttl = max_ttl
        self._cache = storage.record_cache(KIND, decode, capacity=10_000)
        self._lives = Lives(clock, self._cache, scopes)
        self._batches = BatchTokens(storage)
        self._hasher: TokenHasher | None = None
        self._recent: dict[str, str] = {}  # record ids of tokens that were live a moment ago: saves the hash
        self.trees = TokenTrees(storage, clock, self._lives, attachments)

    async def open(self) -> None:
        """Load the key of the token hashes."""
        entry = await self.storage.get(_SALT)
        if entry is None:
            raise IntegrityError(f'the entry "{_SALT}" is missing: no token can be recognised')
        self._hasher = TokenHasher(Secret(entry.value))

    def close(self) -> None:
        """Forget the key."""
        self._hasher = None
        self._recent.clear()
        self._batches.close()

    # --- recognising ----------------------------------------------------------------------------------------------

    def peek(self, token: str) -> TokenEntry | None:
        """The entry of a live token, if memory can tell; no I/O. None sends the caller to `authenticate`."""
        record_id = self._recent.get(token)
        if record_id is None:
            if token.startswith(BATCH_PREFIX):
                sealed = self._batches.peek(token)
                return sealed if sealed is not None and self._lives.is_live_in_memory(sealed) else None
            if not is_possible(token):
                return None
            record_id = self.hashes.record_id(token)
        entry = self._cache.peek(record_id)
        if entry is None or entry.num_uses or not self._lives.is_live_in_memory(entry):
            return None
        if len(self._recent) >= _RECENT:
            self._recent.clear()
        self._recent[token] = record_id
        return entry

    def live_until(self, entry: TokenEntry) -> float:
        """When a token that was live just now ceases to be, if nothing is stored meanwhile; epoch seconds.

        0 for one with limited uses, and when memory does not hold all its ancestors.
        """
        return 0.0 if entry.num_uses else self._lives.until(entry)

    async def authenticate(self, token: str) -> TokenEntry:
        """The entry of a live token; takes one of its uses, and the last use revokes it.

        Raises PermissionDeniedError for every other token alike.
        """
        entry = self.peek(token) or await self.find(token)
        if entry is None:
            raise PermissionDeniedError("permission denied")
        return await self._use(entry) if entry.num_uses else entry

    async def find(self, token: str) -> TokenEntry | None:
        """The entry of a live token, without using it."""
        hashes = self.hashes
        if token.startswith(BATCH_PREFIX):
            return await self._live(await self._batches.find(token))
        if not is_possible(token):
            return None
        return await self._live(await self._cache.get(hashes.record_id(token)))

    async def find_accessor(self, accessor: str) -> TokenEntry | None:
        """The entry of a live token by its accessor."""
        if not is_possible(accessor):
            return None
        record = await self.storage.record_by_alias(KIND, self.hashes.alias(accessor))
        return await self._live(decode(record)) if record else None

    async def accessors(self, within: Callable[[str], bool] = lambda _namespace: True) -> list[str]:
        """Those of all live tokens whose namespace id is `within`.

        But for tokens whose ancestors died within the last moments.
        """
        now, found, after = self._clock.now(), [], ""
        while page := await self.storage.list_records(KIND, after=after, limit=_PAGE):
            entries = [decode(record) for record in page]
            current = (entry for entry in entries if self._lives.is_current(entry, now))
            found += [entry.accessor for entry in current if within(entry.namespace)]
            after = page[-1].record_id
        return sorted(found)

    # --- making and changing --------------------------------------------------------------------------------------

    async def create(
        self,
        spec: TokenSpec,
        *,
        parent: TokenEntry | None,
        orphan: bool = False,
        also: Callable[[CoreTransaction, TokenEntry], Awaitable[None]] | None = None,
    ) -> tuple[str, TokenEntry]:
        """A new token, durable when this returns. With `orphan` (and without `parent`) it has no parent.

        The transaction looks again whether the parent, or the creator of an orphan, is live. Raises
        PermissionDeniedError when it is not. `also` writes in the same transaction. A batch token is not stored, so
        making one writes nothing.
        """
        if spec.type == BATCH:
            return await self._create_batch(spec, parent, orphan=orphan)
        token = spec.token_id or new_token()
        entry = self._new_entry(spec, token, None if orphan else parent)

        async def body(txn: CoreTransaction) -> None:
            if parent is not None and not await self._is_live_in(txn, parent.record_id):
                raise PermissionDeniedError("permission denied")
            await txn.put_record(KIND, as_record(entry, self.hashes), cas=0)
            if also is not None:
                await also(txn, entry)

        try:
            await self.storage.transact(body)
        except CasMismatchError as exc:
            raise InvalidRequestError("cannot create a token with a duplicate ID") from exc
        return token, entry

    async def consume(self, token: str, body: Callable[[CoreTransaction, TokenEntry], Awaitable[T]]) -> T:
        """Use a token once and for all: run `body`, delete the token and what hangs on it, in one transaction.

        Raises InvalidRequestError when the token is not live; of two callers at once one gets it.
        """
        record_id = self.hashes.record_id(token) if is_possible(token) else ""

        async def use_up(txn: CoreTransaction) -> T:
            record = await txn.get_record(KIND, record_id)
            if record is None or not await self._lives.is_live_in(txn, entry := decode(record)):
                raise InvalidRequestError("wrapping token is not valid or does not exist")
            result = await body(txn, entry)
            await self.trees.remove(txn, record)
            return result

        return await transact_again(self.storage, use_up)

    async def renew(self, record_id: str, *, increment: int = 0, terms: Terms | None = None) -> TokenEntry:
        """Extend a live, renewable token by `increment` (or its first ttl, or its period) from now.

        `terms` are what its role or login method says now.
        """

        async def body(txn: CoreTransaction) -> TokenEntry:
            record = await txn.get_record(KIND, record_id)
            if record is None or not await self._lives.is_live_in(txn, entry := decode(record)):
                raise InvalidRequestError("token not found")
            renewed = self._renewed(entry, increment, terms)
            await txn.put_record(KIND, as_record(renewed, self.hashes), cas=record.revision)
            return renewed

        return await transact_again(self.storage, body)

    async def revoke(self, record_id: str) -> bool:
        """Refuse the token and all below it from now on, and delete them; whether there was such a token."""
        return await self.trees.revoke(record_id)

    async def revoke_orphan(self, record_id: str) -> bool:
        """Revoke the token alone; its children become orphans. A token that is not live is left as it is."""
        return await self.trees.revoke_orphan(record_id)

    async def revoke_expired(self, limit: int = 100) -> int:
        """Delete up to `limit` tokens whose time is over or whose revocation was interrupted, with their trees.

        Answers `limit` when there may be more.
        """
        return await self.trees.revoke_expired(limit)

    async def revoke_below(self, prefix: str, limit: int = 100) -> int:
        """Revoke up to `limit` tokens by the start of their record path ("root/auth/approle/"); 0: none is left."""
        return await self.trees.revoke_below(prefix, limit)

    async def rotate_batch_key(self, *, end_all: bool = False) -> None:
        """Seal batch tokens under a new key; with `end_all` those that exist are refused from now on."""
        await self._batches.rotate(end_all=end_all)

    # --- inside ---------------------------------------------------------------------------------------------------

    @property
    def hashes(self) -> TokenHasher:
        """The hasher of this cluster. Raises SealedError between seal and unseal."""
        if self._hasher is None:
            raise SealedError("Vault is sealed")
        return self._hasher

    async def _live(self, entry: TokenEntry | None) -> TokenEntry | None:
        return entry if entry is not None and await self._lives.is_live(entry) else None

    async def _is_live_in(self, txn: CoreTransaction, record_id: str) -> bool:
        record = await txn.get_record(KIND, record_id)
        return record is not None and await self._lives.is_live_in(txn, decode(record))

    async def _use(self, entry: TokenEntry) -> TokenEntry:
        async def body(txn: CoreTransaction) -> TokenEntry:
            record = await txn.get_record(KIND, entry.record_id)
            if record is None or not await self._lives.is_live_in(txn, before := decode(record)):
                raise PermissionDeniedError("permission denied")
            if before.num_uses == 1:
                await self.trees.mark(txn, record)
            else:
                used = msgspec.structs.replace(before, num_uses=before.num_uses - 1)
                await txn.put_record(KIND, as_record(used, self.hashes), cas=record.revision)
            return before

        return await transact_again(self.storage, body)

    async def _create_batch(
        self, spec: TokenSpec, parent: TokenEntry | None, *, orphan: bool
    ) -> tuple[str, TokenEntry]:
        _check_batch(spec)
        if parent is not None and await self._live(await self._cache.get(parent.record_id)) is None:
            raise PermissionDeniedError("permission denied")
        entry = self._new_entry(spec, "", None if orphan else parent)
        return await self._batches.seal(entry), entry

    def _new_entry(self, spec: TokenSpec, token: str, parent: TokenEntry | None) -> TokenEntry:
        depth = parent.depth + 1 if parent else 0
        if depth > MAX_DEPTH:
            raise InvalidRequestError(f"tokens can be nested {MAX_DEPTH} deep; create an orphan token instead")
        now = int(self._clock.now())
        is_batch = spec.type == BATCH
        ttl = self._first_ttl(spec, now)
        if is_batch and parent and parent.expires_at is not None:
            ttl = min(ttl, parent.expires_at - now)  # it cannot be renewed when its parent is
        return TokenEntry(
            record_id="" if is_batch else self.hashes.record_id(token),
            accessor="" if is_batch else new_accessor(),
            policies=tuple(sorted(set(spec.policies))),
            path=spec.path,
            issue_time=now,
            ttl=ttl,
            expires_at=now + ttl if ttl else None,
            metadata=spec.metadata,
            display_name=spec.display_name,
            parent=parent.record_id if parent else "",
            depth=depth,
            explicit_max_ttl=spec.explicit_max_ttl,
            max_ttl=spec.max_ttl,
            period=spec.period,
            num_uses=spec.num_uses,
            renewable=spec.renewable and ttl > 0 and not is_batch,
            type=spec.type,
            entity_id=spec.entity_id,
            namespace=spec.namespace,
            mount=spec.mount,
            renewal=spec.renewal,
            role=spec.role,
            bound_cidrs=spec.bound_cidrs if ttl else (),
        )

    def _first_ttl(self, spec: TokenSpec, now: int) -> int:
        """Only a root token may live for ever, if it asks for no end."""
        if "root" in spec.policies and not (spec.ttl or spec.period):
            return spec.explicit_max_ttl
        life = Lifetime(
            issue_time=now,
            period=spec.period,
            explicit_max_ttl=spec.explicit_max_ttl,
            default_ttl=spec.default_ttl or self._default_ttl,
            max_ttl=spec.max_ttl or self._max_ttl,
        )
        return granted_ttl(life, wanted=spec.ttl, now=now)

    def _renewed(self, entry: TokenEntry, increment: int, terms: Terms | None) -> TokenEntry:
        """The same token with a later end; no term makes that later than what it was created with allows."""
        now = int(self._clock.now())
        if not entry.renewable or entry.expires_at is None:
            raise InvalidRequestError("lease is not renewable")
        said = terms or Terms(period=entry.period)
        life = Lifetime(
            issue_time=entry.issue_time,
            period=said.period,
            explicit_max_ttl=lesser(entry.explicit_max_ttl, said.explicit_max_ttl),
            default_ttl=self._default_ttl,
            max_ttl=lesser(entry.max_ttl, said.max_ttl) or self._max_ttl,
        )
        ttl = granted_ttl(life, wanted=increment or said.ttl or entry.ttl, now=now)
        if ttl <= 0:
            raise InvalidRequestError("past the max TTL, cannot renew")
        return msgspec.structs.replace(entry, expires_at=now + ttl, last_renewal=now)


async def bootstrap_tokens(txn: CoreTransaction, clock: Clock) -> str:
    """At initialisation: the keys of hashes and batch tokens, and the first root token, which is returned."""
    key = os.urandom(32)
    hashes = TokenHasher(Secret(key))
    token = new_token()
    entry = TokenEntry(
        record_id=hashes.record_id(token),
        accessor=new_accessor(),
        policies=("root",),
        path="auth/token/root",
        issue_time=int(clock.now()),
        display_name="root",
    )
    await txn.put(_SALT, key, cas=0)
    await bootstrap_batch_key(txn)
    await txn.put_record(KIND, as_record(entry, hashes), cas=0)
    return token


def check_address(entry: TokenEntry, address: str) -> None:
    """Refuse a token that is bound to networks `address` is not in."""
    if entry.bound_cidrs and not is_within(address, entry.bound_cidrs):
        raise PermissionDeniedError("permission denied")


def _check_batch(spec: TokenSpec) -> None:
    for field in ("explicit_max_ttl", "num_uses", "period"):
        if getattr(spec, field):
            raise InvalidRequestError(f'batch tokens cannot have "{field}" set')
    if spec.token_id:
        raise InvalidRequestError('batch tokens cannot have "id" set')
    if "root" in spec.policies:
        raise InvalidRequestError("batch tokens cannot be root tokens")
