"""Policies through the whole pipeline: two workers, refusals that any of them explains, versions, conditions."""

import pytest

from tests.unit.pipeline.rig import MakeRig, Rig

READ = 'path "shelf/keys/*" { capabilities = ["create", "read", "update"] }\n'
GUIDE = """\
policy "orders-api" {
  path "shelf/keys/orders" {
    capabilities = ["read"]
  }

  # Deny access to everything else
  path "shelf/keys/*" {
    capabilities = ["deny"]
  }
}
"""


@pytest.fixture
async def pair(rig: Rig, make: MakeRig) -> tuple[Rig, Rig]:
    """Two workers of one node."""
    other = await make()
    other.root_token = rig.root_token
    assert (await other.call("GET", "sys/mounts")).status == 200
    return rig, other


async def refused(rig: Rig, token: str, path: str = "shelf/keys/users") -> str:
    reply = await rig.call("GET", path, token=token)
    assert (reply.status, reply.errors) == (403, ["permission denied"])
    assert set(reply.json) == {"errors", "request_id"}
    return str(reply.json["request_id"])


async def test_a_refusal_is_explained_by_the_other_worker(pair: tuple[Rig, Rig]) -> None:
    rig, other = pair
    token = await rig.child(GUIDE, name="orders-api")
    request_id = await refused(rig, token)
    told = (await other.call("GET", f"sys/policies/explain/{request_id}")).json["data"]
    assert (told["policy"], told["version"], told["line"]) == ("orders-api", 1, 7)
    assert (told["operation"], told["path"], told["rule"]) == ("read", "shelf/keys/users", "shelf/keys/*")
    assert told["policies"] == ["default", "orders-api"]
    assert token not in str(told)


async def test_a_caller_does_not_explain_its_own_refusal(rig: Rig) -> None:
    token = await rig.child(GUIDE, name="orders-api")
    request_id = await refused(rig, token)
    assert (await rig.call("GET", f"sys/policies/explain/{request_id}", token=token)).status == 403


async def test_without_a_live_token_no_policy_has_refused(rig: Rig) -> None:
    request_id = await refused(rig, "hvs.wrong")
    assert (await rig.call("GET", f"sys/policies/explain/{request_id}")).status == 404


async def test_the_trial_says_what_happens(rig: Rig) -> None:
    token = await rig.child(GUIDE, name="orders-api")
    for path, wanted in (("shelf/keys/orders", True), ("shelf/keys/users", False), ("sys/mounts", False)):
        body = {"identity": "orders-api", "path": path, "action": "read"}
        reply = await rig.call("POST", "sys/policies/test", body)
        assert reply.json["data"]["allowed"] is wanted
        assert ((await rig.call("GET", path, token=token)).status == 403) is not wanted


async def test_a_trial_needs_permission(rig: Rig) -> None:
    token = await rig.child(READ, name="reader")
    for path in ("sys/policies/test", "sys/policies/lint", "sys/policies/format", "sys/policies/acl/reader/rollback"):
        assert (await rig.call("POST", path, {"policy": READ}, token=token)).status == 403


async def test_a_rolled_back_policy_is_in_force_in_the_other_worker(pair: tuple[Rig, Rig]) -> None:
    rig, other = pair
    token = await rig.child(READ, name="team")
    assert (await other.call("PUT", "shelf/keys/users", {"a": 1}, token=token)).status == 204
    denied = {"policy": 'path "shelf/keys/*" { capabilities = ["deny"] }'}
    assert (await rig.call("PUT", "sys/policies/acl/team", denied)).status == 204
    await refused(other, token)
    reply = await rig.call("POST", "sys/policies/acl/team/rollback", {"version": 1})
    assert reply.json["data"]["version"] == 3
    assert (await other.call("GET", "shelf/keys/users", token=token)).status == 200
    versions = (await other.call("GET", "sys/policies/acl/team/versions")).json["data"]["versions"]
    assert [(view["version"], view["author"]["display_name"]) for view in versions] == [
        (3, "root"),
        (2, "root"),
        (1, "root"),
    ]
    diff = (await rig.call("GET", "sys/policies/acl/team/diff?from=1&to=2")).json["data"]["diff"]
    assert diff.startswith("--- team version 1\n+++ team version 2\n")


async def test_an_expired_policy_grants_nothing_to_a_token_in_use(rig: Rig) -> None:
    token = await rig.child(READ, name="brief")
    assert (await rig.call("PUT", "sys/policies/acl/brief", {"policy": READ, "ttl": "1m"})).status == 204
    await rig.call("PUT", "shelf/keys/users", {"a": 1}, token=token)
    for _ in range(3):
        assert (await rig.call("GET", "shelf/keys/users", token=token)).status == 200
    rig.clock.advance(60)
    await refused(rig, token)
    assert (await rig.call("GET", "sys/policies/acl/brief")).json["data"]["expired"] is True


async def test_a_condition_on_the_request_is_asked_every_time(rig: Rig) -> None:
    text = 'path "shelf/keys/*" {\n capabilities = ["read"]\n require_reason = true\n}'
    token = await rig.child(text, name="reasoned")
    assert (await rig.call("PUT", "shelf/keys/users", {"a": 1})).status == 204
    for _ in range(2):
        reply = await rig.call("GET", "shelf/keys/users", token=token, headers={"X-Mimir-Reason": "ticket 7"})
        assert reply.status == 200
        request_id = await refused(rig, token)
    told = (await rig.call("GET", f"sys/policies/explain/{request_id}")).json["data"]
    assert "reason" in told["condition"]


