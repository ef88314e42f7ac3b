"""What a decision costs does not grow with the number of rules: counted in executed lines, which no load disturbs."""

import sys

import pytest

from appliance.access.acl import Acl
from appliance.access.rules import PathRule, Policy

SHAPES = (
    "secret/data/team-{:04}/*",
    "transit/encrypt/key-{:04}",
    "secret/+/team-{:04}/config",
    "secret/data/app-{:04}*",
    "kv/{:04}/+/x*",
)
PATHS = (
    "secret/data/team-0000/a/b",
    "transit/encrypt/key-0001",
    "secret/x/team-0002/config",
    "secret/data/app-0003/a",
    "kv/0004/q/xyz",
    "nothing/at/all",
)


def acl(rules):
    listed = tuple(
        PathRule(path=SHAPES[i % len(SHAPES)].format(i), capabilities=("list", "read")) for i in range(rules)
    )
    return Acl([("", Policy(name="p", text="", rules=listed))])


def executed_lines(work):
    count = 0

    def trace(_frame, _event, _arg):
        nonlocal count
        count += 1
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(former)
    return count


@pytest.mark.parametrize("capability", ["read", "list"])
@pytest.mark.parametrize("path", PATHS)
def test_a_decision_among_a_thousand_rules_costs_what_it_does_among_ten(path, capability):
    few, many = acl(10), acl(1000)
    for each in (few, many):
        each._decide(path, capability, sudo=False)  # the verdict of a pattern is made once
    cost, cost_of_many = (executed_lines(lambda e=e: e._decide(path, capability, sudo=False)) for e in (few, many))
    assert cost_of_many <= cost * 1.1


def test_a_decision_that_was_made_is_remembered():
    one = acl(1000)
    first = executed_lines(lambda: one.allows(PATHS[0], "read"))
    again = executed_lines(lambda: one.allows(PATHS[0], "read"))
    assert again < 12 < first


def test_a_path_of_many_segments_costs_no_more_than_its_pattern_is_deep():
    one = Acl([("", Policy(name="p", text="", rules=(PathRule(path="+/" * 500 + "x", capabilities=("read",)),)))])
    assert one.allows("a/" * 500 + "x", "read")
    assert not one.allows("a/" * 5_000, "read")
    assert executed_lines(lambda: one._decide("b/" * 50_000, "read", sudo=False)) < 10_000
