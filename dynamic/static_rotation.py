"""Rotation of static roles: generate → set → test login → promote, each step stored before the next.

A rotation belongs to the process that claimed it, for a minute. Who dies in between leaves a role from which any other
goes on with the same password: it is set once more, and the login decides. So nothing is rotated twice, and no password
is lost between the database and the store.
"""

import structlog
from msgspec.structs import replace

from core.clock import Clock
from core.engine import Deposits, Measure, Passwords
from core.errors import InvalidRequestError, MimirError
from core.ids import new_uuid
from core.protocols import DecodedCache, Entry, Event, StorageView, Transaction
from dynamic.connection import unknown_connection
from dynamic.guard import TIMEOUT
from dynamic.open_targets import OpenTargets
from dynamic.static_role import Phase, StaticCredential, StaticRole, decode_static_role, encode_static_role
from dynamic.static_schedule import (
    MARK,
    due_before,
    due_of,
    first_due,
    is_in_window,
    next_rotation,
    pause_after,
    reschedule,
)
from dynamic.store import STATIC_ROLES, DynamicStore
from dynamic.target import PasswordChange, TargetLoginError, TargetRefusedError

_log = structlog.get_logger("mimir.dynamic")

CLAIM = int(TIMEOUT) * 4  # seconds
_TRIES = 3  # passwords that the database may refuse
_KV_RETRY = 60  # seconds
_BATCH = 100  # roles of one look
_NONE = object()


