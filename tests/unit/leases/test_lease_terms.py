"""How long a lease lives."""

import pytest

from appliance.leases.backoff import MAX_ATTEMPTS, is_given_up, pause_after
from appliance.leases.entries import LeaseEntry, new_lease_id, record_id_of
from appliance.leases.rests import Rests
from appliance.leases.terms import granted_terms, renewed_terms, room_left
from core.engine import MountInfo
from core.errors import InvalidRequestError, PermissionDeniedError
from core.requests import LeaseGrant

NOW = 1_000_000


def mount(default=1000, maximum=5000):
    return MountInfo(uuid="u", accessor="a", type="t", path="db/", default_lease_ttl=default, max_lease_ttl=maximum)


def lease(**changes):
    values = {"first_ttl": 600, "ttl": 600, "max_ttl": 5000, "expires_at": NOW + 600, "issue_time": NOW}
    return LeaseEntry(lease_id="db/creds/a/x", namespace="root", mount="u", path="creds/a", **values | changes)


@pytest.mark.parametrize(
    ("ttl", "max_ttl", "granted", "maximum"),
    [
        (0, 0, 1000, 5000),  # all is the mount's
        (600, 0, 600, 5000),
        (600, 1200, 600, 1200),
        (6000, 0, 5000, 5000),  # the mount's maximum
        (600, 9000, 600, 5000),
        (3000, 1200, 1200, 1200),
        (0, 500, 500, 500),  # the default is clipped, too
    ],
)
def test_what_a_new_lease_gets(ttl, max_ttl, granted, maximum):
    terms = granted_terms(LeaseGrant(ttl=ttl, max_ttl=max_ttl), mount(), now=NOW)
    assert (terms.ttl, terms.max_ttl) == (granted, maximum)


def test_a_lease_does_not_outlive_its_batch_token():
    assert granted_terms(LeaseGrant(ttl=600), mount(), now=NOW, not_after=NOW + 60).ttl == 60


def test_a_batch_token_that_has_just_ended_gets_no_lease():
    with pytest.raises(PermissionDeniedError):
        granted_terms(LeaseGrant(ttl=600), mount(), now=NOW, not_after=NOW)


@pytest.mark.parametrize(
    ("increment", "engine_ttl", "later", "renewed"),
    [
        (0, 0, 100, 600),  # as at first
        (900, 0, 100, 900),
        (60, 0, 100, 60),  # shorter is granted, too
        (0, 300, 100, 300),
        (900, 300, 100, 300),  # the account lives no longer
        (300, 900, 100, 300),
        (9000, 0, 100, 4900),
        (0, 0, 4800, 200),
    ],
)
def test_what_a_renewal_gives(increment, engine_ttl, later, renewed):
    now = NOW + later
    terms = renewed_terms(lease(), mount(), LeaseGrant(ttl=engine_ttl), increment=increment, now=now)
    assert terms.ttl == renewed


def test_a_capped_increment_is_told():
    (warning,) = renewed_terms(lease(), mount(), LeaseGrant(), increment=9000, now=NOW).warnings
    assert "capped" in warning


@pytest.mark.parametrize(
    ("changes", "maximum", "later"),
    [({}, 5000, 5000), ({"max_ttl": 1000}, 5000, 1000), ({}, 700, 700), ({"not_after": NOW + 50}, 5000, 50)],
)
def test_there_is_no_renewal_past_the_end(changes, maximum, later):
    """Of the lease's maximum, of the mount's (which may have been shortened since), of the batch token."""
    assert room_left(lease(**changes), mount(maximum=maximum), now=NOW + later - 1) == 1
    with pytest.raises(InvalidRequestError, match="past the max TTL, cannot renew"):
        room_left(lease(**changes), mount(maximum=maximum), now=NOW + later)


def test_an_engine_can_shorten_the_maximum_and_not_lengthen_it():
    shorter = renewed_terms(lease(), mount(), LeaseGrant(max_ttl=700), increment=900, now=NOW)
    assert (shorter.ttl, shorter.max_ttl) == (700, 700)
    longer = renewed_terms(lease(max_ttl=700), mount(), LeaseGrant(max_ttl=9000), increment=900, now=NOW)
    assert (longer.ttl, longer.max_ttl) == (700, 700)


def test_pauses_double_up_to_a_limit():
    pauses = [pause_after(attempts, jitter=0.0) for attempts in range(1, 9)]
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]
    assert pause_after(10_000, jitter=0.0) == 300
    assert pause_after(1, jitter=1.0) == 15


def test_six_attempts_unless_the_target_is_only_away():
    assert not is_given_up(MAX_ATTEMPTS - 1, passing=False)
    assert is_given_up(MAX_ATTEMPTS, passing=False)
    assert not is_given_up(1000, passing=True)


@pytest.mark.parametrize(
    ("namespace", "path", "start", "end"),
    [("root", "creds/a", "db/creds/a/", ""), ("x7Kq2p", "creds/a/", "db/creds/a/", ".x7Kq2p")],
)
def test_lease_ids(namespace, path, start, end):
    lease_id = new_lease_id(namespace=namespace, mount_path="db/", path=path)
    assert lease_id.startswith(start)
    assert lease_id.endswith(end)
    assert len(record_id_of(lease_id)) == 24
    assert record_id_of(lease_id).isalnum()


def test_an_engine_rests_longer_each_time_and_until_it_answers():
    rests, now, lengths = Rests(), float(NOW), []
    for _ in range(8):
        rests.note(("m", ""), now, away=True)
        start = now
        while rests.is_resting(("m", ""), now):
            now += 1
        lengths.append(now - start)
    assert lengths == [5, 10, 20, 40, 60, 60, 60, 60]
    assert not rests.is_resting(("other", ""), now)
    rests.note(("m", ""), now, away=True)
    rests.note(("m", ""), now, away=False)
    assert not rests.is_resting(("m", ""), now)


def test_calls_that_fail_together_count_once():
    rests = Rests()
    for _ in range(16):
        rests.note(("m", ""), NOW, away=True)
    assert rests.is_resting(("m", ""), NOW + 4)
    assert not rests.is_resting(("m", ""), NOW + 5)


def test_a_clock_set_back_ends_a_rest():
    rests = Rests()
    rests.note(("m", ""), NOW, away=True)
    assert not rests.is_resting(("m", ""), NOW - 3600)
