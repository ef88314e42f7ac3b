"""Every status code of Vault's API, and what leads to it."""

import pytest

from appliance.router import RouteTable
from core.engine import Method, Route
from core.errors import (
    CasMismatchError,
    CiphertextError,
    HsmConfigError,
    HsmGoneError,
    IntegrityError,
    InvalidRequestError,
    InvalidSignatureError,
    KeyPolicyError,
    NotFoundError,
    RequestTooLargeError,
    StoreUnavailableError,
)
from core.requests import NO_CONTENT, Operation, Request, Response
from tests.unit.pipeline.rig import MakeRig, Rig, wire

SECRET = "hunter2-never-shown"

MALFORMED = [
    (b"{", "ends too early"),
    (b"[]", "must be a JSON object"),
    (b"7", "must be a JSON object"),
    (b'"x"', "must be a JSON object"),
    (b"   ", "blank"),
    (b'{"a":1,}', "byte 7"),
    (b'{"a":1}}', "byte 8"),
    (b'{"a":NaN}', "byte 5"),
    (b'{"a":1e999]', "not valid JSON"),
    (b"\x00\x01", "byte 0"),
    (b'{"payload":"\xff' + SECRET.encode() + b'"}', "not UTF-8 at byte 12"),
    (b'{"a":"\\ud800"}', "not valid JSON"),
    (b'{"a":' * 5000 + b"1" + b"}" * 5000, "deeper than 64"),
    (b'{"a":' * 65 + b"1" + b"}" * 65, "deeper than 64"),
    (b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", "deeper than 64"),
    (b'{"payload":"%%' + SECRET.encode() + b'"}', "payload"),
    (b'{"payload":7}', "payload"),
    (b'{"count":"' + SECRET.encode() + b'"}', "count"),
    (b'{"count":[1]}', "count"),
]


@pytest.mark.parametrize(("body", "reason"), MALFORMED)
async def test_malformed_body_is_400_and_not_repeated(rig: Rig, body: bytes, reason: str) -> None:
    reply = await rig.call("POST", "shelf/echo", body)
    assert reply.status == 400
    assert reason in reply.errors[0]
    assert SECRET.encode() not in reply.body


ACCEPTED = [b"", b"null", b"{}", b' {"count":"3"}\n', b'{"unknown":[[]],"count":3}', b'{"payload":null}']


@pytest.mark.parametrize("body", ACCEPTED)
async def test_loose_body_is_accepted(rig: Rig, body: bytes) -> None:
    assert (await rig.call("POST", "shelf/echo", body)).status == 200


async def test_depth_64_is_accepted(rig: Rig) -> None:
    body = b'{"a":' * 64 + b'"[[[["' + b"}" * 64
    assert (await rig.call("POST", "shelf/echo", body)).status == 200


async def test_brackets_in_strings_do_not_count(rig: Rig) -> None:
    body = b'{"a":"' + b'\\"[{' * 200 + b'"}'
    assert (await rig.call("POST", "shelf/echo", body)).status == 200


async def test_form(rig: Rig) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await rig.call("POST", "shelf/echo", b"count=3", headers=headers)).json["data"]["count"] == 3
    assert (await rig.call("POST", "shelf/echo", b'{"count":4}', headers=headers)).json["data"]["count"] == 4
    assert (await rig.call("POST", "shelf/echo", b"count=%ff", headers=headers)).status == 400
    assert (await rig.call("POST", "shelf/echo", b"&".join([b"a=1"] * 1001), headers=headers)).status == 400


@pytest.mark.parametrize("kind", [None, "application/json", "text/plain"])
async def test_patch_wants_merge_patch(rig: Rig, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    assert (await rig.call("PATCH", "shelf/keys/a", {"x": 1}, headers=headers)).status == 415


async def test_patch_with_its_type(rig: Rig) -> None:
    headers = {"content-type": "application/merge-patch+json; charset=utf-8"}
    assert (await rig.call("PATCH", "shelf/keys/a", {"x": 1}, headers=headers)).status == 204


async def test_body_over_32_mib_is_413(rig: Rig) -> None:
    body = b'{"payload":"' + b"A" * (32 * 1024 * 1024) + b'"}'
    assert (await rig.call("POST", "shelf/echo", body)).status == 413


# --- paths, methods, queries --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "nowhere/x", 404),
        ("GET", "", 404),
        ("GET", "shelf", 404),
        ("GET", "shelf/no/such/route", 404),
        ("GET", "shelf/keys/absent", 404),
        ("LIST", "shelf/keys", 404),
        ("DELETE", "shelf/echo", 405),
        ("GET", "shelf/echo", 405),
        ("HEAD", "shelf/keys/a", 405),
        ("OPTIONS", "shelf/keys/a", 405),
        ("BREW", "shelf/keys/a", 405),
        ("DELETE", "sys/health", 405),
        ("GET", "sys/unseal", 405),
        ("GET", "shelf/keys?list=maybe", 400),
        ("GET", "shelf/keys?list=", 400),
        ("GET", "shelf/keys?help=perhaps", 400),
        ("GET", "shelf/keys/a?x=%ff", 400),
        ("GET", "shelf/keys/a?" + "&".join(["a=1"] * 101), 400),
        ("GET", "shelf/../sys/mounts", 400),
        ("GET", "shelf/keys/a\nb", 400),
        ("GET", "shelf/keys/a\x00", 400),
        ("GET", "shelf/keys/" + "x" * 5000, 400),
    ],
)
async def test_path_or_method_that_is_not_served(rig: Rig, method: str, path: str, status: int) -> None:
    assert (await rig.call(method, path)).status == status


