"""When a static role is rotated: after a period, or by a schedule of cron with a window. Pure; times are UTC."""

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from core.errors import InvalidRequestError
from core.protocols import StorageView, Transaction
from dynamic.static_role import MIN_PERIOD, StaticRole

DUE = "static-due/"  # static-due/<12 digits>/<name>: empty; kept true by every write of a role
MARK = "static-mark"  # rewritten with the index, so that every process learns that it has changed
MIN_WINDOW = 3600  # seconds; Vault's
_FIRST_PAUSE = 10  # seconds after the first failure; doubled by each other one
_LONGEST_PAUSE = 600


def check_schedule(role: StaticRole) -> None:
    """Raise InvalidRequestError unless the role says in one way when it is rotated."""
    if bool(role.rotation_period) == bool(role.rotation_schedule):
        raise InvalidRequestError("rotation_period or rotation_schedule is required, and not both")
    if role.rotation_period and role.rotation_period < MIN_PERIOD:
        raise InvalidRequestError(f"rotation_period must be {MIN_PERIOD} seconds or more")
    if role.rotation_window and not role.rotation_schedule:
        raise InvalidRequestError("rotation_window goes with rotation_schedule")
    if role.rotation_window and role.rotation_window < MIN_WINDOW:
        raise InvalidRequestError("rotation_window must be an hour or more")
    if role.rotation_schedule:
        next_time(role.rotation_schedule, 0)


def next_time(schedule: str, after: int) -> int:
    """The first time of a schedule behind `after`, in epoch seconds. Raises InvalidRequestError."""
    if len(schedule) > 200 or len(schedule.split()) != 5:
        raise InvalidRequestError(
            "rotation_schedule must be five fields as cron has them: minute hour day month weekday"
        )
    try:
        found: datetime = next(CronSim(schedule, datetime.fromtimestamp(after, UTC)))
        return int(found.timestamp())
    except (CronSimError, StopIteration, ValueError, OverflowError):
        raise InvalidRequestError("rotation_schedule is none that ever comes: minute hour day month weekday") from None


def next_rotation(role: StaticRole, *, now: int) -> int:
    """When a role that was rotated at `now` is rotated again."""
    return now + role.rotation_period if role.rotation_period else next_time(role.rotation_schedule, now)


def is_in_window(role: StaticRole, *, now: int) -> bool:
    """Whether a rotation that is due may begin; one that missed its window waits for the next time."""
    return not role.rotation_window or now < role.next_rotation + role.rotation_window


def pause_after(attempts: int) -> int:
    """Seconds to the next attempt after so many failed ones."""
    return int(min(_FIRST_PAUSE * 2.0 ** min(attempts - 1, 10), _LONGEST_PAUSE))


def due_of(role: StaticRole) -> int:
    """When somebody must look at the role; while a process works on it, when that must have died."""
    waits = max(role.claimed_until, role.retry_at)
    return waits or (role.rotated_at if role.owes_deposit else role.next_rotation)


async def reschedule(txn: Transaction, before: StaticRole | None, after: StaticRole | None) -> None:
    """Bring the index in step with a role, in the transaction that writes it."""
    places = [None if role is None else _place(due_of(role), role.name) for role in (before, after)]
    if places[0] == places[1]:
        return
    if places[0] is not None:
        await txn.delete(places[0])
    if places[1] is not None:
        await txn.put(places[1], b"")
    await txn.put(MARK, b"")


async def first_due(storage: StorageView) -> tuple[int, str] | None:
    """The role that is due first, and when."""
    found = await storage.paths(DUE, limit=1)
    return _read(found[0]) if found else None


async def due_before(storage: StorageView, now: int, *, limit: int) -> list[str]:
    """Names of roles that are due, the longest due first."""
    rows = [_read(path) for path in await storage.paths(DUE, limit=limit)]
    return [name for due, name in rows if due <= now]


def _place(due: int, name: str) -> str:
    return f"{DUE}{due:012d}/{name}"


def _read(path: str) -> tuple[int, str]:
    due, _, name = path.partition("/")
    return int(due), name
