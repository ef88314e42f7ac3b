"""Signed OCSP answers of one worker, found by the bytes of the request; bounded in bytes."""

from collections import OrderedDict

import msgspec

from pki.authority import Authority, Issuer
from pki.certificates import Known
from pki.ocsp_delegates import Delegate

_OVERHEAD = 600  # bytes an entry weighs beside request and answer


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, and what it rests on: it holds while these are what the store hands out. Times are epoch seconds."""

    body: bytes
    authority: Authority
    rows: tuple[tuple[str, Known | None], ...]  # serial number and row; None: there was none
    issuer: Issuer
    delegate: Delegate | None  # who signed it for the issuer
    this_update: int
    next_update: int  # 0: it holds for the moment only

    @property
    def until(self) -> float:
        """Until when it is given again: half of its time."""
        return (self.this_update + self.next_update) / 2


class OcspCache:
    """The answers used last."""

    def __init__(self, budget: int) -> None:
        """`budget` in bytes."""
        self._budget = budget
        self.weight = 0  # bytes
        self._answers: OrderedDict[bytes, Answered] = OrderedDict()

    def find(self, request: bytes) -> Answered | None:
        """What was answered; whoever uses it looks whether it still holds."""
        found = self._answers.get(request)
        if found is not None:
            self._answers.move_to_end(request)
        return found

    def put(self, request: bytes, answered: Answered) -> None:
        """Keep it, in the place of what was not used for longest."""
        self.drop(request)
        self.weight += _weight(request, answered)
        self._answers[request] = answered
        while self.weight > self._budget and self._answers:
            self.weight -= _weight(*self._answers.popitem(last=False))

    def drop(self, request: bytes) -> None:
        """Forget one."""
        found = self._answers.pop(request, None)
        if found is not None:
            self.weight -= _weight(request, found)


def _weight(request: bytes, answered: Answered) -> int:
    return len(request) + len(answered.body) + _OVERHEAD
