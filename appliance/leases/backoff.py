"""When a failed revocation is tried again, and when it is given up: Vault's six attempts."""

MAX_ATTEMPTS = 6  # then an operator must decide; Vault's number
_FIRST = 10  # seconds after the first failure, doubled by each other one
_LONGEST = 300  # what waits for a target that is away is taken up soon after it is back
_JITTER = 0.5  # of the pause: leases of one outage must not come back at the same moment


def pause_after(attempts: int, *, jitter: float) -> int:
    """Seconds to the next attempt after so many failed ones; `jitter` is drawn from 0 to 1."""
    pause = min(_FIRST * 2.0 ** min(attempts - 1, 30), _LONGEST)
    return int(pause * (1 + _JITTER * jitter))


def is_given_up(attempts: int, *, passing: bool) -> bool:
    """Whether it ends here. Passing trouble (the target is away) is waited for, however long it takes."""
    return attempts >= MAX_ATTEMPTS and not passing
