"""When a delivery that failed is tried again: for ever, but ever less often."""

FIRST = 1.0  # seconds after the first failure, doubled by each other one
_LONGEST = 240.0
_JITTER = 0.25  # of the pause: what failed together must not come back together
LIMIT = _LONGEST * (1 + _JITTER)  # five minutes: a receiver that is back gets its events soon


def pause_after(failures: int, *, jitter: float, asked: float = 0.0) -> float:
    """Seconds to the next attempt; `jitter` is drawn from 0 to 1, `asked` is what the receiver asked for."""
    pause = min(FIRST * 2.0 ** min(failures - 1, 30), _LONGEST) * (1 + _JITTER * jitter)
    return max(pause, min(asked, LIMIT))
