"""sys/: mounts, policies, capabilities, audit, keyring, preflight, OpenAPI."""

import asyncio
import base64
import hashlib

import pytest

from core.errors import UnsupportedPathError
from tests.unit.pipeline.rig import MakeRig, Rig

POLICY = 'path "shelf/*" {\n  capabilities = ["read"]   # a comment\n}\n'


# --- mounts -------------------------------------------------------------------------------------------------------


async def test_listing_repeats_its_data_at_top_level(rig: Rig) -> None:
    reply = (await rig.call("GET", "sys/mounts")).json
    assert {"shelf/", "sys/"} <= set(reply)
    assert reply["data"]["shelf/"] == reply["shelf/"]
    assert reply["shelf/"]["config"] == {"default_lease_ttl": 0, "max_lease_ttl": 0, "force_no_cache": False}
    assert "auth/token/" not in reply
    assert "token/" in (await rig.call("GET", "sys/auth")).json


async def test_one_mount(rig: Rig) -> None:
    assert (await rig.call("GET", "sys/mounts/shelf")).json["data"]["type"] == "shelf"
    assert (await rig.call("GET", "sys/mounts/shelf/tune")).json["data"]["max_lease_ttl"] == 2764800
    assert (await rig.call("GET", "sys/auth/token/")).json["data"]["type"] == "token"
    assert (await rig.call("GET", "sys/auth/token/tune")).json["data"]["default_lease_ttl"] == 2764800


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("sys/mounts/none", "No secret engine mount at none/"),
        ("sys/mounts/none/tune", "No secret engine mount at none/"),
        ("sys/mounts/auth/none", "No auth engine at none/"),
        ("sys/mounts/auth/none/tune", "No auth engine at none/"),
        ("sys/auth/none", "No auth engine at none/"),
    ],
)
async def test_absent_mount_is_400(rig: Rig, path: str, sentence: str) -> None:
    reply = await rig.call("GET", path)
    assert (reply.status, reply.errors) == (400, [sentence])


@pytest.mark.parametrize(
    "path",
    [
        *("sys", "sys/x", "auth", "auth/x", "identity", "cubbyhole/x", "shelf", "shelf/deeper", "../x", "a//b", "a b"),
        *("x/..", ".", "ünïcode", "x" * 300, "x%2f", ""),
    ],
)
async def test_mount_path_that_is_refused(rig: Rig, path: str) -> None:
    reply = await rig.call("POST", f"sys/mounts/{path}", {"type": "shelf"})
    assert reply.status in {400, 405}
    mounted = (await rig.call("GET", "sys/mounts")).json["data"]
    assert set(mounted) == {"cubbyhole/", "identity/", "shelf/", "sys/"}


async def test_mount_above_another_is_refused(rig: Rig) -> None:
    assert (await rig.call("POST", "sys/mounts/team/a", {"type": "shelf"})).status == 204
    reply = await rig.call("POST", "sys/mounts/team", {"type": "shelf"})
    assert (reply.status, reply.errors) == (400, ["path is already in use at team/a/"])
    assert (await rig.call("POST", "sys/mounts/team/b", {"type": "shelf"})).status == 204
    assert (await rig.call("PUT", "team/b/keys/x", {"x": 1})).status == 204
    assert (await rig.call("GET", "team/a/keys/x")).status == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": "no-such-engine"},
        {"type": 7},
        {"type": "shelf", "config": {"default_lease_ttl": "soon"}},
        {"type": "shelf", "config": {"default_lease_ttl": "-1s"}},
        {"type": "shelf", "config": {"default_lease_ttl": "2h", "max_lease_ttl": "1h"}},
        {"type": "shelf", "config": {"listing_visibility": "loud"}},
        {"type": "shelf", "options": [1]},
    ],
)
async def test_mount_body_that_is_refused(rig: Rig, body: dict[str, object]) -> None:
    assert (await rig.call("POST", "sys/mounts/new", body)).status == 400


