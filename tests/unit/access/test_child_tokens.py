"""What a token may give to a child."""

import pytest

from appliance.access.child_tokens import MAX_METADATA, CreateBody, Grounds, child_of, child_policies
from appliance.access.lifetimes import Lifetime, granted_ttl
from appliance.access.token_entry import TokenEntry
from appliance.access.token_roles import TokenRole
from core.bodies import parse_body
from core.errors import InvalidRequestError

PATH = "auth/token/create"


def parent(*policies, **changes):
    values = {"record_id": "0" * 64, "accessor": "A", "policies": policies, "path": PATH, "issue_time": 1}
    return TokenEntry(**values | changes)


def child(data, *policies, is_sudo=False, orphan=False, role=None, namespace="root", alias_entity="", **changes):
    body = parse_body(data, CreateBody)
    grounds = Grounds(
        parent=parent(*policies, **changes), path=PATH, namespace=namespace, is_sudo=is_sudo, is_orphan=orphan,
        role=role, entity_id=alias_entity,
    )  # fmt: skip
    return child_of(body, grounds)


def spec(data, *policies, **changes):
    return child(data, *policies, **changes).spec


def policies_of(wanted, held, *, is_sudo, without_default=False, role=None, namespace="root"):
    body = CreateBody(policies=wanted, no_default_policy=without_default)
    grounds = Grounds(parent=parent(*held), path=PATH, namespace=namespace, is_sudo=is_sudo, role=role)
    return child_policies(body, grounds)


@pytest.mark.parametrize(
    ("wanted", "held", "sudo", "without_default", "given"),
    [
        ([], ("a", "default"), False, False, ("a", "default")),
        ([], ("a",), False, False, ("a",)),
        ([], ("a", "default"), False, True, ("a",)),
        (["a"], ("a", "b", "default"), False, False, ("a", "default")),
        (["A ", "a"], ("a", "b"), False, False, ("a",)),
        (["a"], ("a", "default"), False, True, ("a",)),
        (["default"], ("a", "default"), False, True, ()),
        (["x"], ("a",), True, False, ("default", "x")),
        (["x"], ("a",), True, True, ("x",)),
        ([], ("root",), True, False, ("root",)),
        (["root", "a"], ("root",), True, False, ("root",)),
        (["a"], ("root",), True, False, ("a", "default")),
    ],
)
def test_the_policies_of_a_child(wanted, held, sudo, without_default, given):
    assert policies_of(wanted, held, is_sudo=sudo, without_default=without_default) == given


@pytest.mark.parametrize(
    ("wanted", "held", "sudo", "sentence"),
    [
        (["b"], ("a", "default"), False, "child policies must be subset of parent"),
        (["a", "b"], ("a",), False, "child policies must be subset of parent"),
        (["default"], ("a",), False, "child policies must be subset of parent"),
        (["root"], ("a",), False, "child policies must be subset of parent"),
        (["root"], ("a",), True, "root tokens may not be created without parent token being root"),
        (["ROOT"], ("a",), True, "root tokens may not be created without parent token being root"),
        (["response-wrapping"], ("root",), True, "cannot assign policy"),
        (["a/b"], ("root",), True, "a policy name is"),
        ([f"p{i}" for i in range(257)], ("root",), True, "at most 256 policies"),
    ],
)
def test_policies_that_are_not_given(wanted, held, sudo, sentence):
    with pytest.raises(InvalidRequestError, match=sentence):
        spec({"policies": wanted}, *held, is_sudo=sudo)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"id": "mine"}, "root or sudo privileges required to specify token id"),
        ({"no_parent": True}, "root or sudo privileges required to create orphan token"),
        ({"period": "1h"}, "root or sudo privileges required to create periodic token"),
        ({"period": "1h", "type": "batch"}, "root or sudo privileges required to create periodic token"),
        ({"type": "s3cret"}, "invalid 'token_type' value"),
        ({"type": "Batch"}, "invalid 'token_type' value"),
        ({"type": "default-batch"}, "invalid 'token_type' value"),
        ({"type": "batch", "num_uses": 1}, 'batch tokens cannot have "num_uses" set'),
        ({"type": "batch", "explicit_max_ttl": "1h"}, 'batch tokens cannot have "explicit_max_ttl" set'),
        ({"role_name": "r"}, "created at auth/token/create/<role>"),
        ({"entity_alias": "e"}, "only allowed in combination with token role"),
        ({"num_uses": -1}, "number of uses cannot be negative"),
        ({"num_uses": 2**31}, "num_uses must be 0 to"),
        ({"num_uses": True}, "num_uses must be a whole number"),
        ({"ttl": "-1s"}, "ttl must not be negative"),
        ({"ttl": "soon"}, "ttl must be a number of seconds"),
        ({"display_name": "x" * 257}, "display_name must be at most"),
        ({"meta": {"a": "x" * MAX_METADATA}}, "meta must be at most"),
        ({"meta": {"a": {"b": 1}}}, "meta must be an object whose values are strings"),
    ],
)
def test_bodies_that_are_refused(data, sentence):
    with pytest.raises(InvalidRequestError, match=sentence) as caught:
        spec(data, "a", "default")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("token_id", ["a.b", "hvs.abc", "a b", "a\x1b", "é", "x" * 257, "\n"])
