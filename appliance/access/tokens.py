"""Client tokens: created, found, renewed and revoked, each as one sealed record.

A record's id is the keyed hash of its token, its alias the keyed hash of its accessor: accessors revoke tokens, so they
are not left readable in a database column either. Its parent is the parent's record id.

A token is live when neither it nor any of its ancestors is revoked, expired or missing. So one write (the mark on a
record) refuses its whole tree at once, in every worker, whatever happens to the process that goes on to delete it. The
mark sets the expiry to now, so that an interrupted deletion is found and resumed by the housekeeper like any expiry.
"""

import math
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from appliance.access.lifetimes import SYSTEM_DEFAULT_TTL, SYSTEM_MAX_TTL, Lifetime, granted_ttl
from appliance.access.token_hash import TokenHasher, is_possible, new_accessor, new_token
from core.clock import Clock
from core.errors import CasMismatchError, IntegrityError, InvalidRequestError, PermissionDeniedError, SealedError
from core.protocols import CoreStorage, CoreTransaction, Record, RecordReader
from core.secret import Secret

T = TypeVar("T")

KIND = "token"
MAX_DEPTH = 64  # of the tree: every use of a token looks at all its ancestors
_SALT = "core/token-salt"
_BATCH = 200  # records deleted by one transaction
_INLINE = 1000  # descendants that a caller waits for; more are left to the housekeeper
_ATTEMPTS = 10  # at a record that others write too
_RECENT = 10_000
_PAGE = 1000


class TokenEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a token, all but the token itself. Times are epoch seconds, durations seconds."""

    record_id: str
    accessor: str
    policies: tuple[str, ...]  # sorted
    path: str  # what created it: "auth/token/create"
    issue_time: int
    ttl: int = 0  # as created; 0: does not expire
    expires_at: int | None = None
    metadata: dict[str, str] | None = None
    display_name: str = ""
    parent: str = ""  # record id; "" for an orphan
    depth: int = 0  # ancestors
    explicit_max_ttl: int = 0
    period: int = 0
    num_uses: int = 0  # uses left; 0: without limit
    renewable: bool = False
    last_renewal: int = 0
    revoked: bool = False  # refused, and waiting to be deleted with its tree
    type: str = "service"
    entity_id: str = ""
    namespace: str = ""
    role: str = ""
    bound_cidrs: tuple[str, ...] = ()
    format: int = 1

    @property
    def is_root(self) -> bool:
        """Whether it may do everything."""
        return "root" in self.policies

    @property
    def orphan(self) -> bool:
        """Whether nothing but itself can end it."""
        return not self.parent


class TokenSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What to create; who may ask for it is decided before."""

    policies: tuple[str, ...]
    path: str
    display_name: str = "token"
    metadata: dict[str, str] | None = None
    ttl: int = 0
    explicit_max_ttl: int = 0
    period: int = 0
    num_uses: int = 0
    renewable: bool = True
    token_id: str = ""  # chosen by the caller; "" for a random one
    entity_id: str = ""
    role: str = ""