async def test_unknown_type_names_those_there_are(rig: Rig) -> None:
    assert "shelf" in (await rig.call("POST", "sys/mounts/new", {"type": "no-such"})).errors[0]


async def test_mount_as_hvac_sends_it(rig: Rig) -> None:
    config = {"default_lease_ttl": None, "max_lease_ttl": "768h", "force_no_cache": None, "plugin_name": None}
    body = {"type": "shelf", "description": None, "config": config, "options": {"version": 2}, "seal_wrap": False}
    assert (await rig.call("POST", "sys/mounts/new", body)).status == 204
    view = (await rig.call("GET", "sys/mounts/new")).json["data"]
    assert view["options"] == {"version": "2"}
    assert view["config"]["max_lease_ttl"] == 2764800
    assert rig.shelves[-1].context.mount.options == {"version": "2"}


async def test_tune(rig: Rig) -> None:
    body = {"default_lease_ttl": "1h", "description": "tuned", "options": {"a": 1}, "listing_visibility": "unauth"}
    assert (await rig.call("POST", "sys/mounts/shelf/tune", body)).status == 204
    tuned = (await rig.call("GET", "sys/mounts/shelf/tune")).json["data"]
    assert (tuned["default_lease_ttl"], tuned["description"], tuned["options"]) == (3600, "tuned", {"a": "1"})
    assert (await rig.call("POST", "sys/mounts/none/tune", body)).status == 400
    assert (await rig.call("POST", "sys/mounts/sys/tune", body)).status == 400
    assert (await rig.call("POST", "sys/mounts/shelf/tune", {"max_lease_ttl": "60s"})).status == 400
    assert (await rig.call("GET", "sys/mounts/shelf/tune")).json["data"]["max_lease_ttl"] == 2764800


async def test_an_empty_ttl_is_none_given(rig: Rig) -> None:
    """Go clients send both with every tuning, and with every mount."""
    body = {"type": "shelf", "config": {"default_lease_ttl": "", "max_lease_ttl": "2h"}}
    assert (await rig.call("POST", "sys/mounts/new", body)).status == 204
    assert (await rig.call("POST", "sys/mounts/new/tune", {"default_lease_ttl": "1h"})).status == 204
    tune = {"default_lease_ttl": "", "max_lease_ttl": "", "description": "other"}
    assert (await rig.call("POST", "sys/mounts/new/tune", tune)).status == 204
    tuned = (await rig.call("GET", "sys/mounts/new/tune")).json["data"]
    assert (tuned["default_lease_ttl"], tuned["max_lease_ttl"], tuned["description"]) == (3600, 7200, "other")
    assert (await rig.call("POST", "sys/mounts/new/tune", {"default_lease_ttl": "system"})).status == 204
    assert (await rig.call("GET", "sys/mounts/new")).json["data"]["config"]["default_lease_ttl"] == 0


async def test_a_maximum_alone_bounds_the_default(rig: Rig) -> None:
    body = {"type": "shelf", "config": {"max_lease_ttl": "1h"}}
    assert (await rig.call("POST", "sys/mounts/new", body)).status == 204
    tuned = (await rig.call("GET", "sys/mounts/new/tune")).json["data"]
    assert (tuned["default_lease_ttl"], tuned["max_lease_ttl"]) == (3600, 3600)
    assert rig.shelves[-1].context.mount.default_lease_ttl == 3600
    assert (await rig.call("POST", "sys/mounts/new/tune", {"default_lease_ttl": "2h"})).status == 400


@pytest.mark.parametrize("config", [{"max_lease_ttl": "8h"}, {"max_lease_ttl": "8h", "default_lease_ttl": "system"}])
async def test_a_maximum_below_the_systems_default_is_the_default(rig: Rig, config: dict[str, str]) -> None:
    assert (await rig.call("POST", "sys/mounts/short", {"type": "shelf", "config": config})).status == 204
    tuned = (await rig.call("GET", "sys/mounts/short/tune")).json["data"]
    assert (tuned["default_lease_ttl"], tuned["max_lease_ttl"]) == (28800, 28800)
    assert rig.shelves[-1].context.mount.default_lease_ttl == 28800
    assert (await rig.call("GET", "sys/mounts/short")).json["data"]["config"]["default_lease_ttl"] == 0


