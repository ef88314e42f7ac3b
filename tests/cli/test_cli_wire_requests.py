"""What each command sends: method, path, body and headers, one request a command."""

import pytest

DATA = {"data": {"keys": [], "ciphertext": "mimir:v1:AA==", "plaintext": "aGk=", "policy": "x", "hash": "h"}}

ROWS = [
    (("status",), "GET", "/v1/sys/seal-status", None),
    (("hsm", "status"), "GET", "/v1/sys/hsm/status", None),
    (("login", "s.other"), "GET", "/v1/auth/token/lookup-self", None),
    (("token", "lookup"), "GET", "/v1/auth/token/lookup-self", None),
    (("token", "lookup", "s.x"), "POST", "/v1/auth/token/lookup", {"token": "s.x"}),
    (("token", "lookup", "--accessor", "a"), "POST", "/v1/auth/token/lookup-accessor", {"accessor": "a"}),
    (("token", "create"), "POST", "/v1/auth/token/create", {}),
    (
        ("token", "create", "--policy", "a", "--policy", "b", "--ttl", "1h", "--metadata", "k=v=w", "--num-uses", "2"),
        "POST",
        "/v1/auth/token/create",
        {"policies": ["a", "b"], "ttl": "1h", "meta": {"k": "v=w"}, "num_uses": 2},
    ),
    (
        ("token", "create", "--orphan", "--not-renewable", "--period", "1d", "--no-default-policy"),
        "POST",
        "/v1/auth/token/create-orphan",
        {"renewable": False, "period": "1d", "no_default_policy": True},
    ),
    (
        ("token", "create", "--renewable", "--explicit-max-ttl", "2h", "--display-name", "n"),
        "POST",
        "/v1/auth/token/create",
        {"renewable": True, "explicit_max_ttl": "2h", "display_name": "n"},
    ),
    (("token", "renew"), "POST", "/v1/auth/token/renew-self", {}),
    (
        ("token", "renew", "s.x", "--increment", "2h"),
        "POST",
        "/v1/auth/token/renew",
        {"token": "s.x", "increment": "2h"},
    ),
    (("token", "renew", "--accessor", "a"), "POST", "/v1/auth/token/renew-accessor", {"accessor": "a"}),
    (("token", "revoke", "s.x"), "POST", "/v1/auth/token/revoke", {"token": "s.x"}),
    (("token", "revoke", "s.x", "--orphan"), "POST", "/v1/auth/token/revoke-orphan", {"token": "s.x"}),
    (("token", "revoke", "--self"), "POST", "/v1/auth/token/revoke-self", {}),
    (("token", "revoke", "--accessor", "a"), "POST", "/v1/auth/token/revoke-accessor", {"accessor": "a"}),
    (
        ("token", "create", "--role", "web", "--type", "batch", "--entity-alias", "e", "--bound-cidr", "10.0.0.0/8"),
        "POST",
        "/v1/auth/token/create/web",
        {"type": "batch", "entity_alias": "e", "bound_cidrs": ["10.0.0.0/8"]},
    ),
    (("token", "capabilities", "a/b"), "POST", "/v1/sys/capabilities-self", {"paths": ["a/b"]}),
    (("token", "capabilities", "s.x", "a/b"), "POST", "/v1/sys/capabilities", {"token": "s.x", "paths": ["a/b"]}),
    (
        ("token", "capabilities", "--accessor", "x", "a/b"),
        "POST",
        "/v1/sys/capabilities-accessor",
        {"accessor": "x", "paths": ["a/b"]},
    ),
    (("token", "accessors"), "GET", "/v1/auth/token/accessors?list=true", None),
    (("token", "tidy"), "POST", "/v1/auth/token/tidy", {}),
    (("token", "rotate-batch-key"), "POST", "/v1/auth/token/batch-key/rotate", {"end_all": False}),
    (("token", "rotate-batch-key", "--end-all"), "POST", "/v1/auth/token/batch-key/rotate", {"end_all": True}),
    (("token", "role", "list"), "GET", "/v1/auth/token/roles?list=true", None),
    (("token", "role", "read", "web"), "GET", "/v1/auth/token/roles/web", None),
    (
        ("token", "role", "write", "web", "orphan=true", "allowed_policies=a,b"),
        "POST",
        "/v1/auth/token/roles/web",
        {"orphan": "true", "allowed_policies": "a,b"},
    ),
    (("token", "role", "delete", "web"), "DELETE", "/v1/auth/token/roles/web", None),
    (("policy", "read", "p"), "GET", "/v1/sys/policies/acl/p", None),
    (("policy", "list"), "GET", "/v1/sys/policies/acl?list=true", None),
    (("quota", "list"), "GET", "/v1/sys/quotas/rate-limit?list=true", None),
    (("quota", "read", "q"), "GET", "/v1/sys/quotas/rate-limit/q", None),
    (("quota", "write", "q", "--rate", "2"), "PUT", "/v1/sys/quotas/rate-limit/q", {"rate": 2.0}),
    (
        (
            *("quota", "write", "q", "--rate", "2.5", "--interval", "1m", "--block", "5m"),
            *("--path", "auth/approle/", "--role", "web"),
        ),
        "PUT",
        "/v1/sys/quotas/rate-limit/q",
        {"rate": 2.5, "interval": "1m", "block_interval": "5m", "path": "auth/approle/", "role": "web"},
    ),
    (
        ("quota", "write", "q", "--rate", "1", "--path", "team-a/", "--inheritable"),
        "PUT",
        "/v1/sys/quotas/rate-limit/q",
        {"rate": 1.0, "path": "team-a/", "inheritable": True},
    ),
    (("quota", "delete", "q"), "DELETE", "/v1/sys/quotas/rate-limit/q", None),
    (("password-policy", "list"), "GET", "/v1/sys/policies/password?list=true", None),
    (("password-policy", "read", "p"), "GET", "/v1/sys/policies/password/p", None),
    (("password-policy", "generate", "p"), "GET", "/v1/sys/policies/password/p/generate", None),
    (("password-policy", "delete", "p"), "DELETE", "/v1/sys/policies/password/p", None),
    (("operator", "host-info"), "GET", "/v1/sys/host-info", None),
    (("policy", "delete", "p"), "DELETE", "/v1/sys/policies/acl/p", None),
    (("secrets", "engine", "enable", "transit"), "POST", "/v1/sys/mounts/transit", {"type": "transit"}),
    (
        ("secrets", "engine", "enable", "kv", "--path", "a/b/", "--description", "d", "--option", "version=2"),
        "POST",
        "/v1/sys/mounts/a/b",
        {"type": "kv", "description": "d", "options": {"version": "2"}},
    ),
    (("secrets", "engine", "list"), "GET", "/v1/sys/mounts", None),
    (("secrets", "engine", "disable", "kv/"), "DELETE", "/v1/sys/mounts/kv", None),
    (
        ("audit", "enable", "file", "file_path=/a", "--path", "second", "--description", "d", "--local"),
        "PUT",
        "/v1/sys/audit/second",
        {"type": "file", "options": {"file_path": "/a"}, "local": True, "description": "d"},
    ),
    (("audit", "list"), "GET", "/v1/sys/audit", None),
    (("audit", "disable", "second"), "DELETE", "/v1/sys/audit/second", None),
    (("operator", "seal"), "PUT", "/v1/sys/seal", {}),
    (("operator", "rotate"), "PUT", "/v1/sys/rotate", {}),
    (("operator", "key-status"), "GET", "/v1/sys/key-status", None),
    (("operator", "unseal", "abcd"), "PUT", "/v1/sys/unseal", {"key": "abcd"}),
    (("operator", "unseal", "--reset"), "PUT", "/v1/sys/unseal", {"reset": True}),
    (("operator", "init"), "PUT", "/v1/sys/init", {"recovery_shares": 5, "recovery_threshold": 3}),
    (
        ("operator", "init", "--recovery-shares", "1", "--recovery-threshold", "1", "--no-escrow"),
        "PUT",
        "/v1/sys/init",
        {"recovery_shares": 1, "recovery_threshold": 1, "escrow_shares": 0},
    ),
    (
        ("operator", "init", "--escrow-shares", "5", "--escrow-threshold", "3"),
        "PUT",
        "/v1/sys/init",
        {"recovery_shares": 5, "recovery_threshold": 3, "escrow_shares": 5, "escrow_threshold": 3},
    ),
    (
        ("transit", "key", "create", "k", "--type", "aes256-gcm96"),
        "POST",
        "/v1/transit/keys/k",
        {"type": "aes256-gcm96"},
    ),
    (
        ("transit", "key", "create", "k", "--mount", "/pay/"),
        "POST",
        "/v1/pay/keys/k",
        {"type": "aes256-gcm96"},
    ),
    (("transit", "key", "read", "k"), "GET", "/v1/transit/keys/k", None),
    (("transit", "key", "list"), "GET", "/v1/transit/keys?list=true", None),
    (("transit", "key", "rotate", "k"), "POST", "/v1/transit/keys/k/rotate", {}),
    (
        ("transit", "key", "config", "k", "--min-decryption-version", "2", "--no-deletion-allowed"),
        "POST",
        "/v1/transit/keys/k/config",
        {"min_decryption_version": 2, "deletion_allowed": False},
    ),
    (("transit", "key", "delete", "k"), "DELETE", "/v1/transit/keys/k", None),
    (("transit", "encrypt", "k", "--input", "aGk="), "POST", "/v1/transit/encrypt/k", {"plaintext": "aGk="}),
    (
        ("transit", "encrypt", "k", "--raw", "--input", "hi", "--associated-data", "YQ==", "--key-version", "3"),
        "POST",
        "/v1/transit/encrypt/k",
        {"plaintext": "aGk=", "associated_data": "YQ==", "key_version": 3},
    ),
    (
        ("transit", "decrypt", "k", "--ciphertext", " mimir:v1:AA== ", "--associated-data", "YQ=="),
        "POST",
        "/v1/transit/decrypt/k",
        {"ciphertext": "mimir:v1:AA==", "associated_data": "YQ=="},
    ),
    (("transit", "rewrap", "k", "--ciphertext", "c"), "POST", "/v1/transit/rewrap/k", {"ciphertext": "c"}),
    (("read", "/v1/sys/mounts", "a=b c"), "GET", "/v1/sys/mounts?a=b+c", None),
    (("read", "secret/a b/ü%2F?"), "GET", "/v1/secret/a%20b/%C3%BC%252F%3F", None),
    (("write", "secret/a", "k=v", "k=w", "empty="), "PUT", "/v1/secret/a", {"k": ["v", "w"], "empty": ""}),
    (("write", "-f", "secret/a"), "PUT", "/v1/secret/a", {}),
    (("list", "secret/"), "GET", "/v1/secret/?list=true", None),
    (("delete", "secret/a", "versions=1"), "DELETE", "/v1/secret/a?versions=1", None),
    (("secret", "read", "database/creds/orders-api"), "GET", "/v1/database/creds/orders-api", None),
    (("secret", "write", "secret/a", "k=v"), "PUT", "/v1/secret/a", {"k": "v"}),
    (("secret", "list", "secret"), "GET", "/v1/secret?list=true", None),
    (("secret", "delete", "secret/a"), "DELETE", "/v1/secret/a", None),
]


