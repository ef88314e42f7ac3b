"""auth/token/roles: written, read, listed, deleted, and used by create/<role>."""

import pytest

from appliance.access.token_roles import RoleBody, TokenRole, changed_role
from appliance.namespaces import Namespace
from core.bodies import parse_body
from core.engine import Route
from core.errors import InvalidRequestError, NotFoundError
from core.requests import NO_CONTENT, Operation, Request
from tests.unit.access.token_calls import TokenCalls

TEAM = Namespace(id="abc123", path="team-a/")
DEFAULTS = {
    "allowed_policies": [], "disallowed_policies": [], "allowed_policies_glob": [], "disallowed_policies_glob": [],
    "orphan": False, "renewable": True, "path_suffix": "", "period": 0, "token_period": 0, "explicit_max_ttl": 0,
    "token_explicit_max_ttl": 0, "token_type": "default-service", "token_no_default_policy": False,
    "allowed_entity_aliases": [],
}  # fmt: skip
READ, LIST, DELETE = Operation.READ, Operation.LIST, Operation.DELETE


@pytest.fixture
def call(access):
    return TokenCalls(
        access,
        namespace_path={"root": "", "abc123": "team-a/"}.get,
        namespace_at={"": Namespace(id="root", path=""), "team-a/": TEAM}.get,
    )


async def test_a_role_is_written_read_listed_and_deleted(access, call):
    root = access.root_token
    assert await call(root, "roles/nomad") is NO_CONTENT
    assert (await call(root, "roles/nomad", READ)).data == {"name": "nomad"} | DEFAULTS
    assert (await call(root, "roles", LIST)).data == {"keys": ["nomad"]}
    for _ in range(2):
        assert await call(root, "roles/nomad", DELETE) is NO_CONTENT
    for path, operation in (("roles/nomad", READ), ("roles", LIST)):
        with pytest.raises(NotFoundError, match=r"^$"):
            await call(root, path, operation)


async def test_every_field_comes_back(access, call):
    given = {
        "allowed_policies": "B,a", "disallowed_policies": ["c"], "allowed_policies_glob": "t-*",
        "disallowed_policies_glob": ["x*"], "orphan": "true", "renewable": False, "path_suffix": "v1.2",
        "allowed_entity_aliases": "Web-*", "token_bound_cidrs": ["10.0.0.1/8", "192.0.2.7"], "token_period": "1h",
        "token_explicit_max_ttl": 7200, "token_no_default_policy": True, "token_num_uses": 3,
        "token_type": "default-batch",
    }  # fmt: skip
    await call(access.root_token, "roles/r", **given)
    assert (await call(access.root_token, "roles/r", READ)).data == DEFAULTS | {
        "name": "r", "allowed_policies": ["a", "b"], "disallowed_policies": ["c"], "allowed_policies_glob": ["t-*"],
        "disallowed_policies_glob": ["x*"], "orphan": True, "renewable": False, "path_suffix": "v1.2",
        "allowed_entity_aliases": ["web-*"], "token_bound_cidrs": ["10.0.0.0/8", "192.0.2.7/32"], "token_period": 3600,
        "token_explicit_max_ttl": 7200, "token_no_default_policy": True, "token_num_uses": 3,
        "token_type": "default-batch",
    }  # fmt: skip


async def test_what_is_absent_stays_and_what_is_empty_goes(access, call):
    await call(access.root_token, "roles/r", allowed_policies=["a"], token_period=60, renewable=False)
    await call(access.root_token, "roles/r", orphan=True, allowed_policies=[], token_period=None)
    data = (await call(access.root_token, "roles/r", READ)).data
    assert (data["allowed_policies"], data["token_period"]) == ([], 60)
    assert (data["orphan"], data["renewable"]) == (True, False)


