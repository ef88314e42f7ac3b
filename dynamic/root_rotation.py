"""The connection's own password: changed on demand or on schedule, and then known to nobody.

    generate → store as pending, durable → set on the database → log in with it → promote, durable

Whoever dies in between leaves a connection with two passwords, of which the database takes one: every process tries
both (`dynamic.open_targets`), and the housekeeper finds out which it is and goes on.
"""

import structlog
from msgspec.structs import replace

from core.clock import Clock
from core.engine import Passwords
from core.errors import InvalidRequestError, MimirError
from core.protocols import Event, Transaction
from dynamic.connection import Connection, decode_connection, encode_connection, unknown_connection
from dynamic.guard import TIMEOUT
from dynamic.open_targets import OpenTargets
from dynamic.store import CONNECTIONS, DynamicStore
from dynamic.target import PasswordChange, TargetAwayError, TargetLoginError, TargetRefusedError

_log = structlog.get_logger("mimir.dynamic")

_CLAIM = int(TIMEOUT) * 4  # seconds for which a rotation belongs to who began it
_TRIES = 3  # passwords that the database may refuse
_RETRY = 300  # seconds after a scheduled rotation that failed


class _UnderWayError(InvalidRequestError):
    """Another request rotates."""


class RootRotation:
    """That of one mount's connections."""

    def __init__(self, store: DynamicStore, targets: OpenTargets, *, passwords: Passwords, clock: Clock) -> None:
        self._store = store
        self._targets = targets
        self._passwords = passwords
        self._clock = clock
        self._not_before: dict[str, int] = {}  # connections whose scheduled rotation failed here

    async def rotate(self, name: str) -> None:
        """Change the password. Raises what is in the way; the connection works with one of the two all the same."""
        connection = await self._store.connection(name)
        if connection is None:
            raise unknown_connection(name)
        if not connection.username:
            raise InvalidRequestError("unable to rotate root credentials: no username in configuration")
        if not connection.password:
            raise InvalidRequestError("unable to rotate root credentials: no password in configuration")
        if connection.pending_password:
            await self._settle(name)
        try:
            await self._rotate(name)
        except _UnderWayError:
            raise  # it did not fail: somebody else is at it
        except MimirError as exc:
            await self._note(name, exc.sentence)
            raise

    async def housekeep(self) -> None:
        """Finish what was cut off, and rotate what is due."""
        now = int(self._clock.now())
        for name in await self._store.names(CONNECTIONS):
            connection = await self._store.connection(name)
            if connection is None:
                continue
            try:
                if connection.pending_password and not _is_claimed(connection, now):
                    await self._settle(name)
                elif connection.root_rotation_due and connection.root_rotation_due <= now:
                    await self._rotate_when_due(connection, now)
            except MimirError as exc:
                _log.warning("root rotation waits", connection=name, reason=exc.sentence)
            except Exception as exc:  # noqa: BLE001 - a plugin may be anybody's; the other connections must go on
                _log.error("root rotation waits", connection=name, error=type(exc).__name__)

    async def _rotate_when_due(self, connection: Connection, now: int) -> None:
        if self._not_before.get(connection.name, 0) > now or not (connection.username and connection.password):
            return
        self._not_before[connection.name] = now + _RETRY
        await self.rotate(connection.name)
        del self._not_before[connection.name]

    async def _rotate(self, name: str) -> None:
        for attempt in range(_TRIES):
            pending = await self._begin(name)
            change = PasswordChange(
                username=pending.username,
                password=pending.pending_password,
                statements=pending.root_rotation_statements,
            )
            try:
                await self._targets.run(name, lambda target, change=change: target.set_password(change))  # type: ignore[misc]  # mypy sees no default argument here
            except TargetRefusedError as exc:
                _log.warning(
                    "a database refused a new root password", connection=name, reason=exc.detail or exc.sentence
                )
                # Else it has the new one: by a statement before the refused one, or a call whose answer was lost.
                if await self._opens(pending, pending.password):
                    await self._end(name, pending, promote=False)
                    if attempt == _TRIES - 1:
                        raise
                    continue
            await self._check(pending)
            await self._end(name, pending, promote=True)
            return

    async def _begin(self, name: str) -> Connection:
        """Store a new password as pending. Raises when another process is at it."""
        now = int(self._clock.now())
        connection = await self._store.connection(name)
        policy = connection.password_policy if connection else ""
        password = await self._passwords.generate(policy)

        async def body(txn: Transaction) -> Connection:
            present, revision = await self._read(txn, name)
            if present.pending_password:
                raise _UnderWayError(f"the root credentials of {name} are being rotated by another request right now")
            pending = replace(present, pending_password=password, pending_since=now)
            await txn.put(CONNECTIONS + name, encode_connection(pending), cas=revision)
            return pending

        return await self._store.transact(body)

    async def _settle(self, name: str) -> None:
        """Find out which of two passwords the database takes, after a rotation that was cut off."""
        connection = await self._store.connection(name)
        if connection is None or not connection.pending_password:
            return
        if _is_claimed(connection, int(self._clock.now())):
            raise InvalidRequestError(
                f"the root credentials of {name} are being rotated right now: try again in a minute"
            )
        for password, promote in ((connection.pending_password, True), (connection.password, False)):
            if await self._opens(connection, password):
                await self._end(name, connection, promote=promote)
                return
        raise TargetLoginError(
            f"the database {name} takes neither the old nor the new root password: write a working one"
        )

    async def _opens(self, connection: Connection, password: str) -> bool:
        trial = await self._targets.open_with(connection, password)
        try:
            await trial.check()
        except TargetLoginError:
            return False
        finally:
            await trial.close()
        return True

    async def _check(self, pending: Connection) -> None:
        """The new password must open the database before the old one is forgotten."""
        if not await self._opens(pending, pending.pending_password):
            raise TargetAwayError(
                f"the database {pending.name} took a new root password and refuses it at login: both are kept"
            )

    async def _end(self, name: str, begun: Connection, *, promote: bool) -> None:
        now = int(self._clock.now())

        async def body(txn: Transaction) -> None:
            present, revision = await self._read(txn, name)
            ended = replace(present, pending_password="", pending_since=0)
            if promote:
                ended = replace(ended, password=begun.pending_password, rotated_at=now, rotation_error="")
            if not _is_same(present, begun):
                if not promote or not (kept := _with_both(present, begun)):
                    return
                ended = kept
            if promote:
                await txn.announce(
                    Event(type="database/rotate-root", path=f"rotate-root/{name}", metadata={"name": name})
                )
            await txn.put(CONNECTIONS + name, encode_connection(ended), cas=revision)

        await self._store.transact(body)

    async def _note(self, name: str, sentence: str) -> None:
        async def body(txn: Transaction) -> None:
            present, revision = await self._read(txn, name)
            noted = replace(present, rotation_error=sentence)
            event = Event(type="database/rotate-root-fail", path=f"rotate-root/{name}", metadata={"name": name})
            await txn.announce(event)
            await txn.put(CONNECTIONS + name, encode_connection(noted), cas=revision)

        await self._store.transact(body)

    @staticmethod
    async def _read(txn: Transaction, name: str) -> tuple[Connection, int]:
        entry = await txn.get(CONNECTIONS + name)
        if entry is None:
            raise unknown_connection(name)
        return decode_connection(entry.value), entry.revision


def _is_claimed(connection: Connection, now: int) -> bool:
    """Whether somebody may be at it; a time far in the future is of a clock that was set back since."""
    return abs(now - connection.pending_since) < _CLAIM


def _is_same(present: Connection, begun: Connection) -> bool:
    """Whether nobody has written or settled the connection since the rotation began."""
    return all(
        getattr(present, field) == getattr(begun, field)
        for field in ("plugin_name", "username", "password", "pending_password", "options")
    )


def _with_both(present: Connection, begun: Connection) -> Connection | None:
    """The connection with the password that the database has just taken, beside what was written meanwhile.

    Which of them opens it is found out when it is settled, which may be at once.
    """
    if present.password == begun.pending_password:
        return None  # it was settled so
    if present.pending_password in {"", begun.pending_password}:
        return replace(present, pending_password=begun.pending_password, pending_since=0)
    if present.password == begun.password:  # another rotation is under way: the old password is the one to give up
        return replace(present, password=begun.pending_password)
    _log.error("a root password was changed by two rotations and a write at once", connection=present.name)
    return None
