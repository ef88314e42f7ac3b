"""Root generation, and rotation of the root key and of the recovery keys, authorised by recovery keys."""

from dataclasses import dataclass

import msgspec

from barrier.ceremony import Attempt, AttemptStatus, Ceremony, NewKey, SealRows
from barrier.connection import Statements
from barrier.quorum import Quorum, proves
from barrier.recovery import RecoveryCheck, check_share, new_recovery_key, split_recovery_key
from barrier.seal_table import GENERATE_ROOT, RECOVERY, ROTATE_RECOVERY, ROTATE_ROOT, SealRecords, remove
from barrier.share_counts import ShareCounts, check_share_counts
from core.clock import Clock
from core.errors import InvalidRequestError
from core.ids import new_uuid
from core.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class NewShares:
    """Shown once and stored nowhere. With a nonce they count only once a quorum of them was given back."""

    shares: list[Secret]  # 33 bytes each
    verification_nonce: str = ""


class RootGeneration(Ceremony):
    """A new root token. The one-time pad that will veil it is drawn at the start and known to its caller alone."""

    def __init__(self, rows: SealRows, clock: Clock) -> None:
        super().__init__(rows, clock, name=GENERATE_ROOT, noun="root generation")

    async def start(self, otp: str) -> AttemptStatus:
        """Begin. Raises InvalidRequestError when one is under way."""
        return await self._start(msgspec.structs.replace(self._new_attempt(), otp=otp))

    async def give(self, share: Secret, nonce: str) -> str | None:
        """Take one share. With the last one the attempt ends, and this answers its one-time pad: exactly once."""

        async def act(connection: Statements, _records: SealRecords, attempt: Attempt) -> str:
            await remove(connection, self._name)
            return attempt.otp

        return await self._give(share, nonce, act)


class RootKeyRotation(Ceremony):
    """A new barrier root key in the HSM, under which the keyring is encrypted anew. Nobody gets a share of it."""

    def __init__(self, rows: SealRows, clock: Clock) -> None:
        super().__init__(rows, clock, name=ROTATE_ROOT, noun="root key rotation")

    async def start(self) -> AttemptStatus:
        """Begin. Raises InvalidRequestError when one is under way."""
        wanted = ShareCounts(shares=1, threshold=1)
        return await self._start(msgspec.structs.replace(self._new_attempt(), wanted=wanted))

    async def give(self, share: Secret, nonce: str) -> bool:
        """Take one share; whether it was the last one, and the key is another."""

        async def act(connection: Statements, records: SealRecords, _attempt: Attempt) -> bool:
            await _replace_root_key(connection, records)
            return True

        return await self._give(share, nonce, act) or False

    async def rotate(self) -> None:
        """At once, for a caller whom a policy allows it."""
        await self._rows.write_seal(_replace_root_key)


async def _replace_root_key(connection: Statements, records: SealRecords) -> None:
    key = await records.new_root_key()
    await records.replace_cluster(connection, msgspec.structs.replace(records.cluster, root_key=key))


class RecoveryRotation(Ceremony):
    """New recovery keys in place of the old ones."""

    def __init__(self, rows: SealRows, clock: Clock) -> None:
        super().__init__(rows, clock, name=ROTATE_RECOVERY, noun="recovery key rotation")

    async def start(self, wanted: ShareCounts, *, is_verified: bool) -> AttemptStatus:
        """Begin. Raises InvalidRequestError when one is under way, and for counts that cannot be."""
        check_share_counts(wanted, what="secret")
        attempt = msgspec.structs.replace(self._new_attempt(), wanted=wanted, is_verified=is_verified)
        return await self._start(attempt)

    async def make_first(self, wanted: ShareCounts) -> NewShares | None:
        """Keys for a cluster that has none, at once; None when it has some. For a caller whom a policy allows it."""
        check_share_counts(wanted, what="secret")

        async def work(connection: Statements, records: SealRecords) -> NewShares | None:
            if records.cluster.recovery.shares:
                return None
            shares, check = _make(wanted)
            await _replace_recovery(connection, records, wanted, check)
            return NewShares(shares=shares)

        return await self._rows.write_seal(work)

    async def give(self, share: Secret, nonce: str) -> NewShares | None:
        """Take one of the old shares. With the last one needed, answers the new ones."""

        async def act(connection: Statements, records: SealRecords, attempt: Attempt) -> NewShares:
            shares, check = _make(attempt.wanted)
            if not attempt.is_verified:
                await _replace_recovery(connection, records, attempt.wanted, check)
                await remove(connection, self._name)
                return NewShares(shares=shares)
            new = NewKey(nonce=new_uuid(), check=check)
            await self._store(connection, records, self._touched(attempt, shares=[], new=new))
            return NewShares(shares=shares, verification_nonce=new.nonce)

        return await self._give(share, nonce, act)

    async def verify(self, share: Secret, nonce: str) -> bool:
        """Take one of the new shares; whether it was the last one, and the new keys count from now on."""
        check_share(share)

        async def work(connection: Statements, records: SealRecords) -> Quorum:
            attempt, new = await self._unverified(connection, records)
            self._check_nonce(nonce, new.nonce)
            self._check_fresh(share, new.shares)
            shares = [*new.shares, share.expose()]
            quorum = Quorum.INCOMPLETE
            if len(shares) == attempt.wanted.threshold:
                if proves(new.check, attempt.wanted, shares):
                    await _replace_recovery(connection, records, attempt.wanted, new.check)
                    await remove(connection, self._name)
                    return Quorum.PROVEN
                quorum, shares = Quorum.WRONG, []
            new = msgspec.structs.replace(new, shares=shares)
            await self._store(connection, records, self._touched(attempt, shares=[], new=new))
            return quorum

        quorum = await self._rows.write_seal(work)
        if quorum is Quorum.WRONG:
            raise InvalidRequestError("these are not the new recovery keys; the verification is reset, begin it again")
        return quorum is Quorum.PROVEN

    async def restart_verification(self, nonce: str | None) -> AttemptStatus:
        """Forget the new shares given back so far, and give the verification another nonce."""

        async def work(connection: Statements, records: SealRecords) -> AttemptStatus:
            attempt, new = await self._unverified(connection, records)
            if nonce is not None:
                self._check_nonce(nonce, new.nonce)
            fresh = NewKey(nonce=new_uuid(), check=new.check)
            await self._store(connection, records, self._touched(attempt, shares=[], new=fresh))
            return await self._status(connection, records)

        return await self._rows.write_seal(work)

    async def _unverified(self, connection: Statements, records: SealRecords) -> tuple[Attempt, NewKey]:
        attempt = await self._load(connection, records)
        if attempt is None or attempt.new is None:
            raise InvalidRequestError("no recovery key rotation waits for verification")
        return attempt, attempt.new


def _make(counts: ShareCounts) -> tuple[list[Secret], RecoveryCheck]:
    recovery_key, check = new_recovery_key()
    return split_recovery_key(recovery_key, counts), check


async def _replace_recovery(
    connection: Statements, records: SealRecords, counts: ShareCounts, check: RecoveryCheck
) -> None:
    """The check value and the counts, together: shares of the old key are worth nothing from now on."""
    replaced = await records.replace_cluster(connection, msgspec.structs.replace(records.cluster, recovery=counts))
    await replaced.store(connection, RECOVERY, Secret(msgspec.json.encode(check)))
