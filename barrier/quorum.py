"""Whether recovery shares that were given are those of this cluster."""

import hmac
from collections.abc import Sequence
from enum import Enum

from barrier.connection import Statements
from barrier.recovery import RecoveryCheck, combine_shares, is_recovery_key
from barrier.seal_table import RECOVERY, SealRecords, decode
from barrier.share_counts import ShareCounts
from core.errors import IntegrityError
from core.secret import Secret


class Quorum(Enum):
    """What a share led to."""

    INCOMPLETE = "incomplete"
    PROVEN = "proven"
    WRONG = "wrong"


async def is_quorum(connection: Statements, records: SealRecords, shares: Sequence[bytes]) -> bool:
    """Whether they are of the recovery key of this cluster; as many as its threshold asks for."""
    return proves(await _load_check(connection, records), records.cluster.recovery, shares)


def proves(check: RecoveryCheck, counts: ShareCounts, shares: Sequence[bytes]) -> bool:
    """Whether the shares give the key of that check value."""
    recovery_key = combine_shares([Secret(share) for share in shares], counts)
    return recovery_key is not None and is_recovery_key(check, recovery_key)


def was_given(share: Secret, shares: Sequence[bytes]) -> bool:
    """Whether the share is among them."""
    return any(hmac.compare_digest(share.expose(), given) for given in shares)


async def _load_check(connection: Statements, records: SealRecords) -> RecoveryCheck:
    stored = await records.load(connection, RECOVERY)
    if stored is None:
        raise IntegrityError("seal/recovery is missing: the row was deleted; restore the database from a backup")
    return decode(RecoveryCheck, stored.expose(), RECOVERY)
