"""Verdicts: conditions, constraints, expiry, namespaces and templates as they come together in an access list."""

from math import inf

import pytest

from appliance.access.acl import ROOT_ACL, Acl, is_templated
from appliance.access.policy_text import parse_policy
from appliance.access.rules import Policy
from appliance.access.subject import EntityView, Facts

OFFICE = 'source_cidrs = ["10.0.0.0/8"]'
ALICE = EntityView(id="e-1", name="alice", metadata={"environment": "prod"})


def policy(text, name="p", version=1, **changes):
    return Policy(name=name, text=text, rules=parse_policy(name, text), version=version, **changes)


def path(pattern, capabilities, *settings):
    listed = ", ".join(f'"{name}"' for name in capabilities.split())
    return "\n".join([f'path "{pattern}" {{', f"capabilities = [{listed}]", *settings, "}", ""])


def acl(*texts, **changes):
    return Acl((("", policy(text, f"p{i}", i + 1)) for i, text in enumerate(texts)), **changes)


def facts(**changes):
    return Facts(**{"now": 1_800_000_000.0, "address": "10.0.0.1", "headers": {}, "data": {}} | changes)


OUTSIDE = facts(address="192.0.2.1")


# --- conditions ---------------------------------------------------------------------------------------------------


def test_a_condition_limits_what_its_block_grants():
    verdict = acl(path("a", "read", OFFICE)).check("a", "read")
    assert verdict.granted
    assert verdict.is_conditional
    assert verdict.refusal(facts()) is None
    assert verdict.refusal(OUTSIDE).kind == "condition"


def test_without_facts_what_is_conditional_is_not_allowed():
    one = acl(path("a", "read list", OFFICE))
    assert not one.allows("a", "read")
    assert one.allows("a", "read", facts=facts())
    assert not one.allows("a", "read", facts=OUTSIDE)
    assert one.capabilities("a") == ["deny"]
    assert one.capabilities("a", facts()) == ["list", "read"]
    assert one.capabilities("a", OUTSIDE) == ["deny"]


def test_a_block_that_does_not_hold_still_decides_over_wider_ones():
    one = acl(path("secret/*", "read update"), path("secret/prod/*", "read", OFFICE))
    assert one.allows("secret/prod/x", "read", facts=facts())
    assert not one.allows("secret/prod/x", "read", facts=OUTSIDE)
    assert not one.allows("secret/prod/x", "update", facts=facts())


def test_blocks_of_the_same_pattern_add_up_whichever_hold():
    one = acl(path("a", "read"), path("a", "update", OFFICE), path("a", "list", "require_reason = true"))
    assert one.allows("a", "read")
    assert not one.check("a", "read").is_conditional
    assert one.capabilities("a", facts()) == ["read", "update"]
    assert one.capabilities("a", facts(headers={"X-Mimir-Reason": "why"})) == ["list", "read", "update"]
    assert one.capabilities("a", facts(address="", headers={"X-Mimir-Reason": "why"})) == ["list", "read"]


def test_two_ways_to_the_same_capability_are_one_or_the_other():
    one = acl(path("a", "read", OFFICE), path("a", "read", "require_reason = true"))
    assert one.allows("a", "read", facts=facts())
    assert one.allows("a", "read", facts=facts(address="", headers={"X-Vault-Reason": "why"}))
    assert not one.allows("a", "read", facts=OUTSIDE)
    assert one.check("a", "read").granting(facts()) == ("p0",)


def test_sudo_and_the_capability_may_come_from_different_blocks_that_both_hold():
    one = acl(path("sys/x", "read"), path("sys/x", "sudo", OFFICE))
    assert one.allows("sys/x", "read")
    assert one.allows("sys/x", "read", sudo=True, facts=facts())
    assert not one.allows("sys/x", "read", sudo=True, facts=OUTSIDE)
    assert not one.allows("sys/x", "read", sudo=True)