async def test_path_outside_the_api_is_404(rig: Rig) -> None:
    request = wire("GET", "sys/mounts", token=rig.root_token)
    request.path = "/v2/sys/mounts"
    assert (await rig.made.pipeline.handle(request)).status == 404


async def test_absent_is_an_empty_list_of_errors(rig: Rig) -> None:
    assert (await rig.call("GET", "shelf/keys/absent")).body == b'{"errors":[]}\n'


@pytest.mark.parametrize("query", ["list=true", "list=1", "list=t", "list=T", "list=TRUE", "list=True"])
async def test_list_by_query(rig: Rig, query: str) -> None:
    await rig.call("PUT", "shelf/keys/a", {"x": 1})
    for path in ("shelf/keys", "shelf/keys/"):
        assert (await rig.call("GET", f"{path}?{query}")).json["data"] == {"keys": ["a"]}
    assert (await rig.call("LIST", "shelf/keys/")).status == 200


async def test_query_of_a_read_reaches_the_engine_as_data(rig: Rig) -> None:
    await rig.audited()
    await rig.call("GET", "shelf/keys/a?version=3&list=false")
    assert "version" in rig.records()[-1]["request"]["data"]


@pytest.mark.parametrize("namespace", ["team", "/team/", "root/team"])
async def test_other_namespaces_are_404(rig: Rig, namespace: str) -> None:
    reply = await rig.call("GET", "sys/mounts", headers={"X-Vault-Namespace": namespace})
    assert reply.status == (400 if namespace.startswith("root/") else 404)  # no namespace can have that name
    assert "namespace" in reply.errors[0]


@pytest.mark.parametrize("namespace", ["", "/", "root", "root/"])
async def test_root_namespace(rig: Rig, namespace: str) -> None:
    assert (await rig.call("GET", "sys/mounts", headers={"X-Vault-Namespace": namespace})).status == 200


# --- tokens -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["sys/mounts", "shelf/keys/a", "no/such/path", "sys/no-such-route", "shelf/echo"])
@pytest.mark.parametrize("token", ["", "hvs.unknown", "s.x", "x" * 9000, "\x1b", "hvs.\xe9"])
async def test_without_a_valid_token_all_paths_are_alike(rig: Rig, path: str, token: str) -> None:
    for method in ("GET", "POST", "DELETE", "LIST"):
        reply = await rig.call(method, path, token=token)
        assert (reply.status, reply.errors) == (403, ["permission denied"])


async def test_different_tokens_in_one_request_are_400(rig: Rig) -> None:
    for headers in ({"X-Mimir-Token": "hvs.other"}, {"Authorization": "Bearer hvs.other"}):
        assert (await rig.call("GET", "sys/mounts", headers=headers)).status == 400


@pytest.mark.parametrize("header", ["X-Mimir-Token", "Authorization"])
async def test_token_in_other_headers(rig: Rig, header: str) -> None:
    value = f"Bearer {rig.root_token}" if header == "Authorization" else rig.root_token
    assert (await rig.call("GET", "sys/mounts", token="", headers={header: value})).status == 200


async def test_basic_authorization_is_no_token(rig: Rig) -> None:
    assert (await rig.call("GET", "sys/mounts", token="", headers={"Authorization": "Basic eDp5"})).status == 403


async def test_revoked_token_is_403(rig: Rig) -> None:
    token = await rig.child('path "shelf/*" { capabilities = ["read", "list"] }')
    assert (await rig.call("GET", "shelf/keys/a", token=token)).status == 404
    await rig.call("POST", "auth/token/revoke", {"token": token})
    assert (await rig.call("GET", "shelf/keys/a", token=token)).status == 403