def test_an_id_that_is_no_token_is_refused_also_with_sudo(token_id):
    with pytest.raises(InvalidRequestError, match="id must be") as caught:
        spec({"id": token_id}, "root", is_sudo=True)
    assert token_id not in str(caught.value).replace(
        "id must be 1 to 256 printable ASCII characters without blanks", ""
    )


def test_a_token_with_limited_uses_has_no_children():
    with pytest.raises(InvalidRequestError, match="restricted use token cannot generate child tokens"):
        spec({}, "root", is_sudo=True, num_uses=2)


def test_an_expiring_root_token_gives_no_root_token_without_end():
    with pytest.raises(InvalidRequestError, match="expiring root tokens cannot create"):
        spec({}, "root", is_sudo=True, ttl=60)
    assert spec({"ttl": 60}, "root", is_sudo=True, ttl=60).policies == ("root",)
    assert spec({}, "root", is_sudo=True).ttl == 0


def test_a_child_speaks_for_its_parents_entity_an_orphan_for_none():
    assert spec({}, "a", entity_id="e").entity_id == "e"
    assert spec({}, "a", entity_id="e", orphan=True).entity_id == ""


def test_what_clients_send_arrives():
    made = spec(
        {
            "policies": "a,b",
            "meta": {"n": 1},
            "ttl": "30m",
            "explicit_max_ttl": "5m",
            "display_name": "web 1/",
            "num_uses": "3",
            "renewable": "false",
            "id": None,
            "lease": None,
        },
        "a",
        "b",
    )
    assert (made.policies, made.metadata, made.ttl, made.explicit_max_ttl) == (("a", "b"), {"n": "1"}, 1800, 300)
    assert (made.display_name, made.num_uses, made.renewable, made.token_id) == ("token-web-1", 3, False, "")
    assert spec({"lease": "1h"}, "a").ttl == 3600
    assert spec({}, "a").display_name == "token"
    assert spec({"id": "my-id", "period": 60}, "root", is_sudo=True).token_id == "my-id"


@pytest.mark.parametrize(
    ("life", "wanted", "now", "granted"),
    [
        ({}, 0, 0, 100),
        ({}, 50, 0, 50),
        ({}, 5000, 0, 1000),
        ({}, 500, 900, 100),
        ({}, 500, 1000, 0),
        ({}, 500, 1200, -200),
        ({"explicit_max_ttl": 300}, 1800, 0, 300),
        ({"explicit_max_ttl": 300}, 1800, 250, 50),
        ({"explicit_max_ttl": 9000}, 1800, 0, 1000),
        ({"period": 60}, 5, 0, 60),
        ({"period": 60}, 5, 10**9, 60),
        ({"period": 6000}, 5, 0, 1000),
        ({"period": 60, "explicit_max_ttl": 100}, 5, 80, 20),
    ],
)
def test_how_long_a_token_lives(life, wanted, now, granted):
    bounds = Lifetime(**{"issue_time": 0, "default_ttl": 100, "max_ttl": 1000} | life)
    assert granted_ttl(bounds, wanted=wanted, now=now) == granted


# --- batch ----------------------------------------------------------------------------------------------------------


def test_a_batch_token_is_not_renewable_root_or_of_a_chosen_id():
    made = spec({"type": "batch"}, "a", "default")
    assert (made.type, made.policies) == ("batch", ("a", "default"))
    with pytest.raises(InvalidRequestError, match="batch tokens cannot be root tokens"):
        spec({"type": "batch"}, "root", is_sudo=True)
    for field, value in (("period", "1h"), ("id", "mine")):
        with pytest.raises(InvalidRequestError, match=f'batch tokens cannot have "{field}" set'):
            spec({"type": "batch", field: value}, "root", is_sudo=True)


def test_a_batch_token_creates_none():
    with pytest.raises(InvalidRequestError, match=r"^batch tokens cannot create more tokens$"):
        spec({}, "root", is_sudo=True, type="batch")


# --- networks -------------------------------------------------------------------------------------------------------


