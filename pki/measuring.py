"""A mount's numbers for the metrics: certificates by state, those that end soon, issuers, CRLs and warnings."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from core.clock import Clock
from core.engine import Measure
from pki.authority import Issuer
from pki.certificates import CATALOG, State
from pki.store import PkiStore
from pki.warnings import KINDS, Warned, label
from pki.watch import Watch

_SOON = {"1d": 86400, "7d": 7 * 86400, "30d": 30 * 86400}  # seconds
_CERTIFICATES = "Certificates in the inventory that have not ended, by what became of them."
_EXPIRING = "Valid certificates that end within that time."
_ISSUER = "When an issuer's certificate ends, in seconds since the epoch."
_CRL = "When the CRL that is served of an issuer is out of date, in seconds since the epoch."
_WARNINGS = "What the mount's `warnings` tell, by kind."
_RATIO = 100  # counting a million certificates takes a second: at most a hundredth of the time goes into it


class Measuring:
    """One worker's numbers of one mount."""

    def __init__(
        self, store: PkiStore, watch: Watch, clock: Clock, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._watch = watch
        self._clock = clock
        self._monotonic = monotonic
        self._counted: list[Measure] = []
        self._count_again_at = float("-inf")

    async def measures(self) -> list[Measure]:
        """Counts may be as old as it takes to count a hundred times."""
        began = self._monotonic()
        if began >= self._count_again_at:
            self._counted = await self._certificates(int(self._clock.now()))
            self._count_again_at = self._monotonic() + _RATIO * (self._monotonic() - began)
        issuers = (await self._store.authority()).issuers
        return [
            *self._counted,
            *_issuers(list(issuers.values())),
            *await self._crls(),
            *_warned(await self._watch.warnings()),
        ]

    async def _certificates(self, now: int) -> list[Measure]:
        found, count = [], self._store.storage.count_rows
        for state in State:
            number = await count(CATALOG, states=[state], due_from=now)
            labels = {"state": "valid" if state is State.ISSUED else state.name.lower()}
            found.append(Measure(name="pki_certificates", text=_CERTIFICATES, value=number, labels=labels))
        for word, seconds in _SOON.items():
            number = await count(CATALOG, states=[State.ISSUED], due_from=now, due_before=now + seconds)
            found.append(
                Measure(name="pki_certificates_expiring", text=_EXPIRING, value=number, labels={"within": word})
            )
        return found

    async def _crls(self) -> list[Measure]:
        issuers = (await self._store.authority()).issuers
        return [
            Measure(
                name="pki_crl_next_update_seconds",
                text=_CRL,
                value=crl.next_update,
                labels=_named(issuers[crl.issuer_id]),
            )
            for crl in await self._watch.crls()
            if crl.issuer_id in issuers
        ]


def _issuers(issuers: Sequence[Issuer]) -> list[Measure]:
    return [
        Measure(name="pki_issuer_not_after_seconds", text=_ISSUER, value=issuer.not_after, labels=_named(issuer))
        for issuer in issuers
    ]


def _named(issuer: Issuer) -> dict[str, str]:
    return {"issuer": label(issuer), "issuer_id": issuer.issuer_id}


def _warned(found: Sequence[Warned]) -> list[Measure]:
    """All kinds, so that none is missing where nothing is wrong."""
    counts = Counter(warned.kind for warned in found)
    return [Measure(name="pki_warnings", text=_WARNINGS, value=counts[kind], labels={"kind": kind}) for kind in KINDS]