async def test_expired_token_is_403(rig: Rig) -> None:
    made = await rig.call("POST", "auth/token/create", {"policies": ["root"], "ttl": "60s"})
    token = made.json["auth"]["client_token"]
    assert (await rig.call("GET", "sys/mounts", token=token)).status == 200
    rig.clock.advance(61)
    assert (await rig.call("GET", "sys/mounts", token=token)).status == 403


# --- policies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "method", "path", "status"),
    [
        ('path "shelf/keys/a" { capabilities = ["read"] }', "GET", "shelf/keys/a", 404),
        ('path "shelf/keys/a" { capabilities = ["read"] }', "GET", "shelf/keys/b", 403),
        ('path "shelf/keys/a" { capabilities = ["read"] }', "PUT", "shelf/keys/a", 403),
        ('path "shelf/keys/a" { capabilities = ["read"] }', "DELETE", "shelf/keys/a", 403),
        ('path "shelf/keys/*" { capabilities = ["deny"] }', "GET", "shelf/keys/a", 403),
        ('path "shelf/*" { capabilities = ["read"] }', "GET", "shelf/nothing-here", 404),
        ('path "shelf/*" { capabilities = ["read"] }', "GET", "elsewhere/x", 403),
        ('path "elsewhere/*" { capabilities = ["read"] }', "GET", "elsewhere/x", 404),
        ('path "shelf/keys/" { capabilities = ["list"] }', "LIST", "shelf/keys", 404),
        ('path "shelf/keys" { capabilities = ["list"] }', "LIST", "shelf/keys/", 404),
        ('path "shelf/keys" { capabilities = ["read"] }', "LIST", "shelf/keys", 403),
        ('path "shelf/careful" { capabilities = ["read"] }', "GET", "shelf/careful", 403),
        ('path "shelf/careful" { capabilities = ["read", "sudo"] }', "GET", "shelf/careful", 200),
        ('path "shelf/careful" { capabilities = ["sudo"] }', "GET", "shelf/careful", 403),
        ('path "sys/*" { capabilities = ["update"] }', "PUT", "sys/seal", 403),
        ('path "sys/*" { capabilities = ["update"] }', "PUT", "sys/rotate", 403),
        ('path "sys/*" { capabilities = ["read"] }', "GET", "sys/audit", 403),
    ],
)
async def test_policy_decides(rig: Rig, policy: str, method: str, path: str, status: int) -> None:
    token = await rig.child(policy)
    assert (await rig.call(method, path, token=token)).status == status


@pytest.mark.parametrize(
    ("capabilities", "absent", "present"),
    [('"create"', 204, 403), ('"update"', 403, 204), ('"create", "update"', 204, 204), ('"read"', 403, 403)],
)
async def test_create_is_not_update(rig: Rig, capabilities: str, absent: int, present: int) -> None:
    token = await rig.child(f'path "shelf/keys/*" {{ capabilities = [{capabilities}] }}')
    await rig.call("PUT", "shelf/keys/there", {"x": 1})
    assert (await rig.call("PUT", "shelf/keys/new", {"x": 1}, token=token)).status == absent
    assert (await rig.call("PUT", "shelf/keys/there", {"x": 1}, token=token)).status == present


async def test_narrowed_policy_counts_for_the_next_request(rig: Rig) -> None:
    token = await rig.child('path "shelf/*" { capabilities = ["read"] }')
    assert (await rig.call("GET", "shelf/careless", token=token)).status == 404
    await rig.call("PUT", "sys/policy/child", {"policy": 'path "shelf/*" { capabilities = ["deny"] }'})
    assert (await rig.call("GET", "shelf/careless", token=token)).status == 403


async def test_unauthenticated_route_needs_no_token(rig: Rig) -> None:
    reply = await rig.call("GET", "shelf/raw", token="")
    assert (reply.status, reply.body, reply.content_type) == (200, b"-----BEGIN", "application/pem")


