"""auth/token/: the fields, sentences and error types that Vault's clients depend on."""

import msgspec
import pytest

from appliance.access.acl import Acl
from appliance.access.request import AccessRequest
from appliance.access.token_hash import without_tokens
from appliance.access.token_routes import token_engine
from appliance.access.tokens import TokenEntry, check_address
from appliance.namespaces import Namespace
from core.errors import InvalidRequestError, PermissionDeniedError
from core.requests import NO_CONTENT, Login, Operation, Request
from tests.unit.access.token_calls import TokenCalls

LOOKUP_FIELDS = {
    "id", "accessor", "policies", "path", "meta", "display_name", "num_uses", "orphan", "creation_time", "creation_ttl",
    "ttl", "explicit_max_ttl", "expire_time", "issue_time", "renewable", "entity_id", "type",
}  # fmt: skip


@pytest.fixture
def call(access):
    return TokenCalls(access)


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
    assert {route.pattern for route in routes if route.sudo} == {
        "revoke-orphan", "revoke-orphan/{token}", "accessors", "batch-key/rotate",
    }  # fmt: skip

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


# --- the token in the path ----------------------------------------------------------------------------------------


async def test_older_clients_put_the_token_into_the_path(access, call):
    token, _ = await access.child(ttl=600)
    for operation in (Operation.READ, Operation.UPDATE):
        assert (await call(access.root_token, f"lookup/{token}", operation)).data["id"] == token
    assert (await call(access.root_token, f"renew/{token}", increment=60)).auth.lease_duration == 60
    assert await call(access.root_token, f"revoke/{token}") is NO_CONTENT
    assert await access.tokens.find(token) is None
    token, parent = await access.child()
    child, _ = await access.child(parent)
    assert await call(access.root_token, f"revoke-orphan/{token}") is NO_CONTENT
    assert (await access.tokens.find(child)).orphan


async def test_the_path_goes_before_the_body(access, call):
    one, _ = await access.child()
    other, _ = await access.child()
    await call(access.root_token, f"revoke/{one}", token=other)
    assert await access.tokens.find(one) is None
    assert await access.tokens.find(other)


async def test_an_unknown_token_in_the_path_is_a_bad_one(access, call):
    for operation in (Operation.READ, Operation.UPDATE):
        with pytest.raises(PermissionDeniedError, match=r"^bad token$"):
            await call(access.root_token, "lookup/hvs.unknown", operation)


# --- batch tokens -------------------------------------------------------------------------------------------------


@pytest.fixture
async def batch(access, call):
    return (await call(access.root_token, "create", type="batch", ttl=600, policies="default,web")).auth


async def test_a_batch_token_is_answered_as_vault_does(access, call, batch):
    assert batch.client_token.startswith("hvb.")
    assert (batch.token_type, batch.accessor, batch.renewable, batch.orphan) == ("batch", "", False, False)
    access.clock.advance(10)
    own = (await call(batch.client_token, "lookup-self", Operation.READ)).data
    other = (await call(access.root_token, "lookup", token=batch.client_token)).data
    assert own == other
    assert set(own) == LOOKUP_FIELDS
    assert (own["type"], own["accessor"], own["renewable"], own["num_uses"]) == ("batch", "", False, 0)
    assert (own["creation_ttl"], own["ttl"], own["explicit_max_ttl"], own["orphan"]) == (600, 590, 0, False)
    assert own["expire_time"].endswith("Z")


@pytest.mark.parametrize(
    ("path", "by_itself", "sentence"),
    [
        ("create", True, "batch tokens cannot create more tokens"),
        ("create-orphan", True, "batch tokens cannot create more tokens"),
        ("renew-self", True, "batch tokens cannot be renewed"),
        ("renew", False, "batch tokens cannot be renewed"),
        ("revoke-self", True, "batch tokens cannot be revoked"),
        ("revoke", False, "batch tokens cannot be revoked"),
        ("revoke-orphan", False, "batch tokens cannot be revoked"),
    ],
)
async def test_what_batch_tokens_cannot(access, call, batch, path, by_itself, sentence):
    data = {} if by_itself else {"token": batch.client_token}
    with pytest.raises(InvalidRequestError, match=f"^{sentence}$"):
        await call(batch.client_token if by_itself else access.root_token, path, **data)
    assert await access.tokens.find(batch.client_token)


async def test_an_empty_accessor_names_no_batch_token(access, call, batch):
    for path in ("lookup-accessor", "renew-accessor", "revoke-accessor"):
        with pytest.raises(InvalidRequestError, match=r"^missing accessor$"):
            await call(access.root_token, path, accessor=batch.accessor)


