"""sys/policies/test, explain, lint and format."""

import pytest

from appliance.access.refusals import Refused, refused_by
from appliance.access.subject import EntityView, Facts, Subject
from core.errors import InvalidRequestError, NotFoundError
from tests.unit.access.policy_desk import TEAM_A, TEAM_B, make_desk

GUIDE = """\
# Policy: orders-api can only read its own database credentials
policy "orders-api" {
  path "database/creds/orders-api" {
    capabilities = ["read"]
  }

  # Deny access to everything else
  path "database/creds/*" {
    capabilities = ["deny"]
  }
}
"""
OFFICE = """\
path "secret/data/*" {
  capabilities = ["read", "update"]
  source_cidrs = ["10.0.0.0/8"]
  time_window {
    days = ["mon-fri"]
    hours = "08:00-18:00"
  }
}

path "secret/data/reasoned" {
  capabilities = ["read"]
  require_reason = true
}

path "secret/data/limited" {
  capabilities = ["update"]
  denied_parameters = { "admin" = [] }
}
"""
MONDAY, SUNDAY = "2027-01-18T12:00:00Z", "2027-01-17T12:00:00Z"


@pytest.fixture
async def desk(access):
    made = make_desk(access.storage, access.clock)
    await made.policies.put("orders-api", GUIDE)
    await made.policies.put("office", OFFICE)
    return made


async def trial(desk, path, action="read", **given):
    if "identity" not in given and "policies" not in given:
        given["identity"] = "orders-api"
    return await desk.write("policies/test", path=path, action=action, **given)


# --- trying -------------------------------------------------------------------------------------------------------


async def test_the_guide(desk):
    mine = await trial(desk, "database/creds/orders-api")
    assert mine["allowed"] is True
    assert mine["rules"] == [{"policy": "orders-api", "version": 1, "line": 3, "path": "database/creds/orders-api"}]
    other = await trial(desk, "database/creds/users-api")
    assert (other["allowed"], other["decision"], other["rule"]) == (False, "deny", "database/creds/*")
    assert other["rules"][0]["line"] == 8
    assert other["identity"] == {"kind": "policy", "name": "orders-api", "policies": ["orders-api"]}
    elsewhere = await trial(desk, "secret/data/x")
    assert (elsewhere["allowed"], elsewhere["decision"], elsewhere["rule"]) == (False, "no_rule", "")


@pytest.mark.parametrize(
    "path", ["/database/creds/orders-api", "v1/database/creds/orders-api", " /v1/database/creds/orders-api"]
)
async def test_paths_as_people_copy_them(desk, path):
    assert (await trial(desk, path))["allowed"] is True


async def test_the_newest_version_decides(desk):
    await desk.policies.put("orders-api", 'path "database/creds/*" { capabilities = ["read"] }')
    tried = await trial(desk, "database/creds/users-api")
    assert (tried["allowed"], tried["rules"][0]["version"]) == (True, 2)


async def test_an_entity_has_its_own_policies_and_default(desk):
    desk.identities["root", "web"] = EntityView(id="e", name="web", policies=("orders-api",))
    tried = await trial(desk, "database/creds/orders-api", identity="web")
    assert tried["identity"] == {"kind": "entity", "name": "web", "policies": ["default", "orders-api"]}
    assert tried["allowed"] is True
    assert (await trial(desk, "auth/token/lookup-self", identity="web"))["allowed"] is True


async def test_an_entity_may_come_with_what_its_logins_give(desk):
    entity = EntityView(id="e", name="anna", policies=("office",))
    desk.identities["root", "anna"] = Subject(namespace="root", policies=("orders-api",), entity=entity)
    tried = await trial(desk, "database/creds/orders-api", identity="anna")
    assert tried["allowed"] is True
    assert tried["identity"] == {"kind": "entity", "name": "anna", "policies": ["office", "orders-api"]}


async def test_an_identity_goes_before_a_policy_of_its_name(desk):
    desk.identities["root", "orders-api"] = ("office",)
    tried = await trial(desk, "database/creds/orders-api")
    assert (tried["allowed"], tried["identity"]["kind"]) == (False, "role")


