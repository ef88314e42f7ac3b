"""sys/policies and sys/policy: the fields that clients know, versions, and the spelling of names."""

import base64

import pytest

from appliance.access.policy_versions import NOBODY
from appliance.system.policies_history import unified
from core.clock import rfc3339
from core.errors import CasMismatchError, InvalidRequestError, NotFoundError, PermissionDeniedError
from tests.unit.access.policy_desk import TEAM_A, make_desk

A, B, C = (f'path "{name}" {{ capabilities = ["read"] }}\n' for name in "abc")
P1 = "policies/acl/p1"


@pytest.fixture
def desk(access):
    return make_desk(access.storage, access.clock)


# --- reading and writing ------------------------------------------------------------------------------------------


async def test_reading_tells_what_openbao_tells(desk):
    await desk.write(P1, policy=A)
    modified = rfc3339(desk.clock.now())
    known = {"name": "p1", "version": 1, "modified": modified, "cas_required": False}
    assert await desk.read(P1) == known | {"policy": A}
    assert await desk.read("policy/p1") == known | {"rules": A}


async def test_text_may_come_in_base64_or_as_rules(desk):
    await desk.write("policy/p1", rules=B)
    assert (await desk.read(P1))["policy"] == B
    await desk.write(P1, policy=base64.b64encode(C.encode()).decode())
    assert (await desk.read(P1))["policy"] == C


async def test_a_policy_without_a_text_is_refused(desk):
    with pytest.raises(InvalidRequestError, match="'policy' parameter not supplied or empty"):
        await desk.write(P1)


async def test_an_absent_policy_is_not_found(desk):
    for path in (P1, "policy/p1", f"{P1}/versions", f"{P1}/versions/1", f"{P1}/diff"):
        with pytest.raises(NotFoundError):
            await desk.read(path)
    assert await desk.delete(P1) is None


async def test_lists_have_pages_and_prefixes(desk):
    for name in ("team-a", "team-b", "zebra"):
        await desk.write(f"policies/acl/{name}", policy=A)
    names = ["default", "root", "team-a", "team-b", "zebra"]
    assert await desk.list("policies/acl") == {"keys": names}
    assert await desk.list("policy") == {"keys": names, "policies": names}
    assert await desk.read("policy") == {"keys": names, "policies": names}
    assert await desk.list("policies/acl", query={"after": "default", "limit": "2"}) == {"keys": ["root", "team-a"]}
    for everything in ("0", "-1"):
        assert await desk.list("policies/acl", query={"limit": everything}) == {"keys": names}
    assert await desk.list("policies/acl/team-/") == {"keys": ["team-a", "team-b"]}
    with pytest.raises(NotFoundError):
        await desk.list("policies/acl/nothing-")
    with pytest.raises(InvalidRequestError):
        await desk.list("policies/acl", query={"limit": "many"})


async def test_the_detailed_list_has_what_the_caller_may_read(desk):
    await desk.write("policies/acl/open", policy=A)
    await desk.write("policies/acl/closed", policy=B)
    await desk.write(
        "policies/acl/reader",
        policy='path "sys/policies/detailed/acl" { capabilities = ["list"] }\n'
        'path "sys/policies/acl/open" { capabilities = ["read"] }',
    )
    assert set((await desk.list("policies/detailed/acl"))["keys"]) >= {"open", "closed", "root"}
    assert (await desk.list("policies/detailed/acl", "reader"))["keys"] == ["open"]


# --- names --------------------------------------------------------------------------------------------------------


async def test_another_spelling_needs_the_permission_of_the_stored_one(desk):
    await desk.write("policies/acl/admin", policy=A)
    await desk.write(
        "policies/acl/sly",
        policy='path "sys/policies/acl/*" { capabilities = ["read", "update", "delete"] }\n'
        'path "sys/policies/acl/admin" { capabilities = ["deny"] }\n'
        'path "sys/policy/*" { capabilities = ["read"] }\n'
        'path "sys/policy/admin" { capabilities = ["deny"] }',
    )
    for path in ("policies/acl/Admin", "policies/acl/ admin", "policies/acl/ADMIN", "policy/aDmin"):
        assert (await desk.read(path))["name"] == "admin"
        with pytest.raises(PermissionDeniedError):
            await desk.read(path, "sly")
    for deed in (desk.write, desk.delete):
        with pytest.raises(PermissionDeniedError):
            await deed("policies/acl/Admin", "sly", policy=B)


