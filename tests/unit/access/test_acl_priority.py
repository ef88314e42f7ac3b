"""Which rule decides: Vault's priority order, deny, lists, and the same against an obvious model."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.access.acl import ROOT_ACL, Acl
from appliance.access.rules import PathRule, Policy


def acl(*policies):
    """Each policy as {path: capabilities as one string}."""
    return Acl(
        (
            "",
            Policy(
                name=f"p{i}",
                text="",
                rules=tuple(
                    PathRule(path=path, capabilities=("deny",) if "deny" in caps else tuple(sorted(caps.split())))
                    for path, caps in rules.items()
                ),
            ),
        )
        for i, rules in enumerate(policies)
    )


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("secret/foo", "secret/foo", True),
        ("secret/foo", "secret/food", False),
        ("secret/foo", "secret/foo/bar", False),
        ("secret/foo", "Secret/foo", False),
        ("secret/bar/*", "secret/bar/zip/zap", True),
        ("secret/bar/*", "secret/bars/zip", False),
        ("secret/bar/*", "secret/bar", False),
        ("secret/zip-*", "secret/zip-zap/zong", True),
        ("secret/zip-*", "secret/zip/zap", False),
        ("secret/+/teamb", "secret/a/teamb", True),
        ("secret/+/teamb", "secret/a/b/teamb", False),
        ("secret/+/teamb", "secret/teamb", False),
        ("secret/+/+/teamb", "secret/a/b/teamb", True),
        ("secret/+/te*", "secret/a/team/x", True),
        ("secret/+/te*", "secret/a/b/team", False),
        ("secret/+", "secret/a", True),
        ("secret/+", "secret/a/b", False),
        ("secret/+/*", "secret/a", False),
        ("+", "secret", True),
        ("+", "secret/a", False),
        ("+/a", "secret/a", True),
        ("*", "anything/at/all", True),
        ("se*ret", "secret", False),
        ("se*ret", "se*ret", True),
        ("a+b", "a+b", True),
        ("a+b", "axb", False),
        ("a/+b/+", "a/+b/c", True),
        ("a/+b/+", "a/xb/c", False),
    ],
)
def test_what_a_pattern_matches(pattern, path, matches):
    assert acl({pattern: "read"}).allows(path, "read") is matches


@pytest.mark.parametrize(
    ("winner", "loser", "path"),
    [
        ("secret/a", "secret/*", "secret/a"),  # exact before all
        ("secret/a", "secret/+", "secret/a"),
        ("secret/a*", "secret/+", "secret/ab"),  # the later first wildcard
        ("secret/ab/*", "secret/+/c", "secret/ab/c"),
        ("foo/bar/+/baz", "foo/+/bar/baz", "foo/bar/bar/baz"),
        ("secret/+/bar", "secret/+/ba*", "secret/a/bar"),  # without a glob
        ("secret/+", "secret/*", "secret/a"),
        ("secret/*", "secret/+/+/foo/*", "secret/a/b/foo/c"),  # fewer wildcard segments
        ("foo/+/bar/baz", "foo/+/+/baz", "foo/x/bar/baz"),
        ("foo/+/bar/ba*", "foo/+/bar/b*", "foo/x/bar/baz"),  # the longer
        ("secret/longer/*", "secret/*", "secret/longer/x"),
        ("+/x/+/+/c", "+/+/+/y/c", "a/x/b/y/c"),  # as many wildcards, as long: the lexicographically larger is below
    ],
)
def test_the_more_specific_rule_decides_alone(winner, loser, path):
    if (winner, loser) == ("+/x/+/+/c", "+/+/+/y/c"):
        winner, loser = max(winner, loser), min(winner, loser)
    assert acl({winner: "deny", loser: "read"}).allows(path, "read") is False
    assert acl({loser: "deny"}, {winner: "read"}).allows(path, "read") is True
    assert acl({winner: "list"}, {loser: "read"}).allows(path, "read") is False


def test_the_same_pattern_in_several_policies_adds_up():
    both = acl({"secret/*": "read"}, {"secret/*": "list"})
    assert both.capabilities("secret/a") == ["list", "read"]
    assert both.granting("secret/a", "read") == ["p0"]
    assert both.granting("secret/a", "list") == ["p1"]


@pytest.mark.parametrize("order", [("deny", "read sudo"), ("read sudo", "deny")])
def test_deny_overrides_the_same_pattern_of_every_policy(order):
    mixed = acl({"secret/*": order[0]}, {"secret/*": order[1]}, {"secret/*": "update"})
    assert mixed.capabilities("secret/a") == ["deny"]
    assert not any(mixed.allows("secret/a", capability) for capability in ("read", "sudo", "update"))
    assert mixed.denying("secret/a", "read") == [f"p{order.index('deny')}"]


def test_nothing_is_granted_by_default():
    empty = acl()
    assert empty.allows("sys/mounts", "read") is False
    assert empty.capabilities("sys/mounts") == ["deny"]
    assert empty.granting("sys/mounts", "read") == []
    assert empty.denying("sys/mounts", "read") == []


def test_a_rule_without_capabilities_takes_away_what_a_wider_one_grants():
    assert acl({"secret/*": "read", "secret/a": ""}).capabilities("secret/a") == ["deny"]


@pytest.mark.parametrize("capability", ["deny", "root", "", "READ", "write"])
def test_what_is_no_capability_is_never_allowed(capability):
    assert acl({"*": "read list"}, {"x": "deny"}).allows("x", capability) is False


def test_sudo_is_asked_of_the_rule_that_decides():
    some = acl({"sys/*": "read sudo", "sys/raw": "read"})
    assert some.allows("sys/audit", "read", sudo=True)
    assert not some.allows("sys/raw", "read", sudo=True)
    assert not some.allows("sys/audit", "update", sudo=True)


@pytest.mark.parametrize(
    ("rules", "path", "allowed"),
    [
        ({"secret/foo": "list"}, "secret/foo/", True),
        ({"secret/foo/": "list"}, "secret/foo/", True),
        ({"secret/foo/": "list"}, "secret/foo", True),
        ({"secret/+": "list"}, "secret/foo/", True),
        ({"secret/+": "list", "secret/*": "deny"}, "secret/foo/", True),
        ({"secret/foo*": "list"}, "secret/foo/", True),
        ({"secret/*": "list", "secret/foo": "deny"}, "secret/foo/", False),
        ({"secret/*": "list", "secret/foo/": "deny"}, "secret/foo/", False),
        ({"secret/*": "list", "secret/foo/*": "deny"}, "secret/foo/", False),  # Vault passes over this deny
        ({"secret/*": "list", "secret/+/": "deny"}, "secret/foo/", False),
        ({"secret/*": "list", "secret/+/*": "deny"}, "secret/foo/", True),  # lower priority than secret/*
        ({"secret/": "list"}, "secret/", True),
        ({"secret": "list"}, "secret/", True),
        ({"secret/*": "read"}, "secret/foo/", False),
    ],
)
def test_lists_with_a_trailing_slash(rules, path, allowed):
    for capability in ("list", "scan"):
        granted = {pattern: caps.replace("list", "list scan") for pattern, caps in rules.items()}
        assert acl(granted).allows(path, capability) is allowed
        assert acl(granted).allows(path.removesuffix("/"), capability) is allowed


def test_other_operations_do_not_drop_the_slash():
    assert acl({"secret/foo": "read"}).allows("secret/foo/", "read") is False


def test_root_may_everything_and_says_so():
    assert ROOT_ACL.allows("sys/raw", "delete", sudo=True)
    assert ROOT_ACL.capabilities("x") == ["root"]
    assert ROOT_ACL.granting("x", "read") == ["root"]
    assert ROOT_ACL.reaches("secret/")


def test_the_memo_is_bounded_and_agrees_with_itself():
    one = acl({"secret/*": "read"})
    for i in range(10_000):
        assert one.allows(f"secret/{i}", "read")
    assert len(one._memo) <= 512
    assert one.allows("secret/" + "x" * 5000, "read")
    assert all(len(path) <= 512 for path, _, _ in one._memo)
    assert one.allows("secret/1", "read")
    assert not one.allows("secret/1", "update")


@pytest.mark.parametrize(
    ("rules", "mount", "reached"),
    [
        ({"secret/data/a": "read"}, "secret/", True),
        ({"secret/data/a": "deny"}, "secret/", False),
        ({"secret/*": ""}, "secret/", False),
        ({"sec*": "read"}, "secret/", True),
        ({"secrets/*": "read"}, "secret/", False),
        ({"*": "list"}, "a/b/", True),
        ({"a/*": "list"}, "a/b/", True),
        ({"a/b/c/d": "list"}, "a/b/", True),
        ({"+/b/+": "list"}, "a/b/", True),
        ({"+/c/+": "list"}, "a/b/", False),
        ({"+": "list"}, "secret/", False),
        ({"secret": "list"}, "secret/", False),
    ],
)
def test_whether_anything_below_a_mount_is_reached(rules, mount, reached):
    assert acl(rules).reaches(mount) is reached


# --- against a model ----------------------------------------------------------------------------------------------


def matches_slowly(pattern, path):
    """Segment by segment, with nothing clever."""
    segmented = pattern == "+" or "/+" in pattern or pattern.startswith("+/")
    glob = pattern.endswith("*")
    body = pattern[:-1] if glob else pattern
    if not segmented:
        return path.startswith(body) if glob else path == body
    wanted, given_ = body.split("/"), path.split("/")
    if glob:
        *wanted, last = wanted
        if len(given_) <= len(wanted) or not given_[len(wanted)].startswith(last):
            return False
        given_ = given_[: len(wanted)]
    return len(wanted) == len(given_) and all(w in ("+", g) for w, g in zip(wanted, given_, strict=True))


def is_lower(one, other):
    """The five sentences of Vault's documentation."""

    def first(pattern):
        return min((pattern.index(c) for c in "+*" if c in pattern), default=len(pattern))

    def stem(pattern):
        return pattern.removesuffix("*")

    if first(one) != first(other):
        return first(one) < first(other)
    if one.endswith("*") != other.endswith("*"):
        return one.endswith("*")
    if one.split("/").count("+") != other.split("/").count("+"):
        return one.split("/").count("+") > other.split("/").count("+")
    if len(stem(one)) != len(stem(other)):
        return len(stem(one)) < len(stem(other))
    return stem(one) < stem(other)