@pytest.mark.parametrize(("arguments", "method", "target", "body"), ROWS, ids=lambda _: None)
def test_a_command_sends_one_request(mimir, appliance, arguments, method, target, body):
    appliance.answers(200, DATA)
    mimir(*arguments)
    sent = appliance.only
    assert (sent.method, sent.target) == (method, target)
    assert (sent.json if sent.body else None) == body
    assert ("Content-Type" in sent.headers) == (body is not None)


def test_requests_carry_token_namespace_and_wrap_ttl(mimir, appliance):
    mimir("--namespace", "/team/", "read", "a", "--wrap-ttl", "5m")
    headers = appliance.only.headers
    assert headers["X-Vault-Token"] == "s.test-token"
    assert headers["X-Vault-Namespace"] == "team"
    assert headers["X-Vault-Wrap-TTL"] == "5m"
    assert headers["X-Vault-Request"] == "true"


@pytest.mark.parametrize("arguments", [("status",), ("operator", "init"), ("operator", "unseal", "k")])
def test_unauthenticated_commands_send_no_token(mimir, appliance, arguments):
    mimir(*arguments)
    assert "X-Vault-Token" not in appliance.only.headers


def test_the_token_of_vault_is_used_when_mimir_has_none(mimir, appliance):
    mimir("read", "a", MIMIR_TOKEN="", VAULT_TOKEN="s.vault")
    assert appliance.only.headers["X-Vault-Token"] == "s.vault"


