"""Tidying: what expired long ago is removed, a page at a time, by the housekeeper.

The run is an entry of the store. Every page is one transaction that also says so there: after a crash
the next housekeeper goes on where the last one was, and cancelling needs no more than a word in that entry.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec
from cryptography import x509
from msgspec.structs import replace

from core.clock import Clock
from core.errors import MimirError
from core.protocols import CatalogQuery, DecodedCache, Entry, StorageView, Transaction
from pki.authority import Authority, TidySettings
from pki.certificates import CATALOG, Known, State, decode_row, encode_row
from pki.crl_scope import scope_of, scopes, signer_among
from pki.crl_store import CrlStore
from pki.crl_wishes import wish
from pki.crl_work import SLACK
from pki.revoking import signers_of
from pki.store import AuthorityChange, PkiStore

RUN = "tidy/run"
RUNNING, CANCELLING = "Running", "Cancelling"

_PAGE = 1000  # rows at most in one transaction, whatever page_size says
_STEPS = ("certificates", "revoked", "associations", "issuers")


class TidyRun(msgspec.Struct, frozen=True, kw_only=True):
    """The run under way, or the last one. Times are epoch seconds."""

    state: str = "Inactive"  # Inactive, Running, Cancelling, Cancelled, Finished, Error
    settings: TidySettings = TidySettings()
    step: int = 0  # of _STEPS
    cursor: str = ""
    started_at: int = 0
    finished_at: int = 0
    error: str = ""
    certificates: int = 0  # removed
    revoked: int = 0  # removed
    missing: int = 0  # revoked certificates whose issuer is not here under the id they name
    auto: bool = False
    auto_finished_at: int = 0  # of the last run that config/auto-tidy made


class _Page(NamedTuple):
    """What a page does: writes, and what the run is then."""

    run: TidyRun
    write: Callable[[Transaction], Awaitable[None]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(TidyRun).decode
_NONE = TidyRun()


class Tidy:
    """Tidying of one mount."""

    def __init__(self, store: PkiStore, crls: CrlStore, clock: Clock) -> None:
        self._store = store
        self._crls = crls
        self._clock = clock
        self._resume_at = 0.0
        self._run: DecodedCache[TidyRun] = store.storage.decoded_cache(_load, capacity=1, absent=_NONE)

    async def run(self) -> TidyRun:
        """How it stands."""
        return self._run.peek(RUN) or await self._run.get(RUN) or _NONE

    async def start(self, settings: TidySettings, *, auto: bool = False) -> bool:
        """Ask for a run; False when one is under way."""

        async def body(txn: Transaction) -> bool:
            last = await _read(txn)
            if last.state in (RUNNING, CANCELLING):
                return False
            begun = TidyRun(
                state=RUNNING,
                settings=settings,
                started_at=int(self._clock.now()),
                auto=auto,
                auto_finished_at=last.auto_finished_at,
            )
            await txn.put(RUN, _encode(begun))
            return True

        return await self._store.storage.transact(body)

    async def cancel(self) -> bool:
        """Ask for its end; False when there is none under way."""

        async def body(txn: Transaction) -> bool:
            last = await _read(txn)
            if last.state == RUNNING:
                await txn.put(RUN, _encode(replace(last, state=CANCELLING)))
            return last.state in (RUNNING, CANCELLING)

        return await self._store.storage.transact(body)

    def is_due(self) -> bool:
        """Whether a run waits for its next page, as far as memory tells."""
        run = self._run.peek(RUN)
        return run is None or (run.state in (RUNNING, CANCELLING) and self._clock.now() >= self._resume_at)

    async def work(self, *, until: Callable[[], bool]) -> None:
        """Pages, one after the other, until all is done, a pause is to be made, or `until` says that it is enough."""
        await self._start_if_due()
        while (run := await self.run()).state in (RUNNING, CANCELLING):
            if self._clock.now() < self._resume_at:
                return
            try:
                await self._page(run)
            except MimirError as exc:
                await self._stop(run, "Error", exc.sentence)
                raise
            if run.settings.pause_duration:
                self._resume_at = self._clock.now() + run.settings.pause_duration
            if until():
                return

    async def _start_if_due(self) -> None:
        settings = (await self._store.authority()).index.tidy
        if not settings.enabled:
            return
        run = await self.run()
        if self._clock.now() >= run.auto_finished_at + settings.interval_duration:
            await self.start(settings, auto=True)

    async def _page(self, run: TidyRun) -> None:
        if run.state == CANCELLING:
            await self._stop(run, "Cancelled", "")
            return
        if run.step >= len(_STEPS):
            await self._stop(run, "Finished", "")
            return
        page = await self._next(run)

        async def body(txn: Transaction) -> None:
            now = await _read(txn)
            if (now.started_at, now.step, now.cursor) != (run.started_at, run.step, run.cursor):
                return  # another housekeeper did this page
            await page.write(txn)
            await txn.put(RUN, _encode(replace(page.run, state=now.state)))

        await self._store.storage.transact(body)

    async def _next(self, run: TidyRun) -> _Page:
        settings, now = run.settings, int(self._clock.now())
        match _STEPS[run.step]:
            case "certificates" if settings.tidy_cert_store:
                states = (State.ISSUED, State.ABANDONED)
                serials = await self._expired(states, now - settings.safety_buffer, settings)
                return _removal(run, serials, replace(run, certificates=run.certificates + len(serials)))
            case "revoked" if settings.tidy_revoked_certs:
                before = now - (settings.revoked_safety_buffer or settings.safety_buffer)
                bound = min(before, await self._listed_until())
                serials = await self._expired((State.REVOKED,), bound, settings)
                return _removal(run, serials, replace(run, revoked=run.revoked + len(serials)))
            case "associations" if settings.tidy_revoked_cert_issuer_associations:
                return await self._associations(run)
            case "issuers" if settings.tidy_expired_issuers:
                await self._remove_issuers(now - settings.issuer_safety_buffer)
        return _Page(replace(run, step=run.step + 1, cursor=""), _nothing)

    async def _expired(self, states: tuple[State, ...], before: int, settings: TidySettings) -> list[str]:
        query = CatalogQuery(
            states=states, due_before=max(0, before), by_due=True, limit=max(1, min(settings.page_size, _PAGE))
        )
        return [row.row_id for row in (await self._store.storage.find_rows(CATALOG, query)).rows]

    async def _listed_until(self) -> int:
        """What expired before this was on a CRL that was made after it expired (RFC 5280, 3.3)."""
        authority = await self._store.authority()
        now = int(self._clock.now())
        bounds = [now]
        if not authority.index.crl.disable:
            for scope, issuers in scopes(authority).items():
                if signer_among(issuers) is not None:
                    full = (await self._crls.head(scope)).full
                    bounds.append(0 if full is None else full.this_update - SLACK)
        return min(bounds)

    async def _associations(self, run: TidyRun) -> _Page:
        authority = await self._store.authority()
        query = CatalogQuery(states=(State.REVOKED,), after=run.cursor, limit=_PAGE)
        page = await self._store.storage.find_rows(CATALOG, query)
        lost = [known for row in page.rows if (known := decode_row(row)).body.issuer_id not in authority.issuers]
        found = [moved for known in lost if (moved := _moved(known, authority)) is not None]

        async def write(txn: Transaction) -> None:
            for known in found:
                row = await txn.row(CATALOG, known.serial)
                if row is not None and row.revision == known.revision:
                    await txn.put_row(CATALOG, encode_row(known, with_terms=True))
            for scope in sorted({scope_of(authority.issuers[known.body.issuer_id]) for known in found}):
                await wish(txn, scope)

        step = run.step if page.next else run.step + 1
        return _Page(replace(run, step=step, cursor=page.next, missing=run.missing + len(lost)), write)

    async def _remove_issuers(self, before: int) -> None:
        """Their keys stay, and so does the default issuer."""

        async def work(change: AuthorityChange) -> None:
            for issuer in change.before.issuers.values():
                if issuer.not_after < before and issuer.issuer_id != change.index.default_issuer:
                    await change.delete_issuer(issuer.issuer_id)

        await self._store.change_authority(work)

    async def _stop(self, run: TidyRun, state: str, error: str) -> None:
        now = int(self._clock.now())
        ended = replace(
            run,
            state=state,
            error=error,
            finished_at=now,
            auto_finished_at=now if run.auto else run.auto_finished_at,
        )

        async def body(txn: Transaction) -> None:
            if (await _read(txn)).started_at == run.started_at:
                await txn.put(RUN, _encode(ended))
                if run.revoked:
                    await _want_crls(txn, await self._store.authority())

        await self._store.storage.transact(body)


def _removal(run: TidyRun, serials: list[str], after: TidyRun) -> _Page:
    """A page of removals; an empty one ends the step."""
    if not serials:
        return _Page(replace(run, step=run.step + 1, cursor=""), _nothing)

    async def write(txn: Transaction) -> None:
        await txn.delete_rows(CATALOG, serials)

    return _Page(replace(after, cursor=serials[-1]), write)  # another cursor: so a page is done once


async def _nothing(_txn: Transaction) -> None:
    """A step that is not asked for, or is done."""


async def _want_crls(txn: Transaction, authority: Authority) -> None:
    for scope in scopes(authority):
        await wish(txn, scope)


def _moved(known: Known, authority: Authority) -> Known | None:
    """The row under the issuer that signed it and that has come back under another id."""
    try:
        certificate = x509.load_der_x509_certificate(known.body.certificate)
    except ValueError:
        return None
    found = signers_of(certificate, authority)
    return replace(known, body=replace(known.body, issuer_id=found[0].issuer_id)) if found else None


async def _read(txn: Transaction) -> TidyRun:
    entry = await txn.get(RUN)
    return _NONE if entry is None else _decode(entry.value)


async def _load(_view: StorageView, _path: str, entry: Entry) -> TidyRun:
    return _decode(entry.value)
