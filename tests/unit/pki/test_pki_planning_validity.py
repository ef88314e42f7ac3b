"""From when until when a certificate is valid: the request, within role, mount and issuer."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from core.bodies import parse_body
from core.errors import InvalidRequestError
from pki.asked import Asked
from pki.moments import format_moment, parse_moment
from pki.plan import NO_EXPIRY
from pki.role import Role
from pki.validity import Validity, validity_of
from tests.unit.pki.test_pki_planning import DAY, ISSUER, MOUNT, NOW, make_issuer

HOUR = 3600
LATER = format_moment(NOW + 10 * DAY)
PERMIT = make_issuer(behavior="permit")


def valid(role: dict[str, Any], issuer: Any = ISSUER, **asked: Any) -> Validity:
    return validity_of(Role(**role), parse_body(asked, Asked), issuer=issuer, now=NOW, mount=MOUNT)


ENDS: list[tuple[dict[str, Any], dict[str, Any], int]] = [
    ({}, {}, 32 * DAY),  # the mount's default
    ({"ttl": HOUR}, {}, HOUR),
    ({"ttl": HOUR}, {"ttl": "2h"}, 2 * HOUR),
    ({"ttl": HOUR, "max_ttl": 90 * DAY}, {"ttl": "60d"}, 60 * DAY),  # a role may allow more than the mount
    ({}, {"not_after": LATER}, 10 * DAY),
    ({"max_ttl": HOUR}, {"not_after": LATER}, 10 * DAY),  # as in Vault: only not_after_bound holds it
    ({"not_after": LATER}, {}, 10 * DAY),
    ({"not_after_bound": LATER}, {"not_after": LATER}, 10 * DAY),
    ({"not_after_bound": "ttl-limited", "ttl": 20 * DAY}, {"not_after": LATER}, 10 * DAY),
]


@pytest.mark.parametrize(("role", "asked", "seconds"), ENDS, ids=range(len(ENDS)))
def test_when_it_ends(role: dict[str, Any], asked: dict[str, Any], seconds: int) -> None:
    found = valid(role, **asked)
    assert (found.not_after - NOW, found.warnings) == (seconds, [])


CAPPED: list[tuple[dict[str, Any], dict[str, Any], int, str]] = [
    ({"max_ttl": HOUR}, {"ttl": "2h"}, HOUR, 'TTL "2h0m0s" is longer than permitted maxTTL "1h0m0s"'),
    ({"max_ttl": HOUR}, {}, HOUR, 'maxTTL "1h0m0s"'),
    ({}, {"ttl": "60d"}, 32 * DAY, 'maxTTL "768h0m0s"'),
]


@pytest.mark.parametrize(("role", "asked", "seconds", "sentence"), CAPPED, ids=range(len(CAPPED)))
def test_a_ttl_beyond_the_longest_is_cut_with_a_warning(
    role: dict[str, Any], asked: dict[str, Any], seconds: int, sentence: str
) -> None:
    found = valid(role, **asked)
    assert found.not_after - NOW == seconds
    assert sentence in found.warnings[0]


def test_it_begins_a_little_earlier() -> None:
    assert valid({}).not_before == NOW - 30
    assert valid({"not_before_duration": HOUR}).not_before == NOW - HOUR
    assert valid({"not_before_duration": 2**52}).not_before == 0


EARLIER, SOON = format_moment(NOW - DAY), format_moment(NOW + HOUR)


def test_it_begins_when_it_is_told() -> None:
    assert valid({}, not_before=EARLIER).not_before == NOW - DAY
    assert valid({}, not_before=SOON).not_before == NOW + HOUR
    assert valid({"not_before": SOON}, not_before=EARLIER).not_before == NOW + HOUR
    assert valid({"not_before_bound": "duration"}, not_before=SOON).not_before == NOW + HOUR


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "both": ({}, {"ttl": "1h", "not_after": LATER}, "Either ttl or not_after"),
    "ttl and the role's": ({"not_after": LATER}, {"ttl": "1h"}, "Either ttl or not_after"),
    "not_after forbidden": ({"not_after_bound": "forbid"}, {"not_after": LATER}, "not_after_bound is forbid"),
    "beyond the ttl": ({"not_after_bound": "ttl-limited", "ttl": HOUR}, {"not_after": LATER}, "ttl-limited"),
    "beyond the longest ttl": (
        {"not_after_bound": "ttl-limited", "ttl": 20 * DAY, "max_ttl": HOUR},
        {"not_after": LATER},
        "ttl-limited",
    ),
    "beyond the moment": ({"not_after_bound": SOON}, {"not_after": LATER}, "no not_after later than"),
    "not_before forbidden": ({"not_before_bound": "forbid"}, {"not_before": EARLIER}, "not_before_bound is forbid"),
    "before the duration": ({"not_before_bound": "duration"}, {"not_before": EARLIER}, "not_before_bound is duration"),
    "ends before it begins": ({}, {"not_before": LATER, "ttl": "1h"}, "would begin"),
    "no time at all": ({}, {"not_before": SOON, "not_after": SOON}, "would begin"),
    "ended": ({}, {"not_before": format_moment(NOW - 2 * DAY), "not_after": EARLIER}, "ended already"),
    "no moment": ({}, {"not_after": "tomorrow"}, "RFC 3339"),
    "a day": ({}, {"not_after": "2026-02-01"}, "RFC 3339"),
    "no zone": ({}, {"not_after": "2026-02-01T00:00:00"}, "RFC 3339"),
    "before 1970": ({}, {"not_before": "1969-12-31T00:00:00Z"}, "between 1970 and 9999"),
    "beyond 9999": ({}, {"not_after": "9999-12-31T23:59:59-01:00"}, "between 1970 and 9999"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_times_that_are_refused(what: str) -> None:
    role, asked, sentence = REFUSED[what]
    with pytest.raises(InvalidRequestError, match=sentence):
        valid(role, **asked)


# --- the issuer -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("behavior", ["err", "always_enforce_err", "nonsense"])
def test_an_end_beyond_the_issuers_is_refused(behavior: str) -> None:
    with pytest.raises(InvalidRequestError, match="beyond the expiration of the CA certificate"):
        valid({}, make_issuer(1, behavior))


def test_an_end_beyond_the_issuers_is_cut_where_it_says_so() -> None:
    assert valid({}, make_issuer(1, "truncate")).not_after == NOW + DAY


def test_an_end_beyond_the_issuers_is_permitted_where_it_says_so() -> None:
    assert valid({}, make_issuer(1, "permit")).not_after == NOW + 32 * DAY


@pytest.mark.parametrize("behavior", ["err", "truncate", "always_enforce_err"])
def test_an_issuer_that_has_ended_issues_nothing(behavior: str) -> None:
    with pytest.raises(InvalidRequestError, match="has ended"):
        valid({"ttl": HOUR}, make_issuer(-1, behavior))


def test_no_time_reaches_beyond_9999() -> None:
    assert valid({"max_ttl": 2**53}, PERMIT, ttl=2**53).not_after == NO_EXPIRY
    assert valid({}, PERMIT, not_after="9999-12-31T23:59:59Z").not_after == NO_EXPIRY
    with pytest.raises(InvalidRequestError, match="9999-12-31"):
        valid({"max_ttl": 2**53}, ttl=2**53)


@pytest.mark.parametrize("text", ["2026-02-01T00:00:00Z", "2026-02-01T02:00:00+02:00", "2026-02-01T00:00:00.9Z"])
def test_moments_in_any_zone_are_the_same(text: str) -> None:
    assert format_moment(parse_moment(text, "x")) == "2026-02-01T00:00:00Z"


def test_a_mount_with_other_limits_counts() -> None:
    mount = type(MOUNT)(uuid="u", accessor="a", type="pki", path="pki/", default_lease_ttl=60, max_lease_ttl=120)
    found = validity_of(Role(), replace(Asked(), ttl=600), issuer=ISSUER, now=NOW, mount=mount)
    assert found.not_after == NOW + 120
