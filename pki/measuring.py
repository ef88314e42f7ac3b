"""A mount's numbers for the metrics: certificates by state, those that end soon, and when its issuers end."""

from collections.abc import Sequence

from core.clock import Clock
from core.engine import Measure
from pki.authority import Issuer
from pki.certificates import CATALOG, State
from pki.store import PkiStore
from pki.warnings import label

_SOON = {"1d": 86400, "7d": 7 * 86400, "30d": 30 * 86400}  # seconds
_CERTIFICATES = "Certificates in the inventory that have not ended, by what became of them."
_EXPIRING = "Valid certificates that end within that time."
_ISSUER = "When an issuer's certificate ends, in seconds since the epoch."


async def measures(store: PkiStore, clock: Clock) -> list[Measure]:
    """Counts read an index."""
    now = int(clock.now())
    return [*await _certificates(store, now), *_issuers(list((await store.authority()).issuers.values()))]


async def _certificates(store: PkiStore, now: int) -> list[Measure]:
    found = []
    for state in State:
        number = await store.storage.count_rows(CATALOG, states=[state], due_from=now)
        labels = {"state": "valid" if state is State.ISSUED else state.name.lower()}
        found.append(Measure(name="pki_certificates", text=_CERTIFICATES, value=number, labels=labels))
    for word, seconds in _SOON.items():
        number = await store.storage.count_rows(CATALOG, states=[State.ISSUED], due_from=now, due_before=now + seconds)
        labels = {"within": word}
        found.append(Measure(name="pki_certificates_expiring", text=_EXPIRING, value=number, labels=labels))
    return found


def _issuers(issuers: Sequence[Issuer]) -> list[Measure]:
    return [
        Measure(
            name="pki_issuer_not_after_seconds",
            text=_ISSUER,
            value=issuer.not_after,
            labels={"issuer": label(issuer), "issuer_id": issuer.issuer_id},
        )
        for issuer in issuers
    ]
