"""Rotation of one static role: generate → set → test login → promote, each step stored before the next.

A rotation belongs to who claimed it, for a minute and a half. Who dies in between leaves a role from which anybody
goes on with the same password: it is set once more, and the login decides. So nothing is rotated twice, and no password
is lost between the database and the store.
"""

from collections.abc import Callable
from contextlib import suppress

import structlog
from msgspec.structs import replace

from core.clock import Clock
from core.engine import Deposits, Passwords
from core.errors import InvalidRequestError, MimirError
from core.ids import new_uuid
from core.protocols import Event, Transaction
from dynamic.connection import unknown_connection
from dynamic.open_targets import OpenTargets
from dynamic.static_index import hold, holder_of, reindex
from dynamic.static_role import Phase, StaticCredential, StaticRole, decode_static_role, encode_static_role
from dynamic.static_schedule import CLAIM, is_claimed, is_in_window, next_rotation, pause_after, rotation_due_of
from dynamic.store import STATIC_ROLES, DynamicStore
from dynamic.target import PasswordChange, TargetAwayError, TargetLoginError, TargetRefusedError, UnsupportedError

_log = structlog.get_logger("mimir.dynamic")

_TRIES = 3  # passwords that the database may refuse
_KV_RETRY = 60  # seconds


class StaticRotation:
    """That of one mount's roles."""

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

    async def rotate(self, name: str, *, is_due: bool = False) -> None:
        """Rotate now; with `is_due` only if it still is. Raises what is in the way, after that was written down."""
        role = await self._claim(name, owner=new_uuid(), is_due=is_due)
        if role is None:
            return
        try:
            await self._carry_out(role)
        except Exception as exc:
            await self._fail(role, exc)
            raise

    async def first_password(self, role: StaticRole) -> StaticRole:
        """The role with a password that opens its account; nothing is stored. Raises what is in the way."""
        pending = await self._first_that_is_taken(role)
        await self._test(role, pending)
        now = int(self._clock.now())
        return replace(
            role,
            current=replace(pending, since=now),
            rotated_at=now,
            number=1,
            next_rotation=next_rotation(role, now=now),
        )

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
        written, path, now = role.number, role.kv_path, int(self._clock.now())

        def work(stored: StaticRole) -> StaticRole:
            if stored.kv_path != path:
                return stored
            after = stored if error else replace(stored, kv_written=written)
            if stored.attempts:
                return after  # the failed rotation says why, and when somebody looks again
            return replace(after, error=error, retry_at=now + _KV_RETRY if error else 0)

        with suppress(InvalidRequestError):  # the role was deleted meanwhile
            await self.change(name, work)

    async def change(
        self, name: str, work: Callable[[StaticRole], StaticRole], *, event: Event | None = None
    ) -> StaticRole:
        """Write what `work` makes of the role, with its rows of the index. Raises InvalidRequestError: there is none.

        The same object means that nothing is to be written.
        """
        now = int(self._clock.now())

        async def body(txn: Transaction) -> StaticRole:
            entry = await txn.get(STATIC_ROLES + name)
            if entry is None:
                raise InvalidRequestError("no static role found for role name")
            before = decode_static_role(entry.value)
            after = work(before)
            if after is not before:
                await reindex(txn, before, after, now=now)
                await txn.put(STATIC_ROLES + name, encode_static_role(after), cas=entry.revision)
                if event is not None:
                    await txn.announce(event)
            return after

        return await self._store.transact(body)

    # --- the steps ------------------------------------------------------------------------------------------------

    async def _claim(self, name: str, *, owner: str, is_due: bool) -> StaticRole | None:
        now = int(self._clock.now())

        def work(role: StaticRole) -> StaticRole:
            if is_due and rotation_due_of(role) > now:
                return role  # another process was faster
            if is_claimed(role, now=now):
                if is_due:
                    return role
                raise InvalidRequestError(f"the static role {name} is being rotated right now")
            return replace(role, owner=owner, claimed_until=now + CLAIM)

        claimed = await self.change(name, work)
        return claimed if claimed.owner == owner else None

    async def _carry_out(self, role: StaticRole) -> None:
        is_new = role.pending is None
        if role.pending is None:
            await self._targets.admit(role.db_name)  # a dead database costs no password
            role = await self._step(role, pending=await self._generated(role), phase=Phase.GENERATED)
        role, pending = await self._set_pending(role, is_new=is_new)
        await self._step(role, phase=Phase.SET)
        await self._test(role, pending)
        await self._promote(role, pending)
        await self.deposit(role.name)

    async def _set_pending(self, role: StaticRole, *, is_new: bool) -> tuple[StaticRole, StaticCredential]:
        """Set the password that is pending; one that the database refuses is replaced by another."""
        for attempt in range(_TRIES):
            pending = role.pending
            if pending is None:
                break
            try:
                await self._set(role, pending)
            except TargetRefusedError as exc:
                _note_refusal(role, exc)
                # It may be set all the same: before, and the database takes none twice; or by a statement of the role's
                # own in front of the one that was refused.
                if (not is_new or role.rotation_statements) and await self._has_taken(role, pending):
                    return role, pending
                if attempt == _TRIES - 1:
                    await self._step(role, pending=None, phase=Phase.IDLE)
                    raise
            else:
                return role, pending
            role, is_new = await self._step(role, pending=await self._generated(role)), True
        raise RuntimeError("a claimed role has a password that is to be set")

    async def _first_that_is_taken(self, role: StaticRole) -> StaticCredential:
        for _ in range(_TRIES - 1):
            pending = await self._generated(role)
            try:
                await self._set(role, pending)
            except TargetRefusedError as exc:
                _note_refusal(role, exc)
            else:
                return pending
        pending = await self._generated(role)
        await self._set(role, pending)
        return pending

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
            opens = await self._opens(role, pending)
        except UnsupportedError:
            return
        if not opens:
            raise InvalidRequestError(
                f"the database took a new password for {pending.username} and refuses the login with it: may it log in?"
            )

    async def _has_taken(self, role: StaticRole, pending: StaticCredential) -> bool:
        try:
            return await self._opens(role, pending)
        except UnsupportedError:  # then the refusal is believed
            return False

    async def _opens(self, role: StaticRole, pending: StaticCredential) -> bool:
        try:
            await self._targets.run(role.db_name, lambda target: target.login(pending.username, pending.password))
        except TargetLoginError:
            return False
        return True

    # --- what is stored -------------------------------------------------------------------------------------------

    async def _step(self, role: StaticRole, **changes: object) -> StaticRole:
        """A step further, which takes the claim along. Raises when it is not ours any more."""
        until = int(self._clock.now()) + CLAIM

        def work(stored: StaticRole) -> StaticRole:
            _check_is_ours(stored, role)
            return replace(stored, claimed_until=until, **changes)

        return await self.change(role.name, work)

    async def _promote(self, role: StaticRole, pending: StaticCredential) -> None:
        now = int(self._clock.now())

        def work(stored: StaticRole) -> StaticRole:
            _check_is_ours(stored, role)
            return replace(
                _unclaimed(stored),
                current=replace(pending, since=now),
                pending=None,
                phase=Phase.IDLE,
                rotated_at=now,
                number=stored.number + 1,
                next_rotation=next_rotation(stored, now=now),
                attempts=0,
                error="",
                retry_at=0,
                is_away=False,
            )

        metadata = {"name": role.name, "username": pending.username, "db_name": role.db_name}
        await self.change(role.name, work, event=_event("database/static-creds-rotate", role, metadata))

    async def _fail(self, role: StaticRole, exc: Exception) -> None:
        """Write down why, and when it is tried again; the password that may be set already is kept for then."""
        now = int(self._clock.now())
        reason = exc.sentence if isinstance(exc, MimirError) else "an internal error"

        def work(stored: StaticRole) -> StaticRole:
            if stored.owner != role.owner:
                return stored
            return replace(
                _unclaimed(stored),
                attempts=stored.attempts + 1,
                error=reason,
                retry_at=now + pause_after(stored.attempts + 1),
                is_away=isinstance(exc, TargetAwayError),
            )

        metadata = {"name": role.name, "username": role.next_username, "db_name": role.db_name, "reason": reason[:200]}
        event = _event("database/static-creds-rotate-fail", role, metadata)
        try:
            failed = await self.change(role.name, work, event=event)
        except InvalidRequestError:
            await self._store.transact(lambda txn: _let_go(txn, role))
            return  # the role was deleted meanwhile
        _log.warning(
            "a static role was not rotated",
            role=role.name,
            connection=role.db_name,
            attempts=failed.attempts,
            reason=reason,
            error=type(exc).__name__,
        )

    async def rest(self, name: str) -> None:
        """Forget a claim or a pause behind which nothing is left to do: else it would be looked at all the time."""
        now = int(self._clock.now())

        def work(role: StaticRole) -> StaticRole:
            if role.owes_deposit or rotation_due_of(role) <= now or max(role.claimed_until, role.retry_at) > now:
                return role
            return replace(_unclaimed(role), retry_at=0, error=role.error if role.attempts else "")

        await self.change(name, work)

    async def skip(self, name: str) -> None:
        """Leave out a time of the schedule whose window is over."""
        now = int(self._clock.now())

        def work(role: StaticRole) -> StaticRole:
            if not is_missed(role, now=now) or is_claimed(role, now=now):
                return role
            return replace(_unclaimed(role), next_rotation=next_rotation(role, now=now), retry_at=0)

        await self.change(name, work)
        _log.warning("a static role missed its rotation window", role=name)


def is_missed(role: StaticRole, *, now: int) -> bool:
    """Whether its window is over; a rotation whose password the database may have already is ended at any time."""
    return role.pending is None and not is_in_window(role, now=now)


def _check_is_ours(stored: StaticRole, role: StaticRole) -> None:
    if stored.owner != role.owner:
        raise InvalidRequestError(f"the rotation of {role.name} took so long that another process has taken it up")


async def _let_go(txn: Transaction, role: StaticRole) -> None:
    """The accounts of a role that was deleted during its rotation, which is over now."""
    for username in (role.username, role.alternate_username):
        holder = await holder_of(txn, role.db_name, username)
        if holder is not None and holder.maker == role.owner:
            await hold(txn, role.db_name, username, None)


def _unclaimed(role: StaticRole) -> StaticRole:
    """Nobody works on it any more."""
    return replace(role, owner="", claimed_until=0)


def _event(kind: str, role: StaticRole, metadata: dict[str, str]) -> Event:
    return Event(type=kind, path=f"static-creds/{role.name}", metadata=metadata)


def _note_refusal(role: StaticRole, exc: TargetRefusedError) -> None:
    _log.warning("a database refused a new password", role=role.name, reason=exc.detail or exc.sentence)
