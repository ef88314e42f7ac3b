"""What a token may give to a child."""

import pytest

from appliance.access.child_tokens import MAX_METADATA, CreateBody, child_policies, child_spec
from appliance.access.lifetimes import Lifetime, granted_ttl
from appliance.access.tokens import TokenEntry
from core.bodies import parse_body
from core.errors import InvalidRequestError

PATH = "auth/token/create"


def parent(*policies, **changes):
    values = {"record_id": "0" * 64, "accessor": "A", "policies": policies, "path": PATH, "issue_time": 1}
    return TokenEntry(**values | changes)


def spec(data, *policies, is_sudo=False, orphan=False, **changes):
    body = parse_body(data, CreateBody)
    return child_spec(body, parent(*policies, **changes), path=PATH, is_sudo=is_sudo, orphan=orphan)


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
    assert child_policies(wanted, held, is_sudo=sudo, without_default=without_default) == given


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
        child_policies(wanted, held, is_sudo=sudo, without_default=False)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"id": "mine"}, "root or sudo privileges required to specify token id"),
        ({"no_parent": True}, "root or sudo privileges required to create orphan token"),
        ({"period": "1h"}, "root or sudo privileges required to create periodic token"),
        ({"type": "batch"}, "no batch tokens"),
        ({"type": "s3cret"}, "type must be service"),
        ({"role_name": "r"}, "no token roles"),
        ({"entity_alias": "e"}, "only allowed in combination with token role"),
        ({"num_uses": -1}, "num_uses must be 0 to"),
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