def test_the_address_of_vault_is_used_when_mimir_has_none(mimir, appliance):
    mimir("read", "a", MIMIR_ADDR="", VAULT_ADDR=appliance.address)
    assert appliance.only.target == "/v1/a"


def test_an_address_flag_wins_and_may_have_a_path(mimir, appliance):
    mimir("read", "a", "--address", f"{appliance.address}/behind/proxy/", MIMIR_ADDR="http://127.0.0.1:1")
    assert appliance.only.target == "/behind/proxy/v1/a"


def test_a_value_comes_from_a_file_or_from_standard_input(mimir, appliance, tmp_path):
    (tmp_path / "value").write_bytes(b"line\n")
    mimir("write", "a", f"file=@{tmp_path}/value", "input=-", "literal=\\@x", stdin=b"given\n")
    assert appliance.only.json == {"file": "line\n", "input": "given\n", "literal": "@x"}


def test_a_body_comes_as_json_from_standard_input(mimir, appliance):
    mimir("write", "a", "-", "extra=1", stdin=b'{"deep": {"er": [1, null]}}')
    assert appliance.only.json == {"deep": {"er": [1, None]}, "extra": "1"}


def test_a_policy_is_sent_byte_for_byte(mimir, appliance, tmp_path):
    text = '# ü\npath "a/*" {\r\n  capabilities = ["read"]\n}\n\n'
    (tmp_path / "p.hcl").write_bytes(text.encode())
    mimir("policy", "write", "p", str(tmp_path / "p.hcl"))
    assert (appliance.only.method, appliance.only.target) == ("PUT", "/v1/sys/policies/acl/p")
    assert appliance.only.json == {"policy": text}


