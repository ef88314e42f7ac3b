"""Namespaces on a live server: own mounts, policies, tokens and identity, and nothing crosses."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import hvac
import hvac.exceptions
import pytest

from tests.support.appliance import Appliance, Reply

_numbers = itertools.count()
ALL = 'path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }'


@pytest.fixture
def team(appliance: Appliance) -> Iterator[str]:
    name = f"team-{next(_numbers)}"
    assert appliance.request("POST", f"sys/namespaces/{name}", {}).status == 200
    yield name
    appliance.request("DELETE", f"sys/namespaces/{name}")


def inside(appliance: Appliance, namespace: str, token: str = "") -> hvac.Client:
    return hvac.Client(url=appliance.address, token=token or appliance.root_token, namespace=namespace)


def ask(appliance: Appliance, namespace: str, method: str, path: str, body: object = None, token: str = "") -> Reply:
    return appliance.request(method, path, body, token=token, headers={"X-Vault-Namespace": namespace})


def admin(appliance: Appliance, namespace: str) -> str:
    """A token of the namespace that may do everything in it."""
    client = inside(appliance, namespace)
    client.sys.create_or_update_policy("admin", ALL)
    return str(client.auth.token.create(policies=["admin"])["auth"]["client_token"])


def test_mounts_are_the_namespace_s_own(appliance: Appliance, team: str) -> None:
    client = inside(appliance, team)
    client.sys.enable_secrets_engine("transit", path="own")
    assert "own/" in client.sys.list_mounted_secrets_engines()["data"]
    assert "own/" not in appliance.client().sys.list_mounted_secrets_engines()["data"]
    assert "transit/" not in client.sys.list_mounted_secrets_engines()["data"]
    client.secrets.transit.create_key("k", mount_point="own")
    # by header, by path, and by both
    for namespace, path in ((team, "own/keys/k"), ("", f"{team}/own/keys/k"), (f"/{team}/", "own/keys/k")):
        assert ask(appliance, namespace, "GET", path).status == 200
    assert appliance.request("GET", "own/keys/k").status == 404


def test_nested_namespaces_by_header_and_path(appliance: Appliance, team: str) -> None:
    assert ask(appliance, team, "POST", "sys/namespaces/inner", {}).json["data"]["path"] == f"{team}/inner/"
    inside(appliance, f"{team}/inner").sys.enable_secrets_engine("transit", path="deep")
    assert ask(appliance, team, "GET", "inner/sys/mounts/deep").status == 200
    assert ask(appliance, team, "LIST", "sys/namespaces").json["data"]["keys"] == ["inner/"]
    assert ask(appliance, team, "DELETE", "sys/namespaces/inner").status == 200
    assert ask(appliance, f"{team}/inner", "GET", "sys/mounts").status == 404


def test_a_namespace_with_children_is_not_deleted(appliance: Appliance, team: str) -> None:
    ask(appliance, team, "POST", "sys/namespaces/inner", {})
    assert appliance.request("DELETE", f"sys/namespaces/{team}").status == 400
    assert ask(appliance, team, "GET", "sys/mounts").status == 200
    ask(appliance, team, "DELETE", "sys/namespaces/inner")


def test_a_child_s_token_is_nothing_outside(appliance: Appliance, team: str) -> None:
    token = admin(appliance, team)
    assert ask(appliance, team, "GET", "sys/mounts", token=token).status == 200
    assert appliance.request("GET", f"{team}/sys/mounts", token=token).status == 200
    other = f"team-{next(_numbers)}"
    appliance.request("POST", f"sys/namespaces/{other}", {})
    for namespace in ("", "root", other, "no-such"):
        for path in ("sys/mounts", "auth/token/lookup-self", "sys/policies/acl/admin", "transit/keys/orders"):
            assert ask(appliance, namespace, "GET", path, token=token).status == 403, (namespace, path)
    appliance.request("DELETE", f"sys/namespaces/{other}")


def test_policies_do_not_cross(appliance: Appliance, team: str) -> None:
    appliance.client().sys.create_or_update_policy("shared-name", ALL)
    client = inside(appliance, team)
    assert client.sys.list_acl_policies()["data"]["keys"].count("shared-name") == 0
    made = client.auth.token.create(policies=["shared-name"])["auth"]["client_token"]
    assert ask(appliance, team, "GET", "sys/mounts", token=made).status == 403
    # a policy of the namespace cannot name what is outside
    client.sys.create_or_update_policy("climber", 'path "../sys/mounts" { capabilities = ["read"] }\n' + ALL)
    climber = client.auth.token.create(policies=["climber"])["auth"]["client_token"]
    assert appliance.request("GET", "sys/mounts", token=climber).status == 403


def test_a_parent_s_token_works_below_when_its_policy_names_it(appliance: Appliance, team: str) -> None:
    policy = f'path "{team}/sys/mounts" {{ capabilities = ["read"] }}'
    appliance.client().sys.create_or_update_policy(f"into-{team}", policy)
    token = appliance.client().auth.token.create(policies=[f"into-{team}"])["auth"]["client_token"]
    assert ask(appliance, team, "GET", "sys/mounts", token=token).status == 200
    assert ask(appliance, team, "GET", "sys/auth", token=token).status == 403


def test_tokens_cannot_be_named_from_outside(appliance: Appliance, team: str) -> None:
    """Lookup, renewal and revocation across namespaces: as if there were no such token."""
    victim = appliance.client().auth.token.create(policies=["default"])["auth"]
    token = admin(appliance, team)
    for path, body in (
        ("lookup", {"token": victim["client_token"]}),
        ("lookup-accessor", {"accessor": victim["accessor"]}),
        ("renew", {"token": victim["client_token"]}),
        ("renew-accessor", {"accessor": victim["accessor"]}),
        ("revoke", {"token": victim["client_token"]}),
        ("revoke-accessor", {"accessor": victim["accessor"]}),
        ("revoke-orphan", {"token": victim["client_token"]}),
    ):
        reply = ask(appliance, team, "POST", f"auth/token/{path}", body, token=token)
        assert reply.status in (204, 400, 403, 404), (path, reply.body)
    assert appliance.request("GET", "auth/token/lookup-self", token=victim["client_token"]).status == 200
    listed = ask(appliance, team, "LIST", "auth/token/accessors", token=token).json["data"]["keys"]
    assert victim["accessor"] not in listed


def test_prefix_revocation_stays_inside(appliance: Appliance, team: str) -> None:
    victim = appliance.client().auth.token.create(policies=["default"])["auth"]["client_token"]
    token = admin(appliance, team)
    for prefix in ("auth/token", "auth", "", "../auth/token"):
        ask(appliance, team, "PUT", f"sys/leases/revoke-prefix/{prefix}", {}, token=token)
    assert appliance.request("GET", "auth/token/lookup-self", token=victim).status == 200


def test_what_is_the_whole_appliance_s_is_not_in_a_namespace(appliance: Appliance, team: str) -> None:
    for method, path in (
        ("PUT", "sys/seal"),
        ("PUT", "sys/rotate"),
        ("GET", "sys/key-status"),
        ("PUT", "sys/audit/x"),
        ("GET", "sys/hsm/status"),
        ("GET", "sys/config/cors"),
        ("GET", "sys/host-info"),
    ):
        assert ask(appliance, team, method, path, {} if method == "PUT" else None).status == 404, path


def test_deleting_a_namespace_ends_all_that_is_in_it(appliance: Appliance) -> None:
    name = f"doomed-{next(_numbers)}"
    appliance.request("POST", f"sys/namespaces/{name}", {})
    client = inside(appliance, name)
    client.sys.enable_secrets_engine("transit", path="own")
    client.secrets.transit.create_key("k", mount_point="own")
    token = admin(appliance, name)
    assert appliance.request("DELETE", f"sys/namespaces/{name}").status == 200
    for _ in range(20):
        assert ask(appliance, name, "GET", "sys/mounts", token=token).status == 403
    # of the same name, and yet another one
    appliance.request("POST", f"sys/namespaces/{name}", {})
    assert ask(appliance, name, "GET", "own/keys/k").status == 404
    assert ask(appliance, name, "GET", "sys/policies/acl/admin").status == 404
    assert ask(appliance, name, "GET", "sys/mounts", token=token).status == 403
    appliance.request("DELETE", f"sys/namespaces/{name}")


@pytest.mark.parametrize(
    "name", ["sys", "auth", "root", "identity", "cubbyhole", "a/b", "a b", "%2e%2e", "é", "x" * 200]
)
def test_names_that_cannot_be(appliance: Appliance, name: str) -> None:
    reply = appliance.request("POST", "sys/namespaces/" + name.replace(" ", "%20").replace("é", "%C3%A9"), {})
    assert reply.status == 400, reply.body
    assert reply.errors


def test_the_name_of_the_root_is_taken(appliance: Appliance) -> None:
    assert "always there" in appliance.request("POST", "sys/namespaces/root", {}).errors[0]


def test_a_namespace_and_a_mount_cannot_share_a_path(appliance: Appliance, team: str) -> None:
    assert appliance.request("POST", f"sys/mounts/{team}", {"type": "transit"}).status == 400
    assert appliance.request("POST", f"sys/mounts/{team}/x", {"type": "transit"}).status == 400
    assert appliance.request("POST", "sys/namespaces/transit", {}).status == 400


def test_metadata_is_merged_and_removed(appliance: Appliance, team: str) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    for change, wanted in (
        ({"owner": "core", "tier": "1"}, {"owner": "core", "tier": "1"}),
        ({"tier": None, "zone": "eu"}, {"owner": "core", "zone": "eu"}),
    ):
        reply = appliance.request("PATCH", f"sys/namespaces/{team}", {"custom_metadata": change}, headers=headers)
        assert reply.json["data"]["custom_metadata"] == wanted


def test_cubbyholes_and_wrapping_do_not_cross(appliance: Appliance, team: str) -> None:
    wrapped = appliance.request(
        "GET", "sys/mounts", headers={"X-Vault-Wrap-TTL": "60", "X-Vault-Namespace": team}
    ).json["wrap_info"]
    reply = appliance.request("POST", "sys/wrapping/unwrap", {"token": wrapped["token"]}, token=admin(appliance, team))
    assert reply.status == 403  # the admin's token is not for the root namespace
    assert ask(appliance, team, "POST", "sys/wrapping/unwrap", {"token": wrapped["token"]}).status == 200
