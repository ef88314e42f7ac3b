"""auth/token/: the fields, sentences and error types that Vault's clients depend on."""

import msgspec
import pytest

from appliance.access.acl import Acl
from appliance.access.request import AccessRequest
from appliance.access.token_routes import token_engine
from core.bodies import parse_body
from core.errors import InvalidRequestError, PermissionDeniedError
from core.requests import NO_CONTENT, Operation, Request

LOOKUP_FIELDS = {
    "id", "accessor", "policies", "path", "meta", "display_name", "num_uses", "orphan", "creation_time", "creation_ttl",
    "ttl", "explicit_max_ttl", "expire_time", "issue_time", "renewable", "entity_id", "type",
}  # fmt: skip


@pytest.fixture
def call(access):
    """call(token, path, body…) as the pipeline would: admitted by its token, the body parsed by the route."""
    engine = token_engine(access.clock, access.tokens, access.policies)
    routes = {route.pattern: route for route in engine.routes}

    async def _call(token, path, operation=Operation.UPDATE, /, **data):
        entry = await access.tokens.authenticate(token)
        acl = await access.policies.acl(entry.policies)
        request = AccessRequest(
            request_id="r", operation=operation, mount_path="auth/token/", path=path, data=data,
            token=token, entry=entry, acl=acl,
        )  # fmt: skip
        method = routes[path].methods[operation]
        return await method.handler(request, parse_body(data, method.body))

    return _call


async def test_creation_answers_vaults_auth(access, call):
    answer = await call(access.root_token, "create", policies=["web"], meta={"user": "armon"}, ttl="1h")
    grant = answer.auth
    assert grant.client_token.startswith("hvs.")
    assert (grant.policies, grant.token_policies) == (["default", "web"], ["default", "web"])
    assert (grant.metadata, grant.lease_duration, grant.renewable) == ({"user": "armon"}, 3600, True)
    assert (grant.orphan, grant.num_uses, grant.token_type, grant.entity_id) == (False, 0, "service", "")
    assert answer.warnings == ['Policy "web" does not exist']
    assert answer.data is None


async def test_the_lesser_of_ttl_and_explicit_max_ttl(access, call):
    answer = await call(access.root_token, "create", ttl="30m", explicit_max_ttl="5m", policies=["default"])
    assert answer.auth.lease_duration == 300
    assert len(answer.warnings) == 1


@pytest.mark.parametrize(("path", "data"), [("create-orphan", {}), ("create", {"no_parent": True})])
async def test_orphans(access, call, path, data):
    answer = await call(access.root_token, path, policies=["default"], **data)
    assert answer.auth.orphan is True
    assert (await access.tokens.authenticate(answer.auth.client_token)).path == f"auth/token/{path}"


async def test_sudo_on_the_path_lifts_the_subset_rule_but_gives_no_root(access, call):
    await access.policies.put("maker", 'path "auth/token/create" { capabilities = ["update", "sudo"] }')
    token = (await call(access.root_token, "create", policies=["maker"])).auth.client_token
    answer = await call(token, "create", policies=["other"], period="1h", id="chosen")
    assert (answer.auth.policies, answer.auth.lease_duration) == (["default", "other"], 3600)
    with pytest.raises(InvalidRequestError, match="without parent token being root"):
        await call(token, "create", policies=["root"])


async def test_without_sudo_the_subset_rule_holds(access, call):
    token = (await call(access.root_token, "create", policies=["web"])).auth.client_token
    with pytest.raises(InvalidRequestError, match=r"^child policies must be subset of parent$"):
        await call(token, "create", policies=["other"])


async def test_lookup_self_has_every_field(access, call):
    token, entry = await access.child(ttl=600)
    access.clock.advance(10)
    data = (await call(token, "lookup-self", Operation.READ)).data
    assert set(data) == LOOKUP_FIELDS
    assert data["id"] == token
    assert (data["ttl"], data["creation_ttl"], data["creation_time"]) == (590, 600, 1_800_000_000)
    assert data["expire_time"] == "2027-01-15T08:10:00.000000Z"
    assert data["issue_time"] == "2027-01-15T08:00:00.000000Z"
    assert (data["meta"], data["policies"], data["accessor"]) == (None, ["default"], entry.accessor)
    assert (data["renewable"], data["orphan"], data["type"], data["entity_id"]) == (True, False, "service", "")
    assert all(type(data[name]) is int for name in ("ttl", "creation_ttl", "creation_time", "explicit_max_ttl"))


async def test_lookup_of_the_root_token(access, call):
    data = (await call(access.root_token, "lookup-self", Operation.READ)).data
    assert (data["ttl"], data["expire_time"], data["orphan"], data["renewable"]) == (0, None, True, False)


async def test_a_period_and_a_renewal_are_shown(access, call):
    token, _ = await access.child(period=60)
    access.clock.advance(30)
    await call(token, "renew-self")
    data = (await call(token, "lookup-self", Operation.READ)).data
    assert (data["period"], data["last_renewal_time"], data["ttl"]) == (60, 1_800_000_030, 60)


async def test_lookup_by_token_and_by_accessor(access, call):
    token, entry = await access.child()
    by_token = (await call(access.root_token, "lookup", token=token)).data
    by_accessor = (await call(access.root_token, "lookup-accessor", accessor=entry.accessor)).data
    assert by_token["id"] == token
    assert by_accessor == by_token | {"id": ""}
    assert (await call(access.root_token, "lookup", token=None)).data["id"] == access.root_token