async def test_a_life_cut_to_the_parents_gets_a_warning(access, call):
    parent, _ = await access.child(policies=("default",), ttl=60)
    answer = await call(parent, "create", type="batch", ttl=600)
    assert answer.auth.lease_duration == 60
    assert "10m0s was more than is left" in answer.warnings[0]


async def test_the_key_of_batch_tokens_is_rotated_in_the_root_namespace_alone(access, call, batch):
    await call(access.root_token, "batch-key/rotate")
    assert await access.tokens.find(batch.client_token)
    with pytest.raises(InvalidRequestError, match="rotate it in the root namespace"):
        await call(access.root_token, "batch-key/rotate", within=Namespace(id="abc123", path="team-a/"), end_all=True)
    assert await access.tokens.find(batch.client_token)
    await call(access.root_token, "batch-key/rotate", end_all=True)
    assert await access.tokens.find(batch.client_token) is None


# --- renewal of logins --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "asked", "granted"),
    [
        (None, 0, 600),
        (Login(display_name="a"), 0, 600),
        (Login(display_name="a", ttl=60), 0, 60),
        (Login(display_name="a", ttl=60), 100, 100),
        (Login(display_name="a", max_ttl=700), 5000, 600),
        (Login(display_name="a", max_ttl=10_000), 5000, 900),
        (Login(display_name="a", explicit_max_ttl=500), 5000, 400),
        (Login(display_name="a", period=77), 5000, 77),
    ],
)
async def test_a_login_is_renewed_as_its_method_says_now(access, login, asked, granted):
    """Granted with 600 s and at most 1,000 s, renewed after 100 s; never beyond what it was granted with."""

    async def renew_login(entry):
        assert entry.renewal == {"role": "web"}
        return login

    token, _ = await access.child(ttl=600, max_ttl=1000, mount="", renewal={"role": "web"}, orphan=True)
    access.clock.advance(100)
    answer = await TokenCalls(access, renew_login=renew_login)(token, "renew-self", increment=asked)
    assert answer.auth.lease_duration == granted


async def test_a_login_that_its_method_does_not_renew_ends(access):
    async def refusing(_entry):
        raise InvalidRequestError("role is gone")

    async def not_renewable(_entry):
        return Login(display_name="a", renewable=False)

    token, _ = await access.child(ttl=600)
    for renew_login, sentence in ((refusing, "role is gone"), (not_renewable, "lease is not renewable")):
        with pytest.raises(InvalidRequestError, match=sentence):
            await TokenCalls(access, renew_login=renew_login)(token, "renew-self")


# --- clocks and networks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [-7200, -1, 599])
@pytest.mark.parametrize("kind", ["service", "batch"])
async def test_a_clock_that_steps_makes_no_life_negative_or_longer(access, call, step, kind):
    token, _ = await access.child(ttl=600, type=kind, orphan=True)
    access.clock.advance(step)
    data = (await call(token, "lookup-self", Operation.READ)).data
    assert 0 <= data["ttl"] <= 600
    assert data["creation_ttl"] == 600


@pytest.mark.parametrize("address", ["", "192.0.2.1", "10.0.0.1x", "::1", "2001:db9::"])
def test_a_bound_token_is_refused_elsewhere(address):
    entry = TokenEntry(
        record_id="", accessor="", policies=(), path="", issue_time=0, bound_cidrs=("10.0.0.0/8", "2001:db8::/32")
    )
    with pytest.raises(PermissionDeniedError, match=r"^permission denied$"):
        check_address(entry, address)
    for inside in ("10.255.0.1", "::ffff:10.0.0.1", "2001:db8::1"):
        check_address(entry, inside)
    check_address(msgspec.structs.replace(entry, bound_cidrs=()), address)


async def test_making_a_service_token_is_one_transaction(access, call):
    before = access.storage._state.commits
    await call(access.root_token, "create", ttl=60)
    assert access.storage._state.commits == before + 1
    await call(access.root_token, "create", type="batch", policies="default")
    assert access.storage._state.commits == before + 1


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("auth/token/lookup/hvs.abc", "auth/token/lookup/(token)"),
        ("team-a/auth/token/renew/chosen", "team-a/auth/token/renew/(token)"),
        ("auth/token/revoke-orphan/chosen/x", "auth/token/revoke-orphan/(token)/x"),
        ("auth/token/revoke/hvb.a-_b", "auth/token/revoke/(token)"),
        ("secret/hvs.abc/x", "secret/(token)/x"),
        ("auth/token/lookup-self", "auth/token/lookup-self"),
        ("auth/token/roles/lookup", "auth/token/roles/lookup"),
        ("xauth/token/lookup/a", "xauth/token/lookup/a"),
    ],
)
def test_a_token_in_a_path_is_not_shown(path, shown):
    assert without_tokens(path) == shown