class TokenStore:
    """All tokens of the cluster. `open` after every unseal, `close` at seal."""

    def __init__(
        self,
        storage: CoreStorage,
        clock: Clock,
        *,
        default_ttl: int = SYSTEM_DEFAULT_TTL,
        max_ttl: int = SYSTEM_MAX_TTL,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._default_ttl = default_ttl
        self._max_ttl = max_ttl
        self._cache = storage.record_cache(KIND, _decode, capacity=10_000)
        self._hasher: TokenHasher | None = None
        self._recent: dict[str, str] = {}  # record ids of tokens that were live a moment ago: saves the hash

    async def open(self) -> None:
        """Load the key of the token hashes."""
        entry = await self._storage.get(_SALT)
        if entry is None:
            raise IntegrityError(f'the entry "{_SALT}" is missing: no token can be recognised')
        self._hasher = TokenHasher(Secret(entry.value))

    def close(self) -> None:
        """Forget the key."""
        self._hasher = None
        self._recent.clear()

    # --- recognising ----------------------------------------------------------------------------------------------

    def peek(self, token: str) -> TokenEntry | None:
        """The entry of a live token, if memory can tell; no I/O. None sends the caller to `authenticate`."""
        record_id = self._recent.get(token)
        if record_id is None:
            if not is_possible(token):
                return None
            record_id = self._hashes.record_id(token)
        entry = self._cache.peek(record_id)
        if entry is None or entry.num_uses or not self._is_live_in_memory(entry):
            return None
        if len(self._recent) >= _RECENT:
            self._recent.clear()
        self._recent[token] = record_id
        return entry

    def live_until(self, entry: TokenEntry) -> float:
        """When a token that was live just now ceases to be, if nothing is stored meanwhile; epoch seconds.

        0 for one with limited uses, and when memory does not hold all its ancestors.
        """
        if entry.num_uses:
            return 0.0
        until = math.inf
        link: TokenEntry | None = entry
        while link is not None:
            if link.expires_at is not None:
                until = min(until, link.expires_at)
            if not link.parent:
                return until
            link = self._cache.peek(link.parent)
        return 0.0

    def _is_live_in_memory(self, entry: TokenEntry) -> bool:
        """Whether it and all its ancestors are in memory and current."""
        now = self._clock.now()
        link: TokenEntry | None = entry
        while link is not None and _is_current(link, now):
            if not link.parent:
                return True
            link = self._cache.peek(link.parent)
        return False

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
        if not is_possible(token):
            return None
        return await self._live(await self._cache.get(self._hashes.record_id(token)))

    async def find_accessor(self, accessor: str) -> TokenEntry | None:
        """The entry of a live token by its accessor."""
        if not is_possible(accessor):
            return None
        record = await self._storage.record_by_alias(KIND, self._hashes.alias(accessor))
        return await self._live(_decode(record)) if record else None

    async def accessors(self) -> list[str]:
        """Those of all live tokens, but for tokens whose ancestors died within the last moments."""
        now, found, after = self._clock.now(), [], ""
        while page := await self._storage.list_records(KIND, after=after, limit=_PAGE):
            entries = [_decode(record) for record in page]
            found += [entry.accessor for entry in entries if _is_current(entry, now)]
            after = page[-1].record_id
        return sorted(found)

    # --- making and changing --------------------------------------------------------------------------------------

    async def create(
        self, spec: TokenSpec, *, parent: TokenEntry | None, orphan: bool = False
    ) -> tuple[str, TokenEntry]:
        """A new token, durable when this returns. With `orphan` (and without `parent`) it has no parent.

        The transaction looks again whether the parent, or the creator of an orphan, is live. Raises
        PermissionDeniedError when it is not.
        """
        token = spec.token_id or new_token()
        entry = self._new_entry(spec, token, None if orphan else parent)

        async def body(txn: CoreTransaction) -> None:
            if parent is not None and not await self._is_live(txn, parent.record_id):
                raise PermissionDeniedError("permission denied")
            await txn.put_record(KIND, self._record(entry), cas=0)

        try:
            await self._storage.transact(body)
        except CasMismatchError as exc:
            raise InvalidRequestError("cannot create a token with a duplicate ID") from exc
        return token, entry

    async def renew(self, record_id: str, *, increment: int = 0) -> TokenEntry:
        """Extend a live, renewable token by `increment` (or its first ttl, or its period) from now."""

        async def body(txn: CoreTransaction) -> TokenEntry:
            record = await txn.get_record(KIND, record_id)
            if record is None or not await self._is_live(txn, record_id):
                raise InvalidRequestError("token not found")
            renewed = self._renewed(_decode(record), increment)
            await txn.put_record(KIND, self._record(renewed), cas=record.revision)
            return renewed

        return await self._with_retries(body)

    async def revoke(self, record_id: str) -> bool:
        """Refuse the token and all below it from now on, and delete them; whether there was such a token."""

        async def mark(txn: CoreTransaction) -> bool | None:
            record = await txn.get_record(KIND, record_id)
            if record is None:
                return None
            if not await txn.child_records(KIND, record_id):
                await txn.delete_record(KIND, record_id)
                return False
            await self._mark(txn, record)
            return True

        has_children = await self._with_retries(mark)
        if has_children:
            await self._delete_trees([record_id], limit=_INLINE)
        return has_children is not None

    async def revoke_orphan(self, record_id: str) -> bool:
        """Revoke the token alone; its children become orphans. A token that is not live is left as it is.

        Otherwise children would come back to life whose tree is being revoked.
        """

        async def body(txn: CoreTransaction) -> bool:
            if not await self._is_live(txn, record_id):
                return False
            for child in await txn.child_records(KIND, record_id):
                orphan = msgspec.structs.replace(_decode(child), parent="")
                await txn.put_record(KIND, self._record(orphan), cas=child.revision)
            return await txn.delete_record(KIND, record_id)

        return await self._with_retries(body)

    async def revoke_expired(self, limit: int = 100) -> int:
        """Delete up to `limit` tokens whose time is over or whose revocation was interrupted, with their trees."""
        now = int(self._clock.now())
        expired = await self._storage.expired_records(KIND, before=now, limit=limit)
        await self._delete_trees([record.record_id for record in expired])
        return len(expired)

    # --- inside ---------------------------------------------------------------------------------------------------

    @property
    def _hashes(self) -> TokenHasher:
        if self._hasher is None:
            raise SealedError("Vault is sealed")
        return self._hasher

    async def _live(self, entry: TokenEntry | None) -> TokenEntry | None:
        now, link = self._clock.now(), entry
        while link is not None and _is_current(link, now):
            if not link.parent:
                return entry
            link = await self._cache.get(link.parent)
        return None

    async def _is_live(self, txn: RecordReader, record_id: str) -> bool:
        """The same within a transaction, past the cache."""
        now = self._clock.now()
        while (record := await txn.get_record(KIND, record_id)) and _is_current(entry := _decode(record), now):
            if not entry.parent:
                return True
            record_id = entry.parent
        return False

    async def _use(self, entry: TokenEntry) -> TokenEntry:
        async def body(txn: CoreTransaction) -> TokenEntry:
            record = await txn.get_record(KIND, entry.record_id)
            if record is None or not await self._is_live(txn, entry.record_id):
                raise PermissionDeniedError("permission denied")
            before = _decode(record)
            if before.num_uses == 1:
                await self._mark(txn, record)
            else:
                used = msgspec.structs.replace(before, num_uses=before.num_uses - 1)
                await txn.put_record(KIND, self._record(used), cas=record.revision)
            return before

        return await self._with_retries(body)

    async def _mark(self, txn: CoreTransaction, record: Record) -> None:
        entry = msgspec.structs.replace(_decode(record), revoked=True, expires_at=int(self._clock.now()))
        await txn.put_record(KIND, self._record(entry), cas=record.revision)

    async def _delete_trees(self, tops: list[str], *, limit: int = 0) -> None:
        """Delete refused records and all below them, deepest first, some at a time.

        The tops go last: until then they are what an interrupted deletion is found by. Beyond `limit` records nothing
        is deleted.
        """
        doomed = list(tops)
        for parent in doomed:  # grows as it goes: breadth first
            doomed += [child.record_id for child in await self._storage.child_records(KIND, parent)]
            if limit and len(doomed) > limit:
                return
        doomed = list(dict.fromkeys(reversed(doomed)))  # an expired child of an expired parent came twice
        for start in range(0, len(doomed), _BATCH):
            await self._storage.transact(_deletion(doomed[start : start + _BATCH]))

    async def _with_retries(self, body: Callable[[CoreTransaction], Awaitable[T]]) -> T:
        """Again when somebody else wrote the record between our read and our write."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._storage.transact(body)
            except CasMismatchError:
                continue
        return await self._storage.transact(body)

    def _new_entry(self, spec: TokenSpec, token: str, parent: TokenEntry | None) -> TokenEntry:
        depth = parent.depth + 1 if parent else 0
        if depth > MAX_DEPTH:
            raise InvalidRequestError(f"tokens can be nested {MAX_DEPTH} deep; create an orphan token instead")
        now = int(self._clock.now())
        ttl = self._first_ttl(spec, now)
        return TokenEntry(
            record_id=self._hashes.record_id(token),
            accessor=new_accessor(),
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
            period=spec.period,
            num_uses=spec.num_uses,
            renewable=spec.renewable and ttl > 0,
            entity_id=spec.entity_id,
            role=spec.role,
        )

    def _first_ttl(self, spec: TokenSpec, now: int) -> int:
        """Only a root token may live for ever, if it asks for no end."""
        if "root" in spec.policies and not (spec.ttl or spec.period):
            return spec.explicit_max_ttl
        life = self._lifetime(now, spec.period, spec.explicit_max_ttl)
        return granted_ttl(life, wanted=spec.ttl, now=now)

    def _renewed(self, entry: TokenEntry, increment: int) -> TokenEntry:
        now = int(self._clock.now())
        if not entry.renewable or entry.expires_at is None:
            raise InvalidRequestError("lease is not renewable")
        life = self._lifetime(entry.issue_time, entry.period, entry.explicit_max_ttl)
        ttl = granted_ttl(life, wanted=increment or entry.ttl, now=now)
        if ttl <= 0:
            raise InvalidRequestError("past the max TTL, cannot renew")
        return msgspec.structs.replace(entry, expires_at=now + ttl, last_renewal=now)

    def _lifetime(self, issue_time: int, period: int, explicit_max_ttl: int) -> Lifetime:
        return Lifetime(
            issue_time=issue_time,
            period=period,
            explicit_max_ttl=explicit_max_ttl,
            default_ttl=self._default_ttl,
            max_ttl=self._max_ttl,
        )

    def _record(self, entry: TokenEntry) -> Record:
        return _as_record(entry, self._hashes)


async def bootstrap_tokens(txn: CoreTransaction, clock: Clock) -> str:
    """At initialisation: the key of the token hashes and the first root token, which is returned."""
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
    await txn.put_record(KIND, _as_record(entry, hashes), cas=0)
    return token


def _as_record(entry: TokenEntry, hashes: TokenHasher) -> Record:
    return Record(
        record_id=entry.record_id,
        body=msgspec.json.encode(entry),
        expires_at=entry.expires_at,
        parent=entry.parent,
        alias=hashes.alias(entry.accessor),
    )


_decoder = msgspec.json.Decoder(TokenEntry)


def _decode(record: Record) -> TokenEntry:
    return _decoder.decode(record.body)


def _is_current(entry: TokenEntry, now: float) -> bool:
    """Whether the entry itself is neither revoked nor expired."""
    return not entry.revoked and (entry.expires_at is None or entry.expires_at > now)


def _deletion(record_ids: list[str]) -> Callable[[CoreTransaction], Awaitable[None]]:
    async def body(txn: CoreTransaction) -> None:
        for record_id in record_ids:
            await txn.delete_record(KIND, record_id)

    return body
