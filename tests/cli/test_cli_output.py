"""What is printed: tables, JSON, YAML, one field, exact bytes."""

import json

import pytest
import yaml

ENVELOPE = {"request_id": "r-1", "lease_id": "", "data": {"b": [1, "x"], "a": None}, "warnings": None}


@pytest.mark.parametrize(
    "arguments", [("-o", "json", "read", "a"), ("read", "-o", "json", "a"), ("read", "a", "--format=json")]
)
def test_json_is_the_whole_body_wherever_the_flag_stands(mimir, appliance, arguments):
    appliance.answers(200, ENVELOPE)
    assert json.loads(mimir(*arguments).out) == ENVELOPE


@pytest.mark.parametrize("variable", ["MIMIR_FORMAT", "VAULT_FORMAT"])
def test_the_format_comes_from_the_environment(mimir, appliance, variable):
    appliance.answers(200, ENVELOPE)
    assert json.loads(mimir("read", "a", **{variable: "JSON"}).out) == ENVELOPE


def test_the_last_format_flag_counts(mimir, appliance):
    appliance.answers(200, ENVELOPE)
    assert (
        yaml.safe_load(mimir("-o", "json", "transit", "-o", "json", "key", "read", "k", "-o", "yaml").out) == ENVELOPE
    )


def test_yaml_is_the_whole_body(mimir, appliance):
    appliance.answers(200, ENVELOPE)
    assert yaml.safe_load(mimir("read", "a", "-o", "yaml").out) == ENVELOPE


def test_an_empty_answer_is_an_empty_object_in_json(mimir, appliance):
    appliance.answers(204)
    assert mimir("operator", "seal", "-o", "json").out == "{}\n"


def test_a_table_is_sorted_and_aligned(mimir, appliance):
    appliance.answers(200, {"request_id": "r", "data": {"long_name": True, "b": [1, "x"], "a": None, "m": {"k": 1}}})
    assert mimir("read", "a").out.splitlines() == [
        "Key          Value",
        "---          -----",
        "a            -",
        "b            1, x",
        "long_name    true",
        'm            {"k": 1}',
    ]


def test_an_answer_cannot_drive_the_terminal(mimir, appliance):
    appliance.answers(200, {"data": {"a": "\x1b]0;x\x07\nb"}, "warnings": ["\x1b[2J"]})
    outcome = mimir("read", "a")
    assert "\\x1b]0;x\\x07\\nb" in outcome.out
    assert "WARNING: \\x1b[2J" in outcome.err


def test_a_lease_is_shown_with_its_duration(mimir, appliance):
    appliance.answers(200, {"lease_id": "db/1", "lease_duration": 3600, "renewable": True, "data": {"password": "x"}})
    assert "lease_duration     1h\n" in mimir("read", "a").out


def test_secret_read_prints_lease_and_data_as_the_guide_does(mimir, appliance):
    appliance.answers(200, {"request_id": "r", "lease_id": "db/1", "lease_duration": 3600, "data": {"username": "v"}})
    shown = {"lease_id": "db/1", "lease_duration": "1h", "data": {"username": "v"}}
    assert json.loads(mimir("secret", "read", "a").out) == shown
    assert mimir("secret", "read", "a", "-o", "table").out.startswith("Key")


def test_a_deleted_version_is_shown_although_it_is_a_404(mimir, appliance):
    """KV version 2 answers 404 with data for it; Vault's clients show the data."""
    appliance.answers(404, {"data": {"data": None, "metadata": {"version": 1}}})
    outcome = mimir("read", "secret/data/a")
    assert outcome.code == 0
    assert '{"version": 1}' in outcome.out


def test_a_field_goes_into_a_pipe_byte_for_byte(mimir, appliance):
    appliance.gives(password="line\n\x01ü")
    assert mimir("read", "a", "--field", "password").raw == "line\n\x01ü".encode()


def test_a_field_that_is_no_text_is_json(mimir, appliance):
    appliance.gives(list=["a"], number=7)
    assert json.loads(mimir("read", "a", "--field", "list").out) == ["a"]
    assert mimir("read", "a", "--field", "number").out == "7\n"


def test_the_field_token_of_a_new_token(mimir, appliance):
    appliance.answers(200, {"auth": {"client_token": "s.new", "accessor": "acc"}, "data": None})
    assert mimir("token", "create", "--field", "token").out == "s.new"
    assert mimir("token", "create", "--field", "token_accessor").out == "acc"


