"""The seal: what state the appliance is in, and the only ways from one state to another."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Self, TypeVar

from barrier.changes import SEAL, ChangeRing
from barrier.connection import Statements
from barrier.database import Database, check_schema
from barrier.initialize import NONE, BeforeCommit, FirstWrites, Initializer, InitRequest, InitResult
from barrier.keyring import Keyring
from barrier.keyring_store import load_keyring, load_usage, reserve_encryptions, rotate_keyring
from barrier.ports import SealHsm
from barrier.quorum import Quorum
from barrier.seal_table import CLUSTER, PROGRESS, SealRecords, load_plain, remove
from barrier.share_counts import ShareCounts
from barrier.storage import SEALED, BarrierStorage
from barrier.unseal import UnsealProgress, load_progress, take_share
from core.clock import Clock
from core.errors import HsmConfigError, InvalidRequestError, NotInitializedError, SealedError, StoreUnavailableError
from core.secret import Secret

T = TypeVar("T")


class SealState(Enum):
    """Named as `sys/seal-status` describes them."""

    NOT_INITIALIZED = "not initialized"
    SEALED = "sealed"
    UNSEALED = "unsealed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealStatus:
    """What `sys/seal-status` tells. `t` and `n` are the recovery keys', as with every auto-unseal."""

    initialized: bool
    sealed: bool
    t: int
    n: int
    progress: int
    nonce: str
    cluster_id: str
    cluster_name: str
    recovery: ShareCounts
    escrow: ShareCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatus:
    """What `sys/key-status` tells. `encryptions` counts in blocks that processes reserve, so it is an upper bound."""

    term: int
    installed_at: int  # epoch seconds
    encryptions: int


