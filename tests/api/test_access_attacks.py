"""The published classes of flaws in this kind of product, each tried on a live server with two workers."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.appliance import Appliance, Reply

STORE = "production-postgresql"  # of the fixture `appliance`


def policy(appliance: Appliance, name: str, text: str) -> None:
    reply = appliance.request("PUT", f"sys/policies/acl/{name}", {"policy": text})
    assert reply.status in (200, 204), reply.body


def token_of(appliance: Appliance, *policies: str, **settings: object) -> str:
    body = {"policies": list(policies), "no_default_policy": True, **settings}
    return str(appliance.request("POST", "auth/token/create", body).json["auth"]["client_token"])


def raw_request(appliance: Appliance, request: bytes) -> int:
    """The status of a request that no client library would send; 0 when the connection was closed instead."""
    with socket.create_connection(("127.0.0.1", appliance.port), timeout=10) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        with contextlib.suppress(http.client.HTTPException, OSError):
            answer.begin()
            return answer.status
    return 0


# --- paths --------------------------------------------------------------------------------------------------------

DENIED = """
path "transit/*" { capabilities = ["create", "read", "update", "list"] }
path "transit/keys/secret" { capabilities = ["deny"] }
path "sys/policies/acl/*" { capabilities = ["read"] }
path "sys/policies/acl/hidden" { capabilities = ["deny"] }
"""


@pytest.fixture(scope="module")
def narrowed(appliance: Appliance) -> str:
    appliance.client().secrets.transit.create_key("secret")
    policy(appliance, "narrowed", DENIED)
    policy(appliance, "hidden", 'path "x" { capabilities = ["read"] }')
    return token_of(appliance, "narrowed")


@pytest.mark.parametrize(
    "path",
    [
        *("transit/keys/secret", "transit/keys/secret/", "transit//keys/secret", "transit/keys//secret"),
        *("transit/keys/secret//", "transit/./keys/secret", "transit/keys/./secret", "transit/x/../keys/secret"),
        *(
            "transit/keys/%73ecret",
            "transit%2Fkeys%2Fsecret",
            "transit/keys%2Fsecret",
            "transit/keys/%2e%2e/keys/secret",
        ),
        *(
            "//transit/keys/secret",
            "transit/keys/secret%2f",
            "transit/keys/secret?list=false",
            "sys/policies/acl/hidden",
        ),
        *(
            "sys/policies/acl/HIDDEN",
            "sys/policies/acl/Hidden",
            "sys/policies/acl/%20hidden",
            "sys//policies/acl/hidden",
        ),
        *("sys/policies/acl/hidden/", "sys/policies/acl//hidden", "sys/policies/acl/hidden%20", "sys/policy/hidden"),
        *("transit/keys/secret;x=1", "TRANSIT/keys/secret", "transit/KEYS/secret", "root/transit/keys/secret"),
    ],
)
def test_no_spelling_of_a_path_passes_a_deny(appliance: Appliance, narrowed: str, path: str) -> None:
    reply = appliance.request("GET", path, token=narrowed)
    assert reply.status in (400, 403, 404), reply.body
    assert b"data" not in reply.body


def test_listing_past_a_more_specific_deny(appliance: Appliance) -> None:
    policy(
        appliance,
        "lister",
        'path "transit/*" { capabilities = ["list"] }\npath "transit/keys/*" { capabilities = ["deny"] }\n'
        'path "sys/policies/acl" { capabilities = ["deny"] }\npath "sys/policies/*" { capabilities = ["list"] }',
    )
    token = token_of(appliance, "lister")
    for method, path in (
        ("LIST", "transit/keys"),
        ("LIST", "transit/keys/"),
        ("GET", "transit/keys?list=true"),
        ("GET", "transit/keys/?list=1"),
        ("LIST", "transit//keys"),
        ("SCAN", "transit/keys"),
        ("LIST", "sys/policies/acl"),
        ("LIST", "sys/policies/acl/"),
    ):
        assert appliance.request(method, path, token=token).status == 403, (method, path)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=x", "limit=1e9", "limit=99999999999999999999", "after=%00"]
)
def test_odd_limits_are_no_fault_and_show_no_more(appliance: Appliance, query: str) -> None:
    reply = appliance.request("GET", f"sys/policies/acl?list=true&{query}")
    assert reply.status in (200, 400), reply.body


# --- templates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["*", "+", "a/b", "../x", "a*", "{{identity.entity.id}}"])
def test_an_entity_s_name_cannot_widen_a_template(appliance: Appliance, name: str) -> None:
    policy(appliance, "templated", 'path "transit/keys/{{identity.entity.metadata.team}}" { capabilities = ["read"] }')
    made = appliance.request("POST", "identity/entity", {"name": f"e-{name}", "metadata": {"team": name}})
    if made.status == 400:
        return  # refused at the door
    entity = made.json["data"]["id"]
    accessor = appliance.request("GET", "sys/auth/token").json["data"]["accessor"]
    alias = {"name": f"alias-{name}", "canonical_id": entity, "mount_accessor": accessor}
    assert appliance.request("POST", "identity/entity-alias", alias).status in (200, 204)
    role = {"allowed_entity_aliases": f"alias-{name}", "allowed_policies": "templated"}
    assert appliance.request("POST", "auth/token/roles/tpl", role).status == 204
    body = {"entity_alias": f"alias-{name}", "policies": ["templated"]}
    created = appliance.request("POST", "auth/token/create/tpl", body)
    if created.status != 200:
        return
    token = created.json["auth"]["client_token"]
    for path in ("transit/keys/secret", "transit/keys/orders", "transit/keys/a"):
        assert appliance.request("GET", path, token=token).status == 403


# --- concurrency --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("uses", [1, 7])
def test_exactly_as_many_uses_as_there_are(appliance: Appliance, uses: int) -> None:
    token = token_of(appliance, "default", no_default_policy=False, num_uses=uses)

    def use(_: int) -> int:
        return appliance.request("GET", "auth/token/lookup-self", token=token).status

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(use, range(40)))
    assert statuses.count(200) == uses
    assert statuses.count(403) == 40 - uses


def test_a_wrapped_answer_is_unwrapped_once(appliance: Appliance) -> None:
    for _ in range(5):
        wrapped = appliance.request("GET", "sys/mounts", headers={"X-Vault-Wrap-TTL": "60"}).json["wrap_info"]

        def unwrap(number: int, token: str = wrapped["token"]) -> int:
            if number % 2:
                return appliance.request("POST", "sys/wrapping/unwrap", {}, token=token).status
            return appliance.request("POST", "sys/wrapping/unwrap", {"token": token}).status

        with ThreadPoolExecutor(12) as pool:
            statuses = list(pool.map(unwrap, range(24)))
        assert statuses.count(200) == 1
        assert set(statuses) <= {200, 400, 403}


def test_a_token_revoked_through_one_worker_is_refused_by_every_one(appliance: Appliance) -> None:
    """1,000 tries on fresh connections, which the kernel spreads over the workers; none is accepted."""
    for kind in ("service", "child-of-revoked"):
        parent = token_of(appliance, "root", no_default_policy=False) if kind != "service" else appliance.root_token
        body = {"policies": ["default"], **({"type": "batch"} if kind == "child-of-revoked" else {})}
        token = appliance.request("POST", "auth/token/create", body, token=parent).json["auth"]["client_token"]

        def status(_: int, token: str = token) -> int:
            return appliance.request("GET", "auth/token/lookup-self", token=token).status

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(status, range(40))) == {200}
            victim = token if kind == "service" else parent
            assert appliance.request("POST", "auth/token/revoke", {"token": victim}).status == 204
            assert set(pool.map(status, range(500))) == {403}


# --- shapes -------------------------------------------------------------------------------------------------------

BOMBS = [
    b'{"policy": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"policy": "' + b"{" * 200_000 + b'"}',
    b'{"metadata": ' + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"}",
    json.dumps({"policy": json.dumps({"path": {"x": {"capabilities": ["read"] * 50_000}}})}).encode(),
    json.dumps({"policy": "path " * 60_000}).encode(),
]


@pytest.mark.parametrize("path", ["sys/policies/acl/bomb", "auth/token/create", "identity/entity", "sys/wrapping/wrap"])
@pytest.mark.parametrize("number", range(len(BOMBS)))
def test_nesting_bombs_are_refused_quickly(appliance: Appliance, path: str, number: int) -> None:
    reply: Reply = appliance.request("POST", path, raw=BOMBS[number], timeout=20)
    assert reply.status < 500, reply.body[:200]
    assert appliance.request("GET", "sys/health", token=None, timeout=5).status == 200


@pytest.mark.parametrize(
    "header",
    [
        *(b"X-Vault-Token: \x1b", b"X-Vault-Token: a\x00b", b"X-Vault-Token: \x7f\x01", b"X-Vault-Namespace: \x1b[31m"),
        *(b"X-Vault-Namespace: a\x00", b"X-Vault-Wrap-TTL: \x02", b"X-Vault-Wrap-TTL: 9" + b"9" * 400),
        *(
            b"X-Mimir-Reason: \x08\x08",
            b"Authorization: Bearer \xff\xfe",
            b"X-Vault-Namespace: ../../",
            b"X-Vault-Token:",
        ),
    ],
)
def test_control_bytes_in_headers(appliance: Appliance, header: bytes) -> None:
    request = b"GET /v1/sys/mounts HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + header + b"\r\n\r\n"
    assert raw_request(appliance, request) in (400, 403, 404)
    assert b"\x1b" not in appliance.log.encode()


# --- ceremonies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["sys/generate-root/attempt", "sys/rekey/init", "sys/rekey-recovery-key/init"])
def test_nobody_cancels_a_ceremony_without_knowing_it(appliance: Appliance, path: str) -> None:
    body = {} if "generate" in path else {"secret_shares": 3, "secret_threshold": 2}
    begun = appliance.request("PUT", path, body, token=None)
    assert begun.status == 200, begun.body
    nonce = begun.json["nonce"]
    for attempt in ({}, {"nonce": "wrong"}):
        assert appliance.request("DELETE", path, attempt, token=None).status in (400, 403)
    shown = appliance.request("GET", path, token=None)
    assert shown.json["started"] is True
    assert appliance.request("DELETE", path, {"nonce": nonce}, token=None).status in (200, 204)


# --- time ---------------------------------------------------------------------------------------------------------


def test_unknown_users_and_wrong_passwords_take_the_same_time(appliance: Appliance) -> None:
    """Medians of 15 tries each within 40 %: a missing hash would be off by a factor of a hundred."""
    assert appliance.request("POST", "sys/auth/timing", {"type": "userpass"}).status == 204
    tune = {"user_lockout_config": {"lockout_disable": "true"}}
    assert appliance.request("POST", "sys/auth/timing/tune", tune).status == 204
    assert appliance.request("POST", "auth/timing/users/known", {"password": "correct horse"}).status == 204

    def spent(name: str) -> float:
        begun = time.perf_counter()
        reply = appliance.request("POST", f"auth/timing/login/{name}", {"password": "wrong"}, token=None)
        assert reply.status == 400
        assert reply.errors == ["invalid username or password"]
        return time.perf_counter() - begun

    pairs = [(spent("known"), spent("nobody")) for _ in range(15)]
    known, unknown = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert 0.6 < known / unknown < 1.66