def test_a_child_is_bound_to_its_parents_networks_and_an_orphan_is_not():
    bound = {"bound_cidrs": ("10.0.0.0/8",)}
    assert spec({}, "a", **bound).bound_cidrs == ("10.0.0.0/8",)
    assert spec({}, "a", orphan=True, **bound).bound_cidrs == ()
    role = TokenRole(name="r", token_bound_cidrs=("192.0.2.0/24",))
    assert spec({}, "a", role=role, **bound).bound_cidrs == ("192.0.2.0/24",)


@pytest.mark.parametrize(
    ("asked", "outer", "given"),
    [
        ("10.1.2.3/16", (), ("10.1.0.0/16",)),
        ("10.1.2.3,2001:db8::/48", ("10.0.0.0/8", "2001:db8::/32"), ("10.1.2.3/32", "2001:db8::/48")),
        ("10.0.0.0/8", ("10.0.0.0/8",), ("10.0.0.0/8",)),
        ("", ("10.0.0.0/8",), ("10.0.0.0/8",)),
    ],
)
def test_networks_may_be_narrowed(asked, outer, given):
    assert spec({"bound_cidrs": asked}, "a", bound_cidrs=outer).bound_cidrs == given
    role = TokenRole(name="r", token_bound_cidrs=outer)
    assert spec({"bound_cidrs": asked}, "a", role=role).bound_cidrs == given


@pytest.mark.parametrize(
    "asked", ["0.0.0.0/0", "10.0.0.0/7", "192.0.2.1", "::/0", "10.0.0.1,11.0.0.1", "::ffff:10.0.0.1"]
)
def test_networks_are_never_widened(asked):
    for changes in ({"bound_cidrs": ("10.0.0.0/8",)}, {"role": TokenRole(name="r", token_bound_cidrs=("10.0.0.0/8",))}):
        with pytest.raises(InvalidRequestError, match="must lie within the networks"):
            spec({"bound_cidrs": asked}, "a", **changes)


def test_networks_that_are_none_and_root_without_end_are_refused():
    with pytest.raises(InvalidRequestError, match="bound_cidrs must be networks"):
        spec({"bound_cidrs": "here"}, "a")
    with pytest.raises(InvalidRequestError, match="never expires cannot have bound_cidrs"):
        spec({"bound_cidrs": "10.0.0.0/8"}, "root", is_sudo=True)


# --- namespaces -----------------------------------------------------------------------------------------------------


def test_a_token_for_a_namespace_below_has_what_is_asked_for_alone():
    made = spec({"policies": "x"}, "a", is_sudo=True, namespace="abc123")
    assert (made.policies, made.namespace) == (("default", "x"), "abc123")
    assert spec({}, "root", is_sudo=True, namespace="abc123").policies == ("default",)
    assert spec({"no_default_policy": True}, "a", is_sudo=True, namespace="abc123").policies == ()


@pytest.mark.parametrize(
    ("data", "sudo", "sentence"),
    [
        ({"policies": "a"}, False, "required to directly generate a token in a child namespace"),
        ({"policies": "root"}, True, "root tokens may not be created from a parent namespace"),
        ({"id": "mine"}, True, "token IDs can only be manually specified in the root namespace"),
    ],
)
def test_what_no_namespace_below_gets(data, sudo, sentence):
    with pytest.raises(InvalidRequestError, match=sentence):
        spec(data, "root", is_sudo=sudo, namespace="abc123")


def test_a_role_gives_no_root_token_into_a_namespace_below():
    role = TokenRole(name="r", allowed_policies_glob=("*",))
    with pytest.raises(InvalidRequestError, match="root tokens may not be created from a parent namespace"):
        spec({"policies": "root"}, "root", is_sudo=True, namespace="abc123", role=role)


# --- roles ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lists", "wanted", "held", "given"),
    [
        ({}, [], ("a",), ("a",)),
        ({"allowed_policies": ("x", "y")}, [], ("a",), ("default", "x", "y")),
        ({"allowed_policies": ("x", "y")}, ["x"], ("a",), ("default", "x")),
        ({"allowed_policies": ("x",), "token_no_default_policy": True}, [], ("a",), ("x",)),
        ({"allowed_policies_glob": ("team-*",)}, ["team-a"], ("a",), ("default", "team-a")),
        ({"allowed_policies_glob": ("team-*",)}, [], ("a",), ("default",)),
        ({"disallowed_policies": ("x",)}, [], ("a",), ("a", "default")),
        ({"disallowed_policies": ("default",)}, [], ("a",), ("a",)),
        ({"disallowed_policies_glob": ("def*",)}, ["y"], ("a",), ("y",)),
        ({"disallowed_policies": ("x",)}, ["y"], ("a",), ("default", "y")),
        ({"token_no_default_policy": True}, [], ("a", "default"), ("a",)),
    ],
)
def test_the_policies_that_a_role_gives(lists, wanted, held, given):
    assert policies_of(wanted, held, is_sudo=False, role=TokenRole(name="r", **lists)) == given


