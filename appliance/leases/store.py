"""Leases: stored before their secret is answered, renewed, looked up and revoked.

A lease is dead from the moment it is marked, it has expired, or a job below whose prefix it stands was started. Whoever
finds that one has expired marks it before saying so: a clock that is set back later revives nothing. Which process asks
the engine, and when, is another matter (`revocation`, `worker`).
"""

import asyncio
from collections.abc import Callable

import msgspec
import structlog

from appliance.access.subject import ROOT_NAMESPACE
from appliance.access.tokens import TokenEntry
from appliance.leases.engines import EngineFinder
from appliance.leases.entries import (
    KIND,
    LeaseEntry,
    LeaseState,
    decode_lease,
    marked,
    new_lease_id,
    record_id_of,
    record_path,
)
from appliance.leases.jobs import TOKENS, JobTable
from appliance.leases.markers import MarkerTable
from appliance.leases.revocation import BATCH, CLAIM, Failure, Revoker
from appliance.leases.terms import granted_terms, renewed_terms, room_left
from appliance.leases.worker import JobWorker, LeasedTokens
from appliance.mount_table import MountEntry
from appliance.namespaces import Namespace
from appliance.transactions import transact_again
from core.clock import Clock
from core.engine import Lease, LeasingEngine
from core.errors import InvalidRequestError, MimirError, PermissionDeniedError, UnsupportedPathError
from core.protocols import CoreStorage, CoreTransaction, Record, Transaction
from core.requests import LeaseGrant

_log = structlog.get_logger("mimir.leases")

BATCH_TOKEN = "batch"  # noqa: S105 - a kind, not a credential
_NOT_FOUND = "lease not found"


class _MountMark(msgspec.Struct):
    """As much of a mount's row as tells whether it still stands where a secret was asked for."""

    path: str
    namespace: str = ROOT_NAMESPACE
    tainted: bool = False


class _TokenMark(msgspec.Struct):
    """As much of a token's record as tells whether it is on its way out."""

    revoked: bool = False