def test_a_new_token_is_shown_with_what_it_may(mimir, appliance):
    auth = {"client_token": "s.new", "accessor": "acc", "lease_duration": 5400, "renewable": True}
    appliance.answers(200, {"auth": auth | {"policies": ["default", "p"], "metadata": {"team": "core"}}, "data": None})
    out = mimir("token", "create").out
    for cells in (
        "token              s.new",
        "token_duration     1h30m",
        "token_policies     default, p",
        "token_meta_team    core",
    ):
        assert cells in out


def test_a_wrapped_answer_shows_the_wrapping_token(mimir, appliance):
    wrap = {"token": "s.w", "accessor": "a", "ttl": 300, "creation_time": "t", "creation_path": "p"}
    appliance.answers(200, {"data": None, "wrap_info": wrap})
    for command in (("read", "a"), ("transit", "decrypt", "k", "--ciphertext", "c"), ("policy", "read", "p")):
        assert "wrapping_token                  s.w\n" in mimir(*command, "--wrap-ttl", "5m").out
    assert mimir("read", "a", "--wrap-ttl", "5m", "--field", "wrapping_token").out == "s.w"


def test_encrypt_prints_the_ciphertext_alone(mimir, appliance):
    appliance.gives(ciphertext="mimir:v1:AA==", key_version=1)
    assert mimir("transit", "encrypt", "k", "--input", "-", stdin=b"aGk=\n").out == "mimir:v1:AA==\n"


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        ((), b"a\xff\n\0"),
        (("--raw",), b"a\xff\n\0"),
        (("--base64",), b"Yf8KAA==\n"),
        (("--field", "plaintext"), b"Yf8KAA=="),
    ],
)
def test_decrypt_prints_exact_bytes_into_a_pipe(mimir, appliance, options, printed):
    appliance.gives(plaintext="Yf8KAA==")
    assert mimir("transit", "decrypt", "k", "--ciphertext", "c", *options).raw == printed


def test_decrypt_in_json_is_the_answer_as_it_came(mimir, appliance):
    appliance.gives(plaintext="Yf8=")
    assert json.loads(mimir("transit", "decrypt", "k", "--ciphertext", "c", "-o", "json").out)["data"] == {
        "plaintext": "Yf8="
    }


def test_a_batch_prints_one_result_a_line(mimir, appliance):
    appliance.gives(batch_results=[{"ciphertext": "c1"}, {"ciphertext": "c2"}])
    outcome = mimir("transit", "encrypt", "k", "--batch", "-", stdin=b"aGk=\naG8=\n")
    assert (outcome.code, outcome.out) == (0, "c1\nc2\n")


def test_a_key_is_shown_with_its_versions_in_order(mimir, appliance):
    appliance.gives(name="k", type="aes256-gcm96", keys={"10": 0, "9": 1700000000, "x": {"public_key": "p"}})
    out = mimir("transit", "key", "read", "k").out
    assert out.split("\n\n")[1].splitlines() == [
        "Version    Created",
        "-------    -------",
        'x          {"public_key": "p"}',
        "9          2023-11-14T22:13:20Z",
        "10         1970-01-01T00:00:00Z",
    ]


def test_engines_are_listed_by_path(mimir, appliance):
    appliance.gives(
        **{"transit/": {"type": "transit", "accessor": "t1", "description": ""}, "a/": {"type": "kv"}, "odd": 1}
    )
    assert mimir("secrets", "engine", "list").out.splitlines() == [
        "Path        Type       Accessor    Description",
        "----        ----       --------    -----------",
        "a/          kv",
        "transit/    transit    t1",
    ]


def test_audit_devices_are_listed_with_their_options(mimir, appliance):
    appliance.gives(**{"file/": {"type": "file", "description": "d", "options": {"file_path": "/a"}}})
    assert mimir("audit", "list").out.splitlines()[2] == "file/    file    d              file_path=/a"


def test_no_audit_device_is_said(mimir, appliance):
    appliance.answers(200, {"data": None})
    assert mimir("audit", "list").out == "No audit device is enabled.\n"


def test_a_policy_is_printed_as_it_was_written(mimir, appliance):
    appliance.gives(name="p", policy='path "a" {}\n')
    assert mimir("policy", "read", "p").out == 'path "a" {}\n'


def test_status_shows_the_seal(mimir, appliance):
    body = {
        "type": "pkcs11",
        "initialized": True,
        "sealed": False,
        "t": 3,
        "n": 5,
        "version": "1.0.0",
        "build_date": "",
    }
    appliance.answers(200, body)
    outcome = mimir("status")
    assert (outcome.code, outcome.out.splitlines()[2]) == (0, "Seal Type                pkcs11")
    assert "Build Date" not in outcome.out


