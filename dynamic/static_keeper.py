"""When static roles are rotated: what the housekeeper of a mount does for them."""

import asyncio

import structlog
from msgspec.structs import replace

from core.clock import Clock
from core.engine import Measure
from core.errors import MimirError
from core.protocols import DecodedCache, Entry, StorageView
from dynamic.open_targets import OpenTargets
from dynamic.static_index import FAILING, MARK, due_before, first_due
from dynamic.static_role import StaticRole
from dynamic.static_rotation import StaticRotation, is_missed
from dynamic.static_schedule import after_clock_step, rotation_due_of
from dynamic.store import STATIC_ROLES, DynamicStore
from dynamic.target import TargetAwayError

_log = structlog.get_logger("mimir.dynamic")

_BATCH = 100  # roles of one look
_PAGE = 200  # roles of one look that are only read
_CLOCK_STEP = 5  # seconds by which a clock may go back unnoticed
_MOST_COUNTED = 10_000
_PRESENT = object()


class StaticKeeper:
    """That of one mount, in one process."""

    def __init__(self, store: DynamicStore, targets: OpenTargets, rotation: StaticRotation, clock: Clock) -> None:
        self._store = store
        self._targets = targets
        self._rotation = rotation
        self._clock = clock
        self._mark: DecodedCache[object] = store.storage.decoded_cache(_load_mark, capacity=1, absent=_PRESENT)
        self._first: int | None = None  # when a role is due, as long as the mark stands
        self._seen = 0.0  # the latest time that the clock showed
        self._review: str | None = ""  # the name behind which roles are still to be reviewed; None: all were
        self._away: set[str] = set()  # connections that could not be reached

    def is_due(self) -> bool:
        """Whether a role is to be rotated now, or may be: somebody has changed the index, or the clock; no I/O."""
        now = self._clock.now()
        if now < self._seen - _CLOCK_STEP:
            self._review = ""
        self._seen = now
        if self._review is not None or self._mark.peek(MARK) is None:
            return True
        return self._first is not None and self._first <= now

    async def housekeep(self) -> None:
        """Rotate what is due: connections side by side, and a role that fails delays no other."""
        self.is_due()  # looks at the clock
        await self._mark.get(MARK)  # before the index: what changes from now on is looked at again
        now = int(self._clock.now())
        await self._go_on_reviewing(now)
        due: dict[str, list[StaticRole]] = {name: [] for name in self._away}
        for name in await due_before(self._store.storage, now, limit=_BATCH):
            role = await self._store.static_role(name)
            if role is not None:
                due.setdefault(role.db_name, []).append(role)
        async with asyncio.TaskGroup() as group:
            for connection, roles in due.items():
                group.create_task(self._tend(connection, roles, now))
        self._first = await first_due(self._store.storage)

    async def measures(self) -> list[Measure]:
        """How many roles could not be rotated when they were due."""
        failing = await self._store.storage.paths(FAILING, limit=_MOST_COUNTED)
        text = "Static roles whose last rotation failed."
        return [Measure(name="database_static_roles_failing", text=text, value=len(failing))]

    # --- one connection -------------------------------------------------------------------------------------------

    async def _tend(self, connection: str, roles: list[StaticRole], now: int) -> None:
        if connection in self._away and await self._is_back(connection):
            self._away.discard(connection)
            await self._wake(connection, now)
        for role in roles:
            try:
                await self._rotate(role, now)
            except TargetAwayError:
                self._away.add(connection)
            except MimirError:
                continue  # it was written down, and is tried again
            except Exception as exc:  # noqa: BLE001 - a plugin may be anybody's; the other roles must go on
                _log.error("a static role was not rotated", role=role.name, error=type(exc).__name__)

    async def _rotate(self, role: StaticRole, now: int) -> None:
        if role.owes_deposit:
            await self._rotation.deposit(role.name)
        if now < rotation_due_of(role):
            await self._rotation.rest(role.name)  # it was due for the deposit's sake, or somebody died over it
            return
        if is_missed(role, now=now):
            await self._rotation.skip(role.name)
        else:
            await self._rotation.rotate(role.name, is_due=True)

    async def _is_back(self, connection: str) -> bool:
        try:
            await self._targets.run(connection, lambda target: target.check())
        except TargetAwayError:
            return False
        except MimirError:
            return True  # it answers, or is not ours any more
        return True

    async def _wake(self, connection: str, now: int) -> None:
        """What was put off while the database was away is due now."""
        after = ""
        while names := await self._store.storage.paths(FAILING, after=after, limit=_PAGE):
            after = names[-1]
            for name in names:
                role = await self._store.static_role(name)
                if role is not None and role.db_name == connection and role.is_away and role.retry_at > now:
                    await self._rotation.change(name, lambda role: _due_now(role, now))

    # --- all roles, a page at a time ------------------------------------------------------------------------------

    async def _go_on_reviewing(self, now: int) -> None:
        """When a process begins, and when the clock was set back: no time may be further off than it can be."""
        if self._review is None:
            return
        names = await self._store.names(STATIC_ROLES, after=self._review, limit=_PAGE)
        for name in names:
            role = await self._store.static_role(name)
            if role is None:
                continue
            if role.is_away:
                self._away.add(role.db_name)
            if after_clock_step(role, now=now) is not role:
                await self._rotation.change(name, lambda role: after_clock_step(role, now=now))
                _log.warning("the clock was set back: a static role is rotated earlier", role=name)
        self._review = names[-1] if len(names) == _PAGE else None


def _due_now(role: StaticRole, now: int) -> StaticRole:
    return replace(role, retry_at=now) if role.is_away and role.retry_at > now else role


async def _load_mark(_storage: StorageView, _path: str, _entry: Entry) -> object:
    return _PRESENT