async def test_history_cannot_be_used_to_walk_around_a_deny(desk):
    await desk.write("policies/acl/admin", policy=A)
    await desk.write("policies/acl/admin", policy=B)
    await desk.write(
        "policies/acl/sly",
        policy='path "sys/policies/acl/*" { capabilities = ["read", "list", "update"] }\n'
        'path "sys/policies/acl/admin" { capabilities = ["deny"] }',
    )
    for name in ("admin", "Admin"):
        for path in (f"policies/acl/{name}/versions", f"policies/acl/{name}/versions/1", f"policies/acl/{name}/diff"):
            with pytest.raises(PermissionDeniedError):
                await desk.read(path, "sly")
        with pytest.raises(PermissionDeniedError):
            await desk.write(f"policies/acl/{name}/rollback", "sly", version=1)
    with pytest.raises(PermissionDeniedError):
        await desk.write("policies/lint", "sly", name="admin")
    assert (await desk.read("policies/acl/admin"))["policy"] == B


@pytest.mark.parametrize("name", ["a b", "ä", "%2e", "x" * 129])
async def test_names_that_are_none(desk, name):
    with pytest.raises(InvalidRequestError, match="policy name"):
        await desk.write(f"policies/acl/{name}", policy=A)


# --- check and set, expiry, patch ---------------------------------------------------------------------------------


async def test_cas(desk):
    await desk.write(P1, policy=A, cas=-1, cas_required=True)
    with pytest.raises(InvalidRequestError, match="check-and-set parameter required"):
        await desk.write(P1, policy=B)
    with pytest.raises(CasMismatchError, match="did not match the current version"):
        await desk.write(P1, policy=B, cas=0)
    assert (await desk.read(P1))["cas_required"] is True
    await desk.write(P1, policy=B, cas="1")
    assert (await desk.read(P1))["cas_required"] is False


@pytest.mark.parametrize(
    "given", [{"ttl": "1h"}, {"expiration": 1_800_003_600}, {"expiration": "2027-01-15T09:00:00Z"}]
)
async def test_expiry(desk, given):
    await desk.write(P1, policy=A, **given)
    read = await desk.read(P1)
    assert (read["expiration"], read["expired"]) == ("2027-01-15T09:00:00.000000Z", False)
    desk.clock.advance(3600)
    read = await desk.read(P1)
    assert (read["policy"], read["expired"]) == (A, True)


@pytest.mark.parametrize(
    "given",
    [
        {"ttl": "1h", "expiration": "2027-01-15T09:00:00Z"},
        {"expiration": "2020-01-01T00:00:00Z"},
        {"expiration": "2027-01-15T09:00:00"},
        {"expiration": "tomorrow"},
        {"expiration": 10**18},
        {"expiration": 1},
        {"ttl": -5},
    ],
)
async def test_expiries_that_are_none(desk, given):
    with pytest.raises(InvalidRequestError):
        await desk.write(P1, policy=A, **given)


async def test_patch_changes_what_it_names(desk):
    await desk.write(P1, policy=A, ttl="1h")
    await desk.patch(P1, cas_required=True)
    read = await desk.read(P1)
    assert (read["policy"], read["version"], read["cas_required"], "expiration" in read) == (A, 2, True, True)
    with pytest.raises(InvalidRequestError, match="check-and-set"):
        await desk.patch(P1, policy=B)
    await desk.patch(P1, policy=B, cas=2, expiration="")
    read = await desk.read(P1)
    assert (read["policy"], read["version"], "expiration" in read) == (B, 3, False)


async def test_patch_makes_nothing_new(desk):
    with pytest.raises(NotFoundError):
        await desk.patch(P1, policy=A)


# --- namespaces ---------------------------------------------------------------------------------------------------


async def test_each_namespace_has_its_own(desk):
    await desk.write(P1, policy=A)
    await desk.write(P1, policy=B, within=TEAM_A)
    assert (await desk.read(P1))["policy"] == A
    assert (await desk.read(P1, within=TEAM_A))["policy"] == B
    assert await desk.list("policies/acl", within=TEAM_A) == {"keys": ["p1"]}
    await desk.delete(P1, within=TEAM_A)
    with pytest.raises(NotFoundError):
        await desk.read(P1, within=TEAM_A)
    assert (await desk.read(P1))["policy"] == A


async def test_the_spelling_is_checked_in_the_namespace(desk):
    await desk.write("policies/acl/admin", policy=A, within=TEAM_A)
    sly = 'path "sys/policies/acl/*" { capabilities = ["read"] }\n'
    sly += 'path "sys/policies/acl/admin" { capabilities = ["deny"] }'
    await desk.write("policies/acl/sly", policy=sly, within=TEAM_A)
    with pytest.raises(PermissionDeniedError):
        await desk.read("policies/acl/Admin", "sly", within=TEAM_A)