def test_deny_overrides_blocks_with_conditions():
    one = acl(path("a", "read", OFFICE), path("a", "deny"))
    verdict = one.check("a", "read")
    assert not verdict.granted
    assert not verdict.is_conditional
    assert verdict.refusal(facts()).kind == "deny"
    assert verdict.policies == ("p1",)


def test_an_environment_is_settled_when_the_list_is_made():
    text = path("a", "read", 'environment = ["prod"]')
    assert acl(text, entity=ALICE).allows("a", "read")
    for other in (None, EntityView(id="e", name="n", metadata={"environment": "dev"})):
        verdict = acl(text, entity=other).check("a", "read")
        assert not verdict.granted
        assert "environment" in verdict.refusal(facts()).reason
    assert not acl(path("*", "read"), text).allows("a", "read")


def test_time_comes_from_the_facts():
    one = acl(path("a", "read", 'time_window {\n days = ["wed"]\n hours = "10:00-11:00"\n}'))
    wednesday = 1_799_835_000.0 + 3600 * 20
    moments = [minute * 60 + wednesday - wednesday % 86400 for minute in range(0, 7 * 1440, 30)]
    assert sum(one.allows("a", "read", facts=facts(now=now)) for now in moments) == 2


# --- parameters and wrapping --------------------------------------------------------------------------------------


def test_parameter_rules_make_a_verdict_conditional_only_where_parameters_are_looked_at():
    one = acl(path("a", "create update read patch delete list", 'allowed_parameters = { "x" = [] }'))
    for capability in ("create", "update", "read", "patch"):
        assert one.check("a", capability).is_conditional
        assert one.allows("a", capability, facts=facts(data={"x": 1}))
        assert not one.allows("a", capability, facts=facts(data={"y": 1}))
    for capability in ("delete", "list"):
        assert not one.check("a", capability).is_conditional
        assert one.allows("a", capability)


def test_what_a_block_denies_of_parameters_stays_denied_when_it_does_not_hold():
    one = acl(path("a", "update"), path("a", "update", OFFICE, 'denied_parameters = { "x" = [] }'))
    assert not one.allows("a", "update", facts=facts(data={"x": 1}))
    assert not one.allows("a", "update", facts=facts(address="", data={"x": 1}))
    assert one.allows("a", "update", facts=facts(address="", data={"y": 1}))


def test_what_a_block_allows_of_parameters_does_not_count_when_it_does_not_hold():
    one = acl(
        path("a", "update", 'allowed_parameters = { "x" = ["1"] }'),
        path("a", "update", OFFICE, 'allowed_parameters = { "x" = ["2"] }'),
    )
    assert one.allows("a", "update", facts=facts(data={"x": "2"}))
    assert not one.allows("a", "update", facts=facts(address="", data={"x": "2"}))
    assert one.allows("a", "update", facts=facts(address="", data={"x": "1"}))


@pytest.mark.parametrize(
    ("settings", "wrap_ttl", "allowed"),
    [
        (("min_wrapping_ttl = 60",), 0, False),
        (("min_wrapping_ttl = 60",), 59, False),
        (("min_wrapping_ttl = 60",), 60, True),
        (("max_wrapping_ttl = 60",), 0, False),  # wrapping is required then, too
        (("max_wrapping_ttl = 60",), 60, True),
        (("max_wrapping_ttl = 60",), 61, False),
        (("min_wrapping_ttl = 60", "max_wrapping_ttl = 90"), 75, True),
        (("min_wrapping_ttl = 60", "max_wrapping_ttl = 90"), 91, False),
    ],
)
def test_wrapping_bounds(settings, wrap_ttl, allowed):
    one = acl(path("a", "list", *settings))
    assert one.check("a", "list").is_conditional
    assert one.allows("a", "list", facts=facts(wrap_ttl=wrap_ttl)) is allowed


def test_of_several_wrapping_bounds_the_least_count():
    one = acl(path("a", "read", "max_wrapping_ttl = 90"), path("a", "read", "max_wrapping_ttl = 30"))
    assert not one.allows("a", "read", facts=facts(wrap_ttl=31))
    low = acl(path("a", "read", "min_wrapping_ttl = 90"), path("a", "read", "min_wrapping_ttl = 30"))
    assert low.allows("a", "read", facts=facts(wrap_ttl=30))


