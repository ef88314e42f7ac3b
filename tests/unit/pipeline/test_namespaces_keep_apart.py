"""What an administrator of a namespace learns of the others, and may change in them: nothing."""

from typing import Any

import msgspec
import pytest

from tests.unit.pipeline.rig import Reply, Rig

EVERYTHING = 'path "*" { capabilities = ["create", "read", "update", "patch", "delete", "list", "scan", "sudo"] }'


class Team:
    """Its administrator may do everything in team-a/."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.token = ""

    async def call(self, method: str, path: str, body: object = None, *, token: str = "", **headers: str) -> Reply:
        headers |= {"X-Vault-Namespace": "team-a"}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        return await self.rig.call(method, path, body, token=token or self.token, headers=headers)

    async def operator(self, method: str, path: str, body: object = None) -> Reply:
        """With the root token."""
        return await self.call(method, path, body, token=self.rig.root_token)


@pytest.fixture
async def team(rig: Rig) -> Team:
    made = Team(rig)
    assert (await rig.call("PUT", "sys/namespaces/team-a", {"custom_metadata": {"owner": "ops"}})).status == 200
    assert (await made.operator("PUT", "sys/policies/acl/admin", {"policy": EVERYTHING})).status == 204
    reply = await made.operator("POST", "auth/token/create", {"policies": ["admin"]})
    made.token = reply.json["auth"]["client_token"]
    return made


async def created(team: Team, body: dict[str, Any]) -> str:
    return str((await team.call("POST", "auth/token/create", body)).json["auth"]["client_token"])


async def test_what_is_granted_is_shown_by_the_paths_in_the_namespace(team: Team) -> None:
    """With the templates rendered, and without what has expired or belongs elsewhere."""
    mine = 'path "kv/data/mine" { capabilities = ["read"] }\npath "kv/+/ours" { capabilities = ["list"] }'
    assert (await team.call("PUT", "sys/policies/acl/mine", {"policy": mine})).status == 204
    token = await created(team, {"policies": ["mine"], "no_default_policy": True})
    shown = (await team.call("GET", "sys/internal/ui/resultant-acl", token=token)).json
    assert shown is None or shown.get("errors")  # without "default" it may not even ask
    token = await created(team, {"policies": ["mine"]})
    shown = (await team.call("GET", "sys/internal/ui/resultant-acl", token=token)).json["data"]
    assert shown["exact_paths"]["kv/data/mine"] == {"capabilities": ["read"]}
    assert shown["glob_paths"]["kv/+/ours"] == {"capabilities": ["list"]}
    assert shown["exact_paths"]["auth/token/lookup-self"] == {"capabilities": ["read"]}


async def test_an_expired_policy_is_not_shown_as_granting(team: Team) -> None:
    policy = {"policy": 'path "shelf/keys/a" { capabilities = ["read"] }', "ttl": 60}
    assert (await team.rig.call("PUT", "sys/policies/acl/brief", policy)).status == 204
    reply = await team.rig.call("POST", "auth/token/create", {"policies": ["brief"]})
    token = reply.json["auth"]["client_token"]
    shown = (await team.rig.call("GET", "sys/internal/ui/resultant-acl", token=token)).json["data"]["exact_paths"]
    assert "shelf/keys/a" in shown
    team.rig.clock.advance(61)
    shown = (await team.rig.call("GET", "sys/internal/ui/resultant-acl", token=token)).json["data"]["exact_paths"]
    assert "shelf/keys/a" not in shown


async def test_the_api_is_described_without_the_parents_mounts(team: Team) -> None:
    assert (await team.call("POST", "sys/mounts/ours", {"type": "shelf"})).status == 204
    await team.call("GET", "sys/mounts")
    paths = (await team.call("GET", "sys/internal/specs/openapi")).json["paths"]
    assert not [path for path in paths if path.startswith("/shelf/")]
    assert "/ours/keys" in paths
    assert "/shelf/keys" in (await team.rig.call("GET", "sys/internal/specs/openapi")).json["paths"]


@pytest.mark.parametrize("name", ["root", "/", "root/"])
async def test_what_the_parent_noted_is_not_changed_from_inside(team: Team, name: str) -> None:
    body = {"custom_metadata": {"owner": "me"}}
    assert (await team.call("PATCH", f"sys/namespaces/{name}", body)).status >= 400
    shown = (await team.rig.call("GET", "sys/namespaces/team-a")).json["data"]
    assert shown["custom_metadata"] == {"owner": "ops"}


async def test_nothing_is_moved_into_a_namespace_that_is_being_deleted(team: Team) -> None:
    await team.rig.made.store.alter(_tainted(team.rig))
    reply = await team.rig.call("POST", "sys/remount", {"from": "shelf", "to": "team-a/shelf"})
    assert (reply.status, "being deleted" in reply.errors[0]) == (400, True)
    assert (await team.rig.call("LIST", "shelf/keys")).status == 404  # served as before


def _tainted(rig: Rig) -> Any:
    table = rig.made.mounts.table
    namespace = table.namespaces["team-a/"]

    async def body(txn: Any) -> None:
        changed = msgspec.structs.replace(namespace, tainted=True)
        await txn.put("core/namespaces/" + namespace.id, msgspec.json.encode(changed))

    return body


async def test_a_namespace_whose_leases_cannot_be_revoked_can_still_be_deleted(team: Team) -> None:
    rig = team.rig
    assert (await team.call("POST", "sys/mounts/bank", {"type": "accounts"})).status == 204
    await team.call("GET", "sys/mounts")
    assert (await team.call("GET", "bank/creds/app")).status == 200
    assert (await team.call("POST", "bank/trouble", {"revoke": "the account is locked"})).status == 204
    reply = await rig.call("DELETE", "sys/namespaces/team-a")
    assert (reply.status, "failed to revoke 1 of 1" in reply.errors[0]) == (400, True)
    assert (await team.operator("POST", "sys/mounts/more", {"type": "shelf"})).status == 404  # being deleted
    assert (await team.call("GET", "sys/mounts")).status == 403
    assert (await team.operator("PUT", "sys/leases/revoke-force/bank")).status == 204
    assert (await rig.call("DELETE", "sys/namespaces/team-a")).status == 204
    assert await rig.barrier.storage.count_records("lease") == 0
    assert (await rig.call("GET", "sys/namespaces/team-a")).status == 404


async def test_a_deletion_that_was_killed_goes_on(team: Team) -> None:
    rig = team.rig
    assert (await team.call("POST", "sys/mounts/ours", {"type": "shelf"})).status == 204
    forget = rig.made.links._entities.forget_namespace

    async def killed(_namespace: str) -> None:
        raise RuntimeError("killed")

    rig.made.links._entities.forget_namespace = killed
    assert (await rig.call("DELETE", "sys/namespaces/team-a")).status == 500
    rig.made.links._entities.forget_namespace = forget
    assert (await team.call("GET", "sys/mounts")).status == 403
    assert (await rig.call("DELETE", "sys/namespaces/team-a")).status == 204
    assert (await rig.call("PUT", "sys/namespaces/team-a")).status == 200
    assert (await team.call("GET", "sys/mounts")).status == 403  # a token of the former one is good for nothing
    mounts = (await team.operator("GET", "sys/mounts")).json["data"]
    assert "ours/" not in mounts