def test_line_breaks_of_base64_are_taken_out(mimir, appliance):
    mimir("transit", "encrypt", "k", "--input", "-", stdin=b"c3NuPTEy\nMy00NS02\r\nNzg5\n")
    assert appliance.only.json == {"plaintext": "c3NuPTEyMy00NS02Nzg5"}


@pytest.mark.parametrize(
    ("content", "items"),
    [
        (b"aGk=\n\naG8=\n", [{"plaintext": "aGk="}, {"plaintext": "aG8="}]),
        (b' ["aGk="]', [{"plaintext": "aGk="}]),
        (b'[{"plaintext": "aGk=", "reference": "r"}]', [{"plaintext": "aGk=", "reference": "r"}]),
    ],
)
def test_a_batch_is_read_from_lines_or_json(mimir, appliance, content, items):
    appliance.gives(batch_results=[{"ciphertext": "c"}] * len(items))
    mimir("transit", "encrypt", "k", "--batch", "-", stdin=content)
    assert appliance.only.json == {"batch_input": items}


def test_associated_data_goes_to_every_item_that_has_none(mimir, appliance):
    appliance.gives(batch_results=[{"ciphertext": "c"}] * 2)
    content = b'["aGk=", {"plaintext": "aGk=", "associated_data": "Yg=="}]'
    mimir("transit", "encrypt", "k", "--batch", "-", "--associated-data", "YQ==", stdin=content)
    assert [item["associated_data"] for item in appliance.only.json["batch_input"]] == ["YQ==", "Yg=="]