def test_bounds_that_contradict_each_other_allow_nothing():
    one = acl(path("a", "read", "min_wrapping_ttl = 90"), path("a", "read", "max_wrapping_ttl = 30"))
    assert not any(one.allows("a", "read", facts=facts(wrap_ttl=ttl)) for ttl in (0, 29, 30, 31, 89, 90, 91))


# --- refusals for operators ---------------------------------------------------------------------------------------


def test_a_refusal_names_rule_policy_version_line_and_condition():
    one = acl(path("x", "read"), "# first\n" + path("secret/*", "read", OFFICE))
    refusal = one.check("secret/a", "read").refusal(OUTSIDE)
    assert refusal.kind == "condition"
    assert refusal.pattern == "secret/*"
    (rule,) = refusal.rules
    assert (rule.policy, rule.version, rule.line, rule.path) == ("p1", 2, 2, "secret/*")
    assert "192.0.2.1" in refusal.condition
    assert refusal.reason.startswith('policy "p1" version 2, line 2, path "secret/*": ')


@pytest.mark.parametrize(
    ("at", "capability", "sudo", "kind"),
    [
        ("elsewhere", "read", False, "no_rule"),
        ("a", "update", False, "not_granted"),
        ("a", "read", True, "sudo"),
        ("b", "read", False, "deny"),
        ("a", "deny", False, "not_granted"),
        ("a", "root", False, "not_granted"),
    ],
)
def test_kinds_of_refusal(at, capability, sudo, kind):
    verdict = acl(path("a", "read") + path("b", "deny")).check(at, capability, sudo=sudo)
    assert not verdict.granted
    assert not verdict.is_conditional
    assert verdict.refusal(facts()).kind == kind
    assert verdict.granting(facts()) == ()


def test_a_refusal_for_a_parameter_names_it_and_never_its_value():
    one = acl(path("a", "update", 'denied_parameters = { "password" = ["hunter*"] }'))
    refusal = one.check("a", "update").refusal(facts(data={"Password": "hunter2"}))
    assert refusal.kind == "constraint"
    assert "Password" in refusal.reason
    assert "hunter" not in refusal.reason
    long = one.check("a", "update").refusal(facts(data={"x": 1, "password": "hunter2"}))
    assert long is not None


def test_root_is_never_refused():
    verdict = ROOT_ACL.check("sys/raw", "read", sudo=True)
    assert verdict.granted
    assert verdict.refusal(facts()) is None
    assert verdict.policies == ("root",)
    assert ROOT_ACL.until == inf


def test_a_verdict_is_made_once_for_a_pattern():
    one = acl(path("a/*", "read"))
    assert one.check("a/1", "read") is one.check("a/2", "read")


# --- expiry -------------------------------------------------------------------------------------------------------


def test_a_rule_counts_until_it_expires():
    text = path("a", "read", 'expiration = "2027-01-15T08:00:00Z"') + path("b", "read")
    moment = 1_800_000_000
    before, after = acl(text, now=moment - 1), acl(text, now=moment)
    assert before.until == moment
    assert before.allows("a", "read")
    assert after.until == inf
    assert not after.allows("a", "read")
    assert after.allows("b", "read")


def test_the_list_is_true_until_the_first_expiry():
    first = policy(path("a", "read", "expiration = 500") + path("b", "read", "expiration = 300"))
    second = policy(path("c", "read"), expires_at=400.0)
    assert Acl([("", first), ("", second)], now=100).until == 300
    later = Acl([("", first), ("", second)], now=300)
    assert later.until == 400
    assert not later.allows("b", "read")
    assert later.allows("c", "read")
    assert not Acl([("", second)], now=400).allows("c", "read")