async def test_disable_takes_the_data_along(rig: Rig) -> None:
    await rig.call("PUT", "shelf/keys/a", {"x": 1})
    assert (await rig.call("DELETE", "sys/mounts/shelf")).status == 204
    assert (await rig.call("GET", "shelf/keys/a")).status == 404
    assert await rig.barrier.storage.list("logical/") == []
    assert rig.shelves[0].closed
    await rig.call("POST", "sys/mounts/shelf", {"type": "shelf"})
    assert (await rig.call("GET", "shelf/keys/a")).body == b'{"errors":[]}\n'


async def test_disable_absent_is_204_and_system_is_400(rig: Rig) -> None:
    assert (await rig.call("DELETE", "sys/mounts/none")).status == 204
    assert (await rig.call("DELETE", "sys/mounts/sys")).status == 400
    assert (await rig.call("DELETE", "sys/mounts/auth/token")).status == 400


async def test_mounts_are_seen_by_every_worker(rig: Rig, make: MakeRig) -> None:
    other = await make()
    other.root_token = rig.root_token
    await rig.call("POST", "sys/mounts/two", {"type": "shelf"})
    assert (await other.call("PUT", "two/keys/a", {"x": 1})).status == 204
    await rig.call("DELETE", "sys/mounts/two")
    assert (await other.call("GET", "two/keys/a")).errors[0].startswith("no handler for route")
    assert all(shelf.closed for shelf in other.shelves if shelf.context.mount.path == "two/")


async def test_enabling_twice_at_once_has_one_winner(rig: Rig, make: MakeRig) -> None:
    other = await make()
    other.root_token = rig.root_token
    calls = [worker.call("POST", "sys/mounts/race", {"type": "shelf"}) for worker in (rig, other) * 3]
    assert sorted(reply.status for reply in await asyncio.gather(*calls)) == [204, 400, 400, 400, 400, 400]


async def test_a_write_that_comes_after_the_unmount_leaves_nothing(rig: Rig, make: MakeRig) -> None:
    """The request was inside the engine of another worker when the mount went."""
    other = await make()
    other.root_token = rig.root_token
    await other.call("GET", "sys/mounts")
    shelf = other.shelves[0]
    shelf.gate = asyncio.Event()
    late = asyncio.create_task(other.call("PUT", "shelf/keys/late", {"x": 1}))
    await shelf.entered.wait()
    await rig.call("DELETE", "sys/mounts/shelf")
    await other.call("GET", "sys/mounts")
    assert not shelf.closed  # somebody is inside
    shelf.gate.set()
    assert (await late).status == 404
    assert shelf.closed
    assert await rig.barrier.storage.list("logical/") == []


async def test_view_of_a_gone_mount_refuses_writes(rig: Rig) -> None:
    view = rig.shelves[0].context.storage
    await view.put("a", b"1")
    assert await view.list("") == ["a"]
    assert await view.delete("a") is True
    await rig.call("DELETE", "sys/mounts/shelf")
    for write in (view.put("a", b"1"), view.delete("a")):
        with pytest.raises(UnsupportedPathError):
            await write


# --- policies -----------------------------------------------------------------------------------------------------


async def test_policy_comes_back_byte_for_byte(rig: Rig) -> None:
    assert (await rig.call("PUT", "sys/policies/acl/App", {"policy": POLICY})).status == 204
    read = (await rig.call("GET", "sys/policies/acl/app")).json["data"]
    assert read.items() >= {"name": "app", "policy": POLICY}.items()
    old = (await rig.call("GET", "sys/policy/app")).json
    assert (old["data"]["name"], old["data"]["rules"]) == ("app", POLICY)
    assert old["rules"] == POLICY
    assert (await rig.call("PUT", "sys/policy/old", {"rules": POLICY})).status == 204
    coded = base64.b64encode(POLICY.encode()).decode()
    assert (await rig.call("PUT", "sys/policy/coded", {"policy": coded})).status == 204
    assert (await rig.call("GET", "sys/policy/coded")).json["rules"] == POLICY


