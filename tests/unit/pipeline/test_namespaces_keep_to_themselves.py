"""What is asked in one namespace tells nothing of another: mounts, policies, tokens."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.pipeline.rig import Rig

TEAM = {"X-Vault-Namespace": "team-a"}
OTHER = {"X-Vault-Namespace": "team-b"}
SHELF = 'path "shelf/*" { capabilities = ["read"] }'
ASKS = 'path "sys/*" { capabilities = ["read", "update", "list", "sudo"] }'


@pytest.fixture
async def teams(rig: Rig) -> Rig:
    for name, headers in (("team-a", TEAM), ("team-b", OTHER)):
        assert (await rig.call("POST", f"sys/namespaces/{name}", {})).status == 200
        reply = await rig.call("POST", "sys/mounts/shelf", {"type": "shelf"}, headers=headers)
        assert reply.status == 204, reply.body
    return rig


async def token_in(rig: Rig, headers: Any, policy: str, *, name: str = "works") -> Any:
    """The auth block of a token of that namespace, under a policy of that text."""
    assert (await rig.call("PUT", f"sys/policies/acl/{name}", {"policy": policy}, headers=headers)).status == 204
    made = await rig.call("POST", "auth/token/create", {"policies": [name]}, headers=headers)
    assert made.status == 200, made.body
    return made.json["auth"]


# --- sys/internal/ui/mounts/<path> ------------------------------------------------------------------------------------


async def test_who_may_use_a_mount_sees_none_of_the_same_name_in_a_namespace(teams: Rig) -> None:
    token = await teams.child(SHELF)
    assert (await teams.call("GET", "sys/internal/ui/mounts/shelf/x", token=token)).status == 200
    assert (await teams.call("GET", "sys/internal/ui/mounts/team-a/shelf/x", token=token)).status == 403


async def test_the_mount_of_a_namespace_is_shown_by_its_path_from_here(teams: Rig) -> None:
    token = await teams.child('path "team-a/shelf/*" { capabilities = ["read"] }')
    by_path = await teams.call("GET", "sys/internal/ui/mounts/team-a/shelf/x", token=token)
    inside = await teams.call("GET", "sys/internal/ui/mounts/shelf/x", token=token, headers=TEAM)
    assert (by_path.status, inside.status) == (200, 200)
    assert by_path.json["data"]["path"] == "team-a/shelf/"
    assert inside.json["data"]["path"] == "shelf/"
    assert by_path.json["data"]["uuid"] == inside.json["data"]["uuid"]


# --- sys/internal/ui/resultant-acl ------------------------------------------------------------------------------------


async def test_the_resultant_acl_is_of_the_policies_of_the_tokens_own_namespace(teams: Rig) -> None:
    await teams.call("PUT", "sys/policies/acl/works", {"policy": 'path "vault-of-root/*" { capabilities = ["read"] }'})
    auth = await token_in(teams, TEAM, SHELF + ASKS)
    reply = await teams.call("GET", "sys/internal/ui/resultant-acl", token=auth["client_token"], headers=TEAM)
    assert reply.status == 200
    assert "vault-of-root/" not in reply.json["data"]["glob_paths"]
    assert reply.json["data"]["glob_paths"]["shelf/"] == {"capabilities": ["read"]}


async def test_the_resultant_acl_tells_the_policies_of_a_parent_by_their_full_paths(teams: Rig) -> None:
    token = await teams.child(
        'path "team-a/shelf/*" { capabilities = ["read"] } path "team-a/sys/*" '
        '{ capabilities = ["read"] } path "shelf/*" { capabilities = ["update"] }'
    )
    reply = await teams.call("GET", "sys/internal/ui/resultant-acl", token=token, headers=TEAM)
    assert reply.json["data"]["glob_paths"]["shelf/"] == {"capabilities": ["read"]}
    assert not any(path.startswith("team-a/") for path in reply.json["data"]["glob_paths"])


# --- sys/capabilities-accessor ----------------------------------------------------------------------------------------


async def test_capabilities_are_not_told_of_a_token_elsewhere(teams: Rig) -> None:
    asking = (await token_in(teams, TEAM, ASKS))["client_token"]
    elsewhere = await token_in(teams, OTHER, SHELF)
    above = (await teams.call("GET", "auth/token/lookup-self")).json["data"]["accessor"]
    for accessor in (elsewhere["accessor"], above):
        body = {"accessor": accessor, "paths": ["shelf/x"]}
        reply = await teams.call("POST", "sys/capabilities-accessor", body, token=asking, headers=TEAM)
        assert (reply.status, reply.errors) == (400, ["invalid accessor"])


async def test_capabilities_are_told_of_a_token_in_a_namespace_below(teams: Rig) -> None:
    auth = await token_in(teams, TEAM, SHELF)
    body = {"accessor": auth["accessor"], "paths": ["team-a/shelf/x"]}
    reply = await teams.call("POST", "sys/capabilities-accessor", body)
    assert reply.json["data"]["capabilities"] == ["read"]


# --- what a deleted namespace leaves ----------------------------------------------------------------------------------


async def test_a_deleted_namespace_leaves_no_tokens_and_nothing_wrapped(teams: Rig) -> None:
    storage = teams.barrier.storage
    await token_in(teams, TEAM, SHELF)
    kept = await storage.list("core/cubbyhole/")
    wrapped = await teams.call("POST", "sys/wrapping/wrap", {"a": "secret"}, headers=TEAM)
    assert wrapped.json["wrap_info"]["token"]
    namespace = (await teams.call("GET", "sys/namespaces/team-a")).json["data"]["id"]
    assert (await teams.call("DELETE", "sys/namespaces/team-a")).status == 204
    assert await storage.count_records("token", f"{namespace}/") == 0
    assert await storage.list("core/cubbyhole/") == kept
