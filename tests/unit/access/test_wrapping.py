"""Response wrapping: what is wrapped comes back once, to who holds the token, and to nobody after its time."""

import json

import pytest

from appliance.access.acl import ROOT_ACL
from appliance.access.cubbyhole import cubbyhole_attachment
from appliance.access.request import AccessRequest
from appliance.access.subject import Facts
from appliance.access.tokens import TokenStore
from appliance.access.wrapping import Wrapping, is_own_unwrap, is_wrapping_token
from appliance.system.wrapping import WrappingRoutes
from core.bodies import parse_body
from core.errors import InvalidRequestError
from core.requests import Operation, Request

INVALID = "^wrapping token is not valid or does not exist$"
BODY = b'{"request_id":"11111111-1111-4111-8111-111111111111","lease_id":"","renewable":false,"lease_duration":0,"data":{"n":12345678901234567890.25,"k":"v"},"wrap_info":null,"warnings":null,"auth":null}\n'  # noqa: E501 - one line on the wire
PATHS = {"root": "", "a1B2c3": "team-a/", "gone00": None}


@pytest.fixture
async def tokens(access):
    tokens = TokenStore(access.storage, access.clock, attachments=[cubbyhole_attachment])
    await tokens.open()
    return tokens


@pytest.fixture
def wrapping(access, tokens):
    return Wrapping(access.storage, access.clock, tokens, namespace_path=PATHS.get)


@pytest.fixture
def call(wrapping, access):
    routes = {route.pattern: route for route in WrappingRoutes(wrapping).routes()}

    async def _call(path, operation=Operation.UPDATE, /, *, token="", wrap_ttl=0, namespace="", known=True, **data):
        given = {"request_id": "22222222-2222-4222-8222-222222222222", "operation": operation, "namespace": namespace}
        given |= {"mount_path": "sys/", "path": path, "data": data, "headers": {"X-Vault-Token": token}}
        request = Request(**given)
        if known:
            request = AccessRequest(
                **given, token=token, entry=await access.root(), acl=ROOT_ACL,
                facts=Facts(now=0, address="", headers={}, data=data, wrap_ttl=wrap_ttl),
            )  # fmt: skip
        method = routes[path].methods[operation]
        return await method.handler(request, parse_body(data, method.body))

    return _call


async def wrap(wrapping, **changes):
    given = {"ttl": 60, "creation_path": "secret/data/x", "namespace": "root"} | changes
    return await wrapping.wrap(BODY, **given)


def rows(access):
    return [path for path in access.storage._state.entries if path.startswith("core/cubbyhole/")]


# --- the token ----------------------------------------------------------------------------------------------------


async def test_the_token_is_as_vault_makes_it(wrapping, tokens):
    info = await wrap(wrapping, wrapped_accessor="acc")
    entry = await tokens.find(info.token)
    assert is_wrapping_token(entry)
    assert (entry.num_uses, entry.ttl, entry.explicit_max_ttl, entry.renewable, entry.orphan) == (
        1,
        60,
        60,
        False,
        True,
    )
    assert (info.ttl, info.accessor, info.creation_path) == (60, entry.accessor, "secret/data/x")
    assert (info.wrapped_accessor, info.creation_time) == ("acc", "2027-01-15T08:00:00.000000Z")
    assert info.token not in repr(info)


@pytest.mark.parametrize("ttl", [0, -1, 2764801])
async def test_ttls_out_of_range(wrapping, access, ttl):
    with pytest.raises(InvalidRequestError, match="1 to 2764800 seconds"):
        await wrap(wrapping, ttl=ttl)
    assert not rows(access)


async def test_a_long_path_and_a_token_in_it(wrapping, tokens):
    info = await wrap(wrapping, creation_path="auth/token/lookup/hvs.abcdef/" + "x" * 5000)
    assert "hvs." not in info.creation_path
    assert len((await tokens.find(info.token)).path) == 1024


# --- unwrapping ---------------------------------------------------------------------------------------------------


