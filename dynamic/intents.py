"""Accounts that are being made: written down before the database is asked, gone when the lease is stored.

What is left of a worker that died in between is found by the housekeeper, which removes the account.
"""

import msgspec
import structlog

from core.clock import Clock
from core.errors import InvalidRequestError, MimirError, OperatorError
from core.protocols import Transaction
from dynamic.guard import TIMEOUT
from dynamic.open_targets import OpenTargets
from dynamic.store import INTENTS, DynamicStore
from dynamic.target import Removal, Statements

_log = structlog.get_logger("mimir.dynamic")

PATIENCE = int(TIMEOUT) * 4  # seconds after which whoever was at it is taken for dead
SETTLED = int(TIMEOUT) + 5  # seconds after which nothing that was begun can still happen on the database
_PAGE = 200


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """`intent/<username>`."""

    username: str
    db_name: str
    role: str
    begun_at: int  # epoch seconds
    revocation_statements: Statements = ()
    given_up: bool = False  # whoever was at it must not come back with a lease


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Intent).decode


class Intents:
    """Those of one mount."""

    def __init__(self, store: DynamicStore, targets: OpenTargets, clock: Clock) -> None:
        self._store = store
        self._targets = targets
        self._clock = clock

    async def begin(self, intent: Intent) -> None:
        """Durable when this returns."""
        await self._store.storage.put(INTENTS + intent.username, _encode(intent), cas=0)

    @staticmethod
    async def fulfil(txn: Transaction, username: str) -> None:
        """In the transaction that stores the lease. Raises when the account was given up: it took too long."""
        entry = await txn.get(INTENTS + username)
        if entry is None or _decode(entry.value).given_up:
            raise OperatorError("making the account took so long that it was given up and removed: ask again")
        await txn.delete(INTENTS + username)

    async def end(self, username: str) -> None:
        """There is no such account, or not any more."""
        await self._store.storage.delete(INTENTS + username)

    async def reconcile(self) -> int:
        """Remove accounts that nobody came back for; how many. What cannot be removed now is tried at the next call."""
        removed, after = 0, ""
        while names := await self._store.names(INTENTS, after=after, limit=_PAGE):
            after = names[-1]
            for name in names:
                removed += await self._reconcile_one(name)
        return removed

    async def _reconcile_one(self, username: str) -> bool:
        intent = await self._give_up(username)
        if intent is None:
            return False
        removal = Removal(username=username, statements=intent.revocation_statements)
        try:
            await self._targets.run(intent.db_name, lambda target: target.drop(removal))
        except MimirError as exc:
            if isinstance(exc, InvalidRequestError) and await self._store.connection(intent.db_name) is None:
                _log.error(
                    "an account without a lease stays: its connection is gone",
                    username=username,
                    connection=intent.db_name,
                )
                await self.end(username)
                return False
            _log.warning("an account without a lease is still there", username=username, reason=exc.sentence)
            return False
        except Exception as exc:  # noqa: BLE001 - a plugin may be anybody's; the other accounts must go
            _log.error("an account without a lease is still there", username=username, error=type(exc).__name__)
            return False
        await self.end(username)
        _log.info("an account that nobody came back for was removed", username=username, role=intent.role)
        return True

    async def _give_up(self, username: str) -> Intent | None:
        """Mark it, so that no lease is stored for it any more; None when it is not old enough."""
        now = int(self._clock.now())

        async def body(txn: Transaction) -> Intent | None:
            entry = await txn.get(INTENTS + username)
            intent = _decode(entry.value) if entry else None
            if entry is None or intent is None:
                return None
            # a time far in the future is of a clock that was set back since
            if abs(now - intent.begun_at) < (SETTLED if intent.given_up else PATIENCE):
                return None
            if not intent.given_up:
                intent = msgspec.structs.replace(intent, given_up=True)
                await txn.put(INTENTS + username, _encode(intent), cas=entry.revision)
            return intent

        return await self._store.transact(body)

    async def abandon(self, username: str) -> None:
        """Whoever was at it does not know what came of it: the housekeeper finds out when nothing can come any more.

        That is counted from now: the call that was cut off may have been a second one, with another password.
        """
        now = int(self._clock.now())

        async def body(txn: Transaction) -> None:
            entry = await txn.get(INTENTS + username)
            if entry is not None:
                intent = msgspec.structs.replace(_decode(entry.value), given_up=True, begun_at=now)
                await txn.put(INTENTS + username, _encode(intent), cas=entry.revision)

        await self._store.transact(body)
