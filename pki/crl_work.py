"""Signing CRLs, in the housekeeper: what is due, its entries page by page, the signature, the new head."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import structlog
from msgspec.structs import replace

from core.clock import Clock
from core.errors import CasMismatchError, MimirError
from core.prepared_signature import ToBeSigned
from core.protocols import CatalogQuery, KeyCustodian
from pki.aia import delta_points_for
from pki.authority import Authority, CrlSettings, Issuer
from pki.certificates import CATALOG, State, decode_row
from pki.crl import CrlPlan, build
from pki.crl_der import entry_of, with_entries
from pki.crl_due import is_delta_due, is_full_due, made_under
from pki.crl_scope import ids_of, scopes, signer_among
from pki.crl_store import Crl, CrlHead, CrlStore
from pki.store import PkiStore

log = structlog.get_logger("mimir.pki")

SLACK = 3600  # seconds by which clocks and commits may be apart before an entry is missed
_PAGE = 1000
_QUICK = 0.2  # seconds: what took longer is not done again at once
_FIRST_LOOK, _LOOK = 0.01, 0.2  # seconds between two looks of who waits for what was ordered
PATIENCE = 10.0  # seconds; the housekeeper begins within about one, and a CRL of 100,000 entries takes two or three
_REST = 2  # but after twice as long: a third of a CPU at most


class CrlWork:
    """The CRLs of one mount."""

    def __init__(self, store: PkiStore, crls: CrlStore, keys: KeyCustodian, clock: Clock) -> None:
        self._store = store
        self._crls = crls
        self._keys = keys
        self._clock = clock
        self._rests: dict[str, float] = {}  # by scope, until when, by the monotonic clock
        self._scopes: tuple[Authority, dict[str, list[Issuer]]] | None = None
        self._silent: set[str] = set()  # scopes without a signer, which was said once

    def is_due(self) -> bool:
        """Whether something is to be signed, as far as memory tells."""
        authority = self._store.authority_in_memory()
        if authority is None:
            return True
        settings, now = authority.index.crl, int(self._clock.now())
        orders = self._crls.peek_orders()
        for scope, issuers in self._scopes_of(authority).items():
            if signer_among(issuers) is None or self._is_resting(scope):
                continue
            found = self._crls.peek(scope)
            if found is None or orders is None:
                return True
            head, wanted = found
            if is_full_due(head, settings, wanted=wanted, ordered=orders.full, now=now):
                return True
            if is_delta_due(head, settings, wanted=wanted, ordered=orders.delta, now=now):
                return True
        return False

    async def run(self) -> None:
        """Sign what is due. One that fails delays no other; its error is raised at the end."""
        authority = await self._store.authority()
        failed: MimirError | None = None
        for scope, issuers in self._scopes_of(authority).items():
            signer = signer_among(issuers)
            if signer is None:
                self._say_once(scope, issuers)
                continue
            if self._is_resting(scope):
                continue
            try:
                await self._refresh(scope, signer, issuers, authority)
            except CasMismatchError:
                continue  # another process has just signed one
            except MimirError as exc:
                failed = exc
        await self._remember()
        if failed is not None:
            raise failed

    async def _remember(self) -> None:
        """Bring into memory what `is_due` looks at, so that it can say no."""
        await self._crls.orders()
        for scope in self._scopes_of(await self._store.authority()):
            await self._crls.head(scope)
            await self._crls.wanted(scope)

    async def rotate(self, *, delta: bool = False) -> bool:
        """Order new full CRLs, or new delta CRLs, of the housekeeper; whether they are there in time."""
        if delta and not _has_deltas((await self._store.authority()).index.crl):
            return True
        number = await self._crls.order(delta=delta)
        deadline, pause = time.monotonic() + PATIENCE, _FIRST_LOOK
        while not await self._is_there(number, delta=delta):
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(pause)
            pause = min(_LOOK, 2 * pause)
        return True

    async def _is_there(self, number: int, *, delta: bool) -> bool:
        """Whether the order of that number is fulfilled; with a full CRL comes the delta CRL that goes with it."""
        authority = await self._store.authority()
        for scope, issuers in self._scopes_of(authority).items():
            if signer_among(issuers) is None:
                continue
            head, _revision = await self._crls.stored_head(scope)
            crl = head.delta if delta else head.full
            if crl is None or crl.ordered < number:
                return False
            if _has_deltas(authority.index.crl) and not _is_delta_of_full(head):
                return False
        return True

    async def _refresh(self, scope: str, signer: Issuer, issuers: Sequence[Issuer], authority: Authority) -> None:
        began = time.monotonic()
        settings, signed = authority.index.crl, False
        now = int(self._clock.now())
        head, wanted, orders = await self._crls.head(scope), await self._crls.wanted(scope), await self._crls.orders()
        if is_full_due(head, settings, wanted=wanted, ordered=orders.full, now=now):
            await self._sign(scope, signer, issuers, authority, delta=False)
            head, signed = await self._crls.head(scope), True
        if is_delta_due(head, settings, wanted=wanted, ordered=orders.delta, now=now):
            await self._sign(scope, signer, issuers, authority, delta=True)
            signed = True
        took = time.monotonic() - began
        if signed and took > _QUICK:
            self._rests[scope] = time.monotonic() + _REST * took

    async def _sign(
        self, scope: str, signer: Issuer, issuers: Sequence[Issuer], authority: Authority, *, delta: bool
    ) -> None:
        head, revision, wanted, orders = await self._crls.read_for_change(scope)
        if delta and head.full is None:
            return
        settings = authority.index.crl
        plan = self._plan(head, settings, signer, authority, delta=delta)
        revoked: list[bytes] = []
        if not settings.disable:
            async for page in self._revoked(ids_of(scope, issuers, authority), head, plan):
                revoked += page
        der = await self._signed(plan, signer, revoked)
        place, pieces = await self._crls.put_pieces(scope, der)
        crl = Crl(
            number=plan.number,
            this_update=plan.this_update,
            next_update=plan.next_update,
            wanted=wanted,
            place=place,
            pieces=pieces,
            entries=len(revoked),
            base=plan.base,
            settings=made_under(settings),
            ordered=orders.delta if delta else orders.full,
        )
        keeps_delta = _has_deltas(settings)
        full = replace(head, number=plan.number, full=crl, delta=head.delta if keeps_delta else None)
        await self._crls.publish(scope, replace(head, number=plan.number, delta=crl) if delta else full, cas=revision)

    def _plan(
        self, head: CrlHead, settings: CrlSettings, signer: Issuer, authority: Authority, *, delta: bool
    ) -> CrlPlan:
        now = int(self._clock.now())
        urls = delta_points_for(signer, authority) if settings.enable_delta else ()
        return CrlPlan(
            number=head.number + 1,
            this_update=now,
            next_update=now + settings.expiry,
            base=head.full.number if delta and head.full is not None else 0,
            delta_urls=() if delta else urls,
        )

    async def _revoked(self, ids: Sequence[str], head: CrlHead, plan: CrlPlan) -> AsyncIterator[list[bytes]]:
        """What is on it: not what had expired before the last full CRL was made, for it was on that one (3.3).

        A delta CRL has what was revoked since the full one; what it repeats of that does no harm.
        """
        last = 0 if head.full is None else min(head.full.this_update, plan.this_update)  # a clock may have been fast
        for issuer_id in ids:
            after = ""
            while True:
                query = CatalogQuery(
                    states=(State.REVOKED,),
                    group=issuer_id,
                    due_from=max(0, last - SLACK),
                    changed_from=max(1, last - SLACK) if plan.base else None,
                    by_due=True,  # along an index that has the revoked ones alone
                    after=after,
                    limit=_PAGE,
                )
                page = await self._store.storage.find_rows(CATALOG, query)
                yield [entry_of(decode_row(row)) for row in page.rows]
                await asyncio.sleep(0)  # other work of this process gets its turn
                after = page.next
                if not after:
                    break

    async def _signed(self, plan: CrlPlan, signer: Issuer, revoked: list[bytes]) -> bytes:
        if signer.key is None:
            raise RuntimeError("a CRL was planned for an issuer whose key is not here")
        prepared = ToBeSigned(signer.key.key, build(plan, signer))
        return await prepared.sign_der(self._keys, message=with_entries(prepared.message, revoked))

    def _is_resting(self, scope: str) -> bool:
        return self._rests.get(scope, 0) > time.monotonic()

    def _say_once(self, scope: str, issuers: Sequence[Issuer]) -> None:
        if scope not in self._silent:
            self._silent.add(scope)
            log.info("no CRL is signed for an issuer", issuer_id=issuers[0].issuer_id, reason="no key or no usage")

    def _scopes_of(self, authority: Authority) -> dict[str, list[Issuer]]:
        """As `scopes`, once for each state of the authority."""
        if self._scopes is None or self._scopes[0] is not authority:
            self._scopes = (authority, scopes(authority))
        return self._scopes[1]


def _is_delta_of_full(head: CrlHead) -> bool:
    return head.full is not None and head.delta is not None and head.delta.base == head.full.number


def _has_deltas(settings: CrlSettings) -> bool:
    return settings.enable_delta and not settings.disable
