"""When a CRL is to be signed again."""

from pki.authority import CrlSettings
from pki.crl_store import Crl, CrlHead

_SKEW = 300  # seconds by which clocks may differ
EARLY = 4  # a CRL is signed again when a quarter of its time is left, so that a night without an HSM does no harm


def made_under(settings: CrlSettings) -> tuple[int, bool, bool]:
    """What makes a new full CRL needed when it changes."""
    return settings.expiry, settings.disable, settings.enable_delta


def is_full_due(head: CrlHead, settings: CrlSettings, *, wanted: int, ordered: int, now: int) -> bool:
    """There is none, the settings changed, it was ordered, it ends soon, or something was revoked since.

    With auto_rebuild a revocation is no cause.
    """
    full = head.full
    if full is None or full.settings != made_under(settings) or ends_soon(full, now):
        return True
    if ordered > full.ordered:
        return True
    if settings.disable:
        return False
    if settings.auto_rebuild:
        return now >= full.next_update - settings.auto_rebuild_grace_period
    return wanted > full.wanted


def is_delta_due(head: CrlHead, settings: CrlSettings, *, wanted: int, ordered: int, now: int) -> bool:
    """There is none for the present full CRL, it was ordered, it ends soon, or what was revoked has waited enough."""
    if not settings.enable_delta or settings.disable or head.full is None:
        return False
    delta = head.delta
    if delta is None or delta.base != head.full.number or ends_soon(delta, now):
        return True
    if ordered > delta.ordered:
        return True
    return wanted > delta.wanted and now >= delta.this_update + settings.delta_rebuild_interval


def ends_soon(crl: Crl, now: int) -> bool:
    """Whether most of its time is over; or has not come, since the clock that it was made by was fast."""
    return now < crl.this_update - _SKEW or now >= crl.next_update - (crl.next_update - crl.this_update) // EARLY
