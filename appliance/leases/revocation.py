"""Asks engines to take back what they granted, and writes down how that went.

At least once, and idempotent: a lease is marked before its engine is asked, and its row goes only after the engine has
done it. Whoever is killed in between leaves a marked row, which is due again soon.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec
import structlog

from appliance.leases import irrevocable
from appliance.leases.backoff import is_given_up, pause_after
from appliance.leases.engines import EngineFinder
from appliance.leases.entries import KIND, LeaseEntry, LeaseState, decode_lease, marked, record_path
from appliance.leases.rests import Place, Rests
from core.clock import Clock
from core.errors import MimirError, OperatorError
from core.protocols import CoreStorage, CoreTransaction, Record

_log = structlog.get_logger("mimir.leases")

_WOKEN = 200  # leases of one transaction that makes them due
BATCH = 48  # leases of one transaction: a few milliseconds in which others cannot write
CONCURRENCY = 16  # engine calls at a time
TIMEOUT = 30.0  # seconds for one of them
CLAIM = int(TIMEOUT * (BATCH // CONCURRENCY + 1))  # seconds that a batch is left to who claimed it
_MAX_ERROR = 512  # characters


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an engine could not take back a lease."""

    sentence: str
    passing: bool  # it may succeed without anybody doing anything about the lease
    asked: bool = True  # whether the engine was


Outcome = tuple[LeaseEntry, Failure | None]


class Revoker:
    """What the store, the jobs and the housekeeper revoke with."""

    def __init__(
        self,
        storage: CoreStorage,
        clock: Clock,
        engines: EngineFinder,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._engines = engines
        self._jitter = jitter
        self._rests = Rests()
        self._back: dict[Place, LeaseEntry] = {}  # targets that are back, each with a lease that tells

    async def claim(self, records: Iterable[Record]) -> list[LeaseEntry]:
        """Mark leases as refused and leave them to the caller for a while; those that nobody else was faster at."""
        due = int(self._clock.now()) + CLAIM
        seen = list(records)

        async def body(txn: CoreTransaction) -> list[LeaseEntry]:
            claimed = []
            for record in seen:
                present = await txn.get_record(KIND, record.record_id)
                if present is None or present.revision != record.revision:
                    continue
                entry = marked(decode_lease(present), due=due)
                await txn.put_record(KIND, entry.record(), cas=present.revision)
                claimed.append(entry)
            return claimed

        return await self._storage.transact(body) if seen else []

    async def attempt(self, entries: Sequence[LeaseEntry], *, urgent: bool = False) -> list[Outcome]:
        """Ask the engines, some at a time; every lease has an outcome. With `urgent` a resting engine is asked, too."""
        places = asyncio.Semaphore(CONCURRENCY)

        async def one(entry: LeaseEntry) -> Outcome:
            async with places:
                place = (entry.mount, entry.target)
                if not urgent and self._rests.is_resting(place, self._clock.now()):
                    return entry, Failure("its engine could not reach its target just now", passing=True, asked=False)
                failure = await self._ask(entry)
                away = failure is not None and failure.passing
                if self._rests.note(place, self._clock.now(), away=away):
                    self._back[place] = entry
                return entry, failure

        return list(await asyncio.gather(*(one(entry) for entry in entries)))

    async def wake(self) -> None:
        """What was put off while its target was away is due now, for each target that came back since the last call."""
        while self._back:
            _, told = self._back.popitem()
            top, after = record_path(told.namespace, told.mount_path), ""
            while page := await self._storage.records_below(KIND, top, after=after, limit=_WOKEN):
                after = page[-1].path
                await self._wake_page(told, page)

    async def _wake_page(self, told: LeaseEntry, page: Sequence[Record]) -> None:
        now = int(self._clock.now())
        waiting = [
            record.record_id
            for record, entry in ((record, decode_lease(record)) for record in page)
            if (entry.mount, entry.target) == (told.mount, told.target) and _is_put_off(entry, now)
        ]

        async def body(txn: CoreTransaction) -> None:
            for record_id in waiting:
                record = await txn.get_record(KIND, record_id)
                entry = decode_lease(record) if record is not None else None
                if record is not None and entry is not None and _is_put_off(entry, now):
                    await txn.put_record(KIND, marked(entry, due=now).record(), cas=record.revision)

        if waiting:
            await self._storage.transact(body)

    async def _ask(self, entry: LeaseEntry) -> Failure | None:
        found = self._engines.leasing(entry.namespace, entry.request_path)
        if found is None or found[0].uuid != entry.mount:
            return Failure("the engine that granted it is not mounted any more", passing=False)
        try:
            async with asyncio.timeout(TIMEOUT):
                await found[1].revoke_lease(entry.for_engine())
        except TimeoutError:
            return Failure(f"the engine did not answer within {TIMEOUT:.0f} seconds", passing=True)
        except MimirError as exc:
            return Failure(exc.sentence[:_MAX_ERROR] or type(exc).__name__, passing=isinstance(exc, OperatorError))
        except Exception as exc:  # noqa: BLE001 - the engine may be anybody's; its text may quote a secret
            return Failure(f"the engine failed ({type(exc).__name__})", passing=False)
        return None

    async def settle(self, txn: CoreTransaction, outcomes: Sequence[Outcome], *, force: bool = False) -> None:
        """Delete what is revoked and mark the rest for another attempt. With `force` everything is deleted."""
        gone = [entry for entry, failure in outcomes if failure is None or force]
        await txn.delete_records(KIND, [entry.record_id for entry in gone])
        for entry in gone:
            if entry.state is LeaseState.IRREVOCABLE:
                await irrevocable.forget(txn, entry)
        for entry, failure in outcomes:
            if failure is not None and not force:
                await self._mark_failed(txn, entry.record_id, failure)

    async def _mark_failed(self, txn: CoreTransaction, record_id: str, failure: Failure) -> None:
        record = await txn.get_record(KIND, record_id)
        if record is None:
            return
        entry = decode_lease(record)
        attempts = entry.attempts + failure.asked
        given_up = entry.state is LeaseState.IRREVOCABLE or is_given_up(attempts, passing=failure.passing)
        pause = pause_after(max(attempts, 1), jitter=self._jitter())
        failed = msgspec.structs.replace(
            entry,
            state=LeaseState.IRREVOCABLE if given_up else LeaseState.REVOKING,
            due=None if given_up else int(self._clock.now()) + pause,
            attempts=attempts,
            error=failure.sentence,
        )
        if given_up:
            await irrevocable.note(txn, failed)
        await txn.put_record(KIND, failed.record(), cas=record.revision)

    def tell(self, outcomes: Iterable[Outcome], *, force: bool = False) -> int:
        """Write failures to the log; how many there were."""
        failures = [(entry, failure) for entry, failure in outcomes if failure is not None]
        for entry, failure in failures[:3]:  # of a target that is away, all tell the same
            _log.warning(
                "lease not revoked, but forgotten" if force else "lease not revoked yet",
                lease_id=entry.lease_id,
                namespace=entry.namespace,
                attempts=entry.attempts + failure.asked,
                reason=failure.sentence,
            )
        return len(failures)


def _is_put_off(entry: LeaseEntry, now: int) -> bool:
    """Whether it waits for another attempt, after one that failed."""
    return entry.state is LeaseState.REVOKING and bool(entry.error) and entry.due is not None and entry.due > now
