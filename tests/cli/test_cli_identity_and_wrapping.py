"""`mimir identity …`, `mimir wrap` and `mimir unwrap`: what is sent, shown, and refused unsent."""

import pytest

ID, OTHER = "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "7d444840-9dc0-41d1-b245-5ffdce74fad2"
LISTED = {"data": {"keys": [ID], "key_info": {ID: {"name": "bob", "aliases": [{"name": "b@corp"}]}}}}

ROWS = [
    (("entity", "create", "bob"), "POST", "entity", {"name": "bob"}),
    (
        ("entity", "create", "bob", "--policy", "a", "--policy", "b", "--metadata", "k=v=w", "--disabled"),
        "POST", "entity", {"name": "bob", "policies": ["a", "b"], "metadata": {"k": "v=w"}, "disabled": True},
    ),
    (("entity", "read", "bob"), "GET", "entity/name/bob", None),
    (("entity", "read", ID), "GET", f"entity/id/{ID}", None),
    (("entity", "list"), "GET", "entity/id?list=true", None),
    (("entity", "update", ID, "--enabled"), "POST", f"entity/id/{ID}", {"disabled": False}),
    (("entity", "update", ID, "--rename", "eve"), "POST", f"entity/id/{ID}", {"name": "eve"}),
    (
        ("entity", "update", ID, "--no-policy", "--no-metadata"),
        "POST", f"entity/id/{ID}", {"policies": [], "metadata": {}},
    ),
    (("entity", "delete", "bob"), "DELETE", "entity/name/bob", None),
    (
        ("entity", "merge", ID, "--from", OTHER, "--keep-alias", "x"),
        "POST", "entity/merge",
        {"to_entity_id": ID, "from_entity_ids": [OTHER], "conflicting_alias_ids_to_keep": ["x"]},
    ),
    (
        ("entity", "lookup", "--alias", "b", "--accessor", "auth_x_1"),
        "POST", "lookup/entity", {"alias_name": "b", "alias_mount_accessor": "auth_x_1"},
    ),
    (
        ("alias", "create", "b", "--accessor", "auth_x_1", "--entity", ID, "--metadata", "k=v"),
        "POST", "entity-alias",
        {"name": "b", "mount_accessor": "auth_x_1", "canonical_id": ID, "custom_metadata": {"k": "v"}},
    ),
    (
        ("alias", "create", "cn=b", "--accessor", "auth_x_1", "--group", ID),
        "POST", "group-alias", {"name": "cn=b", "mount_accessor": "auth_x_1", "canonical_id": ID},
    ),
    (("alias", "read", ID), "GET", f"entity-alias/id/{ID}", None),
    (("alias", "read", "--group", ID), "GET", f"group-alias/id/{ID}", None),
    (("alias", "list", "--group"), "GET", "group-alias/id?list=true", None),
    (("alias", "update", ID, "--no-metadata"), "POST", f"entity-alias/id/{ID}", {"custom_metadata": {}}),
    (("alias", "delete", ID), "DELETE", f"entity-alias/id/{ID}", None),
    (
        ("group", "create", "ops", "--external", "--policy", "p"),
        "POST", "group", {"name": "ops", "type": "external", "policies": ["p"]},
    ),
    (
        ("group", "update", OTHER, "--member", ID, "--no-member-group"),
        "POST", f"group/id/{OTHER}", {"member_entity_ids": [ID], "member_group_ids": []},
    ),
    (("group", "read", "ops"), "GET", "group/name/ops", None),
    (("group", "list"), "GET", "group/id?list=true", None),
    (("group", "delete", ID), "DELETE", f"group/id/{ID}", None),
    (("group", "lookup", "--name", "ops"), "POST", "lookup/group", {"name": "ops"}),
]  # fmt: skip


def done(result):
    assert result.code == 0, result.err
    return result


@pytest.mark.parametrize(("arguments", "method", "target", "body"), ROWS, ids=lambda value: str(value)[:40])
def test_an_identity_command_sends_one_request(mimir, appliance, arguments, method, target, body):
    appliance.body = LISTED
    done(mimir("identity", *arguments))
    sent = appliance.only
    assert (sent.method, sent.target) == (method, f"/v1/identity/{target}")
    assert (sent.json if sent.body else None) == body


