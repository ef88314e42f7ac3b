"""Tokens and policies through hvac, against two workers: what is narrowed is refused everywhere, at once."""

from concurrent.futures import ThreadPoolExecutor

import hvac
import hvac.exceptions
import pytest

from tests.support.appliance import Appliance

ENCRYPT_ONLY = 'path "transit/encrypt/orders" {\n  capabilities = ["update"]   # and nothing else\n}\n'


@pytest.fixture(scope="module", autouse=True)
def key(appliance: Appliance) -> None:
    appliance.client().secrets.transit.create_key("orders")


def child(appliance: Appliance, **settings: object) -> hvac.Client:
    made = appliance.client().auth.token.create(**settings)
    return appliance.client(made["auth"]["client_token"])


def test_policy_text_comes_back_byte_for_byte(appliance: Appliance) -> None:
    client = appliance.client()
    client.sys.create_or_update_policy("app", ENCRYPT_ONLY)
    assert client.sys.read_policy("app")["data"]["rules"] == ENCRYPT_ONLY
    assert client.sys.read_acl_policy("app")["data"]["policy"] == ENCRYPT_ONLY
    assert "app" in client.sys.list_policies()["data"]["policies"]
    assert "root" in client.sys.list_acl_policies()["data"]["keys"]


def test_child_may_do_what_its_policy_says_and_no_more(appliance: Appliance) -> None:
    appliance.client().sys.create_or_update_policy("app", ENCRYPT_ONLY)
    app = child(appliance, policies=["app"])
    sealed = app.secrets.transit.encrypt_data("orders", plaintext="YQ==")["data"]["ciphertext"]
    with pytest.raises(hvac.exceptions.Forbidden):
        app.secrets.transit.decrypt_data("orders", sealed)
    with pytest.raises(hvac.exceptions.Forbidden):
        app.sys.list_mounted_secrets_engines()
    with pytest.raises(hvac.exceptions.Forbidden):
        app.secrets.transit.create_key("another")


def test_upsert_needs_create(appliance: Appliance) -> None:
    policy = 'path "transit/encrypt/*" { capabilities = ["update"] }'
    appliance.client().sys.create_or_update_policy("update-only", policy)
    app = child(appliance, policies=["update-only"])
    with pytest.raises(hvac.exceptions.Forbidden):
        app.secrets.transit.encrypt_data("not-there-yet", plaintext="YQ==")


def test_narrowed_policy_is_refused_by_every_worker(appliance: Appliance) -> None:
    client = appliance.client()
    client.sys.create_or_update_policy("narrow", ENCRYPT_ONLY)
    app = child(appliance, policies=["narrow"])

    def status(_: int) -> int:
        body = {"plaintext": "YQ=="}
        return appliance.request("POST", "transit/encrypt/orders", body, token=app.token).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(status, range(32))) == {200}
        client.sys.create_or_update_policy("narrow", 'path "transit/encrypt/orders" { capabilities = ["deny"] }')
        assert set(pool.map(status, range(32))) == {403}


def test_revoked_token_is_refused_by_every_worker(appliance: Appliance) -> None:
    client = appliance.client()
    client.sys.create_or_update_policy("app", ENCRYPT_ONLY)
    for _ in range(5):
        app = child(appliance, policies=["app"])

        def status(_: int, token: str = app.token) -> int:
            return appliance.request("GET", "auth/token/lookup-self", token=token).status

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(status, range(16))) == {200}
            client.auth.token.revoke(app.token)
            assert set(pool.map(status, range(16))) == {403}


def test_revoking_a_parent_takes_its_children(appliance: Appliance) -> None:
    parent = child(appliance, policies=["root"])
    middle = appliance.client(parent.auth.token.create(policies=["root"])["auth"]["client_token"])
    leaf = appliance.client(middle.auth.token.create(policies=["default"])["auth"]["client_token"])
    orphan = appliance.client(parent.auth.token.create_orphan(policies=["default"])["auth"]["client_token"])
    appliance.client().auth.token.revoke(parent.token)
    for gone in (parent, middle, leaf):
        with pytest.raises(hvac.exceptions.Forbidden):
            gone.auth.token.lookup_self()
    assert orphan.auth.token.lookup_self()["data"]["orphan"] is True


def test_ttl_ends_a_token(appliance: Appliance) -> None:
    made = appliance.client().auth.token.create(policies=["default"], ttl="1s", explicit_max_ttl="1s")
    assert made["auth"]["lease_duration"] in {0, 1}  # what is left in whole seconds; one may end before the answer
    token = made["auth"]["client_token"]
    # the one thing a live server cannot be told: what time it is
    import time

    time.sleep(1.3)
    assert appliance.request("GET", "auth/token/lookup-self", token=token).status == 403


def test_lookup_has_every_field_clients_read(appliance: Appliance) -> None:
    data = child(appliance, policies=["default"], ttl="1h").auth.token.lookup_self()["data"]
    fields = "id accessor policies path meta display_name num_uses orphan creation_time creation_ttl ttl"
    fields += " explicit_max_ttl expire_time issue_time renewable entity_id type"
    assert set(fields.split()) <= set(data)
    assert isinstance(data["ttl"], int)
    assert 3590 <= data["ttl"] <= 3600


def test_accessor_operations(appliance: Appliance) -> None:
    client = appliance.client()
    auth = client.auth.token.create(policies=["default"])["auth"]
    assert client.auth.token.lookup_accessor(auth["accessor"])["data"]["id"] == ""
    assert auth["accessor"] in client.auth.token.list_accessors()["data"]["keys"]
    client.auth.token.revoke_accessor(auth["accessor"])
    with pytest.raises(hvac.exceptions.InvalidRequest):
        client.auth.token.lookup_accessor(auth["accessor"])


def test_a_child_cannot_grant_more_than_it_has(appliance: Appliance) -> None:
    policy = 'path "auth/token/create" { capabilities = ["update"] }'
    appliance.client().sys.create_or_update_policy("maker", policy)
    maker = child(appliance, policies=["maker"])
    for wanted in (["root"], ["app"]):
        with pytest.raises((hvac.exceptions.Forbidden, hvac.exceptions.InvalidRequest)):
            maker.auth.token.create(policies=wanted)


@pytest.mark.parametrize("token", [None, "hvs.unknown", "s.x", "x" * 9000, "hvs.\u00e9", "a b"])
def test_no_token_no_answer(appliance: Appliance, token: str | None) -> None:
    headers = {} if token is None else {"X-Vault-Token": token.encode("utf-8").decode("latin-1")}
    for path in ("sys/mounts", "transit/keys/orders", "no/such/path"):
        reply = appliance.request("GET", path, token=None, headers=headers)
        assert reply.status in (400, 403), reply.body
        assert reply.errors
    if token:
        assert token[:40] not in appliance.log


BROKEN = [
    'path "x" {',
    'path "x" { capabilities = ["fly"] }',
    'path "x" { capabilties = ["read"] }',
    "{",
    '{"path": 7}',
    "",
    'path "a/*/b" { capabilities = ["read"] ',
]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_policy_is_refused_and_the_old_one_stays(appliance: Appliance, text: str) -> None:
    client = appliance.client()
    client.sys.create_or_update_policy("kept", ENCRYPT_ONLY)
    reply = appliance.request("PUT", "sys/policies/acl/kept", {"policy": text})
    assert reply.status == 400
    assert len(reply.errors[0]) > 10
    assert client.sys.read_policy("kept")["data"]["rules"] == ENCRYPT_ONLY