@pytest.mark.parametrize(
    ("lists", "wanted", "sentence"),
    [
        ({}, ["x"], "child policies must be subset of parent"),
        ({"allowed_policies": ("x",)}, ["a"], r'must be subset of the role.s allowed policies \(\["default" "x"\]\)'),
        ({"allowed_policies": ("x",), "token_no_default_policy": True}, ["default"], "must be subset"),
        ({"allowed_policies_glob": ("team-*",)}, ["team"], "must be subset"),
        ({"allowed_policies_glob": ("*-a",)}, ["x-ab"], "must be subset"),
        ({"disallowed_policies": ("a",)}, [], 'token policy "a" is disallowed by this role'),
        ({"disallowed_policies": ("a",)}, ["a"], 'token policy "a" is disallowed by this role'),
        ({"disallowed_policies_glob": ("*a*",)}, ["bar"], 'token policy "bar" is disallowed by this role'),
        ({"allowed_policies": ("x",), "disallowed_policies": ("x",)}, ["x"], "is disallowed by this role"),
        ({"allowed_policies_glob": ("*",)}, ["root"], "without parent token being root"),
        ({"allowed_policies": ("root",)}, [], "without parent token being root"),
        ({"allowed_policies_glob": ("*",)}, ["response-wrapping"], "cannot assign policy"),
    ],
)
def test_the_policies_that_a_role_refuses(lists, wanted, sentence):
    with pytest.raises(InvalidRequestError, match=sentence):
        spec({"policies": wanted}, "a", is_sudo=bool(lists), role=TokenRole(name="r", **lists))


def test_a_role_decides_parent_path_and_lesser_limits():
    role = TokenRole(
        name="web", orphan=True, renewable=False, path_suffix="v1", token_period=600, token_explicit_max_ttl=900,
        token_num_uses=5,
    )  # fmt: skip
    made = child({"period": 300, "explicit_max_ttl": 1200, "num_uses": 7}, "root", is_sudo=True, role=role)
    assert made.is_orphan
    assert (made.spec.path, made.spec.role, made.spec.renewable) == (PATH + "/v1", "web", False)
    assert (made.spec.period, made.spec.explicit_max_ttl, made.spec.num_uses) == (300, 900, 5)
    assert [warning.split(";")[1] for warning in made.warnings] == [
        " using the lesser value of 900 seconds", " using the lesser value of 300 seconds",
    ]  # fmt: skip
    assert spec({"num_uses": 3}, "a", role=role).num_uses == 3
    assert not child({"no_parent": True}, "a", role=TokenRole(name="r")).is_orphan


@pytest.mark.parametrize(
    ("role_type", "asked", "made"),
    [
        ("default-service", "", "service"), ("default-service", "batch", "batch"),
        ("default-batch", "", "batch"), ("default-batch", "service", "service"),
        ("service", "batch", "service"), ("batch", "service", "batch"),
    ],
)  # fmt: skip
def test_the_type_that_a_role_gives(role_type, asked, made):
    assert spec({"type": asked}, "a", role=TokenRole(name="r", token_type=role_type)).type == made


def test_a_roles_own_bounds_are_left_out_for_batch_tokens_but_for_uses():
    role = TokenRole(name="r", token_period=60, token_explicit_max_ttl=60)
    made = spec({"type": "batch"}, "a", role=role)
    assert (made.period, made.explicit_max_ttl) == (0, 0)
    with pytest.raises(InvalidRequestError, match='cannot have "num_uses" set'):
        spec({"type": "batch"}, "a", role=TokenRole(name="r", token_num_uses=2))


@pytest.mark.parametrize(("alias", "listed"), [("x", ()), ("web-1", ("api-*",)), ("web", ("we",))])
def test_an_alias_that_the_role_does_not_list_is_refused(alias, listed):
    with pytest.raises(InvalidRequestError, match=r"^invalid 'entity_alias' value$"):
        spec({"entity_alias": alias}, "a", role=TokenRole(name="r", allowed_entity_aliases=listed))


def test_a_listed_alias_speaks_for_its_entity():
    role = TokenRole(name="r", allowed_entity_aliases=("web-*",), orphan=True)
    assert spec({"entity_alias": "WEB-1"}, "a", role=role, alias_entity="e2", entity_id="e").entity_id == "e2"