HSM = {
    "module": "/usr/lib/softhsm/libsofthsm2.so",
    "state": "ready",
    "latency_us": 21,
    "kek_ids": ["k1"],
    "mechanisms": [{"name": "AES_GCM", "proven": True}, {"name": "EDDSA", "proven": False}],
    "custody": {"aes256": "hsm", "chacha20": "sealed"},
}


def test_hsm_status_shows_state_mechanisms_and_custody(mimir, appliance):
    appliance.gives(**HSM)
    parts = mimir("hsm", "status").out.split("\n\n")
    assert "State           ready" in parts[0]
    assert "EDDSA        false" in parts[1]
    assert "chacha20    sealed" in parts[2]


@pytest.mark.parametrize(
    "data", [{}, {"state": "away"}, {"mechanisms": ["AES_GCM"]}, {"mechanisms": 1, "custody": [1]}]
)
def test_hsm_status_takes_what_is_there(mimir, appliance, data):
    appliance.gives(**data)
    assert mimir("hsm", "status").code == 0


INIT = {
    "keys": [],
    "keys_base64": [],
    "recovery_keys": ["aa", "bb"],
    "recovery_keys_base64": ["qg==", "uw=="],
    "root_token": "s.root",
    "escrow_shares": ["academic acid one", "academic acid two"],
}


def test_init_prints_every_key_once(mimir, appliance):
    appliance.answers(200, INIT)
    out = mimir("operator", "init", "--recovery-shares", "2", "--recovery-threshold", "2").out
    for line in (
        "Recovery Key 1: qg==",
        "Recovery Key 2: uw==",
        "Escrow Share 2: academic acid two",
        "Initial Root Token: s.root",
    ):
        assert out.count(line + "\n") == 1
    assert "2 of them together" in out
    assert "Unseal Key" not in out


def test_init_without_escrow_does_not_speak_of_it(mimir, appliance):
    appliance.answers(200, {**INIT, "escrow_shares": None})
    assert "scrow" not in mimir("operator", "init", "--no-escrow").out


def test_init_in_json_is_the_answer(mimir, appliance):
    appliance.answers(200, INIT)
    assert json.loads(mimir("operator", "init", "-o", "json").out) == INIT


def test_init_refuses_to_print_one_field(mimir, appliance):
    """The others would be lost for ever."""
    assert mimir("operator", "init", "--field", "root_token").code == 2
    assert not appliance.requests


def test_unseal_shows_the_progress(mimir, appliance):
    appliance.answers(200, {"sealed": True, "progress": 1, "t": 3})
    assert "Unseal Progress    1" in mimir("operator", "unseal", "-", stdin=b"abcd\n").out


def test_a_lone_surrogate_in_an_answer_is_no_crash(mimir, appliance):
    appliance.answers(200, b'{"data": {"a": "\\ud800"}}')
    assert "\\ud800" in mimir("read", "a").out


def test_version_is_an_option_too(mimir, appliance):
    outcome = mimir("--version")
    assert (outcome.code, outcome.out) == (0, mimir("version").out)


def test_creating_a_key_that_is_there_claims_no_success(mimir, appliance):
    appliance.body = {"data": {"type": "aes256-gcm96"}, "warnings": ["key k already existed"]}
    outcome = mimir("transit", "key", "create", "k")
    assert (outcome.code, outcome.out) == (0, "Key k is unchanged, type aes256-gcm96.\n")
    assert "already existed" in outcome.err


def test_creating_a_key_tells_where_it_lives(mimir, appliance):
    appliance.body = {"data": {"type": "ml-dsa-65", "custody": "sealed"}, "warnings": None}
    outcome = mimir("transit", "key", "create", "k", "--type", "ml-dsa", "--parameter-set", "65")
    assert outcome.out == "Success! Key k is created, type ml-dsa-65, custody sealed.\n"


def test_seconds_of_any_answer_are_shown_as_people_write_them(mimir, appliance):
    appliance.gives(token_ttl=300, period=0, auto_rotate_period=86400, ttl_seconds=60, secret_id_ttl="1h", num_uses=90)
    rows = dict(line.split() for line in mimir("read", "auth/approle/role/web").out.splitlines()[2:])
    assert rows == {
        "token_ttl": "5m",
        "period": "0s",
        "auto_rotate_period": "24h",
        "ttl_seconds": "60",
        "secret_id_ttl": "1h",
        "num_uses": "90",
    }


def test_path_help_shows_the_text_and_drives_no_terminal(mimir, appliance):
    appliance.answers(200, {"help": "One role.\n\n    read    \x1b[31mIt\n", "see_also": None})
    assert mimir("path-help", "/v1/auth/approle/role/web/").out == "One role.\n\n    read    \\x1b[31mIt\n"
    assert appliance.only.target == "/v1/auth/approle/role/web?help=1"
