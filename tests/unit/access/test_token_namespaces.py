"""auth/token/ between namespaces: an operation reaches its own namespace and those below, nothing else."""

import pytest

from appliance.access.subject import EntityView
from appliance.namespaces import ROOT, Namespace
from core.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from core.requests import NO_CONTENT, Operation
from tests.unit.access.token_calls import TokenCalls

TEAM = Namespace(id="abc123", path="team-a/")
BELOW = Namespace(id="def456", path="team-a/pay/")
OTHER = Namespace(id="ghi789", path="team-ab/")
ALL = (ROOT, TEAM, BELOW, OTHER)
PATHS = {namespace.id: namespace.path for namespace in ALL}
REACH = {"root": {"root", "abc123", "def456", "ghi789"}, "abc123": {"abc123", "def456"}, "def456": {"def456"}}


@pytest.fixture
def call(access):
    return TokenCalls(access, namespace_path=PATHS.get)


async def token_in(access, namespace, **changes):
    return await access.child(orphan=True, namespace=namespace.id, **changes)


@pytest.mark.parametrize("asked", [ROOT, TEAM, BELOW], ids=lambda namespace: namespace.id)
@pytest.mark.parametrize("home", ALL, ids=lambda namespace: namespace.id)
async def test_a_token_elsewhere_is_as_if_it_did_not_exist(access, call, asked, home):
    root, (token, entry) = access.root_token, await token_in(access, home)
    if home.id in REACH[asked.id]:
        assert (await call(root, "lookup", within=asked, token=token)).data["id"] == token
        assert (await call(root, "lookup-accessor", within=asked, accessor=entry.accessor)).data["id"] == ""
        assert (await call(root, "renew", within=asked, token=token)).auth
        assert await call(root, "revoke", within=asked, token=token) is NO_CONTENT
        assert await access.tokens.find(token) is None
        return
    with pytest.raises(PermissionDeniedError, match=r"^bad token$"):
        await call(root, "lookup", within=asked, token=token)
    with pytest.raises(InvalidRequestError, match=r"^token not found$"):
        await call(root, "renew", within=asked, token=token)
    with pytest.raises(InvalidRequestError, match=r"^token to revoke not found$"):
        await call(root, "revoke-orphan", within=asked, token=token)
    for path in ("lookup-accessor", "renew-accessor", "revoke-accessor"):
        with pytest.raises(InvalidRequestError, match=r"^invalid accessor$"):
            await call(root, path, within=asked, accessor=entry.accessor)
    assert await call(root, "revoke", within=asked, token=token) is NO_CONTENT
    assert await access.tokens.find(token)


async def test_accessors_are_those_of_the_namespace_and_below(access, call):
    made = {namespace.id: (await token_in(access, namespace))[1].accessor for namespace in ALL}
    for asked in (TEAM, BELOW):
        keys = (await call(access.root_token, "accessors", Operation.LIST, within=asked)).data["keys"]
        assert keys == sorted(made[name] for name in REACH[asked.id])


async def test_a_namespace_without_tokens_lists_none(access, call):
    with pytest.raises(NotFoundError, match=r"^$"):
        await call(access.root_token, "accessors", Operation.LIST, within=TEAM)


async def test_a_token_made_in_a_namespace_is_of_that_namespace(access, call):
    answer = await call(access.root_token, "create", within=TEAM, policies="web")
    token = answer.auth.client_token
    assert (answer.auth.policies, answer.auth.orphan) == (["default", "web"], False)
    data = (await call(token, "lookup-self", Operation.READ)).data
    assert (data["namespace_path"], data["path"]) == ("team-a/", "auth/token/create")
    assert "namespace_path" not in (await call(access.root_token, "lookup-self", Operation.READ)).data


async def test_sudo_is_asked_for_at_the_full_path(access, call):
    """Sudo at auth/token/create of the parent is none at the namespace's."""
    await access.policies.put("m", 'path "auth/token/create" { capabilities = ["update", "sudo"] }')
    await access.policies.put("n", 'path "team-a/auth/token/create" { capabilities = ["update", "sudo"] }')
    for policy, allowed in (("m", False), ("n", True)):
        token, _ = await access.child(policies=(policy,))
        if allowed:
            assert (await call(token, "create", within=TEAM, policies="x")).auth.policies == ["default", "x"]
        else:
            with pytest.raises(InvalidRequestError, match="in a child namespace"):
                await call(token, "create", within=TEAM, policies="x")


# --- identity -----------------------------------------------------------------------------------------------------


def entity(**changes):
    return EntityView(**{"id": "e1", "name": "web", "policies": ("from-group",)} | changes)


@pytest.fixture
def call_as(access):
    def make(view, **parts):
        async def entity_of(entity_id):
            return view if view and entity_id == view.id else None

        return TokenCalls(access, namespace_path=PATHS.get, entity_of=entity_of, **parts)

    return make


async def test_policies_of_the_entity_are_shown_apart(access, call_as):
    call = call_as(entity())
    token, _ = await access.child(entity_id="e1")
    data = (await call(token, "lookup-self", Operation.READ)).data
    assert (data["identity_policies"], data["external_namespace_policies"]) == (["from-group"], {})
    grant = (await call(token, "create")).auth
    assert (grant.policies, grant.token_policies) == (["default", "from-group"], ["default"])
    assert (grant.identity_policies, grant.entity_id) == (["from-group"], "e1")


async def test_policies_of_an_entity_elsewhere_are_not_the_tokens(access, call_as):
    call = call_as(entity(namespace=TEAM.id))
    token, _ = await access.child(entity_id="e1")
    data = (await call(token, "lookup-self", Operation.READ)).data
    assert data["external_namespace_policies"] == {"team-a/": ["from-group"]}
    assert "identity_policies" not in data
    assert (await call(token, "create")).auth.identity_policies == []


@pytest.mark.parametrize("view", [None, entity(policies=())])
async def test_an_entity_without_policies_shows_none(access, call_as, view):
    token, _ = await access.child(entity_id="e1")
    data = (await call_as(view)(token, "lookup-self", Operation.READ)).data
    assert "identity_policies" not in data
    assert data["entity_id"] == "e1"


async def test_a_listed_alias_is_resolved_in_the_requests_namespace(access, call_as):
    asked = []

    async def resolve(namespace, name):
        asked.append((namespace, name))
        return "e1"

    call = call_as(entity(), resolve_alias=resolve)
    await call(access.root_token, "roles/r", within=TEAM, allowed_entity_aliases="Web*")
    grant = (await call(access.root_token, "create/r", within=TEAM, entity_alias="Web-1")).auth
    assert (grant.entity_id, asked) == ("e1", [("abc123", "Web-1")])
    for path, alias in (("create/r", "db"), ("create", "Web-1")):
        with pytest.raises(InvalidRequestError, match="entity_alias"):
            await call(access.root_token, path, within=TEAM, entity_alias=alias)
    assert len(asked) == 1


async def test_a_disabled_entity_gets_no_token(access, call_as):
    async def resolve(_namespace, _name):
        return "e1"

    call = call_as(entity(disabled=True), resolve_alias=resolve)
    await call(access.root_token, "roles/r", allowed_entity_aliases="*")
    with pytest.raises(PermissionDeniedError, match="entity from given entity alias is disabled"):
        await call(access.root_token, "create/r", entity_alias="x")
