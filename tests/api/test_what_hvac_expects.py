"""What hvac's own integration tests expect of tokens, logins, policies, mounts, wrapping, quotas and ceremonies.

Engines that this appliance does not have are stood for by transit.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import hvac
import hvac.exceptions
import pytest

from tests.support.appliance import Appliance

STORE = "development-sqlite"  # of the fixture `appliance`

OTP = "0123456789abcdefghijABCDEFGH"


@pytest.fixture
def client(appliance: Appliance) -> hvac.Client:
    return appliance.client()


def lookup(client: hvac.Client, granted: dict[str, Any]) -> dict[str, Any]:
    data = client.auth.token.lookup(granted["auth"]["client_token"])["data"]
    assert data["id"] == granted["auth"]["client_token"]
    return dict(data)


# --- tokens -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("maker", ["create", "create_orphan"])
def test_a_token_from_creation_to_revocation(client: hvac.Client, maker: str) -> None:
    made = getattr(client.auth.token, maker)(ttl="1h", renewable=True)
    token = lookup(client, made)["id"]
    assert client.auth.token.renew(token)["auth"]["client_token"] == token
    client.auth.token.revoke(token)
    with pytest.raises(hvac.exceptions.Forbidden):
        client.auth.token.lookup(token)


def test_a_token_on_itself(appliance: Appliance, client: hvac.Client) -> None:
    token = client.auth.token.create(ttl="1h", renewable=True)["auth"]["client_token"]
    own = appliance.client(token)
    assert own.auth.token.lookup_self()["data"]["id"] == token
    assert own.auth.token.renew_self()["auth"]["client_token"] == token
    own.auth.token.revoke_self()
    assert not own.is_authenticated()


@pytest.mark.parametrize(
    ("asked", "duration", "period"),
    [
        ({"ttl": "30m", "explicit_max_ttl": "5m"}, 300, None),
        ({"ttl": "5m"}, 300, None),
        ({"period": "30m"}, 1800, 1800),
    ],
)
def test_how_long_a_token_lives(client: hvac.Client, asked: dict[str, str], duration: int, period: int | None) -> None:
    made = client.auth.token.create(**asked)
    assert made["auth"]["lease_duration"] == duration
    assert lookup(client, made).get("period") == period


def test_a_wrapped_periodic_token(client: hvac.Client) -> None:
    wrapped = client.auth.token.create(period="30m", wrap_ttl="15m")
    assert (wrapped["auth"], wrapped["wrap_info"]["ttl"]) == (None, 900)
    made = client.sys.unwrap(token=wrapped["wrap_info"]["token"])
    assert made["auth"]["lease_duration"] == 1800
    assert lookup(client, made)["period"] == 1800


def test_an_accessor_never_shows_the_token(client: hvac.Client) -> None:
    made = client.auth.token.create(ttl="1h")["auth"]
    shown = client.auth.token.lookup_accessor(made["accessor"])["data"]
    assert (shown["accessor"], shown["id"]) == (made["accessor"], "")
    client.auth.token.revoke_accessor(made["accessor"])
    with pytest.raises(hvac.exceptions.InvalidRequest):
        client.auth.token.lookup_accessor(made["accessor"])
    with pytest.raises(hvac.exceptions.Forbidden):
        client.auth.token.lookup(made["client_token"])


def test_roles_of_tokens(client: hvac.Client) -> None:
    roles = client.auth.token
    assert roles.create_or_update_role("testrole", allowed_policies="testpolicy").status_code == 204
    assert "testrole" in roles.list_roles()["data"]["keys"]
    made = roles.create(ttl="1h", role_name="testrole")
    assert made["auth"]["policies"] == ["default", "testpolicy"]
    roles.delete_role("testrole")
    with pytest.raises(hvac.exceptions.InvalidPath):
        roles.read_role("testrole")


def test_logging_out_with_revocation(appliance: Appliance, client: hvac.Client) -> None:
    token = client.auth.token.create(ttl="1h")["auth"]["client_token"]
    own = appliance.client(token)
    own.logout(revoke_token=True)
    assert own.token is None or own.token == ""
    own.token = token
    assert not own.is_authenticated()


@pytest.mark.parametrize("token", [None, "not-a-real-token"])
def test_who_is_nobody_is_not_authenticated(appliance: Appliance, token: str | None) -> None:
    assert not appliance.client(token).is_authenticated()


def test_what_cannot_stand_in_a_header_is_refused(appliance: Appliance) -> None:
    with pytest.raises((hvac.exceptions.InvalidRequest, hvac.exceptions.Forbidden)):
        appliance.client("\x1b").auth.token.lookup_self()


# --- wrapping -----------------------------------------------------------------------------------------------------


def test_a_wrapped_token_that_was_revoked_is_unwrapped_dead(client: hvac.Client) -> None:
    wrapped = client.auth.token.create(wrap_ttl="1m")["wrap_info"]
    client.auth.token.revoke_accessor(wrapped["wrapped_accessor"])
    token = client.sys.unwrap(wrapped["token"])["auth"]["client_token"]
    with pytest.raises(hvac.exceptions.Forbidden):
        client.auth.token.lookup(token)


def test_who_was_overtaken_learns_it(client: hvac.Client) -> None:
    token = client.auth.token.create(wrap_ttl="1m")["wrap_info"]["token"]
    before = client.token
    client.sys.unwrap(token)
    assert client.token == before
    with pytest.raises(hvac.exceptions.InvalidRequest):
        client.sys.unwrap(token)


def test_a_wrapping_token_unwraps_itself(appliance: Appliance, client: hvac.Client) -> None:
    own = appliance.client(client.auth.token.create(wrap_ttl="1m")["wrap_info"]["token"])
    made = own.sys.unwrap()
    assert lookup(client, made)["type"] == "service"
    with pytest.raises(hvac.exceptions.InvalidRequest):
        own.sys.unwrap()


# --- policies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pretty", [True, False])
def test_a_policy_as_a_dict(client: hvac.Client, pretty: bool) -> None:
    policy = {"path": {"test-path": {"capabilities": ["read"]}}}
    assert client.sys.create_or_update_policy("of-dict", policy, pretty_print=pretty).ok
    assert json.loads(client.sys.read_policy("of-dict")["data"]["rules"]) == policy
    assert client.sys.create_or_update_acl_policy("of-dict", policy, pretty_print=pretty).ok
    shown = client.sys.read_acl_policy("of-dict")["data"]
    assert (shown["name"], json.loads(shown["policy"])) == ("of-dict", policy)
    assert (len(shown["policy"].splitlines()) > 1) is pretty
    client.sys.delete_acl_policy("of-dict")
    with pytest.raises(hvac.exceptions.InvalidPath):
        client.sys.read_acl_policy("of-dict")


def test_policies_of_the_oldest_kind(client: hvac.Client) -> None:
    client.sys.create_or_update_policy("old", 'path "sys" { policy = "deny" }\npath "secret" { policy = "write" }')
    listed = client.sys.list_policies()
    assert {"old", "root"} <= set(listed["data"]["policies"]) & set(listed["keys"])
    client.sys.delete_policy("old")
    assert "old" not in client.sys.list_policies()["data"]["policies"]


def test_capabilities_of_a_token(client: hvac.Client) -> None:
    client.sys.create_or_update_policy("reader", 'path "transit/keys/*" { capabilities = ["read", "list"] }')
    made = client.auth.token.create(policies=["reader"])["auth"]
    paths = ["transit/keys/a", "sys/mounts"]
    assert client.sys.get_capabilities(paths)["data"]["sys/mounts"] == ["root"]
    for by in ({"token": made["client_token"]}, {"accessor": made["accessor"]}):
        data = client.sys.get_capabilities(paths, **by)["data"]
        assert (data["transit/keys/a"], data["sys/mounts"]) == (["list", "read"], ["deny"])


# --- mounts -------------------------------------------------------------------------------------------------------


def test_an_engine_from_enabling_to_disabling(client: hvac.Client) -> None:
    sys = client.sys
    sys.enable_secrets_engine("transit", path="test")
    tuning = sys.read_mount_configuration("test")["data"]
    assert (tuning["default_lease_ttl"], tuning["max_lease_ttl"]) == (2764800, 2764800)
    sys.tune_mount_configuration("test", default_lease_ttl="3600s", max_lease_ttl="8600s")
    tuning = sys.read_mount_configuration("test")["data"]
    assert (tuning["default_lease_ttl"], tuning["max_lease_ttl"]) == (3600, 8600)
    sys.move_backend("test", "foobar")
    mounted = sys.list_mounted_secrets_engines()
    assert "test/" not in mounted["data"]
    assert "foobar/" in mounted  # beside data, as older clients read it
    sys.disable_secrets_engine("foobar")
    assert "foobar/" not in sys.list_mounted_secrets_engines()["data"]


def test_a_login_method_from_enabling_to_disabling(client: hvac.Client) -> None:
    sys = client.sys
    sys.enable_auth_method("approle", path="test-approle")
    assert "test-approle/" in sys.list_auth_methods()
    tuned = sys.tune_auth_method("test-approle", description="a test", max_lease_ttl=12345678)
    assert tuned.status_code == 204
    assert sys.read_auth_method_tuning("test-approle")["data"]["max_lease_ttl"] == 12345678
    assert sys.disable_auth_method("test-approle").status_code == 204
    assert sys.disable_auth_method("test-approle").status_code == 204
    assert "test-approle/" not in sys.list_auth_methods()["data"]


def test_audit_devices_and_hashes(appliance: Appliance, client: hvac.Client) -> None:
    options = {"path": str(appliance.data_dir / "tmp-audit.log")}  # Vault's older name of file_path
    client.sys.enable_audit_device("file", options=options, path="tmpfile")
    assert "tmpfile/" in client.sys.list_enabled_audit_devices()["data"]
    assert client.sys.calculate_hash("tmpfile", "hvac-rox")["data"]["hash"].startswith("hmac-sha256:")
    client.sys.disable_audit_device("tmpfile")
    assert "tmpfile/" not in client.sys.list_enabled_audit_devices()["data"]
    with pytest.raises(hvac.exceptions.InvalidRequest, match="unknown audit backend"):
        client.sys.calculate_hash("tmpfile", "hvac-rox")


def test_namespaces(client: hvac.Client) -> None:
    client.sys.create_namespace("python-hvac")
    assert "python-hvac/" in client.sys.list_namespaces()["data"]["keys"]
    client.sys.delete_namespace("python-hvac")
    with pytest.raises(hvac.exceptions.InvalidPath):
        client.sys.list_namespaces()


# --- logins -------------------------------------------------------------------------------------------------------


@pytest.fixture
def people(client: hvac.Client) -> Iterator[hvac.Client]:
    """hvac's tests use the default path."""
    client.sys.enable_auth_method("userpass", path="hvac-people")
    yield client
    client.sys.disable_auth_method("hvac-people")