# --- history ------------------------------------------------------------------------------------------------------


async def test_versions_name_author_and_time(desk):
    await desk.write(P1, policy=A)
    desk.clock.advance(60)
    await desk.write(P1, policy=B)
    await desk.delete(P1)
    listed = await desk.list(f"{P1}/versions")
    assert listed["keys"] == ["3", "2", "1"]
    assert [view["event"] for view in listed["versions"]] == ["deleted", "written", "written"]
    anna = {"display_name": "anna", "accessor": "acc-1", "entity_id": "e-1"}
    assert listed["key_info"]["1"]["author"] == anna
    assert listed["key_info"]["1"]["written_at"] == rfc3339(desk.clock.now() - 60)
    assert await desk.read(f"{P1}/versions") == listed
    one = await desk.read(f"{P1}/versions/1")
    assert (one["name"], one["policy"], one["version"]) == ("p1", A, 1)
    assert (await desk.read(f"{P1}/versions/3"))["policy"] is None


async def test_what_the_appliance_wrote_has_no_author(desk):
    (first,) = (await desk.list("policies/acl/default/versions"))["versions"]
    assert (first["author"]["display_name"], first["written_at"]) == (NOBODY.display_name, None)


@pytest.mark.parametrize("number", ["0", "2", "99999999999", "x", "-1", "1.0", "¹"])
async def test_versions_that_are_none(desk, number):
    await desk.write(P1, policy=A)
    with pytest.raises((NotFoundError, InvalidRequestError)):
        await desk.read(f"{P1}/versions/{number}")


async def test_the_diff_is_of_the_last_change_unless_told(desk):
    for text in (A, B, C):
        await desk.write(P1, policy=text)
    last = await desk.read(f"{P1}/diff")
    assert (last["from"], last["to"]) == (2, 3)
    assert last["diff"] == f"--- p1 version 2\n+++ p1 version 3\n@@ -1 +1 @@\n-{B}+{C}"
    whole = await desk.read(f"{P1}/diff", query={"from": "1", "to": "3"})
    assert whole["diff"].endswith(f"-{A}+{C}")
    assert (await desk.read(f"{P1}/diff", query={"to": "1"}))["diff"].startswith("--- /dev/null\n+++ p1 version 1\n")
    assert (await desk.read(f"{P1}/diff", query={"from": "2", "to": "2"}))["diff"] == ""
    with pytest.raises(NotFoundError):
        await desk.read(f"{P1}/diff", query={"from": "7"})


async def test_the_diff_shows_a_missing_line_break_and_a_deletion(desk):
    await desk.write(P1, policy=A)
    await desk.write(P1, policy=A.rstrip("\n"))
    assert "\\ No newline at end of file\n" in (await desk.read(f"{P1}/diff"))["diff"]
    await desk.delete(P1)
    assert "@@ -1 +0,0 @@\n-path" in (await desk.read(f"{P1}/diff"))["diff"]


async def test_rolling_back(desk):
    await desk.write(P1, policy=A)
    await desk.write(P1, policy=B)
    assert await desk.write(f"{P1}/rollback", version=1) == {"name": "p1", "version": 3, "restored": 1}
    assert (await desk.read(P1))["policy"] == A
    assert (await desk.list(f"{P1}/versions"))["versions"][0]["restored"] == 1
    for wrong in ({}, {"version": 0}, {"version": -1}, {"version": "x"}):
        with pytest.raises(InvalidRequestError):
            await desk.write(f"{P1}/rollback", **wrong)
    with pytest.raises(CasMismatchError):
        await desk.write(f"{P1}/rollback", version=1, cas=1)


def test_a_diff_that_would_take_minutes_is_refused():
    """Lines that are just rare enough not to be left out cost the product of their counts."""
    text = "".join(f"# {i % 110}\n" for i in range(40_000))
    with pytest.raises(InvalidRequestError, match="too many lines"):
        unified(text, text[1:], ("a", "b"))


def test_a_diff_of_two_thousand_rules_is_shown():
    text = "".join(
        f'# team {i}\npath "secret/data/team-{i}/*" {{\n  capabilities = ["read"]\n}}\n\n' for i in range(2000)
    )
    changed = text.replace("team-700/", "team-seven/").replace("# team 1\n", "")
    shown = unified(text, changed, ("a", "b"))
    assert '-path "secret/data/team-700/*" {\n+path "secret/data/team-seven/*" {\n' in shown
