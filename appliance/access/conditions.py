"""Whether Mimir's own conditions of a path block hold for a request.

Every answer is a sentence for operators that says what does not hold, "" when all does; it never quotes what the caller
wrote. What cannot be decided (a timezone that this machine does not know, no address) does not hold.
"""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from appliance.access.rules import Conditions, TimeWindow
from appliance.access.subject import EntityView, Facts
from core.addresses import is_within

REASON_HEADERS = ("X-Mimir-Reason", "X-Vault-Reason")
MAX_REASON = 1024  # bytes


def unmet_by_entity(conditions: Conditions | None, entity: EntityView | None) -> str:
    """What does not hold whatever is asked: the conditions on who asks."""
    wanted = conditions.environment if conditions is not None else ()
    if not wanted or (entity is not None and entity.metadata.get("environment") in wanted):
        return ""
    return f'the metadata "environment" of the entity is none of: {", ".join(wanted)}'


def unmet_by_request(conditions: Conditions, facts: Facts) -> str:
    """What does not hold for this request."""
    if conditions.source_cidrs and not _is_within(facts.address, conditions.source_cidrs):
        return f"the address {facts.address or 'of a unix socket'} is in none of its source_cidrs"
    if conditions.time_windows and not any(is_open(window, facts.now) for window in conditions.time_windows):
        moment = datetime.fromtimestamp(int(facts.now), UTC).isoformat()
        return f"the time {moment} is in none of its time windows"
    if conditions.require_reason and not gives_reason(facts):
        return f"the request gives no reason in the header {REASON_HEADERS[0]}"
    return ""


def depends_on_request(conditions: Conditions | None) -> bool:
    """Whether some of it is decided anew for every request."""
    return conditions is not None and bool(
        conditions.source_cidrs or conditions.time_windows or conditions.require_reason
    )


def is_open(window: TimeWindow, now: float) -> bool:
    """Whether the moment (epoch seconds) lies in the window, by the wall clock of its timezone.

    An hour that the clock shows twice in a night counts both times, one that it skips never comes.
    """
    zone = _zone(window.timezone)
    if zone is None:
        return False
    local = datetime.fromtimestamp(now, zone)
    minute, day = local.hour * 60 + local.minute, local.weekday()
    if window.start < window.end:
        return window.start <= minute < window.end and day in window.days
    if minute >= window.start:
        return day in window.days
    return minute < window.end and (day - 1) % 7 in window.days


def gives_reason(facts: Facts) -> bool:
    """Whether a header says why: printable, not blank, at most 1 KiB."""
    for name in REASON_HEADERS:
        reason = facts.headers.get(name)
        if reason and not reason.isspace() and reason.isprintable() and len(reason.encode()) <= MAX_REASON:
            return True
    return False


_is_within = lru_cache(maxsize=4096)(is_within)  # the same few clients ask again and again, and reading one costs 5 µs


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