def test_users(appliance: Appliance, people: hvac.Client) -> None:
    users, mount = people.auth.userpass, {"mount_point": "hvac-people"}
    users.create_or_update_user("one", "a password", policies="not_root", ttl="10s", **mount)
    users.create_or_update_user("two", "another", policies="not_root", **mount)
    assert users.list_user(**mount)["data"]["keys"] == ["one", "two"]
    person = appliance.client(None)
    assert person.auth.userpass.login("one", "a password", **mount)["auth"]["lease_duration"] == 10
    assert person.is_authenticated()
    users.create_or_update_user("one", policies="somethingelse", **mount)
    assert users.read_user("one", **mount)["data"]["policies"] == ["somethingelse"]
    users.update_password_on_user("one", "a new one", **mount)
    person.auth.userpass.login("one", "a new one", **mount)
    for name in ("one", "two"):
        users.delete_user(name, **mount)
    with pytest.raises(hvac.exceptions.InvalidPath):
        users.list_user(**mount)
    with pytest.raises(hvac.exceptions.InvalidRequest):
        person.auth.userpass.login("one", "a new one", **mount)


def test_a_role_that_says_nothing(client: hvac.Client) -> None:
    client.sys.enable_auth_method("approle", path="hvac-roles")
    client.write("auth/hvac-roles/role/testrole")
    wrapped = client.write_data("auth/hvac-roles/role/testrole/secret-id", wrap_ttl="10s")
    assert {"secret_id", "secret_id_accessor"} <= set(client.sys.unwrap(wrapped["wrap_info"]["token"])["data"])
    roles, mount = client.auth.approle, {"mount_point": "hvac-roles"}
    assert roles.read_role("testrole", **mount)["data"]["token_type"] == "default"
    roles.update_role_id("testrole", "test_role_id", **mount)
    assert roles.read_role_id("testrole", **mount)["data"]["role_id"] == "test_role_id"
    made = roles.create_custom_secret_id("testrole", "custom", cidr_list=["127.0.0.1/32"], **mount)["data"]
    assert made["secret_id"] == "custom"
    assert roles.read_secret_id("testrole", "custom", **mount)["data"]["secret_id_num_uses"] == 0
    assert roles.destroy_secret_id("testrole", "custom", **mount).status_code == 204
    assert roles.delete_role("testrole", **mount).status_code == 204
    client.sys.disable_auth_method("hvac-roles")