async def test_unwrapping_gives_the_bytes_once_and_leaves_nothing(wrapping, access):
    info = await wrap(wrapping)
    assert await wrapping.unwrap(info.token) == BODY
    assert not rows(access)
    for attempt in (wrapping.unwrap, wrapping.lookup, wrapping.rewrap):
        with pytest.raises(InvalidRequestError, match=INVALID):
            await attempt(info.token)


async def test_another_worker_refuses_it_too(wrapping, access):
    info = await wrap(wrapping)
    other_tokens = access.worker()
    await other_tokens.open()
    other = Wrapping(access.storage, access.clock, other_tokens)
    assert (await other.lookup(info.token)).creation_ttl == 60
    await wrapping.unwrap(info.token)
    with pytest.raises(InvalidRequestError, match=INVALID):
        await other.unwrap(info.token)


async def test_after_its_time(wrapping, access, tokens):
    info = await wrap(wrapping)
    access.clock.advance(60)
    for attempt in (wrapping.unwrap, wrapping.lookup, wrapping.rewrap):
        with pytest.raises(InvalidRequestError, match=INVALID):
            await attempt(info.token)
    await tokens.revoke_expired()
    assert not rows(access)


async def test_other_tokens_unwrap_nothing_and_survive(wrapping, access, tokens):
    await tokens.open()
    token, _entry = await access.child(policies=("default",), num_uses=1)
    for given in ("", "hvs.nope", "ä", "x" * 300, token, access.root_token):
        for attempt in (wrapping.unwrap, wrapping.lookup, wrapping.rewrap):
            with pytest.raises(InvalidRequestError, match=INVALID):
                await attempt(given)
    assert await tokens.find(token)
    assert await access.root()


@pytest.mark.parametrize(("namespace", "within", "works"), [
    ("root", "", True), ("a1B2c3", "", True), ("a1B2c3", "team-a/", True), ("root", "team-a/", False),
    ("a1B2c3", "team-b/", False), ("gone00", "", False),
])  # fmt: skip
async def test_a_namespace_unwraps_its_own_and_those_below(wrapping, namespace, within, works):
    info = await wrap(wrapping, namespace=namespace)
    if works:
        assert await wrapping.unwrap(info.token, within=within) == BODY
        return
    for attempt in (wrapping.unwrap, wrapping.lookup, wrapping.rewrap):
        with pytest.raises(InvalidRequestError, match=INVALID):
            await attempt(info.token, within=within)


async def test_a_revoked_wrapping_token_takes_the_answer_along(wrapping, access, tokens):
    info = await wrap(wrapping)
    await tokens.revoke((await tokens.find_accessor(info.accessor)).record_id)
    assert not rows(access)
    with pytest.raises(InvalidRequestError, match=INVALID):
        await wrapping.unwrap(info.token)


# --- rewrapping ---------------------------------------------------------------------------------------------------


async def test_rewrapping_keeps_answer_ttl_path_and_accessor(wrapping, access):
    first = await wrap(wrapping, wrapped_accessor="acc", namespace="a1B2c3")
    access.clock.advance(50)
    second = await wrapping.rewrap(first.token)
    assert second.token != first.token
    assert (second.ttl, second.creation_path, second.wrapped_accessor) == (60, "secret/data/x", "acc")
    assert second.creation_time != first.creation_time
    with pytest.raises(InvalidRequestError, match=INVALID):
        await wrapping.unwrap(first.token)
    access.clock.advance(50)
    assert await wrapping.unwrap(second.token, within="team-a/") == BODY
    assert not rows(access)


# --- routes -------------------------------------------------------------------------------------------------------


async def test_wrap_answers_wrapped_for_five_minutes_or_as_asked(call, access):
    for asked, ttl in ((0, 300), (90, 90)):
        answer = await call("wrapping/wrap", token=access.root_token, wrap_ttl=asked, k="v", n=[1])
        assert (answer.data, answer.auth, answer.wrap.ttl, answer.wrap.creation_path) == (
            None,
            None,
            ttl,
            "sys/wrapping/wrap",
        )
        back = await call("wrapping/unwrap", token=answer.wrap.token, known=False)
        assert json.loads(back.raw.body)["data"] == {"k": "v", "n": [1]}