async def test_help_needs_a_token_and_no_policy(rig: Rig) -> None:
    token = await rig.child('path "x" { capabilities = ["read"] }')
    assert (await rig.call("GET", "shelf/keys/a?help=1", token="")).status == 403
    assert "One value." in (await rig.call("GET", "shelf/keys/a?help=1", token=token)).json["help"]
    assert "keys/{name}" in (await rig.call("GET", "shelf?help=1", token=token)).json["help"]
    assert (await rig.call("GET", "shelf/nothing-here?help=1", token=token)).status == 404


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        ("shelf", ["The shelf engine at shelf/", "    shelf/keys/{name}", "        One value."]),
        ("shelf/keys/a", ["Path: shelf/keys/{name}", "One value.", "    read    Read it."]),
        ("shelf/careful", ["A policy must grant `sudo` on it besides."]),
        ("shelf/raw", ["No token is needed."]),
        ("sys/unseal", ["Path: sys/unseal", "No token is needed.", "    key (text)"]),
        ("auth/token", ["The token login method at auth/token/"]),
        (
            "auth/token/create",
            ["    ttl (duration)", "    policies (list)", "    meta (object)", "    num_uses (number)"],
        ),
        ("auth/token/lookup/hvs.a-secret", ["Path: auth/token/lookup/{token}"]),
        ("sys/mounts/x", ["    type (text)", "    config (object)", "    local (true or false)"]),
    ],
)
async def test_help_tells_what_a_path_serves(rig: Rig, path: str, lines: list[str]) -> None:
    text = (await rig.call("GET", f"{path}?help=1")).json["help"]
    for line in lines:
        assert line in text.splitlines()
    assert "hvs." not in text


# --- what engines raise -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "status", "sentence"),
    [
        (InvalidRequestError("name is missing"), 400, "name is missing"),
        (CiphertextError("does not authenticate"), 400, "does not authenticate"),
        (InvalidSignatureError("signature does not verify"), 400, "signature does not verify"),
        (KeyPolicyError("deletion is not allowed"), 400, "deletion is not allowed"),
        (CasMismatchError("did not match"), 400, "did not match"),
        (NotFoundError("no key of that name"), 404, "no key of that name"),
        (RequestTooLargeError("over 1 MiB"), 413, "over 1 MiB"),
        (HsmGoneError("the HSM is gone", code="CKR_DEVICE_REMOVED"), 503, "the HSM is gone"),
        (HsmConfigError("the PIN is wrong"), 503, "the PIN is wrong"),
        (StoreUnavailableError("the database is read-only"), 503, "the database is read-only"),
        (IntegrityError("core/x does not authenticate"), 500, "core/x does not authenticate"),
    ],
)
async def test_error_of_an_engine(rig: Rig, trouble: Exception, status: int, sentence: str) -> None:
    rig.shelves[0].trouble = trouble
    reply = await rig.call("GET", "shelf/keys/a")
    assert (reply.status, reply.errors) == (status, [sentence])
    assert reply.content_type == "application/json"


class PanicException(BaseException):
    """As pyo3 raises it for a panic of a library in Rust: no Exception."""