async def test_a_disabled_entity_is_refused_everything(desk):
    desk.identities["root", "web"] = EntityView(id="e", name="web", policies=("orders-api",), disabled=True)
    tried = await trial(desk, "database/creds/orders-api", identity="web")
    assert (tried["allowed"], tried["decision"]) == (False, "disabled")


async def test_a_template_is_tried_as_the_entity(desk):
    await desk.policies.put("own", 'path "users/{{identity.entity.name}}" { capabilities = ["read"] }')
    desk.identities["root", "web"] = EntityView(id="e", name="web", policies=("own",))
    tried = await trial(desk, "users/web", identity="web")
    assert (tried["allowed"], tried["rule"]) == (True, "users/web")
    assert tried["rules"][0]["path"] == "users/{{identity.entity.name}}"
    assert (await trial(desk, "users/db", identity="web"))["allowed"] is False


async def test_conditions_are_tried_with_what_is_given(desk):
    async def office(**given):
        return await trial(desk, "secret/data/x", identity="office", **given)

    assert (await office(at=MONDAY, **{"from": "10.1.2.3"}))["allowed"] is True
    sunday = await office(at=SUNDAY, **{"from": "10.1.2.3"})
    assert (sunday["allowed"], sunday["decision"], sunday["conditional"]) == (False, "condition", True)
    assert "time window" in sunday["condition"]
    assert "source_cidrs" in (await office(at=MONDAY, **{"from": "192.0.2.1"}))["condition"]
    assert "unix socket" in (await office(at=MONDAY))["condition"]


async def test_a_reason_is_tried(desk):
    assert (await trial(desk, "secret/data/reasoned", identity="office", reason="ticket 7"))["allowed"] is True
    headers = {"x-MIMIR-reason": "ticket 7"}
    assert (await trial(desk, "secret/data/reasoned", identity="office", headers=headers))["allowed"] is True
    assert (await trial(desk, "secret/data/reasoned", identity="office"))["allowed"] is False


async def test_parameters_are_tried(desk):
    assert (await trial(desk, "secret/data/limited", "update", identity="office", data={"x": 1}))["allowed"] is True
    refused = await trial(desk, "secret/data/limited", "update", identity="office", data={"Admin": 1})
    assert (refused["allowed"], refused["decision"]) == (False, "constraint")


async def test_an_expired_policy_is_tried_at_its_time(desk):
    await desk.policies.put("soon", 'path "a" { capabilities = ["read"] }', expires_at=desk.clock.now() + 60)
    now = int(desk.clock.now())
    assert (await trial(desk, "a", identity="soon", at=now + 59))["allowed"] is True
    assert (await trial(desk, "a", identity="soon", at=str(now + 60)))["allowed"] is False


async def test_policies_can_be_named_instead(desk):
    tried = await trial(desk, "database/creds/orders-api", policies="default,Orders-API")
    assert (tried["allowed"], tried["identity"]["policies"]) == (True, ["default", "orders-api"])
    assert (await trial(desk, "anything", policies=["root"]))["decision"] == "root"
    assert (await trial(desk, "anything", policies=["absent"]))["allowed"] is False


async def test_a_namespace_is_tried_in_itself(desk):
    await desk.policies.put("orders-api", GUIDE, namespace=TEAM_A.id)
    tried = await trial(desk, "database/creds/orders-api", within=TEAM_A)
    assert (tried["allowed"], tried["rule"]) == (True, "team-a/database/creds/orders-api")
    assert tried["rules"][0]["policy"] == "team-a/orders-api"
    with pytest.raises(InvalidRequestError, match="there is no entity"):
        await trial(desk, "database/creds/orders-api", within=TEAM_B)
    assert (await trial(desk, "anything", policies=["root"], within=TEAM_A))["allowed"] is False


