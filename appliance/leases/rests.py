"""Lets an engine rest whose target is away: its leases must not hold up those of all others.

One call that times out costs half a minute. After it the engine's other leases are put off without a call, for longer
each time, until one call tells that the target is back.
"""

_FIRST = 5.0  # seconds
_LONGEST = 60.0

Place = tuple[str, str]  # uuid of a mount, and which of its targets


class Rests:
    """By mount and target; known to this process alone. Times are epoch seconds."""

    def __init__(self) -> None:
        self._resting: dict[Place, tuple[int, float]] = {}  # failures in a row, and the end of the rest

    def is_resting(self, place: Place, now: float) -> bool:
        """Whether its engine is not to be asked now. A rest that ends too far off is of a clock that was set back."""
        _, end = self._resting.get(place, (0, 0.0))
        return now < end <= now + _LONGEST

    def note(self, place: Place, now: float, *, away: bool) -> bool:
        """What a call told; whether a target is back that had been away for several rests."""
        failures, end = self._resting.get(place, (0, 0.0))
        if not away:
            self._resting.pop(place, None)
            return failures > 1
        if end <= now or end > now + _LONGEST:  # else one of several calls that were under way together
            self._resting[place] = (failures + 1, now + min(_FIRST * 2.0 ** min(failures, 10), _LONGEST))
        return False
