"""Parameter rules with Vault's semantics: globs, lists, "*", empty lists, merging, and where Mimir denies more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.access.parameters import merge_constraints
from appliance.access.rules import PathRule


def rule(**changes):
    return PathRule(path="a", capabilities=("update",), **changes)


def allows(data, *rules, capability="update"):
    constraints = merge_constraints((one, True) for one in rules)
    return constraints is None or constraints.violation(capability, data, wrap_ttl=0) == ""


@pytest.mark.parametrize(
    ("allowed", "data", "result"),
    [
        ({"x": []}, {"x": 5}, True),
        ({"x": []}, {"X": 5}, True),  # a name in any case
        ({"X": []}, {"x": 5}, True),
        ({"x": []}, {"y": 5}, False),
        ({"x": []}, {"x": 1, "y": 2}, False),
        ({"x": []}, {}, True),  # no parameters, nothing to look at
        ({}, {"x": 5}, True),
        ({"*": []}, {"x": 5}, True),
        ({"*": ["a"]}, {"x": 5}, True),  # as in Vault: of "*" the values do not count
        ({"*": [], "x": ["a"]}, {"y": 5}, True),
        ({"*": [], "x": ["a"]}, {"x": "b"}, False),
        ({"*": [], "x": ["a"]}, {"x": "a", "y": 1}, True),
        ({"x": ["a", "b"]}, {"x": "b"}, True),
        ({"x": ["a", "b"]}, {"x": "c"}, False),
        ({"x": ["a", "b"]}, {"x": ["a", "b"]}, False),  # a list is one value
        ({"x": [["a", "b"]]}, {"x": ["a", "b"]}, True),
        ({"x": [["a", "b"]]}, {"x": ["b", "a"]}, False),
        ({"x": [["a*"]]}, {"x": ["ab"]}, False),  # globs are for whole values
        ({"x": [{"k": 1}]}, {"x": {"k": 1}}, True),
        ({"x": [{"k": 1}]}, {"x": {"k": 1, "l": 2}}, False),
        ({"x": ["foo*"]}, {"x": "foobar"}, True),
        ({"x": ["foo*"]}, {"x": "barfoo"}, False),
        ({"x": ["*foo"]}, {"x": "barfoo"}, True),
        ({"x": ["*o*"]}, {"x": "foo"}, True),
        ({"x": ["*o*"]}, {"x": "bar"}, False),
        ({"x": ["f*o"]}, {"x": "foo"}, False),
        ({"x": ["f*o"]}, {"x": "f*o"}, True),
        ({"x": ["*"]}, {"x": "anything"}, False),  # a lone "*" is itself, as in Vault
        ({"x": ["*"]}, {"x": "*"}, True),
        ({"x": ["**"]}, {"x": "anything"}, True),
        ({"x": ["A"]}, {"x": "a"}, False),  # values in their case
        ({"x": ["team-*"]}, {"x": "team-a,team-b"}, True),
        ({"x": ["team-*"]}, {"x": "team-a,root"}, False),  # a list written as one string, of which all must be allowed
        ({"x": ["*.example.com"]}, {"x": "evil.org,a.example.com"}, False),
        ({"x": ["*.a.com", "*.b.com"]}, {"x": "x.a.com, y.b.com"}, True),
        ({"x": ["a,b"]}, {"x": "a,b"}, True),
        ({"x": ["a", "b"]}, {"x": "a,b"}, False),
        ({"x": [5]}, {"x": 5}, True),
        ({"x": [5]}, {"x": 5.0}, True),
        ({"x": [5]}, {"x": "5"}, False),
        ({"x": ["5"]}, {"x": 5}, False),
        ({"x": [1]}, {"x": True}, False),
        ({"x": [True]}, {"x": 1}, False),
        ({"x": [True]}, {"x": True}, True),
        ({"x": [True]}, {"x": "true"}, False),
        ({"x": [None]}, {"x": None}, True),
        ({"x": ["a"]}, {"x": None}, False),
        ({"x": [0]}, {"x": False}, False),
        ({"x": [[1]]}, {"x": [True]}, False),
    ],
)
def test_allowed_parameters(allowed, data, result):
    assert allows(data, rule(allowed_parameters=allowed)) is result


@pytest.mark.parametrize(
    ("denied", "data", "result"),
    [
        ({"x": []}, {"x": 5}, False),
        ({"x": []}, {"X": 5}, False),
        ({"x": []}, {"y": 5}, True),
        ({"*": []}, {"y": 5}, False),
        ({"*": ["a"]}, {"y": 5}, False),  # as in Vault
        ({"*": []}, {}, True),
        ({"x": ["a"]}, {"x": "a"}, False),
        ({"x": ["a"]}, {"x": "b"}, True),
        ({"x": ["a*"]}, {"x": "abc"}, False),
        ({"x": ["a"]}, {"x": "A"}, False),  # names of policies and users count in any case
        ({"x": ["root"]}, {"x": "dev,root"}, False),  # how a list is written as one string
        ({"x": ["root"]}, {"x": "dev, ROOT ,ops"}, False),
        ({"x": ["root"]}, {"x": " root"}, False),
        ({"x": ["root"]}, {"x": ["dev", " root"]}, False),
        ({"x": ["root"]}, {"x": "roots,dev"}, True),
        ({"x": ["team-*"]}, {"x": "dev,Team-a"}, False),
        # an engine reads these as the same, so they are denied as the same; Vault lets them pass
        ({"x": [True]}, {"x": "true"}, False),
        ({"x": [True]}, {"x": "TRUE"}, False),
        ({"x": [True]}, {"x": 1}, False),
        ({"x": [True]}, {"x": "false"}, True),
        ({"x": [False]}, {"x": "0"}, False),
        ({"x": ["true"]}, {"x": True}, False),
        ({"x": [5]}, {"x": "5"}, False),
        ({"x": [5]}, {"x": " 5.0 "}, False),
        ({"x": [5]}, {"x": "6"}, True),
        ({"x": [5]}, {"x": "many"}, True),
        ({"x": ["5"]}, {"x": 5}, False),
        ({"x": ["root"]}, {"x": ["dev", "root"]}, False),
        ({"x": ["root"]}, {"x": ["dev"]}, True),
        ({"x": [["root"]]}, {"x": ["root"]}, False),
        ({"x": ["a"]}, {"x": {"k": "a"}}, True),
        ({"x": ["null"]}, {"x": None}, False),
    ],
)
def test_denied_parameters(denied, data, result):
    assert allows(data, rule(denied_parameters=denied)) is result


def test_denied_wins_over_allowed():
    both = rule(allowed_parameters={"x": [], "y": []}, denied_parameters={"x": ["bad*"]})
    assert allows({"x": "good", "y": 1}, both)
    assert not allows({"x": "badly", "y": 1}, both)


@pytest.mark.parametrize(
    ("required", "data", "result"),
    [
        (("x",), {"x": None}, False),  # a body's null is a member that is not there
        (("X",), {"x": 1}, True),
        (("x",), {"X": 1}, False),  # engines read names in lower case, and so does Vault here
        (("x", "y"), {"x": 1}, False),
        (("x",), {}, False),
    ],
)
def test_required_parameters(required, data, result):
    assert allows(data, rule(required_parameters=required)) is result


@pytest.mark.parametrize("capability", ["delete", "list", "scan"])
def test_other_operations_are_not_looked_at(capability):
    strict = rule(required_parameters=("x",), denied_parameters={"*": []}, allowed_parameters={"y": []})
    assert allows({"z": 1}, strict, capability=capability)


def test_values_of_several_rules_add_up():
    one, other = rule(allowed_parameters={"x": ["a"]}), rule(allowed_parameters={"x": ["b"], "y": []})
    assert allows({"x": "a"}, one, other)
    assert allows({"x": "b", "y": 1}, one, other)
    assert not allows({"x": "c"}, one, other)


@pytest.mark.parametrize("order", [1, -1])
def test_an_empty_list_swallows_the_others(order):
    rules = [rule(allowed_parameters={"x": ["a"]}), rule(allowed_parameters={"x": []})][::order]
    assert allows({"x": "c"}, *rules)
    assert allows({"x": "c"}, *rules, rule(allowed_parameters={"x": ["d"]}))
    denied = [rule(denied_parameters={"x": ["a"]}), rule(denied_parameters={"x": []})][::order]
    assert not allows({"x": "c"}, *denied)


def test_a_rule_that_limits_parameters_limits_its_twin_without_limits():
    """As in Vault: `allowed_parameters` of one policy holds for all with the same pattern."""
    assert not allows({"y": 1}, rule(), rule(allowed_parameters={"x": []}))


def test_what_any_rule_requires_or_denies_counts():
    rules = (rule(required_parameters=("x",)), rule(required_parameters=("y", "x")), rule(denied_parameters={"z": []}))
    assert allows({"x": 1, "y": 1}, *rules)
    assert not allows({"x": 1}, *rules)
    assert not allows({"x": 1, "y": 1, "Z": 1}, *rules)


def test_rules_without_constraints_make_none():
    assert merge_constraints([(rule(), True), (rule(allowed_parameters={}), True)]) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(_JSON)
def test_any_value_is_the_same_as_itself(value):
    assert value == "*" or allows({"x": value}, rule(allowed_parameters={"x": [value]}))
    assert not allows({"x": value}, rule(denied_parameters={"x": [value]}))


@given(st.dictionaries(st.text(max_size=3), _JSON, max_size=4), _JSON)
def test_what_is_denied_is_at_least_what_would_be_allowed(data, value):
    """Adding a denied value never allows more."""
    plain = rule(allowed_parameters={"*": []})
    for name in data:
        if not allows(data, plain, rule(denied_parameters={name: [value]})):
            continue
        assert allows(data, plain)


@pytest.mark.parametrize("name", ["\x00", "x" * 10_000, "\udc80", "a\nb"])
def test_names_are_shown_printable_and_short(name):
    constraints = merge_constraints([(rule(allowed_parameters={"x": []}), True)])
    problem = constraints.violation("update", {name: 1}, wrap_ttl=0)
    assert problem.isprintable()
    assert len(problem) < 200