def test_an_expired_deny_denies_nothing_any_more():
    text = path("a/*", "read") + path("a/b", "deny", "expiration = 500")
    assert not acl(text, now=499).allows("a/b", "read")
    assert acl(text, now=500).allows("a/b", "read")


# --- namespaces ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern", ["*", "+", "+/*", "/*", "../*", "../secret/*", "//secret/*", "./*", "+/+", "secret/*", "/secret/a", ".."]
)
def test_no_rule_reaches_out_of_its_namespace(pattern):
    inside = Acl([("team-a/", policy(path(pattern, "read update list sudo")))])
    for outside in ("secret/a", "team-b/secret/a", "team-ab/secret", "team-a", "sys/mounts", "a", "", "/secret/a"):
        assert not inside.allows(outside, "read"), outside
    for outside in ("", "secret/", "team-b/", "sys/", "team-ab/"):
        assert not inside.allows(outside, "list"), outside
        assert outside == "" or not inside.reaches(outside)


@pytest.mark.parametrize("at", ["team-a/../secret/a", "team-a/x/..", "..", "team-a/../team-b/x", "/../a"])
def test_a_step_up_in_the_path_is_never_allowed(at):
    everything = Acl([("team-a/", policy(path("*", "read"))), ("", policy(path("*", "read")))])
    assert not everything.allows(at, "read")
    assert everything.capabilities(at) == ["deny"]
    assert everything.allows("team-a/a..b", "read")


def test_what_a_rule_means_inside_its_namespace():
    inside = Acl([("team-a/", policy(path("*", "read") + path("/b/+/c", "update") + path("d", "delete")))])
    assert inside.allows("team-a/secret/a", "read")
    assert inside.allows("team-a/b/x/c", "update")
    assert inside.allows("team-a/d", "delete")
    assert not inside.allows("team-a/d", "read")
    assert inside.reaches("team-a/secret/")


def test_policies_of_two_namespaces_meet_at_the_same_full_pattern():
    parent = policy(path("team-a/secret/*", "read"), "outer")
    child = policy(path("secret/*", "update"), "inner")
    both = Acl([("", parent), ("team-a/", child)])
    assert both.capabilities("team-a/secret/x") == ["read", "update"]
    assert both.granting("team-a/secret/x", "update") == ["team-a/inner"]
    denied = Acl([("", parent), ("team-a/", policy(path("secret/*", "deny"), "inner"))])
    assert denied.denying("team-a/secret/x", "read") == ["team-a/inner"]


# --- templates ----------------------------------------------------------------------------------------------------


def test_a_template_is_resolved_for_the_entity():
    text = path("secret/{{identity.entity.name}}/*", "read")
    assert acl(text, entity=ALICE).allows("secret/alice/x", "read")
    assert not acl(text, entity=ALICE).allows("secret/bob/x", "read")
    assert not acl(text).allows("secret/{{identity.entity.name}}/x", "read")


@pytest.mark.parametrize("name", ["*", "+", "a/b", "..", "", "x\n"])
def test_an_injected_name_grants_nothing(name):
    text = path("secret/{{identity.entity.name}}/*", "read") + path("kv/{{identity.entity.name}}*", "read")
    evil = acl(text, entity=EntityView(id="e", name=name))
    assert not evil.reaches("secret/")
    assert not evil.reaches("kv/")


def test_a_deny_that_cannot_be_rendered_denies_what_it_could_mean():
    text = path("secret/*", "read") + path("secret/{{identity.entity.metadata.team}}/keys", "deny")
    one = acl(text, entity=ALICE)
    assert not one.allows("secret/payments/keys", "read")
    assert not one.allows("secret/other/keys", "read")
    assert one.allows("secret/payments/notes", "read")


def test_which_lists_depend_on_the_entity():
    assert is_templated(policy(path("a/{{identity.entity.id}}", "read")))
    assert is_templated(policy(path("a", "read", 'environment = ["prod"]')))
    assert not is_templated(policy(path("a", "read", OFFICE)))
    assert not is_templated(policy(path("a", "deny")))