async def test_the_older_names_still_work_and_the_newer_ones_win(access, call):
    await call(access.root_token, "roles/r", period=60, explicit_max_ttl=90, bound_cidrs="10.0.0.0/8")
    data = (await call(access.root_token, "roles/r", READ)).data
    assert (data["period"], data["token_period"]) == (60, 60)
    assert (data["explicit_max_ttl"], data["token_explicit_max_ttl"]) == (90, 90)
    assert data["bound_cidrs"] == data["token_bound_cidrs"] == ["10.0.0.0/8"]
    answer = await call(access.root_token, "roles/r", period=5, token_period=7)
    assert answer.warnings == [
        "Both 'token_period' and deprecated 'period' value supplied, ignoring the deprecated value"
    ]
    data = (await call(access.root_token, "roles/r", READ)).data
    assert (data["period"], data["token_period"]) == (0, 7)


async def test_a_limit_beyond_the_systems_gets_a_warning(access, call):
    answer = await call(access.root_token, "roles/r", token_explicit_max_ttl="1000h")
    assert "greater than system/mount allowed value" in answer.warnings[0]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"token_type": "s3cret"}, "invalid 'token_type' value"),
        ({"token_type": "default"}, "invalid 'token_type' value"),
        ({"token_type": "batch", "renewable": False}, "set to generate non-orphan tokens"),
        ({"token_type": "batch", "orphan": True}, "set to generate renewable tokens"),
        ({"token_type": "batch", "orphan": True, "renewable": False, "period": 1}, "periodic tokens"),
        ({"token_type": "batch", "orphan": True, "renewable": False, "token_period": 1}, "periodic tokens"),
        ({"token_type": "batch", "orphan": True, "renewable": False, "explicit_max_ttl": 1}, "an explicit max TTL"),
        ({"token_type": "batch", "orphan": True, "renewable": False, "token_num_uses": 1}, "limited use count"),
        ({"path_suffix": "a/b"}, "invalid characters"),
        ({"path_suffix": "ab"}, "invalid characters"),
        ({"path_suffix": "-ab"}, "invalid characters"),
        ({"path_suffix": "a..b"}, "parent references"),
        ({"path_suffix": "a" * 129}, "invalid characters"),
        ({"token_bound_cidrs": "here"}, "token_bound_cidrs must be networks"),
        ({"bound_cidrs": "10.0.0.0/33"}, "bound_cidrs must be networks"),
        ({"allowed_policies": "a/b"}, "a policy name is"),
        ({"allowed_policies": [f"p{i}" for i in range(257)]}, "at most 256 names"),
        ({"allowed_policies_glob": "a/*"}, "may hold policy names"),
        ({"allowed_entity_aliases": "x" * 257}, "at most 256 characters"),
        ({"token_num_uses": -1}, "token_num_uses must be"),
        ({"token_num_uses": 2**31}, "token_num_uses must be"),
        ({"token_period": "-1s"}, "must not be negative"),
        ({"orphan": "perhaps"}, "orphan must be true or false"),
    ],
)
async def test_a_role_that_makes_no_sense_is_refused_and_nothing_is_stored(access, call, data, sentence):
    with pytest.raises(InvalidRequestError, match=sentence) as caught:
        await call(access.root_token, "roles/r", **data)
    assert "s3cret" not in str(caught.value)
    with pytest.raises(NotFoundError):
        await call(access.root_token, "roles/r", READ)


@pytest.mark.parametrize("name", ["-a", "a-", ".", "..", "a b", "é", "a" * 129, "a\x1b", "*"])
async def test_names_that_no_role_has(access, call, name):
    with pytest.raises(InvalidRequestError, match="a role name is"):
        await call(access.root_token, f"roles/{name}")
    with pytest.raises(NotFoundError):
        await call(access.root_token, f"roles/{name}", READ)
    assert await call(access.root_token, f"roles/{name}", DELETE) is NO_CONTENT