class StaticRotation:
    """That of one mount, in one process."""

    def __init__(
        self,
        store: DynamicStore,
        targets: OpenTargets,
        *,
        passwords: Passwords,
        deposits: Deposits,
        clock: Clock,
    ) -> None:
        self._deposits = deposits
        self._store = store
        self._targets = targets
        self._passwords = passwords
        self._clock = clock
        self._owner = new_uuid()
        self._mark: DecodedCache[object] = store.storage.decoded_cache(_load_mark, capacity=1, absent=_NONE)
        self._first: int | None = None  # when the first role is due, as long as the mark stands

    # --- when -----------------------------------------------------------------------------------------------------

    def is_due(self) -> bool:
        """Whether a role is to be rotated now, or somebody has changed the index; no I/O."""
        if self._mark.peek(MARK) is None:
            return True
        return self._first is not None and self._first <= self._clock.now()

    async def housekeep(self) -> None:
        """Rotate what is due; a role that fails delays no other."""
        await self._mark.get(MARK)
        now = int(self._clock.now())
        for name in await due_before(self._store.storage, now, limit=_BATCH):
            try:
                await self._rotate_if_due(name, now)
            except MimirError as exc:
                _log.warning("a static role was not rotated", role=name, reason=exc.sentence)
        found = await first_due(self._store.storage)
        self._first = None if found is None else found[0]

    async def _rotate_if_due(self, name: str, now: int) -> None:
        role = await self._store.static_role(name)
        if role is None:
            return
        if role.owes_deposit and role.phase is Phase.IDLE and role.next_rotation > now:
            await self.deposit(name)
            return
        if role.phase is Phase.IDLE and role.next_rotation and not is_in_window(role, now=now):
            await self._skip(name, now)
            return
        await self.rotate(name, is_due=True)

    async def measures(self) -> list[Measure]:
        """How many roles could not be rotated when they were due."""
        failing = 0
        for name in await self._store.names(STATIC_ROLES):
            role = await self._store.static_role(name)
            failing += role is not None and role.attempts > 0
        text = "Static roles whose last rotation failed."
        return [Measure(name="database_static_roles_failing", text=text, value=failing)]

    # --- how ------------------------------------------------------------------------------------------------------

    async def rotate(self, name: str, *, is_due: bool = False) -> None:
        """Rotate now; with `is_due` only if it still is. Raises what is in the way, after that was written down."""
        role = await self._claim(name, is_due=is_due)
        if role is None:
            return
        try:
            await self._carry_out(role)
        except MimirError as exc:
            await self._fail(name, exc)
            raise

    async def first_password(self, role: StaticRole) -> StaticRole:
        """The role with a password that opens its account; nothing is stored. Raises what is in the way."""
        now = int(self._clock.now())
        for attempt in range(_TRIES):
            pending = await self._generated(role)
            try:
                await self._set(role, pending)
                break
            except TargetRefusedError as exc:
                _note_refusal(role, exc)
                if attempt == _TRIES - 1:
                    raise
        await self._test(role, pending)
        return replace(
            role,
            current=replace(pending, since=now),
            rotated_at=now,
            number=1,
            next_rotation=next_rotation(role, now=now),
        )

    async def _carry_out(self, role: StaticRole) -> None:
        pending = await self._set_claimed(role)
        await self._write(role.name, phase=Phase.SET)
        await self._test(role, pending)
        await self._promote(role.name, pending)
        await self.deposit(role.name)

    async def deposit(self, name: str) -> None:
        """Leave the current password at the role's kv_path, if it is not there yet; tried again later if it fails.

        Raises nothing: the rotation itself is done.
        """
        role = await self._store.static_role(name)
        if role is None or not role.owes_deposit or role.current is None:
            return
        data = {"username": role.current.username, "password": role.current.password}
        error = ""
        try:
            await self._deposits.write(role.kv_path, data, by=f"static-role-{name}")
        except MimirError as exc:
            error = f"not written to {role.kv_path}: {exc.sentence}"
            _log.warning(
                "a static role's password was not left in kv", role=name, path=role.kv_path, reason=exc.sentence
            )
        written, now = role.number, int(self._clock.now())

        async def body(txn: Transaction) -> None:
            present, revision = await self._read(txn, name)
            if error:
                after = replace(present, error=error, retry_at=now + _KV_RETRY)
            else:
                after = replace(present, kv_written=written, error="", retry_at=0)
            await self._put(txn, present, after, revision)

        await self._store.transact(body)

    async def _set_claimed(self, role: StaticRole) -> StaticCredential:
        """Set the password that is pending; one that the database refuses is replaced by another."""
        for attempt in range(_TRIES):
            pending = role.pending
            if pending is None:
                break
            try:
                await self._set(role, pending)
            except TargetRefusedError as exc:
                _note_refusal(role, exc)
                if attempt == _TRIES - 1:
                    raise
                role = await self._write(role.name, pending=await self._generated(role))
            else:
                return pending
        raise RuntimeError("a claimed role has a password that is to be set")

    async def _generated(self, role: StaticRole) -> StaticCredential:
        connection = await self._store.connection(role.db_name)
        policy = role.password_policy or (connection.password_policy if connection is not None else "")
        return StaticCredential(username=role.next_username, password=await self._passwords.generate(policy))

    async def _set(self, role: StaticRole, pending: StaticCredential) -> None:
        connection = await self._store.connection(role.db_name)
        if connection is None:
            raise unknown_connection(role.db_name)
        connection.check_allows(role.name)
        change = PasswordChange(
            username=pending.username, password=pending.password, statements=role.rotation_statements
        )
        await self._targets.run(role.db_name, lambda target: target.set_password(change))

    async def _test(self, role: StaticRole, pending: StaticCredential) -> None:
        """The login must succeed before anybody is told the password; a plugin that cannot try is believed."""
        try:
            await self._targets.run(role.db_name, lambda target: target.login(pending.username, pending.password))
        except TargetLoginError:
            raise InvalidRequestError(
                f"the database took a new password for {pending.username} and refuses the login with it: may it log in?"
            ) from None
        except TargetRefusedError:
            raise
        except InvalidRequestError:
            return

    # --- what is stored -------------------------------------------------------------------------------------------

    async def _claim(self, name: str, *, is_due: bool) -> StaticRole | None:
        now = int(self._clock.now())
        seen = await self._store.static_role(name)
        generated = await self._generated(seen) if seen is not None else None

        async def body(txn: Transaction) -> StaticRole | None:
            role, revision = await self._read(txn, name)
            if role.owner != self._owner and now < role.claimed_until <= now + CLAIM:
                if is_due:
                    return None
                raise InvalidRequestError(f"the static role {name} is being rotated right now")
            if is_due and due_of(role) > now:
                return None
            pending = role.pending
            if pending is None or generated is None:
                pending = replace(generated or StaticCredential(username="", password=""), username=role.next_username)
            claimed = replace(
                role, pending=pending, phase=Phase.GENERATED, owner=self._owner, claimed_until=now + CLAIM
            )
            await self._put(txn, role, claimed, revision)
            return claimed

        return await self._store.transact(body)

    async def _write(self, name: str, **changes: object) -> StaticRole:
        """A step further, if the role is still ours."""

        async def body(txn: Transaction) -> StaticRole:
            role, revision = await self._read(txn, name)
            if role.owner != self._owner:
                raise InvalidRequestError(f"the rotation of {name} took so long that another process has taken it up")
            changed = replace(role, **changes)
            await self._put(txn, role, changed, revision)
            return changed

        return await self._store.transact(body)

    async def _promote(self, name: str, pending: StaticCredential) -> None:
        now = int(self._clock.now())

        async def body(txn: Transaction) -> None:
            role, revision = await self._read(txn, name)
            if role.pending != pending:
                return  # another process took it up, and was faster
            promoted = replace(
                _settled(role),
                current=replace(pending, since=now),
                pending=None,
                rotated_at=now,
                number=role.number + 1,
                next_rotation=next_rotation(role, now=now),
                attempts=0,
                error="",
                retry_at=0,
            )
            await self._put(txn, role, promoted, revision)
            metadata = {"name": name, "username": pending.username, "db_name": role.db_name}
            await txn.announce(
                Event(type="database/static-creds-rotate", path=f"static-creds/{name}", metadata=metadata)
            )

        await self._store.transact(body)

    async def _fail(self, name: str, exc: MimirError) -> None:
        """Write down why, and when it is tried again; the password that may be set already is kept for then."""
        now = int(self._clock.now())

        async def body(txn: Transaction) -> None:
            entry = await txn.get(STATIC_ROLES + name)
            role = decode_static_role(entry.value) if entry is not None else None
            if entry is None or role is None or role.owner != self._owner:
                return
            attempts = role.attempts + 1
            refused = isinstance(exc, TargetRefusedError)
            failed = replace(
                _settled(role),
                phase=Phase.IDLE if refused else Phase.GENERATED,
                pending=None if refused else role.pending,
                attempts=attempts,
                error=exc.sentence,
                retry_at=now + pause_after(attempts),
            )
            await self._put(txn, role, failed, entry.revision)
            metadata = {"name": name, "db_name": role.db_name, "attempts": str(attempts), "reason": exc.sentence[:200]}
            event = Event(type="database/static-creds-rotate-fail", path=f"static-creds/{name}", metadata=metadata)
            await txn.announce(event)

        await self._store.transact(body)

    async def _skip(self, name: str, now: int) -> None:
        """The window was missed: the next time of the schedule counts."""

        async def body(txn: Transaction) -> None:
            role, revision = await self._read(txn, name)
            await self._put(txn, role, replace(role, next_rotation=next_rotation(role, now=now)), revision)

        await self._store.transact(body)
        _log.warning("a static role missed its rotation window", role=name)

    @staticmethod
    async def _read(txn: Transaction, name: str) -> tuple[StaticRole, int]:
        entry = await txn.get(STATIC_ROLES + name)
        if entry is None:
            raise InvalidRequestError("no static role found for role name")
        return decode_static_role(entry.value), entry.revision

    @staticmethod
    async def _put(txn: Transaction, before: StaticRole, after: StaticRole, revision: int) -> None:
        await reschedule(txn, before, after)
        await txn.put(STATIC_ROLES + after.name, encode_static_role(after), cas=revision)


def _settled(role: StaticRole) -> StaticRole:
    """Nobody works on it any more."""
    return replace(role, phase=Phase.IDLE, owner="", claimed_until=0)


def _note_refusal(role: StaticRole, exc: TargetRefusedError) -> None:
    _log.warning("a database refused a new password", role=role.name, reason=exc.detail or exc.sentence)


async def _load_mark(_storage: StorageView, _path: str, _entry: Entry) -> object:
    return _NONE
