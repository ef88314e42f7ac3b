"""Making a cluster: keys in the HSM, keyring, recovery and escrow shares, and the first entries, all or nothing."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from sqlalchemy import text

from barrier.connection import Statements
from barrier.escrow import split_escrow
from barrier.keyring import Keyring
from barrier.keyring_store import store_keyring
from barrier.ports import SealHsm
from barrier.recovery import new_recovery_key, split_recovery_key
from barrier.seal_table import CLUSTER, RECOVERY, Cluster, SealRecords, load_plain, store_plain
from barrier.share_counts import ShareCounts, check_share_counts
from barrier.transaction import BarrierTransaction
from core.errors import InvalidRequestError
from core.ids import new_uuid
from core.protocols import CoreTransaction, KeyKind, KeyUsage
from core.secret import Secret

FirstWrites = Callable[[CoreTransaction], Awaitable[None]]
BeforeCommit = Callable[["InitResult"], None]

NONE = ShareCounts(shares=0, threshold=0)
DEFAULT_ESCROW = ShareCounts(shares=5, threshold=3)

# any constant that no other program on the server is likely to use
_ADVISORY_LOCK = 0x6D696D69


@dataclass(frozen=True, slots=True, kw_only=True)
class InitRequest:
    """How to initialise. `recovery_shares` 0 makes none; `escrow_shares` None means 3 of 5."""

    recovery_shares: int = 0
    recovery_threshold: int = 0
    escrow_shares: int | None = None
    escrow_threshold: int | None = None
    escrow_declined: bool = False

    def recovery_counts(self) -> ShareCounts:
        """Checked. Raises InvalidRequestError."""
        counts = ShareCounts(shares=self.recovery_shares, threshold=self.recovery_threshold)
        if counts != NONE:
            check_share_counts(counts, what="recovery")
        return counts

    def escrow_counts(self) -> ShareCounts:
        """Checked. Raises InvalidRequestError."""
        given = self.escrow_shares is not None or self.escrow_threshold is not None
        if self.escrow_declined:
            if given:
                raise InvalidRequestError("escrow_shares and escrow_threshold contradict declining the escrow")
            return NONE
        if not given:
            return DEFAULT_ESCROW
        counts = ShareCounts(shares=self.escrow_shares or 0, threshold=self.escrow_threshold or 0)
        check_share_counts(counts, what="escrow")
        return counts


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class InitResult:
    """What is shown once and stored nowhere."""

    cluster_id: str
    cluster_name: str
    recovery_shares: list[bytes]  # 33 bytes each
    recovery_threshold: int
    escrow_words: list[str]
    escrow_threshold: int


class Initializer:
    """One call of init. Its transaction may run again from the start; every step of it can."""

    def __init__(
        self, hsm: SealHsm, request: InitRequest, first_writes: FirstWrites, before_commit: BeforeCommit, *, now: float
    ) -> None:
        self._hsm = hsm
        self._first_writes = first_writes
        self._before_commit = before_commit
        self._now = now
        self._recovery = request.recovery_counts()
        self._escrow = request.escrow_counts()

    async def run(self, connection: Statements) -> InitResult:
        """Everything, inside one transaction. Raises InvalidRequestError when somebody was first."""
        await self._refuse_second(connection)
        escrow_words = await self._decide_escrow()
        cluster = await self._make_cluster()
        raw = msgspec.json.encode(cluster)
        await store_plain(connection, CLUSTER, raw)
        records = SealRecords(self._hsm, raw)
        keyring = Keyring.create(now=self._now)
        await store_keyring(connection, records, keyring)
        recovery_shares = await self._make_recovery(connection, records)
        await self._write_first(connection, keyring)
        result = InitResult(
            cluster_id=cluster.cluster_id,
            cluster_name=cluster.cluster_name,
            recovery_shares=recovery_shares,
            recovery_threshold=self._recovery.threshold,
            escrow_words=escrow_words,
            escrow_threshold=self._escrow.threshold,
        )
        self._before_commit(result)
        return result

    async def _refuse_second(self, connection: Statements) -> None:
        """Let one initialiser in at a time (SQLite's BEGIN IMMEDIATE has done so), and only into an empty store."""
        if connection.dialect.name == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        if await load_plain(connection, CLUSTER) is not None:
            raise InvalidRequestError("Mimir is already initialized")

    async def _decide_escrow(self) -> list[str]:
        """Before any key is made, since keys are wrapped under the escrow key at birth. Answers the words."""
        if not self._escrow.shares:
            await self._hsm.discard_escrow_key()
            return []
        return split_escrow(await self._hsm.release_escrow_key(), self._escrow)

    async def _write_first(self, connection: Statements, keyring: Keyring) -> None:
        transaction = BarrierTransaction(connection, keyring)
        try:
            await self._first_writes(transaction)
        finally:
            transaction.end()

    async def _make_cluster(self) -> Cluster:
        return Cluster(
            cluster_id=new_uuid(),
            cluster_name=f"mimir-cluster-{os.urandom(4).hex()}",
            created_at=int(self._now),
            kek_id=self._hsm.active_kek_id,
            root_key=await self._hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT),
            sealing_key=await self._hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT),
            recovery=self._recovery,
            escrow=self._escrow,
            escrow_id=self._hsm.escrow_id if self._escrow.shares else "",
        )

    async def _make_recovery(self, connection: Statements, records: SealRecords) -> list[bytes]:
        if not self._recovery.shares:
            return []
        recovery_key, check = new_recovery_key()
        await records.store(connection, RECOVERY, Secret(msgspec.json.encode(check)))
        return [share.expose() for share in split_recovery_key(recovery_key, self._recovery)]
