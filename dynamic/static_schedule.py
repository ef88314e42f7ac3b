"""When a static role is rotated: after a period, or by a schedule of cron with a window. Pure; times are UTC."""

from datetime import UTC, datetime

from cronsim import CronSim, CronSimError
from msgspec.structs import replace

from core.errors import InvalidRequestError
from dynamic.static_role import MIN_PERIOD, StaticRole

CLAIM = 90  # seconds for which a rotation belongs to who began it: two calls, each with its time limit thrice
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


def rotation_due_of(role: StaticRole) -> int:
    """When its password is to be changed next; somebody may have to look at the role before (`due_of`)."""
    if role.pending is not None:
        return max(role.claimed_until, role.retry_at)
    if role.attempts and role.retry_at:
        return max(role.claimed_until, role.retry_at)
    return max(role.claimed_until, role.next_rotation)


def is_claimed(role: StaticRole, *, now: int) -> bool:
    """Whether a process works on it; a claim from the future is of a clock that was set back since."""
    return now < role.claimed_until <= now + CLAIM


def after_clock_step(role: StaticRole, *, now: int) -> StaticRole:
    """The role without times so far off that only a clock that was set back can have left them.

    A period is never longer than it was. A time of a schedule is left out rather than met twice, unless the role would
    so miss more than one.
    """
    if role.claimed_until > now + CLAIM:
        role = replace(role, owner="", claimed_until=0, retry_at=now)
    if role.retry_at > now + _LONGEST_PAUSE:
        role = replace(role, retry_at=now + pause_after(role.attempts))
    nearest = next_rotation(role, now=now)
    if role.next_rotation > (nearest if role.rotation_period else next_time(role.rotation_schedule, nearest)):
        role = replace(role, next_rotation=nearest)
    return role