async def test_policy_names(rig: Rig) -> None:
    for method, path in (("LIST", "sys/policies/acl"), ("GET", "sys/policies/acl?list=true")):
        assert (await rig.call(method, path)).json["data"]["keys"] == ["default", "root"]
    listed = (await rig.call("GET", "sys/policy")).json
    assert listed["policies"] == listed["keys"] == listed["data"]["policies"] == ["default", "root"]


@pytest.mark.parametrize(
    ("method", "name", "body", "status"),
    [
        ("GET", "absent", None, 404),
        ("DELETE", "absent", None, 204),
        ("PUT", "root", {"policy": POLICY}, 400),
        ("DELETE", "root", None, 400),
        ("DELETE", "default", None, 400),
        ("PUT", "x", {}, 400),
        ("PUT", "x", {"policy": 'path "x" {'}, 400),
        ("PUT", "x", {"policy": 'path "x" { capabilities = ["fly"] }'}, 400),
    ],
)
async def test_policy_refusals(rig: Rig, method: str, name: str, body: object, status: int) -> None:
    for form in ("policy", "policies/acl"):
        assert (await rig.call(method, f"sys/{form}/{name}", body)).status == status


# --- capabilities -------------------------------------------------------------------------------------------------


async def test_capabilities(rig: Rig) -> None:
    token = await rig.child(POLICY)
    both = (await rig.call("POST", "sys/capabilities-self", {"paths": ["shelf/a", "x"]})).json
    assert both["data"] == {"shelf/a": ["root"], "x": ["root"]}
    asked = {"token": token, "path": "shelf/a"}
    one = (await rig.call("POST", "sys/capabilities", asked)).json
    assert one["capabilities"] == one["shelf/a"] == one["data"]["capabilities"] == ["read"]
    accessor = (await rig.call("POST", "auth/token/lookup", {"token": token})).json["data"]["accessor"]
    by_accessor = await rig.call("POST", "sys/capabilities-accessor", {"accessor": accessor, "paths": "elsewhere"})
    assert by_accessor.json["data"]["elsewhere"] == ["deny"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("sys/capabilities", {"token": "hvs.unknown", "path": "x"}),
        ("sys/capabilities-accessor", {"accessor": "unknown", "path": "x"}),
        ("sys/capabilities-self", {}),
        ("sys/capabilities-self", {"paths": []}),
        ("sys/capabilities-self", {"paths": ["x"] * 1001}),
        ("sys/capabilities-self", {"paths": {"x": 1}}),
    ],
)
async def test_capabilities_refused(rig: Rig, path: str, body: dict[str, object]) -> None:
    assert (await rig.call("POST", path, body)).status == 400


# --- audit --------------------------------------------------------------------------------------------------------


async def test_audit_device_comes_and_goes(rig: Rig) -> None:
    assert (await rig.call("GET", "sys/audit")).json["data"] == {}
    await rig.audited()
    listed = (await rig.call("GET", "sys/audit")).json
    assert listed["file/"]["type"] == listed["data"]["file/"]["type"] == "file"
    hashed = (await rig.call("POST", "sys/audit-hash/file", {"input": rig.root_token})).json["data"]["hash"]
    assert hashed.startswith("hmac-sha256:")
    assert rig.records()[-1]["auth"]["client_token"] == hashed
    assert (await rig.call("DELETE", "sys/audit/file")).status == 204
    assert (await rig.call("DELETE", "sys/audit/file")).status == 204
    assert (await rig.call("GET", "sys/audit")).json["data"] == {}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("sys/audit/x", {}),
        ("sys/audit/x", {"type": "carrier-pigeon"}),
        ("sys/audit/x", {"type": "file"}),
        ("sys/audit/x", {"type": "file", "options": {"file_path": "/dev/null/audit.log"}}),
        ("sys/audit-hash/none", {"input": "x"}),
        ("sys/audit-hash/none", {}),
    ],
)
async def test_audit_refusals(rig: Rig, path: str, body: dict[str, object]) -> None:
    assert (await rig.call("PUT", path, body)).status == 400