# --- quotas -------------------------------------------------------------------------------------------------------


def test_quotas(client: hvac.Client) -> None:
    wanted = {"name": "test-quota", "path": "transit/*", "rate": 100, "role": "", "type": "rate-limit"}
    client.sys.create_or_update_quota("test-quota", rate=100, path="transit/*", interval="600", block_interval="600")
    shown = client.sys.read_quota("test-quota")["data"]
    assert wanted | {"interval": 600, "block_interval": 600} == {k: v for k, v in shown.items() if k != "inheritable"}
    assert client.sys.list_quotas()["data"]["keys"] == ["test-quota"]
    with pytest.raises(hvac.exceptions.InvalidRequest):
        client.sys.create_or_update_quota("invalid", rate=101, path="/not-exist")
    client.sys.delete_quota("test-quota")
    with pytest.raises(hvac.exceptions.InvalidPath):
        client.sys.read_quota("test-quota")


# --- ceremonies ---------------------------------------------------------------------------------------------------


def test_rotation_of_the_encryption_key(client: hvac.Client) -> None:
    before = client.key_status["term"]
    client.sys.rotate_encryption_key()
    assert client.key_status["term"] > before


def test_a_root_token_from_recovery_keys(appliance: Appliance, client: hvac.Client) -> None:
    begun = client.sys.start_root_token_generation(otp=OTP)
    assert client.generate_root_status["started"] is True
    for key in appliance.init["recovery_keys"][: begun["required"]]:
        last = client.sys.generate_root(key=key, nonce=begun["nonce"])
    assert client.generate_root_status["started"] is False
    veiled = base64.b64decode(last["encoded_root_token"] + "=" * 2)
    token = "".join(chr(a ^ b) for a, b in zip(veiled, OTP.encode(), strict=True))
    assert client.auth.token.lookup(token)["data"]["policies"] == ["root"]
    assert appliance.client(token).is_authenticated()


