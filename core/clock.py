"""Time as an argument, so that tests move it instead of sleeping."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where the wall-clock time comes from."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    now = staticmethod(time.time)


def rfc3339(seconds: float) -> str:
    """`2026-11-22T13:02:00.123456Z` (RFC 3339), as Go clients parse it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