# --- keyring, preflight, OpenAPI, HSM -----------------------------------------------------------------------------


async def test_rotate(rig: Rig) -> None:
    before = (await rig.call("GET", "sys/key-status")).json
    assert before["term"] == before["data"]["term"]
    assert (await rig.call("PUT", "sys/rotate")).status == 204
    assert (await rig.call("GET", "sys/key-status")).json["term"] == before["term"] + 1


@pytest.mark.parametrize("path", ["shelf/keys/a", "shelf", "shelf/", "nowhere/x"])
async def test_preflight_refuses_who_may_do_nothing_there(rig: Rig, path: str) -> None:
    token = await rig.child('path "other/*" { capabilities = ["read"] }')
    for used in ("", "hvs.unknown", token):
        reply = await rig.call("GET", f"sys/internal/ui/mounts/{path}", token=used)
        assert reply.status == 403
        assert "preflight capability check returned 403" in reply.errors[0]


async def test_preflight_of_nothing_is_403_for_root_too(rig: Rig) -> None:
    assert (await rig.call("GET", "sys/internal/ui/mounts/nowhere/x")).status == 403


async def test_preflight_wants_any_capability_below_the_mount(rig: Rig) -> None:
    token = await rig.child('path "shelf/keys/one" { capabilities = ["delete"] }')
    data = (await rig.call("GET", "sys/internal/ui/mounts/shelf/keys/other", token=token)).json["data"]
    assert (data["path"], data["type"], data["options"]) == ("shelf/", "shelf", None)


async def test_visible_mounts(rig: Rig) -> None:
    path = "sys/internal/ui/mounts"
    assert (await rig.call("GET", path, token="")).json["data"] == {"auth": {}, "secret": {}}
    assert "shelf/" in (await rig.call("GET", path)).json["data"]["secret"]
    await rig.call("POST", "sys/mounts/shelf/tune", {"listing_visibility": "unauth"})
    assert list((await rig.call("GET", path, token="")).json["data"]["secret"]) == ["shelf/"]


async def test_openapi_describes_every_route(rig: Rig) -> None:
    document = (await rig.call("GET", "sys/internal/specs/openapi")).json
    assert document["openapi"] == "3.1.0"
    assert {"/sys/init", "/sys/health", "/shelf/keys/{name}", "/sys/mounts/{path}"} <= set(document["paths"])
    echo = document["paths"]["/shelf/echo"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    name = echo["$ref"].rsplit("/", 1)[1]
    assert document["components"]["schemas"][name]["properties"]["payload"]["contentEncoding"] == "base64"
    operations = [
        operation["operationId"]
        for item in document["paths"].values()
        for verb, operation in item.items()
        if verb in {"get", "post", "patch", "delete"}
    ]
    assert len(operations) == len(set(operations))
    assert document["paths"]["/shelf/raw"]["get"]["security"] == []


async def test_hsm_status(rig: Rig) -> None:
    assert (await rig.call("GET", "sys/hsm/status", token="")).status == 403
    assert (await rig.call("GET", "sys/hsm/status")).json["data"]["state"] == "ready"


async def test_escrow_challenge(fresh: Rig) -> None:
    made = (await fresh.call("PUT", "sys/init", {}, token="")).json
    fresh.root_token = made["root_token"]
    data = (await fresh.call("POST", "sys/escrow/challenge")).json["data"]
    assert data["escrow_id"] == "escrow-1"
    assert len(base64.b64decode(data["wrapped"])) == 40
    assert len(data["digest"]) == hashlib.sha256().digest_size * 2


async def test_escrow_challenge_after_declining_is_400(rig: Rig) -> None:
    assert (await rig.call("POST", "sys/escrow/challenge")).status == 400