def test_a_root_generation_is_cancelled(client: hvac.Client) -> None:
    client.sys.start_root_token_generation(otp=OTP)
    assert client.generate_root_status["started"] is True
    client.sys.cancel_root_generation()
    assert client.generate_root_status["started"] is False


@pytest.mark.parametrize("is_recovery", [False, True], ids=["root-key", "recovery-keys"])
def test_a_rekey_is_cancelled(client: hvac.Client, is_recovery: bool) -> None:
    client.sys.start_rekey(secret_shares=5, secret_threshold=3, recovery_key=is_recovery)
    assert client.sys.read_rekey_progress(recovery_key=is_recovery)["started"] is True
    client.sys.cancel_rekey(recovery_key=is_recovery)
    assert client.sys.read_rekey_progress(recovery_key=is_recovery)["started"] is False


def test_rekeys(appliance: Appliance, client: hvac.Client) -> None:
    """The root key's rekey hands out nothing, since the HSM keeps it; the recovery keys' does."""
    keys = appliance.init["recovery_keys"]
    nonce = client.sys.start_rekey()["nonce"]
    done = client.sys.rekey_multi(keys, nonce=nonce)
    assert (done["complete"], done["keys"]) == (True, [])
    nonce = client.sys.start_rekey(secret_shares=5, secret_threshold=3, recovery_key=True)["nonce"]
    done = client.sys.rekey_multi(keys, nonce=nonce, recovery_key=True)
    assert done["complete"] is True
    assert len(done["keys"]) == len(done["keys_base64"]) == 5
    nonce = client.sys.start_rekey(recovery_key=True)["nonce"]
    with pytest.raises(hvac.exceptions.InvalidRequest):
        client.sys.rekey_multi(keys, nonce=nonce, recovery_key=True)  # the old ones are worth nothing now
    client.sys.cancel_rekey(recovery_key=True)


def test_there_are_no_backed_up_keys(client: hvac.Client) -> None:
    with pytest.raises(hvac.exceptions.InvalidRequest, match="no backed-up keys found"):
        client.sys.read_backup_keys()


def test_leader_and_seal(client: hvac.Client) -> None:
    assert client.ha_status["ha_enabled"] is False
    assert client.seal_status["sealed"] is False