async def test_unwrap_is_the_envelope_with_the_id_of_this_request(call, wrapping):
    info = await wrap(wrapping)
    answer = await call("wrapping/unwrap", token=info.token, known=False)
    assert answer.raw.body == BODY.replace(
        b"11111111-1111-4111-8111-111111111111", b"22222222-2222-4222-8222-222222222222"
    )
    assert answer.raw.content_type == "application/json"
    assert answer.data["k"] == "v"  # for the audit record


async def test_an_unwrapped_login_is_told_to_the_audit_record(call, wrapping):
    auth = {"client_token": "hvs.x", "accessor": "a", "policies": ["p"], "token_policies": ["p"]}
    auth |= {"identity_policies": None, "metadata": None, "lease_duration": 7, "mfa_requirement": None}
    body = json.dumps({"request_id": "r", "data": None, "auth": auth}).encode()
    info = await wrapping.wrap(body, ttl=60, creation_path="auth/approle/login", namespace="root", wrapped_accessor="a")
    answer = await call("wrapping/unwrap", token=info.token, known=False)
    assert (answer.auth.client_token, answer.auth.lease_duration, answer.data) == ("hvs.x", 7, None)
    assert json.loads(answer.raw.body)["auth"] == auth


async def test_unwrap_for_a_third_party(call, wrapping, access):
    info = await wrap(wrapping)
    routes = {route.pattern: route for route in WrappingRoutes(wrapping).routes()}
    method = routes["wrapping/unwrap"].methods[Operation.UPDATE]
    asked = AccessRequest(
        request_id="22222222-2222-4222-8222-222222222222", operation=Operation.UPDATE, mount_path="sys/",
        path="wrapping/unwrap", data={"token": info.token}, entry=await access.root(), acl=ROOT_ACL,
        token=access.root_token,
    )  # fmt: skip
    answer = await method.handler(asked, parse_body({"token": info.token}, method.body))
    assert b'"k":"v"' in answer.raw.body
    assert await access.root()
    with pytest.raises(InvalidRequestError, match=INVALID):
        await method.handler(asked, parse_body({"token": info.token}, method.body))


@pytest.mark.parametrize("operation", [Operation.READ, Operation.UPDATE])
async def test_lookup_takes_no_use(call, wrapping, operation):
    info = await wrap(wrapping)
    for _ in range(2):
        answer = await call("wrapping/lookup", operation, token=info.token, known=False)
        assert answer.data == {
            "creation_path": "secret/data/x", "creation_time": "2027-01-15T08:00:00.000000Z", "creation_ttl": 60,
        }  # fmt: skip
    with pytest.raises(InvalidRequestError, match=INVALID):
        await call("wrapping/lookup", operation, token=info.token, known=False, namespace="team-a/")
    assert await wrapping.unwrap(info.token) == BODY


async def test_requests_without_any_token(call):
    for path in ("wrapping/lookup", "wrapping/unwrap"):
        with pytest.raises(InvalidRequestError, match=INVALID):
            await call(path, known=False)


async def test_rewrap_needs_a_wrapping_token(call, access, wrapping):
    with pytest.raises(InvalidRequestError, match=INVALID):
        await call("wrapping/rewrap", token=access.root_token)
    info = await wrap(wrapping)
    assert (await call("wrapping/rewrap", token=info.token)).wrap.ttl == 60


@pytest.mark.parametrize(
    ("mount", "path", "data", "own"),
    [
        ("sys/", "wrapping/unwrap", {}, True),
        ("sys/", "wrapping/unwrap/", {"token": ""}, True),
        ("sys/", "wrapping/unwrap", {"token": None}, True),
        ("sys/", "wrapping/unwrap", {"token": "hvs.x"}, False),
        ("sys/", "wrapping/unwrap", {"token": ["x"]}, False),
        ("sys/", "wrapping/rewrap", {}, False),
        ("sys/", "wrapping/unwrap/x", {}, False),
        ("secret/", "wrapping/unwrap", {}, False),
    ],
)
def test_what_counts_as_an_own_unwrap(mount, path, data, own):
    request = Request(request_id="r", operation=Operation.UPDATE, mount_path=mount, path=path, data=data)
    assert is_own_unwrap(request) is own
