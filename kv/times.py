"""Points in time as Vault's kv has them: nanoseconds since the epoch, shown as RFC 3339 without needless digits."""

import re
from datetime import UTC, datetime

from core.errors import InvalidRequestError

SECOND = 1_000_000_000  # nanoseconds
LATEST = (1 << 63) // SECOND * SECOND  # the year 2262: what Go has room for, and a row

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)"  # RFC 3339, 5.6
)


def from_seconds(seconds: float) -> int:
    """Nanoseconds of what a clock says."""
    return int(seconds * 1e6) * 1000


def show_time(nanoseconds: int) -> str:
    """`2026-11-22T13:02:00.123456789Z`, as Go's RFC3339Nano without zeros at the end; "" for 0, which is no time."""
    if not nanoseconds:
        return ""
    seconds, fraction = divmod(nanoseconds, SECOND)
    text = datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
    return f"{text}.{fraction:09d}".rstrip("0").rstrip(".") + "Z" if fraction else text + "Z"


def parse_time(text: str, *, field: str) -> int:
    """Undo `show_time`, from any offset; "" is 0. Raises InvalidRequestError."""
    if not text:
        return 0
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise InvalidRequestError(f"{field} must be a time like 2026-11-22T13:02:00Z (RFC 3339)")
    day, clock, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if offset in 'Zz' else offset}")
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError):
        raise InvalidRequestError(f"{field} is not a time that exists") from None
    if not 0 < seconds < LATEST // SECOND:
        raise InvalidRequestError(f"{field} must lie between 1970 and 2262")
    return seconds * SECOND + int((fraction or "0").ljust(9, "0"))
