"""When a static role is due: pure times, UTC."""

from datetime import UTC, datetime

import pytest

from dynamic.static_role import StaticRole
from dynamic.static_schedule import after_clock_step, due_of, is_in_window, next_rotation, next_time, pause_after

NOW = int(datetime(2027, 1, 15, 8, tzinfo=UTC).timestamp())  # a Friday
DAY = 86400


def at(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}:00+00:00").timestamp())


def role(**fields: object) -> StaticRole:
    return StaticRole(name="batch", db_name="db", username="batch", **fields)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("0 3 * * *", "2027-01-16 03:00"),
        ("0 8 * * *", "2027-01-16 08:00"),  # not the present moment again
        ("*/15 * * * *", "2027-01-15 08:15"),
        ("0 0 * * SUN", "2027-01-17 00:00"),
        ("30 2 1 * *", "2027-02-01 02:30"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
    ],
)
def test_the_next_time_of_a_schedule(schedule: str, expected: str) -> None:
    assert next_time(schedule, NOW) == at(expected)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"next_rotation": 50}, 50),
        ({"next_rotation": 50, "retry_at": 70}, 70),
        ({"next_rotation": 90, "retry_at": 70}, 70),  # rotated by hand, which failed: not an hour later
        ({"next_rotation": 50, "retry_at": 70, "claimed_until": 80}, 80),
    ],
    ids=["period", "failed", "failed-early", "claimed"],
)
def test_when_somebody_must_look(fields: dict[str, int], expected: int) -> None:
    assert due_of(role(rotation_period=60, **fields)) == expected


def test_a_window_ends() -> None:
    one = role(rotation_schedule="0 3 * * *", rotation_window=3600, next_rotation=NOW)
    assert is_in_window(one, now=NOW + 3599)
    assert not is_in_window(one, now=NOW + 3600)


def test_pauses_grow_to_ten_minutes() -> None:
    assert [pause_after(attempts) for attempts in (1, 2, 3, 6, 7, 1000)] == [10, 20, 40, 320, 600, 600]


@pytest.mark.parametrize(
    "fields",
    [
        {"rotation_period": 60, "next_rotation": NOW + 60},
        {"rotation_schedule": "0 3 * * *", "next_rotation": at("2027-01-16 03:00")},
        {"rotation_schedule": "0 3 * * *", "next_rotation": at("2027-01-17 03:00")},  # this night's was met already
        {"rotation_period": 60, "next_rotation": NOW - 60, "retry_at": NOW + 600, "attempts": 9},
        {"rotation_period": 60, "next_rotation": NOW - 60, "claimed_until": NOW + 90, "owner": "x"},
    ],
    ids=["period", "schedule", "schedule-met", "failed", "claimed"],
)
def test_times_that_can_be_are_left_alone(fields: dict[str, object]) -> None:
    one = role(**fields)
    assert after_clock_step(one, now=NOW) is one


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"rotation_period": 60, "next_rotation": NOW + 61}, NOW + 60),
        ({"rotation_schedule": "0 3 * * *", "next_rotation": NOW + 3 * DAY}, at("2027-01-16 03:00")),
        ({"rotation_period": 60, "next_rotation": 1, "retry_at": NOW + DAY, "attempts": 2}, NOW + 20),
        ({"rotation_period": 60, "next_rotation": 1, "claimed_until": NOW + DAY, "owner": "x"}, NOW),
    ],
    ids=["period", "schedule", "failed", "claimed"],
)
def test_times_of_a_clock_that_was_set_back(fields: dict[str, object], expected: int) -> None:
    mended = after_clock_step(role(**fields), now=NOW)
    assert due_of(mended) == expected
    assert mended.owner == ""
    assert next_rotation(mended, now=NOW) > NOW
