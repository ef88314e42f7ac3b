"""Templates in paths: what resolves, what is never taken, and what becomes of a rule that cannot be rendered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.access.subject import AliasView, EntityView, GroupView
from appliance.access.templates import check_template, is_template, render_path

ALICE = EntityView(
    id="e-1",
    name="alice",
    metadata={"team": "payments", "a.b": "dotted", "bad": "x/y", "star": "*", "empty": ""},
    aliases=(
        AliasView(
            id="a-1",
            name="alice@corp",
            mount_accessor="auth_userpass_1",
            metadata={"role": "dev"},
            custom_metadata={"floor": "3"},
        ),
    ),
    groups=(GroupView(id="g-1", name="ops", metadata={"shift": "night"}), GroupView(id="g-2", name="dev")),
)


def render(expression, *, entity=ALICE, denies=False):
    return render_path("a/{{" + expression + "}}/b", entity, denies=denies)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("identity.entity.id", "e-1"),
        (" identity.entity.name ", "alice"),
        ("identity.entity.metadata.team", "payments"),
        ("identity.entity.metadata.a.b", "dotted"),
        ("identity.entity.aliases.auth_userpass_1.id", "a-1"),
        ("identity.entity.aliases.auth_userpass_1.name", "alice@corp"),
        ("identity.entity.aliases.auth_userpass_1.metadata.role", "dev"),
        ("identity.entity.aliases.auth_userpass_1.custom_metadata.floor", "3"),
        ("identity.groups.ids.g-1.name", "ops"),
        ("identity.groups.ids.g-1.metadata.shift", "night"),
        ("identity.groups.names.dev.id", "g-2"),
        ("identity.groups.names.ops.metadata.shift", "night"),
    ],
)
def test_what_resolves(expression, value):
    check_template("{{" + expression + "}}")
    assert render(expression) == f"a/{value}/b"


@pytest.mark.parametrize(
    "expression",
    [
        "identity.entity.metadata.none",
        "identity.entity.metadata.empty",
        "identity.entity.metadata.bad",
        "identity.entity.metadata.star",
        "identity.entity.aliases.other.name",
        "identity.entity.aliases.auth_userpass_1.metadata.none",
        "identity.entity.aliases.auth_userpass_1.custom_metadata.role",
        "identity.groups.ids.g-3.name",
        "identity.groups.names.g-1.id",
        "identity.groups.names.dev.metadata.shift",
    ],
)
def test_what_does_not_resolve_takes_a_granting_rule_away_and_widens_a_denying_one(expression):
    check_template("{{" + expression + "}}")
    assert render(expression) is None
    widened = render(expression, denies=True)
    assert widened == ("a/+/+/b" if expression.endswith("bad") else "a/+/b")


@pytest.mark.parametrize(
    "value", ["*", "a*", "+", "a+b", "a/b", "/", "..", ".", "a\nb", "\x00", "\x7f", "\u2028", "\u202e", "\udc80", ""]
)
def test_a_value_that_would_change_the_pattern_is_never_taken(value):
    entity = EntityView(id="e", name=value, metadata={"m": value}, groups=(GroupView(id="g", name=value),))
    for expression in ("identity.entity.name", "identity.entity.metadata.m", "identity.groups.ids.g.name"):
        assert render(expression, entity=entity) is None


@pytest.mark.parametrize(
    "expression",
    [
        "identity",
        "identity.entity",
        "identity.entity.",
        "identity.entity.ID",
        "identity.entity.metadata.",
        "identity.entity.metadata",
        "identity.entity.policies",
        "identity.entity.aliases.name",
        "identity.entity.aliases.x.mount",
        "identity.groups.ids.g",
        "identity.groups.all.g.name",
        "entity.id",
        "time.now",
        "",
        "identity.entity.id identity.entity.id",
    ],
)
def test_an_unknown_template_is_refused(expression):
    with pytest.raises(ValueError, match="a template names"):
        check_template("secret/{{" + expression + "}}/x")


@pytest.mark.parametrize(
    "path", ["a/{{identity.entity.id", "a/identity.entity.id}}", "{{identity.entity.id}}}}", "a}}{{", "{{ {{"]
)
def test_braces_that_do_not_match_are_refused(path):
    with pytest.raises(ValueError):
        check_template(path)


@pytest.mark.parametrize(
    ("path", "rendered"),
    [
        ("s/{{identity.entity.metadata.none}}", "s/+"),
        ("s/{{identity.entity.metadata.none}}*", "s/*"),
        ("s/{{identity.entity.metadata.none}}/*", "s/+/*"),
        ("s/pre-{{identity.entity.metadata.none}}-{{identity.entity.id}}/x", "s/+/x"),
        ("{{identity.entity.metadata.none}}/x", "+/x"),
        ("s/{{identity.entity.id}}/{{identity.entity.metadata.none}}", "s/e-1/+"),
        ("s/{{identity.entity.metadata.bad}}*", "s/+/*"),
    ],
)
def test_a_deny_covers_every_value_that_the_template_could_have(path, rendered):
    assert render_path(path, ALICE, denies=True) == rendered
    assert render_path(path, ALICE, denies=False) is None


def test_without_an_entity_nothing_resolves():
    assert render("identity.entity.id", entity=None) is None
    assert render("identity.entity.id", entity=None, denies=True) == "a/+/b"


def test_a_value_is_not_a_template_itself():
    entity = EntityView(id="e", name="{{identity.entity.id}}")
    assert render("identity.entity.name", entity=entity) == "a/{{identity.entity.id}}/b"


def test_what_is_a_template():
    assert is_template("a/{{identity.entity.id}}")
    assert not is_template("a/{b}")


@given(st.text(max_size=20))
def test_whatever_the_value_the_segments_around_it_stay(value):
    """A name never gives more than one segment of its own, and never a wildcard."""
    entity = EntityView(id="e", name=value)
    rendered = render("identity.entity.name", entity=entity)
    assert rendered is None or (rendered == f"a/{value}/b" and rendered.count("/") == 2 and not set(value) & set("*+"))


@given(st.text(max_size=60))
def test_rendering_never_fails(path):
    render_path(path, ALICE, denies=True)
