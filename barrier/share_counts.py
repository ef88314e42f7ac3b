"""How many shares there are and how many of them it takes, within the limits of SLIP-39."""

import msgspec

from core.errors import InvalidRequestError

MAX_SHARES = 16


class ShareCounts(msgspec.Struct, frozen=True, kw_only=True):
    """`threshold` of `shares`; 0 of 0 stands for none."""

    shares: int
    threshold: int


def check_share_counts(counts: ShareCounts, *, what: str) -> None:
    """Raise InvalidRequestError, which names the fields of `what` ("recovery", "escrow")."""
    shares, threshold = counts.shares, counts.threshold
    if not 1 <= shares <= MAX_SHARES:
        raise InvalidRequestError(f"{what}_shares must be 1 to {MAX_SHARES}, the most that SLIP-39 can number")
    if not 1 <= threshold <= shares:
        raise InvalidRequestError(f"{what}_threshold must be 1 to {what}_shares ({shares})")
    if threshold == 1 and shares > 1:
        raise InvalidRequestError(
            f"{what}_threshold must be greater than one for multiple shares: every share would be the whole key"
        )
