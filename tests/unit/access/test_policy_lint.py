"""Policies that are right by their grammar and wrong by what they were meant for."""

import pytest

from appliance.access.policy_lint import MountView, lint_rules
from appliance.access.rules import PathRule

MOUNTS = (
    MountView(path="secret/", type="kv", version="2"),
    MountView(path="old/", type="kv", version="1"),
    MountView(path="transit/", type="transit"),
    MountView(path="auth/approle/", type="approle"),
)


def rules(*rows):
    return [
        PathRule(path=path, capabilities=tuple(sorted(names.split())), line=10 * number)
        for number, (path, names) in enumerate(rows, start=1)
    ]


def words(*rows, **given):
    return [(finding.line, finding.rule) for finding in lint_rules(rules(*rows), **given)]


SOUND = [
    ("database/creds/orders-api", "read"),
    ("database/creds/*", "deny"),
    ("secret/data/team/*", "create read update"),
    ("secret/metadata/team/", "list"),
    ("secret/+/shared", "read"),
    ("sys/health", "read sudo"),
    ("sys/policies/acl/mine", "update"),
    ("transit/encrypt/k", "update"),
    ("auth/token/lookup-self", "read"),
    ("users/{{identity.entity.name}}/*", "read"),
]


@pytest.mark.parametrize("row", SOUND)
def test_what_is_sound_is_left_alone(row):
    assert words(row) == []


def test_what_is_sound_together():
    assert words(*SOUND) == []


@pytest.mark.parametrize(
    ("path", "names", "word"),
    [
        ("secret//data/x", "read", "never-matches"),
        ("secret/../sys/raw", "read", "never-matches"),
        ("./secret", "read", "never-matches"),
        ("v1/secret/data/x", "read", "never-matches"),
        (" secret/data/x", "read", "blank"),
        ("secret/*/x", "read", "literal-star"),
        ("secret/a+b", "read", "literal-plus"),
        ("secret/data/x/", "read", "trailing-slash"),
        ("secret/data/x/", "list read", "trailing-slash"),
        ("secret/data/x", "", "no-capabilities"),
        ("secret/data/x", "sudo", "sudo-alone"),
        ("secret/*", "read sudo", "needless-sudo"),
        ("*", "read", "over-broad"),
        ("+/*", "list", "over-broad"),
        ("*", "update", "as-good-as-root"),
        ("sys/*", "create read sudo update", "as-good-as-root"),
        ("sys/policies/acl/*", "update", "as-good-as-root"),
        ("auth/token/+", "sudo update", "as-good-as-root"),
        ("identity/*", "update", "as-good-as-root"),
    ],
)
def test_one_rule(path, names, word):
    assert (10, word) in words((path, names))


@pytest.mark.parametrize(
    "row", [("secret/data/x/", "list"), ("secret/data/x/", "deny"), ("*", "deny"), ("sys/*", "read"), ("sys/+", "deny")]
)
def test_what_looks_like_it_and_is_not(row):
    assert words(row) == []


def test_a_rule_that_another_one_always_outranks():
    assert words(("secret/*", "read"), ("secret/+/team*", "list")) == [(20, "shadowed")]
    assert words(("secret/*", "read"), ("secret/+/team", "list")) == []
    assert words(("secret/*", "read"), ("secret/+", "list")) == []
    assert words(("secret/a", "read"), ("secret/a*", "list")) == []
    assert words(("secret/+/b", "read"), ("secret/a/+", "list")) == []


def test_a_deny_can_be_shadowed_too():
    findings = lint_rules(rules(("secret/*", "read"), ("secret/+/private*", "deny")))
    assert [finding.rule for finding in findings] == ["shadowed"]
    assert '"secret/*"' in findings[0].message


def test_the_same_path_twice():
    findings = lint_rules(rules(("a", "read"), ("b", "read"), ("a", "list"), ("b", "deny")))
    assert [(finding.line, finding.rule) for finding in findings] == [(30, "duplicate"), (40, "duplicate")]
    assert "line 10" in findings[0].message
    assert "denies" in findings[1].message


def test_without_lines_the_other_is_above():
    twins = [PathRule(path="a", capabilities=("read",)), PathRule(path="a", capabilities=("list",))]
    assert "above" in lint_rules(twins)[0].message


@pytest.mark.parametrize(
    ("path", "names", "word"),
    [
        ("secret/foo", "read", "kv2-data"),
        ("secret/foo/*", "read", "kv2-data"),
        ("secret/foo*", "read", "kv2-data"),
        ("secret/dat", "read", "kv2-data"),
        ("secret/data/foo", "list read", "kv2-list"),
        ("secret/data/*", "list", "kv2-list"),
        ("nowhere/foo", "read", "unknown-mount"),
        ("auth/userpass/users/*", "read", "unknown-mount"),
        ("secrets/*", "read", "unknown-mount"),
    ],
)
def test_what_is_mounted(path, names, word):
    assert words((path, names), mounts=MOUNTS) == [(10, word)]
    assert words((path, names)) == []


@pytest.mark.parametrize(
    "path",
    [
        "secret/data/foo",
        "secret/metadata/foo",
        "secret/+/foo",
        "secret/*",
        "secret/da*",
        "secret/config",
        "secret/destroy/foo",
        "old/foo",
        "transit/encrypt/foo",
        "auth/approle/login",
        "auth/token/create",
        "sys/mounts",
        "sys/*",
        "identity/entity",
        "cubbyhole/x",
        "se*",
        "+/data/foo",
        "secret",
        "auth/+/login",
    ],
)
def test_what_is_there_is_left_alone(path):
    assert words((path, "read"), mounts=MOUNTS) == []


def test_the_sentence_says_what_to_write():
    finding = lint_rules(rules(("secret/foo/*", "read")), mounts=MOUNTS)[0]
    assert (finding.severity, finding.path) == ("error", "secret/foo/*")
    assert '"secret/data/foo/*"' in finding.message
    assert '"secret/metadata/foo/*"' in finding.message


def test_the_namespace_is_not_written_before_a_path():
    assert words(("team-a/secret/data/x", "read"), namespace="team-a/") == [(10, "namespace")]
    assert words(("team-a/secret/data/x", "read")) == []


def test_what_has_expired_is_dead_text():
    rule = PathRule(path="a", capabilities=("read",), line=3, expires_at=100.0)
    assert [finding.rule for finding in lint_rules([rule], now=100.0)] == ["expired"]
    assert lint_rules([rule], now=99.0) == []
    assert lint_rules([rule]) == []


def test_a_thousand_rules_are_looked_at_quickly():
    many = rules(*((f"secret/data/team-{number}/*", "read") for number in range(1000)))
    assert lint_rules(many, mounts=MOUNTS) == []