class Barrier:
    """One process's side of the seal. The state of the node is in the ring, that of the cluster in the store.

    A method that changes the state holds `_changing`, so that a seal cannot overtake an unseal that is under way.
    """

    def __init__(self, database: Database, ring: ChangeRing, hsm: SealHsm, *, clock: Clock) -> None:
        self._database = database
        self._ring = ring
        self._words = ring.words
        self._hsm = hsm
        self._clock = clock
        self._seen = -1  # no seal word: the first request refreshes
        self._changing = asyncio.Lock()
        self._records: SealRecords | None = None
        self.state = SealState.NOT_INITIALIZED
        self.storage = BarrierStorage(database, ring, reload_keyring=self._reload_keyring, reserve=self._reserve)

    @classmethod
    async def open(cls, url: str, ring: ChangeRing, hsm: SealHsm, *, clock: Clock, patience: float = 10.0) -> Self:
        """Connect and check the schema; unseals nothing. `patience` (seconds) bounds waiting for database locks.

        Raises StoreUnavailableError, ConfigError.
        """
        database = Database(url, patience=patience)
        barrier = cls(database, ring, hsm, clock=clock)
        try:
            await database.read(check_schema)
            await barrier._load_cluster()
        except BaseException:
            await database.close()
            raise
        return barrier

    async def close(self) -> None:
        """Finish the writes under way, close the connections and forget the keyring."""
        await self._database.close()
        self._drop()

    # --- looking --------------------------------------------------------------------------------------------------

    @property
    def needs_refresh(self) -> bool:
        """Whether some process has changed the seal since `refresh`; cheap, for the start of each request.

        While there is no cluster, always: whoever makes it may be killed between its commit and saying so in the ring,
        or be another machine.
        """
        return self._words[SEAL] != self._seen or self.state is SealState.NOT_INITIALIZED

    async def refresh(self) -> SealState:
        """Do what the seal word asks: drop the keys, or open the HSM and load the keyring anew.

        When it raises (HSM or store trouble) the next call tries again.
        """
        async with self._changing:
            word = self._ring.seal_word
            if self._ring.sealed_by_operator:
                self._drop()  # first: sealing never depends on the store
                await self._load_cluster()
            elif await self._load_cluster():
                await self._open_keyring()
            self._seen = word
        return self.state

    async def status(self) -> SealStatus:
        """For `sys/seal-status` and `sys/health`; reads the store only while sealed."""
        cluster = self._records.cluster if self._records else None
        progress, nonce = 0, ""
        if self._records is not None and self.state is SealState.SEALED:
            progress, nonce = await self._progress(self._records)
        recovery = cluster.recovery if cluster else NONE
        return SealStatus(
            initialized=cluster is not None,
            sealed=self.state is not SealState.UNSEALED,
            t=recovery.threshold,
            n=recovery.shares,
            progress=progress,
            nonce=nonce,
            cluster_id=cluster.cluster_id if cluster else "",
            cluster_name=cluster.cluster_name if cluster else "",
            recovery=recovery,
            escrow=cluster.escrow if cluster else NONE,
        )

    async def _progress(self, records: SealRecords) -> tuple[int, str]:
        raw = await self._database.read(lambda connection: load_plain(connection, PROGRESS))
        if raw is None:
            return 0, ""  # the usual answer costs no HSM call, and works while the HSM is gone
        return await self._while_sealed(self._database.read, lambda connection: load_progress(connection, records))

    async def _load_cluster(self) -> bool:
        """Whether the store holds a cluster."""
        raw = await self._database.read(lambda connection: load_plain(connection, CLUSTER))
        self._records = None if raw is None else SealRecords(self._hsm, raw)
        if raw is None:
            self.storage.seal()
            self.state = SealState.NOT_INITIALIZED
        elif self.state is SealState.NOT_INITIALIZED:
            self.state = SealState.SEALED
        return raw is not None

    def _initialized(self) -> SealRecords:
        if self._records is None:
            raise NotInitializedError("Mimir is not initialized; run: mimir operator init")
        return self._records

    # --- opening --------------------------------------------------------------------------------------------------

    async def initialize(
        self, request: InitRequest, first_writes: FirstWrites, *, before_commit: BeforeCommit = lambda _: None
    ) -> InitResult:
        """Make the cluster; `first_writes` happen with it or not at all. Leaves the appliance unsealed.

        `before_commit` sees the result when all but the commit is done; an error of it ends the attempt.

        `first_writes` may run again from the start after a serialisation failure. Raises InvalidRequestError when the
        store holds a cluster: of two callers at once exactly one wins.
        """
        async with self._changing:
            if await self._load_cluster():
                self._seen = -1  # whoever made it may not have said so: the next request opens it
                raise InvalidRequestError("Mimir is already initialized")
            work = Initializer(self._hsm, request, first_writes, before_commit, now=self._clock.now())
            result = await self._database.write(work.run, committed=self._ring.publish_all)
            self._ring.bump_seal(sealed_by_operator=False)
            await self._load_cluster()
            await self._open_keyring()
            self._seen = self._ring.seal_word
        return result

    async def unseal_from_hsm(self) -> None:
        """Auto-unseal, unless an operator has sealed the appliance.

        Raises NotInitializedError, SealedError, HsmError, and HsmConfigError when the token lacks the cluster's KEK.
        """
        if self._ring.sealed_by_operator:
            raise SealedError("an operator has sealed Mimir; unseal it with recovery keys, or restart the service")
        if await self.refresh() is SealState.NOT_INITIALIZED:
            self._initialized()

    async def _open_keyring(self) -> None:
        records = self._initialized()
        self._check_kek(records)
        keyring = await self._database.read(lambda connection: load_keyring(connection, records))
        await self._hsm.settle_escrow()  # a node that was killed between commit and this left it to the next
        if self._ring.sealed_by_operator:  # meanwhile; from here to the end nothing waits
            self._drop()
            return
        self._hsm.expect_escrow(records.cluster.escrow_id)
        self._hsm.set_sealing_key(records.cluster.sealing_key)
        self.storage.unseal(keyring)
        self.state = SealState.UNSEALED

    def _check_kek(self, records: SealRecords) -> None:
        cluster = records.cluster
        if cluster.kek_id not in self._hsm.kek_ids:
            present = ", ".join(sorted(self._hsm.kek_ids)) or "none"
            raise HsmConfigError(
                f"the store belongs to cluster {cluster.cluster_id}, sealed under KEK {cluster.kek_id}, and the HSM"
                f" token holds KEK {present}; configure the token of that cluster. Nothing was changed"
            )
        self._hsm.require_kek(cluster.kek_id)

    # --- sealing, and opening again by hand ------------------------------------------------------------------------

    async def seal(self) -> None:
        """Drop the keys here, and have every process of the node drop theirs before its next request.

        Shares from an earlier attempt to unseal, which a restart has overtaken, are forgotten.
        """
        self._initialized()
        self._ring.bump_seal(sealed_by_operator=True)
        async with self._changing:
            self._drop()
            self._seen = self._ring.seal_word
        with suppress(StoreUnavailableError):  # sealing never depends on the store
            await self._database.write(lambda connection: remove(connection, PROGRESS))

    def _drop(self) -> None:
        self.storage.seal()
        self._hsm.drop_keys()
        if self.state is SealState.UNSEALED:
            self.state = SealState.SEALED

    async def unseal_share(self, share: Secret) -> UnsealProgress:
        """Take one recovery share; at the threshold, unseal from the HSM. Unsealed already: answers the state.

        Raises InvalidRequestError for what is no share, and for a quorum that is wrong: then all must be given again.
        """
        self._initialized()
        if self.state is not SealState.UNSEALED:

            async def take(connection: Statements) -> Quorum:
                return await take_share(connection, await self._rows(connection), share)

            quorum = await self._while_sealed(self._database.write, take)
            if quorum is Quorum.WRONG:
                raise InvalidRequestError("these recovery keys do not fit together; the progress is reset, begin again")
            if quorum is Quorum.PROVEN:
                self._ring.bump_seal(sealed_by_operator=False)
                await self.refresh()
        return await self._unseal_progress()

    async def reset_unseal(self) -> UnsealProgress:
        """Forget the shares given so far."""
        self._initialized()
        await self._database.write(lambda connection: remove(connection, PROGRESS))
        return await self._unseal_progress()

    async def _unseal_progress(self) -> UnsealProgress:
        status = await self.status()
        return UnsealProgress(
            t=status.t, n=status.n, progress=status.progress, nonce=status.nonce, sealed=status.sealed
        )

    async def _while_sealed(
        self,
        run: Callable[[Callable[[Statements], Awaitable[T]]], Awaitable[T]],
        work: Callable[[Statements], Awaitable[T]],
    ) -> T:
        """Work that needs the barrier root key in the HSM for a moment, and leaves no key loaded behind."""
        async with self._changing:
            try:
                return await run(work)
            finally:
                if self.state is not SealState.UNSEALED:
                    self._hsm.drop_keys()

    # --- what a quorum of recovery keys may do while unsealed ------------------------------------------------------

    async def write_seal(self, work: Callable[[Statements, SealRecords], Awaitable[T]]) -> T:
        """One transaction over the rows of the table `seal`; when it changes the cluster, every process looks anew.

        `work` may run again from the start. Raises SealedError.
        """
        self._unsealed()
        is_changed = False

        async def run(connection: Statements) -> T:
            nonlocal is_changed
            records = await self._rows(connection)
            result = await work(connection, records)
            is_changed = not records.is_of(await load_plain(connection, CLUSTER))
            return result

        return await self._database.write(run, committed=lambda: self._ring.bump_seal() if is_changed else None)

    async def read_seal(self, work: Callable[[Statements, SealRecords], Awaitable[T]]) -> T:
        """As `write_seal`, of what only reads."""
        self._unsealed()

        async def run(connection: Statements) -> T:
            return await work(connection, await self._rows(connection))

        return await self._database.read(run)

    async def _rows(self, connection: Statements) -> SealRecords:
        """As the store has them now: another machine may have changed the cluster."""
        return await SealRecords.load_from(connection, self._hsm)

    # --- the keyring ----------------------------------------------------------------------------------------------

    async def rotate(self) -> int:
        """Add a term, under which every process writes from its next request on; older entries still open."""
        self._unsealed()
        now = self._clock.now()

        async def rotate(connection: Statements) -> Keyring:
            return await rotate_keyring(connection, await self._rows(connection), now=now)

        keyring = await self._database.write(rotate, committed=self._ring.bump_seal)
        if self.state is SealState.UNSEALED:
            self.storage.unseal(keyring)
        return keyring.term

    async def key_status(self) -> KeyStatus:
        """The active term."""
        keyring = self.storage.keyring
        encryptions = await self._database.read(lambda connection: load_usage(connection, keyring.term))
        return KeyStatus(term=keyring.term, installed_at=keyring.installed_at, encryptions=encryptions)

    async def escrow_challenge(self) -> tuple[bytes, bytes]:
        """A throw-away value, and the same wrapped (RFC 3394) under the escrow key: holders of the words can unwrap it.

        Raises InvalidRequestError when escrow was declined.
        """
        if not self._unsealed().cluster.escrow.shares:
            raise InvalidRequestError("escrow was declined when this cluster was initialized")
        return await self._hsm.escrow_challenge()

    def _unsealed(self) -> SealRecords:
        records = self._initialized()
        if self.state is not SealState.UNSEALED:
            raise SealedError(SEALED)
        return records

    async def _reload_keyring(self) -> None:
        self._unsealed()

        async def load(connection: Statements) -> Keyring:
            return await load_keyring(connection, await self._rows(connection))

        keyring = await self._database.read(load)
        if self.state is SealState.UNSEALED:
            self.storage.unseal(keyring)

    async def _reserve(self) -> None:
        self._unsealed()
        now = self._clock.now()

        async def reserve(connection: Statements) -> Keyring:
            return await reserve_encryptions(connection, await self._rows(connection), now=now)

        keyring = await self._database.write(reserve)
        if self.state is SealState.UNSEALED:
            self.storage.unseal(keyring)