@pytest.mark.parametrize("kind", [ValueError, PanicException])
async def test_unknown_exception_says_nothing(
    rig: Rig, kind: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    rig.shelves[0].trouble = kind(SECRET)
    reply = await rig.call("PUT", "shelf/keys/a", {"payload": SECRET})
    assert reply.status == 500
    assert reply.errors[0].startswith("internal error")
    log = "".join(capsys.readouterr())
    assert SECRET not in log
    assert "rig.py" in log
    assert reply.errors[0].rsplit(" ", 1)[1] in log


# --- sealed, and not initialised ----------------------------------------------------------------------------------


async def test_not_initialized_is_503_as_if_sealed(fresh: Rig) -> None:
    for path in ("sys/mounts", "transit/keys/x", "auth/token/lookup-self"):
        reply = await fresh.call("GET", path, token="hvs.x")
        assert (reply.status, reply.errors) == (503, ["Vault is sealed"])


async def test_sealed_is_503(rig: Rig) -> None:
    assert (await rig.call("PUT", "sys/seal")).status == 204
    for method, path in (("GET", "sys/mounts"), ("PUT", "shelf/keys/a"), ("GET", "no/such"), ("PUT", "sys/seal")):
        reply = await rig.call(method, path)
        assert (reply.status, reply.errors) == (503, ["Vault is sealed"])
    assert rig.shelves[0].closed


async def test_seal_is_seen_by_the_other_worker(rig: Rig, make: MakeRig) -> None:
    other = await make()
    assert (await other.call("GET", "sys/mounts", token=rig.root_token)).status == 200
    await rig.call("PUT", "sys/seal")
    assert (await other.call("GET", "sys/mounts", token=rig.root_token)).status == 503
    assert (await other.call("GET", "sys/health", token="")).status == 503


async def test_hsm_gone_at_the_first_request_is_503(fresh: Rig, make: MakeRig) -> None:
    await fresh.initialize()
    fresh.hsm.gone = True
    other = await make()
    other.hsm.drop_keys()
    reply = await other.call("GET", "sys/mounts", token=fresh.root_token)
    assert (reply.status, reply.errors) == (503, ["the HSM is gone"])
    assert (await other.call("GET", "sys/health", token="")).status == 503
    fresh.hsm.gone = False
    assert (await other.call("GET", "sys/mounts", token=fresh.root_token)).status == 200


# --- audit --------------------------------------------------------------------------------------------------------


async def test_full_device_is_503_and_nothing_is_written(rig: Rig) -> None:
    """`/dev/full`, as a disk without room, behind the path of the device."""
    await rig.audited()
    log = rig.directory / "audit.log"
    log.unlink()
    log.symlink_to("/dev/full")
    rig.trail.reopen()
    reply = await rig.call("PUT", "shelf/keys/a", {"x": 1})
    assert reply.status == 503
    reply = await rig.call("GET", "shelf/keys/a", token="hvs.unknown")
    assert reply.status == 503
    assert (await rig.call("GET", "sys/health", token="")).status == 200
    assert await rig.barrier.storage.list("logical/" + rig.made.mounts.find("shelf/").entry.uuid + "/k/") == []


# --- engines of others --------------------------------------------------------------------------------------------


async def test_engine_that_cannot_start_is_503_and_the_rest_works(rig: Rig) -> None:
    def broken(_context: object) -> None:
        raise KeyError(SECRET)

    rig.made.mounts._catalog._factories["broken"] = broken
    assert (await rig.call("POST", "sys/mounts/broken", {"type": "broken"})).status == 204
    reply = await rig.call("GET", "broken/x")
    assert reply.status == 503
    assert "broken" in reply.errors[0]
    assert SECRET not in reply.errors[0]
    assert (await rig.call("GET", "sys/mounts")).status == 200


async def test_engine_that_is_not_installed_here_is_503(rig: Rig, make: MakeRig) -> None:
    other = await make()
    del other.made.mounts._catalog._factories["shelf"]
    assert (await other.call("GET", "shelf/keys/a", token=rig.root_token)).status == 503


async def test_engine_that_fails_at_its_end_does_not_hinder_the_seal(rig: Rig) -> None:
    async def fail() -> None:
        raise ValueError(SECRET)

    rig.shelves[0].close = fail
    assert (await rig.call("PUT", "sys/seal")).status == 204
    assert (await rig.call("GET", "sys/mounts")).status == 503


async def test_engines_do_not_see_the_token(rig: Rig) -> None:
    seen: list[Request] = []

    async def look(request: Request, _body: object) -> Response:
        seen.append(request)
        return NO_CONTENT

    rig.shelves[0].routes.append(Route(pattern="look", methods={Operation.READ: Method(handler=look, mutates=False)}))
    await rig.call("POST", "sys/mounts/shelf/tune", {"description": "made anew"})
    await rig.call("GET", "sys/mounts")
    mounted = rig.made.mounts.find("shelf/")
    assert mounted is not None
    mounted.routes = RouteTable(rig.shelves[0].routes)
    headers = {"Authorization": f"Bearer {rig.root_token}", "X-Other": "1"}
    assert (await rig.call("GET", "shelf/look", headers=headers)).status == 204
    assert dict(seen[0].headers) == {"x-other": "1"}
    assert seen[0].headers.get("X-Vault-Token") is None
    assert rig.root_token not in repr(seen[0])


@pytest.mark.parametrize("ttl", ["60", "5m", "1h"])
async def test_who_asks_for_a_wrapped_response_never_gets_an_open_one(rig: Rig, ttl: str) -> None:
    reply = await rig.call("GET", "sys/key-status", headers={"X-Vault-Wrap-TTL": ttl})
    assert (reply.status, reply.json["data"], reply.json["auth"]) == (200, None, None)
    assert reply.json["wrap_info"]["creation_path"] == "sys/key-status"
    opened = await rig.call("POST", "sys/wrapping/unwrap", {"token": reply.json["wrap_info"]["token"]})
    assert opened.json["data"]["term"] == 1


@pytest.mark.parametrize("ttl", ["-5", "x", "1y", "1e9", "\x1b", "9" * 400, "400000000"])
async def test_odd_wrapping_ttls_are_refused(rig: Rig, ttl: str) -> None:
    assert (await rig.call("GET", "sys/key-status", headers={"X-Vault-Wrap-TTL": ttl})).status == 400


@pytest.mark.parametrize("ttl", ["", "0"])
async def test_without_a_wrapping_ttl_the_answer_is_open(rig: Rig, ttl: str) -> None:
    reply = await rig.call("GET", "sys/key-status", headers={"X-Vault-Wrap-TTL": ttl})
    assert reply.json["data"]["term"] == 1