@pytest.mark.parametrize(
    "arguments",
    [
        ("entity", "update", "bob"),
        ("entity", "update", "bob", "--rename", "eve"),
        ("entity", "update", "bob", "--policy", "a", "--no-policy"),
        ("entity", "create", "bob", "--metadata", "novalue"),
        ("entity", "lookup"),
        ("entity", "lookup", "--alias", "b"),
        ("entity", "lookup", "--name", "a", "--id", ID),
        ("entity", "merge", ID),
        ("alias", "create", "b"),
        ("alias", "create", "b", "--mount", "m", "--accessor", "a"),
        ("alias", "create", "b", "--accessor", "a", "--group", ID, "--entity", ID),
        ("alias", "update", ID),
        ("group", "update", "ops"),
    ],
)
def test_wrong_usage_sends_nothing(mimir, appliance, arguments):
    assert mimir("identity", *arguments).code == 2
    assert not appliance.requests


def test_a_name_with_a_slash_is_asked_for_by_id(mimir, appliance):
    result = mimir("identity", "entity", "read", "a/../b")
    assert result.code == 1
    assert "give the ID" in result.err
    assert not appliance.requests


def test_an_entity_is_shown_with_metadata_and_aliases(mimir, appliance):
    appliance.gives(
        id=ID, name="bob", policies=["a", "b"], disabled=False, metadata={"team": "core"},
        aliases=[{"id": OTHER, "name": "b@corp", "mount_path": "auth/userpass/"}],
    )  # fmt: skip
    out = done(mimir("identity", "entity", "read", "bob")).out
    assert "metadata_team" in out
    assert "b@corp" in out.splitlines()[-1]
    assert out.splitlines()[-1].endswith(OTHER)


def test_a_list_is_a_table(mimir, appliance):
    appliance.body = LISTED
    lines = done(mimir("identity", "entity", "list")).out.splitlines()
    assert lines[2].split() == ["bob", "b@corp", ID]


@pytest.mark.parametrize("kind", ["entity", "group"])
def test_a_lookup_without_a_match_fails(mimir, appliance, kind):
    appliance.answers(204)
    result = mimir("identity", kind, "lookup", "--name", "x")
    assert (result.code, result.out, result.err) == (1, "", f"Error: there is no such {kind}\n")


@pytest.mark.parametrize("kind", ["entity", "group"])
def test_an_update_by_name_asks_for_the_id_first(mimir, appliance, kind):
    """A write at a name that is not known would make a new one."""
    appliance.gives(id=ID)
    done(mimir("identity", kind, "update", "bob", "--policy", "p"))
    assert [(one.method, one.target) for one in appliance.requests] == (
        [("GET", f"/v1/identity/{kind}/name/bob"), ("POST", f"/v1/identity/{kind}/id/{ID}")]
    )


@pytest.mark.parametrize("kind", ["entity", "group"])
def test_an_update_of_nothing_makes_nothing(mimir, appliance, kind):
    appliance.answers(404, {"errors": []})
    assert mimir("identity", kind, "update", "bob", "--policy", "p").code == 1
    assert appliance.only.method == "GET"


# --- wrapping -----------------------------------------------------------------------------------------------------


def test_unwrap_uses_the_wrapping_token_and_no_other(mimir, appliance):
    appliance.gives(secret_id="s")
    out = done(mimir("unwrap", "-", stdin=b"hvs.wrapping\n")).out
    sent = appliance.only
    assert (sent.method, sent.target, sent.json) == ("PUT", "/v1/sys/wrapping/unwrap", {})
    assert sent.headers["X-Vault-Token"] == "hvs.wrapping"
    assert "secret_id" in out


def test_an_unwrapped_login_is_shown_as_one(mimir, appliance):
    appliance.body = {"data": None, "auth": {"client_token": "hvs.inner", "accessor": "a", "lease_duration": 60}}
    assert "hvs.inner" in done(mimir("unwrap", "-", stdin=b"hvs.wrapping")).out


def test_unwrap_lookup_takes_nothing(mimir, appliance):
    appliance.gives(creation_path="auth/approle/role/web/secret-id", creation_ttl=60)
    out = done(mimir("unwrap", "--lookup", "-", stdin=b"hvs.wrapping")).out
    sent = appliance.only
    assert (sent.target, sent.json) == ("/v1/sys/wrapping/lookup", {"token": "hvs.wrapping"})
    assert "X-Vault-Token" not in sent.headers
    assert "1m" in out


def test_wrap_shows_the_wrapping_token(mimir, appliance):
    appliance.body = {"data": None, "wrap_info": {"token": "hvs.w", "accessor": "a", "ttl": 300}}
    out = done(mimir("wrap", "user=app", "password=-", stdin=b"hunter2")).out
    sent = appliance.only
    assert (sent.target, sent.json) == ("/v1/sys/wrapping/wrap", {"user": "app", "password": "hunter2"})
    assert "hvs.w" in out
