"""Unsealing with recovery shares after an operator's seal.

The shares given so far are in the store, encrypted inside the HSM, so that any worker can take the next one.
"""

from dataclasses import dataclass

import msgspec

from barrier.connection import Statements
from barrier.quorum import Quorum, is_quorum
from barrier.recovery import check_share
from barrier.seal_table import PROGRESS, SealRecords, decode, remove
from core.errors import InvalidRequestError
from core.ids import new_uuid
from core.secret import Secret


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
    return Quorum.PROVEN if await is_quorum(connection, records, shares) else Quorum.WRONG