def decides_slowly(rules, path, capability):
    """Every rule that matches, of those the one no other beats, and of its twins the sum."""
    exact = [(p, c) for p, c in rules if p == path and not p.endswith("*") and "+" not in p]
    best = [p for p, _ in exact] or [p for p, _ in rules if matches_slowly(p, path)]
    top = None
    for pattern in best:
        if top is None or is_lower(top, pattern):
            top = pattern
    granted = [c for p, c in rules if p == top]
    return top is not None and all("deny" not in c for c in granted) and any(capability in c for c in granted)


segment = st.sampled_from(["a", "b", "ab", "+", ""])
patterns = st.builds(
    lambda parts, glob: ("/".join(parts) + glob).replace("+*", "+/*"),
    st.lists(segment, min_size=1, max_size=4),
    st.sampled_from(["", "", "*"]),
).filter(bool)
paths = st.lists(st.sampled_from(["a", "b", "ab", "abc", ""]), min_size=1, max_size=5).map(
    lambda parts: "/".join(parts).lstrip("/")
)
capability_sets = st.sampled_from(["read", "list", "read list", "deny", ""])


@given(st.lists(st.tuples(patterns, capability_sets), max_size=8), paths)
@example([("a/+", "read"), ("a/*", "deny")], "a/b")
@example([("+/a", "read"), ("+/+", "deny")], "b/a")
def test_the_matcher_agrees_with_the_obvious_model(rules, path):
    fast = acl(*({pattern: caps} for pattern, caps in rules))
    slow = [(pattern, ["deny"] if "deny" in caps else caps.split()) for pattern, caps in rules]
    assert fast.allows(path, "read") is decides_slowly(slow, path, "read")