async def test_patch_of_a_policy(rig: Rig) -> None:
    assert (await rig.call("PUT", "sys/policies/acl/p", {"policy": READ})).status == 204
    headers = {"Content-Type": "application/merge-patch+json"}
    assert (await rig.call("PATCH", "sys/policies/acl/p", {"cas_required": True}, headers=headers)).status == 204
    read = (await rig.call("GET", "sys/policies/acl/p")).json["data"]
    assert (read["policy"], read["version"], read["cas_required"]) == (READ, 2, True)
    assert (await rig.call("PUT", "sys/policies/acl/p", {"policy": READ})).status == 400
    assert (await rig.call("PUT", "sys/policies/acl/p", {"policy": READ, "cas": 1})).status == 400
    assert (await rig.call("PUT", "sys/policies/acl/p", {"policy": READ, "cas": 2})).status == 204


async def test_namespaces_have_policies_of_their_own(rig: Rig) -> None:
    assert (await rig.call("POST", "sys/namespaces/team-a", {})).status == 200
    inside = {"X-Vault-Namespace": "team-a"}
    assert (await rig.call("PUT", "sys/policies/acl/p", {"policy": READ}, headers=inside)).status == 204
    assert (await rig.call("GET", "sys/policies/acl/p")).status == 404
    assert (await rig.call("LIST", "sys/policies/acl", headers=inside)).json["data"]["keys"] == ["default", "p"]
    body = {"identity": "p", "path": "shelf/keys/x", "action": "read"}
    tried = (await rig.call("POST", "sys/policies/test", body, headers=inside)).json["data"]
    assert (tried["allowed"], tried["rule"]) == (True, "team-a/shelf/keys/*")
    assert (await rig.call("POST", "sys/policies/test", body)).status == 400


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "sys/policies/acl/p/versions/0", None),
        ("GET", "sys/policies/acl/p/versions/x", None),
        ("GET", "sys/policies/acl/p/diff?from=x", None),
        ("POST", "sys/policies/acl/p/rollback", {"version": "x"}),
        ("POST", "sys/policies/acl/p/rollback", {"version": -1}),
        ("POST", "sys/policies/acl/p/rollback", {"version": 10**30}),
        ("POST", "sys/policies/test", {"path": "a", "action": "fly", "identity": "p"}),
        ("POST", "sys/policies/test", {"path": "a", "action": "read", "identity": "p", "at": 10**30}),
        ("POST", "sys/policies/test", {"path": "a", "action": "read", "identity": "p", "at": -1}),
        ("POST", "sys/policies/test", {"path": "a", "action": "read", "identity": "p", "data": []}),
        ("POST", "sys/policies/test", {"path": "a\x00b", "action": "read", "identity": "\x00"}),
        ("POST", "sys/policies/lint", {"name": "../x"}),
        ("POST", "sys/policies/format", {"policy": "path {"}),
        ("GET", "sys/policies/explain/" + "x" * 3000, None),
        ("PUT", "sys/policies/acl/p", {"policy": READ, "cas": "x"}),
        ("PUT", "sys/policies/acl/p", {"policy": READ, "expiration": 10**30}),
        ("PUT", "sys/policies/acl/p", {"policy": READ, "expiration": -1}),
        ("PUT", "sys/policies/acl/p", {"policy": READ, "expiration": "9999-12-31T23:59:59+99:99"}),
        ("PUT", "sys/policies/acl/p", {"policy": READ, "ttl": 2**53}),
        ("LIST", "sys/policies/acl?limit=x", None),
        ("LIST", "sys/policies/acl/zzz", None),
    ],
)
async def test_bad_input_is_the_callers_fault(rig: Rig, method: str, path: str, body: object) -> None:
    assert (await rig.call("PUT", "sys/policies/acl/p", {"policy": READ})).status == 204
    assert (await rig.call(method, path, body)).status in {400, 404}


@pytest.mark.parametrize("at", [253402300799, 1, "9999-12-31T23:59:59Z"])
async def test_a_trial_at_the_end_of_time_is_answered(rig: Rig, at: object) -> None:
    """In Tokyo the year 10000 has begun by then, which no calendar here knows."""
    windows = 'path "shelf/*" { capabilities = ["read"]\n time_window { hours = "08:00-09:00"\n timezone = "%s" } }'
    for zone in ("Asia/Tokyo", "America/New_York"):
        assert (await rig.call("PUT", "sys/policies/acl/w", {"policy": windows % zone})).status == 204
        body = {"policies": ["w"], "path": "shelf/keys/a", "action": "read", "at": at}
        reply = await rig.call("POST", "sys/policies/test", body)
        assert reply.status in {200, 400}, reply.body


@pytest.mark.parametrize(
    "rule", ['allowed_parameters = { "version" = ["1"] }', 'denied_parameters = { "version" = ["2"] }']
)
@pytest.mark.parametrize(
    "body", [None, {"version": "1"}, {"x": 1}, b"version=1"], ids=["none", "same", "other", "form"]
)
async def test_a_body_hides_no_query_from_policies(rig: Rig, body: object, rule: str) -> None:
    token = await rig.child(f'path "shelf/keys/*" {{ capabilities = ["read"]\n {rule} }}')
    assert (await rig.call("PUT", "shelf/keys/a", {"a": 1})).status == 204
    form = {"Content-Type": "application/x-www-form-urlencoded"} if isinstance(body, bytes) else None
    assert (await rig.call("GET", "shelf/keys/a?version=2", body, token=token, headers=form)).status == 403
    assert (await rig.call("GET", "shelf/keys/a?version=1", token=token)).status == 200