def test_changing_another_field_keeps_a_batch_role_sound():
    role = TokenRole(name="r", token_type="batch", orphan=True, renewable=False)
    for field in ({"orphan": False}, {"renewable": True}, {"token_period": 1}):
        with pytest.raises(InvalidRequestError, match="cannot be 'batch'"):
            changed_role(role, parse_body(field, RoleBody))


# --- tokens of a role ---------------------------------------------------------------------------------------------


async def test_a_token_of_a_role(access, call):
    await call(
        access.root_token, "roles/web", allowed_policies="web", orphan=True, path_suffix="v1.0", token_period=600
    )
    answer = await call(access.root_token, "create/web")
    assert answer.auth.policies == ["default", "web"]
    assert (answer.auth.orphan, answer.auth.lease_duration) == (True, 600)
    data = (await call(answer.auth.client_token, "lookup-self", READ)).data
    assert (data["role"], data["path"], data["orphan"]) == ("web", "auth/token/create/web/v1.0", True)


async def test_an_unknown_role_makes_no_token(access, call):
    with pytest.raises(InvalidRequestError, match=r"^unknown role nobody$"):
        await call(access.root_token, "create/nobody")


async def test_a_batch_role_makes_batch_tokens(access, call):
    await call(access.root_token, "roles/m", token_type="batch", orphan=True, renewable=False, allowed_policies="m")
    answer = await call(access.root_token, "create/m", type="service", ttl=60)
    assert (answer.auth.token_type, answer.auth.accessor, answer.auth.renewable) == ("batch", "", False)
    assert answer.auth.client_token.startswith("hvb.")
    with pytest.raises(InvalidRequestError, match="num_uses"):
        await call(access.root_token, "create/m", num_uses=1)


async def test_bound_networks_of_a_role_are_shown(access, call):
    await call(access.root_token, "roles/b", token_bound_cidrs="192.0.2.0/24")
    token = (await call(access.root_token, "create/b", policies="default")).auth.client_token
    assert (await call(token, "lookup-self", READ)).data["bound_cidrs"] == ["192.0.2.0/24"]


async def test_renewal_goes_by_the_role_as_it_is_now(access, call):
    await call(access.root_token, "roles/p", token_period=600, allowed_policies="default")
    token = (await call(access.root_token, "create/p")).auth.client_token
    await call(access.root_token, "roles/p", token_period=60, token_explicit_max_ttl=100)
    assert (await call(token, "renew-self")).auth.lease_duration == 60
    access.clock.advance(59)
    assert (await call(token, "renew-self")).auth.lease_duration == 41
    await call(access.root_token, "roles/p", DELETE)
    with pytest.raises(InvalidRequestError, match='role "p" could not be found, not renewing'):
        await call(token, "renew-self")


# --- namespaces ---------------------------------------------------------------------------------------------------


async def test_each_namespace_has_roles_of_its_own(access, call):
    root = access.root_token
    await call(root, "roles/r", orphan=True)
    with pytest.raises(NotFoundError):
        await call(root, "roles/r", READ, within=TEAM)
    with pytest.raises(InvalidRequestError, match="unknown role"):
        await call(root, "create/r", within=TEAM, policies="x")
    await call(root, "roles/r", within=TEAM)
    assert (await call(root, "roles/r", READ, within=TEAM)).data["orphan"] is False
    await call(root, "roles/r", DELETE, within=TEAM)
    assert (await call(root, "roles/r", READ)).data["orphan"] is True


async def test_whether_a_role_exists_is_asked_where_the_request_is_made(access, call):
    await call(access.root_token, "roles/r", within=TEAM)
    route: Route = call.routes.find("roles/r")[0]
    for namespace, expected in (("team-a/", True), ("", False), ("team-b/", False)):
        request = Request(
            request_id="r", operation=Operation.UPDATE, mount_path="auth/token/", path="roles/r",
            params={"role_name": "r"}, namespace=namespace,
        )  # fmt: skip
        assert await route.exists(request) is expected
