"""Unsealing with recovery shares after an operator's seal.

The shares given so far are in the store, encrypted inside the HSM, so that any worker can take the next one.
"""

from dataclasses import dataclass
from enum import Enum

import msgspec

from barrier.connection import Statements
from barrier.recovery import RecoveryCheck, check_share, combine_shares, is_recovery_key
from barrier.seal_table import PROGRESS, RECOVERY, SealRecords, decode, remove
from core.errors import IntegrityError, InvalidRequestError
from core.ids import new_uuid
from core.secret import Secret


class Quorum(Enum):
    """What a share led to."""

    INCOMPLETE = "incomplete"
    PROVEN = "proven"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsealProgress:
    """`progress` of `t` shares are in; `nonce` names this attempt, and is empty when there is none."""

    t: int
    n: int
    progress: int
    nonce: str
    sealed: bool


class _Given(msgspec.Struct, frozen=True):
    nonce: str
    shares: list[bytes]

    def __repr__(self) -> str:
        return f"_Given({len(self.shares)} shares)"


async def load_progress(connection: Statements, records: SealRecords) -> tuple[int, str]:
    """How many shares are in, and the attempt's nonce."""
    given = await _load_given(connection, records)
    return (len(given.shares), given.nonce) if given else (0, "")


async def _load_given(connection: Statements, records: SealRecords) -> _Given | None:
    stored = await records.load(connection, PROGRESS)
    return None if stored is None else decode(_Given, stored.expose(), PROGRESS)


async def take_share(connection: Statements, records: SealRecords, share: Secret) -> Quorum:
    """Add one share; at the threshold, verify and forget them all. A share given twice counts once."""
    counts = records.cluster.recovery
    if not counts.shares:
        raise InvalidRequestError("this cluster has no recovery keys; restart the service, which unseals it by the HSM")
    check_share(share)
    given = await _load_given(connection, records) or _Given(new_uuid(), [])
    shares = given.shares if share.expose() in given.shares else [*given.shares, share.expose()]
    if len(shares) < counts.threshold:
        await records.store(connection, PROGRESS, Secret(msgspec.json.encode(_Given(given.nonce, shares))))
        return Quorum.INCOMPLETE
    await remove(connection, PROGRESS)
    recovery_key = combine_shares([Secret(each) for each in shares], counts)
    if recovery_key is None or not is_recovery_key(await _load_check(connection, records), recovery_key):
        return Quorum.WRONG
    return Quorum.PROVEN


async def _load_check(connection: Statements, records: SealRecords) -> RecoveryCheck:
    stored = await records.load(connection, RECOVERY)
    if stored is None:
        raise IntegrityError("seal/recovery is missing: the row was deleted; restore the database from a backup")
    return decode(RecoveryCheck, stored.expose(), RECOVERY)
