"""Mimir's conditions against a request: addresses, clocks with midnight and daylight saving, environment, reason."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.access.conditions import (
    depends_on_request,
    gives_reason,
    is_open,
    unmet_by_entity,
    unmet_by_request,
)
from appliance.access.rules import Conditions, TimeWindow
from appliance.access.subject import EntityView, Facts

OFFICE = TimeWindow(days=(0, 1, 2, 3, 4), start=8 * 60, end=18 * 60, timezone="Europe/Berlin")
NIGHT = TimeWindow(days=(4,), start=22 * 60, end=6 * 60)


def at(text, zone="UTC", fold=0):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def facts(**changes):
    return Facts(**{"now": at("2026-11-23T12:00"), "address": "10.1.2.3", "headers": {}, "data": {}} | changes)


@pytest.mark.parametrize(
    ("address", "holds"),
    [
        ("10.0.0.0", True),
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("9.255.255.255", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.1.2.3", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("", False),
        ("localhost", False),
        ("10.1.2.3.4", False),
        ("10.1.2", False),
    ],
)
def test_the_address_must_lie_in_one_of_the_networks(address, holds):
    conditions = Conditions(source_cidrs=("10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"))
    assert (unmet_by_request(conditions, facts(address=address)) == "") is holds


@pytest.mark.parametrize(
    ("moment", "opens"),
    [
        ("2026-11-23T07:59:59", False),
        ("2026-11-23T08:00:00", True),  # the start belongs to it
        ("2026-11-23T17:59:59", True),
        ("2026-11-23T18:00:00", False),  # the end does not
        ("2026-11-27T12:00:00", True),  # Friday
        ("2026-11-28T12:00:00", False),
        ("2026-11-29T12:00:00", False),
    ],
)
def test_hours_and_days_by_the_wall_clock_of_the_timezone(moment, opens):
    assert is_open(OFFICE, at(moment, "Europe/Berlin")) is opens


def test_the_same_hour_is_another_moment_in_summer():
    assert is_open(OFFICE, at("2026-07-01T06:00"))  # UTC: 08:00 in Berlin
    assert not is_open(OFFICE, at("2026-07-01T05:59"))
    assert is_open(OFFICE, at("2026-12-01T07:00"))
    assert not is_open(OFFICE, at("2026-12-01T06:59"))


@pytest.mark.parametrize(
    ("moment", "opens"),
    [
        ("2026-11-27T21:59", False),  # Friday
        ("2026-11-27T22:00", True),
        ("2026-11-27T23:59", True),
        ("2026-11-28T00:00", True),  # Saturday, the same window
        ("2026-11-28T05:59", True),
        ("2026-11-28T06:00", False),
        ("2026-11-28T22:00", False),
        ("2026-11-27T05:59", False),  # what Thursday's would have been
        ("2026-11-29T03:00", False),
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_starts(moment, opens):
    assert is_open(NIGHT, at(moment)) is opens


def test_sundays_night_reaches_into_monday():
    assert is_open(TimeWindow(days=(6,), start=22 * 60, end=60), at("2026-11-23T00:59"))


@pytest.mark.parametrize(
    ("moment", "fold", "opens"),
    [
        ("2026-10-25T01:59", 0, False),
        ("2026-10-25T02:00", 0, True),  # the hour that comes twice, in summer time
        ("2026-10-25T02:59", 0, True),
        ("2026-10-25T02:00", 1, True),  # and again in winter time
        ("2026-10-25T02:59", 1, True),
        ("2026-10-25T03:00", 0, False),
    ],
)
def test_an_hour_that_the_clock_shows_twice_counts_both_times(moment, fold, opens):
    window = TimeWindow(start=120, end=180, timezone="Europe/Berlin")
    assert is_open(window, at(moment, "Europe/Berlin", fold)) is opens


def test_an_hour_that_the_clock_skips_never_comes():
    window = TimeWindow(start=120, end=180, timezone="Europe/Berlin")
    change = at("2026-03-29T01:00")  # UTC: from 02:00 to 03:00 in Berlin
    assert not any(is_open(window, change + minute * 60) for minute in range(-60, 120))
    over = TimeWindow(start=90, end=150, timezone="Europe/Berlin")  # it starts before the gap and ends in it
    assert is_open(over, change - 1)
    assert not is_open(over, change)


def test_a_timezone_that_this_machine_does_not_know_closes_the_window():
    assert not is_open(TimeWindow(timezone="Mars/Olympus"), at("2026-11-23T12:00"))


@given(
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe"]),
    st.integers(0, 1439),
    st.integers(1, 1440),
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 2_000_000_000),
)
def test_a_window_agrees_with_a_walk_back_to_its_start(zone, start, end, days, now):
    """Minute by minute of the wall clock: the last start at or before now was on one of the days, and no end since."""
    if start == end:
        return
    window = TimeWindow(days=tuple(sorted(days)), start=start, end=end, timezone=zone)
    wall = datetime.fromtimestamp(now, ZoneInfo(zone)).replace(tzinfo=None, second=0)
    begin = wall.replace(hour=start // 60, minute=start % 60)
    begin -= timedelta(days=1) if begin > wall else timedelta()
    length = (end - start) % 1440 or 1440
    assert is_open(window, now) is (begin.weekday() in days and wall < begin + timedelta(minutes=length))


def test_one_window_of_several_is_enough():
    both = Conditions(time_windows=(OFFICE, NIGHT))
    assert unmet_by_request(both, facts(now=at("2026-11-27T23:00"))) == ""
    assert unmet_by_request(both, facts(now=at("2026-11-23T12:00"))) == ""
    assert "time" in unmet_by_request(both, facts(now=at("2026-11-22T12:00")))


@pytest.mark.parametrize(
    ("headers", "gives"),
    [
        ({"X-Mimir-Reason": "ticket 4711"}, True),
        ({"X-Vault-Reason": "Störung"}, True),
        ({"X-Mimir-Reason": "", "X-Vault-Reason": "ticket"}, True),
        ({"X-Mimir-Reason": "x" * 1024}, True),
        ({"X-Mimir-Reason": "x" * 1025}, False),
        ({"X-Mimir-Reason": "ü" * 513}, False),
        ({"X-Mimir-Reason": ""}, False),
        ({"X-Mimir-Reason": "   "}, False),
        ({"X-Mimir-Reason": "\u00a0"}, False),
        ({"X-Mimir-Reason": "a\tb"}, False),
        ({"X-Mimir-Reason": "a\x1b[2J"}, False),
        ({"X-Mimir-Reason": "\udcff"}, False),
        ({"X-Mimir-Because": "ticket"}, False),
        ({}, False),
    ],
)
def test_a_reason_is_printable_and_not_blank(headers, gives):
    assert gives_reason(facts(headers=headers)) is gives
    assert (unmet_by_request(Conditions(require_reason=True), facts(headers=headers)) == "") is gives


def test_all_conditions_must_hold():
    both = Conditions(source_cidrs=("10.0.0.0/8",), require_reason=True)
    reason = {"X-Mimir-Reason": "ticket"}
    assert unmet_by_request(both, facts(headers=reason)) == ""
    assert "source_cidrs" in unmet_by_request(both, facts(address="::1", headers=reason))
    assert "reason" in unmet_by_request(both, facts())


@pytest.mark.parametrize(
    ("entity", "holds"),
    [
        (None, False),
        (EntityView(id="e", name="n"), False),
        (EntityView(id="e", name="n", metadata={"environment": "dev"}), False),
        (EntityView(id="e", name="n", metadata={"environment": "Prod"}), False),
        (EntityView(id="e", name="n", metadata={"environment": "prod"}), True),
    ],
)
def test_the_environment_is_the_entitys(entity, holds):
    assert (unmet_by_entity(Conditions(environment=("prod", "stage")), entity) == "") is holds
    assert unmet_by_entity(Conditions(require_reason=True), entity) == ""
    assert unmet_by_entity(None, entity) == ""


def test_what_is_decided_for_each_request():
    assert not depends_on_request(None)
    assert not depends_on_request(Conditions(environment=("prod",)))
    assert depends_on_request(Conditions(require_reason=True))
    assert depends_on_request(Conditions(time_windows=(OFFICE,)))
    assert depends_on_request(Conditions(source_cidrs=("10.0.0.0/8",)))


def test_sentences_never_quote_the_reason():
    problem = unmet_by_request(Conditions(require_reason=True), facts(headers={"X-Mimir-Reason": "s3cret\x00"}))
    assert problem
    assert "s3cret" not in problem


def test_the_time_in_a_sentence_is_utc():
    now = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
    assert "2026-11-22T12:00:00+00:00" in unmet_by_request(Conditions(time_windows=(OFFICE,)), facts(now=now + 0.7))