async def test_what_lookups_do_not_show(access, call):
    """Neither the parent nor the store's name of it: that would be a way up."""
    token, entry = await access.child()
    answer = msgspec.json.encode((await call(token, "lookup-self", Operation.READ)).data)
    assert entry.record_id.encode() not in answer
    assert entry.parent.encode() not in answer


async def test_an_unknown_or_revoked_token_is_a_bad_one(access, call):
    token, entry = await access.child()
    await access.tokens.revoke(entry.record_id)
    for wrong in (token, "hvs.unknown", "\x1b", "x" * 10_000):
        with pytest.raises(PermissionDeniedError, match=r"^bad token$"):
            await call(access.root_token, "lookup", token=wrong)


@pytest.mark.parametrize("path", ["lookup-accessor", "renew-accessor", "revoke-accessor"])
async def test_an_unknown_or_revoked_accessor_is_invalid(access, call, path):
    _, entry = await access.child()
    await access.tokens.revoke(entry.record_id)
    for wrong in (entry.accessor, "unknown", "\x1b", "x" * 10_000):
        with pytest.raises(InvalidRequestError, match=r"^invalid accessor$"):
            await call(access.root_token, path, accessor=wrong)
    with pytest.raises(InvalidRequestError, match=r"^missing accessor$"):
        await call(access.root_token, path)


async def test_a_last_use_can_still_look_itself_up(access, call):
    token, _ = await access.child(num_uses=1)
    data = (await call(token, "lookup-self", Operation.READ)).data
    assert (data["id"], data["num_uses"]) == (token, 0)


@pytest.mark.parametrize("uses", [1, 2])
async def test_a_limited_token_cannot_create_also_with_its_last_use(access, call, uses):
    token, _ = await access.child(num_uses=uses)
    with pytest.raises(InvalidRequestError, match="restricted use token"):
        await call(token, "create")


async def test_renewal_in_all_three_ways(access, call):
    token, entry = await access.child(ttl=600)
    access.clock.advance(500)
    own = (await call(token, "renew-self", increment=100)).auth
    assert (own.client_token, own.lease_duration, own.renewable) == (token, 100, True)
    other = (await call(access.root_token, "renew", token=token, increment="5m")).auth
    assert (other.client_token, other.lease_duration) == (token, 300)
    by_accessor = (await call(access.root_token, "renew-accessor", accessor=entry.accessor)).auth
    assert (by_accessor.client_token, by_accessor.lease_duration, by_accessor.accessor) == ("", 600, entry.accessor)


async def test_a_capped_renewal_says_so(access, call):
    token, _ = await access.child(ttl=600, explicit_max_ttl=900)
    answer = await call(token, "renew-self", increment="1h")
    assert answer.auth.lease_duration == 900
    assert len(answer.warnings) == 1
    assert token not in answer.warnings[0]


async def test_renewals_that_are_refused(access, call):
    token, _ = await access.child(renewable=False)
    with pytest.raises(InvalidRequestError, match=r"^lease is not renewable$"):
        await call(token, "renew-self")
    with pytest.raises(InvalidRequestError, match=r"^missing token ID$"):
        await call(token, "renew")
    with pytest.raises(InvalidRequestError, match=r"^token not found$"):
        await call(token, "renew", token="hvs.unknown")


async def test_revocation_in_all_ways(access, call):
    for path in ("revoke", "revoke-self", "revoke-accessor", "revoke-orphan"):
        token, entry = await access.child()
        caller, data = (token, {}) if path == "revoke-self" else (access.root_token, {"token": token})
        data = {"accessor": entry.accessor} if path == "revoke-accessor" else data
        assert await call(caller, path, **data) is NO_CONTENT
        with pytest.raises(PermissionDeniedError):
            await access.tokens.authenticate(token)


async def test_revoking_an_unknown_token_is_no_error_but_orphaning_by_it_is(access, call):
    assert await call(access.root_token, "revoke", token="hvs.unknown") is NO_CONTENT
    with pytest.raises(InvalidRequestError, match="token to revoke not found"):
        await call(access.root_token, "revoke-orphan", token="hvs.unknown")
    for path in ("revoke", "revoke-orphan"):
        with pytest.raises(InvalidRequestError, match="missing token ID"):
            await call(access.root_token, path)


async def test_accessors_are_listed(access, call):
    _, entry = await access.child()
    keys = (await call(access.root_token, "accessors", Operation.LIST)).data["keys"]
    assert entry.accessor in keys
    assert keys == sorted(keys)


def test_which_routes_ask_for_sudo_and_which_write(access):
    routes = token_engine(access.clock, access.tokens, access.policies).routes
    assert {route.pattern for route in routes if route.sudo} == {"revoke-orphan", "revoke-orphan/{token}", "accessors"}
    assert not any(route.unauthenticated for route in routes)
    quiet = {route.pattern for route in routes if not any(method.mutates for method in route.methods.values())}
    assert quiet == {"lookup", "lookup/{token}", "lookup-self", "lookup-accessor", "accessors", "roles"}


async def test_a_plain_request_is_our_bug(access):
    engine = token_engine(access.clock, access.tokens, access.policies)
    route = next(route for route in engine.routes if route.pattern == "lookup-self")
    request = Request(request_id="r", operation=Operation.READ, mount_path="auth/token/", path="lookup-self")
    with pytest.raises(RuntimeError):
        await route.methods[Operation.READ].handler(request, None)


async def test_the_token_is_not_in_the_requests_repr(access):
    entry = await access.root()
    request = AccessRequest(
        request_id="r", operation=Operation.READ, mount_path="auth/token/", path="lookup-self",
        token=access.root_token, entry=entry, acl=Acl(()),
    )  # fmt: skip
    assert access.root_token not in repr(request)
