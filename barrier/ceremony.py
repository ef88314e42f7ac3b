"""What a quorum of recovery keys authorises while Mimir is unsealed: one attempt at a time of each kind.

An attempt is a row of the table `seal`, encrypted inside the HSM, so that any worker can take the next share. Its nonce
names it; whoever does not know the nonce can neither give a share nor cancel.
"""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import msgspec

from barrier.connection import Statements
from barrier.quorum import Quorum, is_quorum, was_given
from barrier.recovery import RecoveryCheck, check_share
from barrier.seal_table import SealRecords, decode, remove
from barrier.share_counts import ShareCounts
from core.clock import Clock
from core.errors import InvalidRequestError
from core.ids import new_uuid
from core.secret import Secret

T = TypeVar("T")

LAPSES_AFTER = 3600  # seconds without a share: an attempt that nobody goes on with must not stand in the way for ever

_NONE = ShareCounts(shares=0, threshold=0)


class SealRows(Protocol):
    """What a ceremony needs of barrier.seal.Barrier. Raises SealedError while sealed."""

    async def write_seal(self, work: Callable[[Statements, SealRecords], Awaitable[T]]) -> T:
        """One transaction over the rows of the table `seal`."""
        ...

    async def read_seal(self, work: Callable[[Statements, SealRecords], Awaitable[T]]) -> T:
        """As `write_seal`, of what only reads."""
        ...


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """A recovery key that waits until its shares have been given back as a proof that they were kept."""

    nonce: str
    check: RecoveryCheck
    shares: list[bytes] = []

    def __repr__(self) -> str:
        return f"NewKey({len(self.shares)} shares)"


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """As stored."""

    nonce: str
    touched_at: int  # epoch seconds
    shares: list[bytes] = []
    otp: str = ""  # of a root generation
    wanted: ShareCounts = _NONE  # of a new recovery key
    is_verified: bool = False  # whether its shares must be given back
    new: NewKey | None = None

    def __repr__(self) -> str:
        return f"Attempt({len(self.shares)} shares)"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStatus:
    """`progress` of `required` shares are in; an empty nonce stands for no attempt."""

    nonce: str = ""
    progress: int = 0
    required: int
    wanted: ShareCounts = _NONE
    is_verified: bool = False
    verification_nonce: str = ""
    verification_progress: int = 0

    @property
    def started(self) -> bool:
        """Whether there is an attempt."""
        return bool(self.nonce)


class Ceremony:
    """The attempts of one kind; `name` is that of their row, `noun` what errors call it."""

    def __init__(self, rows: SealRows, clock: Clock, *, name: str, noun: str) -> None:
        self._rows = rows
        self._clock = clock
        self._name = name
        self._noun = noun

    async def status(self) -> AttemptStatus:
        """How far it is."""
        return await self._rows.read_seal(self._status)

    async def _status(self, connection: Statements, records: SealRecords) -> AttemptStatus:
        attempt = await self._load(connection, records)
        required = records.cluster.recovery.threshold
        if attempt is None:
            return AttemptStatus(required=required)
        return AttemptStatus(
            nonce=attempt.nonce,
            progress=len(attempt.shares),
            required=required,
            wanted=attempt.wanted,
            is_verified=attempt.is_verified,
            verification_nonce=attempt.new.nonce if attempt.new else "",
            verification_progress=len(attempt.new.shares) if attempt.new else 0,
        )

    async def cancel(self, nonce: str | None) -> None:
        """Forget the attempt and the shares given. None: the caller may cancel whatever attempt there is."""

        async def work(connection: Statements, records: SealRecords) -> None:
            attempt = await self._load(connection, records)
            if attempt is not None and nonce is not None:
                self._check_nonce(nonce, attempt.nonce)
            await remove(connection, self._name)

        await self._rows.write_seal(work)

    async def _start(self, attempt: Attempt) -> AttemptStatus:
        async def work(connection: Statements, records: SealRecords) -> AttemptStatus:
            check_recovery_keys(records)
            if await self._load(connection, records) is not None:
                raise InvalidRequestError(f"{self._noun} already in progress")
            await self._store(connection, records, attempt)
            return await self._status(connection, records)

        return await self._rows.write_seal(work)

    async def _give(
        self,
        share: Secret,
        nonce: str,
        act: Callable[[Statements, SealRecords, Attempt], Awaitable[T]],
    ) -> T | None:
        """Take one share; with the last one needed, `act` in the same transaction. None: more are needed.

        Wrong shares are all forgotten. Raises InvalidRequestError.
        """
        check_share(share)

        async def work(connection: Statements, records: SealRecords) -> tuple[Quorum, T | None]:
            attempt = await self._expected(connection, records, nonce)
            if attempt.new is not None:
                raise InvalidRequestError(f"{self._noun} has its keys already; give the new ones for verification")
            self._check_fresh(share, attempt.shares)
            shares = [*attempt.shares, share.expose()]
            if len(shares) < records.cluster.recovery.threshold:
                await self._store(connection, records, self._touched(attempt, shares=shares))
                return Quorum.INCOMPLETE, None
            emptied = self._touched(attempt, shares=[])
            if not await is_quorum(connection, records, shares):
                await self._store(connection, records, emptied)
                return Quorum.WRONG, None
            return Quorum.PROVEN, await act(connection, records, emptied)

        quorum, result = await self._rows.write_seal(work)
        if quorum is Quorum.WRONG:
            raise InvalidRequestError(
                f"{self._noun} aborted: these recovery keys do not fit together; the progress is reset, begin again"
            )
        return result

    async def _expected(self, connection: Statements, records: SealRecords, nonce: str) -> Attempt:
        check_recovery_keys(records)
        attempt = await self._load(connection, records)
        if attempt is None:
            raise InvalidRequestError(f"no {self._noun} in progress")
        self._check_nonce(nonce, attempt.nonce)
        return attempt

    def _check_nonce(self, given: str, expected: str) -> None:
        """The sentence does not tell the right one: it is what keeps strangers out."""
        if not given:
            raise InvalidRequestError(f"give the nonce of the {self._noun} in progress: whoever started it was told")
        if not hmac.compare_digest(given.encode(errors="replace"), expected.encode()):
            raise InvalidRequestError(f"incorrect nonce supplied; it is not that of the {self._noun} in progress")

    def _check_fresh(self, share: Secret, shares: list[bytes]) -> None:
        if was_given(share, shares):
            raise InvalidRequestError(f"given key has already been provided during this {self._noun}")

    def _new_attempt(self) -> Attempt:
        return Attempt(nonce=new_uuid(), touched_at=int(self._clock.now()))

    def _touched(self, attempt: Attempt, *, shares: list[bytes], new: NewKey | None = None) -> Attempt:
        return msgspec.structs.replace(attempt, shares=shares, new=new, touched_at=int(self._clock.now()))

    async def _load(self, connection: Statements, records: SealRecords) -> Attempt | None:
        stored = await records.load(connection, self._name)
        if stored is None:
            return None
        attempt = decode(Attempt, stored.expose(), self._name)
        return attempt if self._clock.now() < attempt.touched_at + LAPSES_AFTER else None

    async def _store(self, connection: Statements, records: SealRecords, attempt: Attempt) -> None:
        await records.store(connection, self._name, Secret(msgspec.json.encode(attempt)))


def check_recovery_keys(records: SealRecords) -> None:
    """Raise InvalidRequestError when nobody could authorise anything."""
    if not records.cluster.recovery.shares:
        raise InvalidRequestError("this cluster has no recovery keys, which would have to authorise it")
