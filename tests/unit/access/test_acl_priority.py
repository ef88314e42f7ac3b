"""Which rule decides: Vault's priority order, deny and lists."""

import pytest

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