@pytest.mark.parametrize(
    "given",
    [
        {"path": "", "action": "read", "identity": "orders-api"},
        {"path": "a", "action": "", "identity": "orders-api"},
        {"path": "a", "action": "write", "identity": "orders-api"},
        {"path": "a", "action": "deny", "identity": "orders-api"},
        {"path": "a", "action": "read"},
        {"path": "a", "action": "read", "identity": "orders-api", "policies": ["default"]},
        {"path": "a", "action": "read", "identity": "nobody"},
        {"path": "a", "action": "read", "identity": "../default"},
        {"path": "a", "action": "read", "identity": "orders-api", "at": "noon"},
        {"path": "a", "action": "read", "identity": "orders-api", "from": "10.0.0.0/8"},
        {"path": "a", "action": "read", "identity": "orders-api", "from": "localhost"},
    ],
)
async def test_trials_that_are_none(desk, given):
    with pytest.raises(InvalidRequestError):
        await desk.write("policies/test", **given)


# --- explaining ---------------------------------------------------------------------------------------------------


async def test_a_refusal_is_explained(desk):
    acl = await desk.policies.acl(Subject(namespace="root", policies=("orders-api",)))
    facts = Facts(now=desk.clock.now(), address="10.0.0.1", headers={}, data={})
    request = Refused(
        request_id="r-9", at=desk.clock.now(), path="database/creds/users-api", operation="read", accessor="acc-1",
        display_name="token", policies=("orders-api",), address="10.0.0.1",
    )  # fmt: skip
    desk.refusals.note(refused_by(acl.check("database/creds/users-api", "read").refusal(facts), request))
    told = await desk.read("policies/explain/r-9")
    assert (told["policy"], told["version"], told["line"], told["rule"]) == ("orders-api", 1, 8, "database/creds/*")
    assert "denied" in told["reason"]
    assert (told["path"], told["operation"], told["accessor"]) == ("database/creds/users-api", "read", "acc-1")
    assert told["at"].endswith("Z")


async def test_an_unknown_request_is_not_found(desk):
    for request_id in ("r-1", "é", "x" * 5000):
        with pytest.raises(NotFoundError, match="no refusal is noted"):
            await desk.read(f"policies/explain/{request_id}")


async def test_another_namespace_learns_nothing(desk):
    desk.refusals.note(Refused(request_id="r-1", at=1.0, path="secret/x", operation="read", namespace="team-a/"))
    assert (await desk.read("policies/explain/r-1"))["namespace"] == "team-a/"
    assert (await desk.read("policies/explain/r-1", within=TEAM_A))["namespace"] == "team-a/"
    with pytest.raises(NotFoundError):
        await desk.read("policies/explain/r-1", within=TEAM_B)
    desk.refusals.note(Refused(request_id="r-2", at=1.0, path="secret/x", operation="read"))
    with pytest.raises(NotFoundError):
        await desk.read("policies/explain/r-2", within=TEAM_A)


# --- lint and format ----------------------------------------------------------------------------------------------


async def test_lint_of_a_text_knows_what_is_mounted(desk):
    found = (await desk.write("policies/lint", policy='\npath "secret/foo" { capabilities = ["read"] }'))["findings"]
    assert [(finding["line"], finding["rule"], finding["severity"]) for finding in found] == [(2, "kv2-data", "error")]


async def test_lint_of_a_stored_policy(desk):
    await desk.policies.put("p1", 'path "secret/foo" { capabilities = ["read"] }')
    assert len((await desk.write("policies/lint", name="P1"))["findings"]) == 1
    with pytest.raises(NotFoundError):
        await desk.write("policies/lint", name="absent")
    with pytest.raises(InvalidRequestError):
        await desk.write("policies/lint")


async def test_a_text_that_does_not_parse_is_a_finding(desk):
    (found,) = (await desk.write("policies/lint", policy="path {"))["findings"]
    assert (found["rule"], found["severity"]) == ("invalid", "error")
    assert "line 1" in found["message"]


async def test_format_stores_nothing(desk):
    messy = 'path "a" {capabilities=["read"]} # why'
    formatted = await desk.write("policies/format", policy=messy)
    assert formatted == {"policy": 'path "a" {\n  capabilities = ["read"]\n} # why\n', "changed": True}
    assert (await desk.write("policies/format", policy=formatted["policy"]))["changed"] is False
    assert await desk.policies.names() == ["default", "office", "orders-api", "root"]
    with pytest.raises(InvalidRequestError):
        await desk.write("policies/format", policy="path {")