class LeaseStore:
    """All leases of the cluster. `namespace_path` tells the path of a namespace by its id; None: there is none."""

    def __init__(
        self,
        storage: CoreStorage,
        clock: Clock,
        engines: EngineFinder,
        *,
        tokens: LeasedTokens,
        namespace_path: Callable[[str], str | None],
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._engines = engines
        self._namespace_path = namespace_path
        self._markers = MarkerTable(storage)
        self._revoker = Revoker(storage, clock, engines)
        self._claiming = asyncio.Lock()  # what one task reads as due, another one may be about to claim
        self.jobs = JobTable(storage, clock, self._markers)
        self.worker = JobWorker(
            storage, clock, markers=self._markers, table=self.jobs, revoker=self._revoker, tokens=tokens
        )

    # --- granting -------------------------------------------------------------------------------------------------

    async def register(
        self,
        grant: LeaseGrant,
        *,
        namespace: str,
        mount: MountEntry,
        path: str,
        token: TokenEntry,
        view: Callable[[CoreTransaction], Transaction] | None = None,
    ) -> LeaseGrant:
        """Store what an engine granted to `token` at `path` below `mount`; durable when this returns.

        The answer has the lease's id and its durations as they are. Raises PermissionDeniedError when the token was
        revoked meanwhile, UnsupportedPathError when the mount is being disabled or moved: who does that revokes what
        was stored before. Then, and after any other error, the engine must take back what it granted. `view` is the
        mount's part of a transaction, for what the engine writes together with the lease.
        """
        now = int(self._clock.now())
        is_batch = token.type == BATCH_TOKEN
        not_after = token.expires_at or 0 if is_batch else 0
        terms = granted_terms(grant, mount.info(), now=now, not_after=not_after)
        entry = LeaseEntry(
            lease_id=new_lease_id(namespace=namespace, mount_path=mount.path, path=path),
            namespace=namespace,
            mount=mount.uuid,
            path=path.strip("/"),
            issue_time=now,
            first_ttl=terms.ttl,
            ttl=terms.ttl,
            max_ttl=terms.max_ttl,
            expires_at=now + terms.ttl,
            renewable=grant.renewable,
            internal=grant.internal,
            token=token.parent if is_batch else token.record_id,
            not_after=not_after,
            due=now + terms.ttl,
            entity=token.entity_id,
            target=grant.target,
        )

        async def body(txn: CoreTransaction) -> None:
            await _check_token(txn, entry.token, uses=token.num_uses)
            await _check_mount(txn, mount)
            generation = (await self._markers.read(txn)).revision
            stored = msgspec.structs.replace(entry, generation=generation)
            await txn.put_record(KIND, stored.record(), cas=0)
            if grant.stored is not None and view is not None:
                await grant.stored(view(txn))

        await self._storage.transact(body)
        return LeaseGrant(lease_id=entry.lease_id, ttl=terms.ttl, max_ttl=terms.max_ttl, renewable=grant.renewable)

    async def register_or_undo(
        self,
        grant: LeaseGrant,
        *,
        namespace: str,
        mount: MountEntry,
        path: str,
        token: TokenEntry,
        engine: LeasingEngine,
        view: Callable[[CoreTransaction], Transaction] | None = None,
    ) -> LeaseGrant:
        """As `register`; when that fails, the engine takes back at once what it granted, and the error is raised."""
        try:
            return await self.register(grant, namespace=namespace, mount=mount, path=path, token=token, view=view)
        except BaseException:
            await asyncio.shield(self._undo(grant, mount=mount, path=path, engine=engine))
            raise

    async def _undo(self, grant: LeaseGrant, *, mount: MountEntry, path: str, engine: LeasingEngine) -> None:
        lease = Lease(
            lease_id="",
            path=path.strip("/"),
            internal=grant.internal,
            issued_at=int(self._clock.now()),
            ttl=grant.ttl,
            max_ttl=grant.max_ttl,
        )
        try:
            await engine.revoke_lease(lease)
        except Exception as exc:  # noqa: BLE001 - the caller is told what went wrong first; the operator reads this
            reason = exc.sentence if isinstance(exc, MimirError) else type(exc).__name__
            _log.error("a secret without a lease could not be taken back", mount=mount.path, path=path, reason=reason)

    # --- looking --------------------------------------------------------------------------------------------------

    async def lookup(self, lease_id: str, *, within: Namespace) -> LeaseEntry | None:
        """A live lease of that namespace or of one below it; an irrevocable one is shown, too."""
        record = await self._find(lease_id, within)
        if record is None:
            return None
        entry = decode_lease(record)
        if entry.state is LeaseState.IRREVOCABLE:
            return entry
        if (await self._markers.current()).refuse(entry) or not await self._is_live(entry):
            return None
        return entry

    async def names(self, prefix: str, *, within: Namespace) -> list[str]:
        """Names of leases and folders right below a prefix of lease ids; of tokens, below auth/."""
        folder = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        place = record_path(within.id, folder)
        if is_of_tokens(folder):
            return await self._storage.record_names(TOKENS, place)
        names = await self._storage.record_names(KIND, place)
        if not folder and await self._storage.record_names(TOKENS, place + "auth/", limit=1):
            names = sorted([*names, "auth/"])
        return names

    # --- renewing -------------------------------------------------------------------------------------------------

    async def renew(
        self, lease_id: str, *, within: Namespace, increment: int = 0
    ) -> tuple[LeaseGrant, tuple[str, ...]]:
        """Extend a lease by `increment` seconds from now (0: as at first); the lease as it is then, and warnings.

        Raises InvalidRequestError; what the engine raises refuses the renewal.
        """
        record = await self._find(lease_id, within)
        if record is None:
            raise InvalidRequestError(_NOT_FOUND)
        entry = decode_lease(record)
        if entry.state is LeaseState.IRREVOCABLE:
            raise InvalidRequestError("lease is expired and has failed previous revocation attempts")
        if (await self._markers.current()).refuse(entry) or not await self._is_live(entry):
            raise InvalidRequestError(_NOT_FOUND)
        if not entry.renewable:
            raise InvalidRequestError("lease is not renewable")
        found = self._engines.leasing(entry.namespace, entry.request_path)
        if found is None or found[0].uuid != entry.mount:
            raise InvalidRequestError("the engine that granted this lease is not mounted any more")
        mount, engine = found
        now = int(self._clock.now())
        room = room_left(entry, mount.info(), now=now)
        answer = await engine.renew_lease(entry.for_engine(), increment=min(increment, room))
        terms = renewed_terms(entry, mount.info(), answer, increment=increment, now=now)
        renewed = await self._store_renewal(entry, answer, ttl=terms.ttl, max_ttl=terms.max_ttl, now=now)
        grant = LeaseGrant(lease_id=lease_id, ttl=renewed.ttl, max_ttl=renewed.max_ttl, renewable=renewed.renewable)
        return grant, terms.warnings

    async def _store_renewal(
        self, seen: LeaseEntry, answer: LeaseGrant, *, ttl: int, max_ttl: int, now: int
    ) -> LeaseEntry:
        """Write the new expiry, unless the lease died while the engine worked."""

        async def body(txn: CoreTransaction) -> LeaseEntry:
            record = await txn.get_record(KIND, seen.record_id)
            entry = decode_lease(record) if record else None
            if (
                record is None
                or entry is None
                or not entry.is_live(now)
                or (await self._markers.read(txn)).refuse(entry)
            ):
                raise InvalidRequestError(_NOT_FOUND)
            if entry.token and not await _is_standing(txn, entry.token):  # its leases are marked any moment
                raise InvalidRequestError(_NOT_FOUND)
            renewed = msgspec.structs.replace(
                entry,
                ttl=ttl,
                max_ttl=max_ttl,
                expires_at=now + ttl,
                due=now + ttl,
                last_renewal=now,
                renewable=answer.renewable,
                internal=answer.internal or entry.internal,
            )
            await txn.put_record(KIND, renewed.record(), cas=record.revision)
            return renewed

        return await transact_again(self._storage, body)

    # --- revoking -------------------------------------------------------------------------------------------------

    async def revoke(self, lease_id: str, *, within: Namespace, wait: bool = True, force: bool = False) -> bool:
        """Refuse the lease from now on and have its engine take back what it granted; whether there was such a lease.

        With `wait` the engine has done so when this returns; when it fails, InvalidRequestError says why, and the
        housekeeper tries again. With `force` the lease is forgotten all the same.
        """
        record = await self._find(lease_id, within)
        if record is None:
            return False
        entry = await self._mark(record.record_id, delay=CLAIM if wait else 0)
        if entry is None or not wait:
            return entry is not None
        outcomes = await self._revoker.attempt([entry], urgent=True)

        async def body(txn: CoreTransaction) -> None:
            await self._revoker.settle(txn, outcomes, force=force)

        await transact_again(self._storage, body)
        self._revoker.tell(outcomes, force=force)
        failure = outcomes[0][1]
        if failure is not None and not force:
            raise InvalidRequestError(_not_taken_back(failure))
        return True

    async def expire_due(self, limit: int = BATCH) -> int:
        """Revoke up to `limit` leases whose time is over or whose revocation is to be tried again; how many were due.

        Several tasks and processes may do this at once: each lease is claimed by one of them. So engines are at work
        on one batch while others are claimed or written down.
        """
        async with self._claiming:
            now = int(self._clock.now())
            due = await self._storage.expired_records(KIND, before=now, limit=min(limit, BATCH))
            claimed = await self._revoker.claim(due)
        outcomes = await self._revoker.attempt(claimed)

        async def body(txn: CoreTransaction) -> None:
            await self._revoker.settle(txn, outcomes)

        if outcomes:
            await transact_again(self._storage, body)
            self._revoker.tell(outcomes)
            await self._revoker.wake()
        return len(due)

    def is_within(self, namespace_id: str, within: Namespace) -> bool:
        """Whether a namespace is that one or below it."""
        path = self._namespace_path(namespace_id)
        return path is not None and path.startswith(within.path)

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _find(self, lease_id: str, within: Namespace) -> Record | None:
        """The record of a lease that belongs to the namespace or to one below it, under exactly this id."""
        record_id = record_id_of(lease_id)
        record = await self._storage.get_record(KIND, record_id) if record_id else None
        if record is None:
            return None
        entry = decode_lease(record)
        return record if entry.lease_id == lease_id and self.is_within(entry.namespace, within) else None

    async def _is_live(self, entry: LeaseEntry) -> bool:
        """Whether it can still be used; one that has just expired is marked, so that it stays dead."""
        if entry.is_live(self._clock.now()):
            return True
        if entry.state is LeaseState.LIVE:
            await self._mark(entry.record_id)
        return False

    async def _mark(self, record_id: str, *, delay: int = 0) -> LeaseEntry | None:
        due = int(self._clock.now()) + delay

        async def body(txn: CoreTransaction) -> LeaseEntry | None:
            record = await txn.get_record(KIND, record_id)
            if record is None:
                return None
            entry = marked(decode_lease(record), due=due)
            await txn.put_record(KIND, entry.record(), cas=record.revision)
            return entry

        return await transact_again(self._storage, body)


def is_of_tokens(prefix: str) -> bool:
    """Whether a lease id or a prefix names tokens: those are the leases of login methods."""
    return prefix.startswith("auth/")


async def _check_mount(txn: CoreTransaction, mount: MountEntry) -> None:
    row = await txn.get(mount.row)
    mark = msgspec.json.decode(row.value, type=_MountMark) if row else None
    if mark is None or mark.tainted or (mark.path, mark.namespace) != (mount.path, mount.namespace):
        raise UnsupportedPathError("the mount was disabled or moved meanwhile")


async def _check_token(txn: CoreTransaction, record_id: str, *, uses: int) -> None:
    """Raise unless the token that takes the lease with it is still there, in the transaction that stores the lease.

    "" is an orphan batch token, which has no record. A token is marked by its last use, before the engine is asked.
    """
    if not record_id or await _is_standing(txn, record_id):
        return
    if uses == 1:
        raise InvalidRequestError(
            "Secret cannot be returned; token had one use left, so leased credentials were immediately revoked."
        )
    raise PermissionDeniedError("permission denied")


async def _is_standing(txn: CoreTransaction, token_record_id: str) -> bool:
    record = await txn.get_record(TOKENS, token_record_id)
    return record is not None and not msgspec.json.decode(record.body, type=_TokenMark).revoked


def _not_taken_back(failure: Failure) -> str:
    return (
        f"the lease is refused from now on, but its engine could not take back what it granted: {failure.sentence}; "
        "this is tried again"
    )
