"""`mimir operator generate-root` and `rekey`: what is sent, what is never an argument, what is printed."""

import base64
import json

import pytest

from client.commands.operator_keys import decoded
from client.errors import LocalError

NONCE = "2dbd10f1-8528-6246-09e7-82b25b8aba63"
KEY = "aa" * 33
OTP = "0123456789ABCDEFGHIJKLMNOPab"
TOKEN = "hvs." + "r" * 24
ENCODED = base64.b64encode(bytes(a ^ b for a, b in zip(TOKEN.encode(), OTP.encode(), strict=True))).decode().rstrip("=")

ROOT = {"nonce": NONCE, "started": True, "progress": 1, "required": 3, "complete": False, "otp_length": 28}
REKEY = {"nonce": NONCE, "started": True, "progress": 1, "required": 3, "t": 2, "n": 4, "verification_required": False}

ONE_REQUEST = [
    (("generate-root", "--init"), "PUT", "generate-root-token/attempt", {}),
    (("generate-root", "--status"), "GET", "generate-root-token/attempt", None),
    (("generate-root", "--cancel"), "DELETE", "generate-root-token/attempt", None),
    (("generate-root", "--nonce", NONCE), "PUT", "generate-root-token/update", {"key": KEY, "nonce": NONCE}),
    (("generate-root", "--init", "--without-token"), "PUT", "generate-root/attempt", {}),
    (
        ("generate-root", "--cancel", "--without-token", "--nonce", NONCE),
        "DELETE",
        f"generate-root/attempt?nonce={NONCE}",
        None,
    ),
    (
        ("generate-root", "--without-token", "--nonce", NONCE),
        "PUT",
        "generate-root/update",
        {"key": KEY, "nonce": NONCE},
    ),
    (
        ("rekey", "--init"),
        "PUT",
        "rotate/recovery/init",
        {"secret_shares": 5, "secret_threshold": 3, "require_verification": False},
    ),
    (
        ("rekey", "--init", "--key-shares", "4", "--key-threshold", "2", "--require-verification", "--without-token"),
        "PUT",
        "rekey-recovery-key/init",
        {"secret_shares": 4, "secret_threshold": 2, "require_verification": True},
    ),
    (
        ("rekey", "--init", "--target", "barrier"),
        "PUT",
        "rotate/root/init",
        {"secret_shares": 1, "secret_threshold": 1},
    ),
    (("rekey", "--status"), "GET", "rotate/recovery/init", None),
    (("rekey", "--status", "--verify"), "GET", "rotate/recovery/verify", None),
    (("rekey", "--cancel", "--target", "barrier"), "DELETE", "rotate/root/init", None),
    (("rekey", "--cancel", "--verify", "--nonce", "n"), "DELETE", "rotate/recovery/verify?nonce=n", None),
    (("rekey", "--nonce", NONCE), "PUT", "rotate/recovery/update", {"key": KEY, "nonce": NONCE}),
    (("rekey", "--verify", "--nonce", "n"), "PUT", "rotate/recovery/verify", {"key": KEY, "nonce": "n"}),
    (
        ("rekey", "--target", "barrier", "--without-token", "--nonce", "n"),
        "PUT",
        "rekey/update",
        {"key": KEY, "nonce": "n"},
    ),
]

WRONG_USAGE = [
    ("generate-root", "--init", "--status"),
    ("generate-root", "--cancel", "--decode", "x"),
    ("generate-root", "--otp", "-"),
    ("generate-root", "--decode", ENCODED, "--otp", OTP),
    ("generate-root", KEY),
    ("rekey", KEY),
    ("rekey", "--init", "--cancel"),
    ("rekey", "--init", "--verify"),
    ("rekey", "--verify", "--target", "barrier"),
    ("rekey", "--key-shares", "3"),
    ("rekey", "--status", "--require-verification"),
    ("rekey", "--init", "--key-shares", "3"),
    ("rekey", "--init", "--key-shares", "3", "--key-threshold", "4"),
    ("rekey", "--init", "--key-shares", "17", "--key-threshold", "4"),
    ("rekey", "--init", "--target", "barrier", "--key-shares", "3", "--key-threshold", "2"),
    ("rekey", "--nonce", "n", "--field", "nonce"),
]


@pytest.mark.parametrize("arguments", WRONG_USAGE, ids=" ".join)
def test_wrong_usage_sends_nothing_and_repeats_no_secret(mimir, appliance, arguments):
    outcome = mimir("operator", *arguments, stdin=KEY.encode())
    assert outcome.code == 2
    assert appliance.requests == []
    assert KEY not in outcome.err
    assert OTP not in outcome.err


@pytest.mark.parametrize(("arguments", "method", "target", "body"), ONE_REQUEST, ids=lambda _: None)
def test_what_is_sent(mimir, appliance, arguments, method, target, body):
    appliance.gives(**(ROOT if arguments[0] == "generate-root" else REKEY))
    assert mimir("operator", *arguments, stdin=f"{KEY}\n".encode()).code == 0
    sent = appliance.only
    assert (sent.method, sent.target) == (method, f"/v1/sys/{target}")
    assert (sent.json if sent.body else None) == body
    assert ("X-Vault-Token" in sent.headers) == ("--without-token" not in arguments)


def test_the_nonce_is_asked_of_the_appliance(mimir, appliance):
    appliance.gives(**ROOT)
    assert mimir("operator", "generate-root", stdin=KEY.encode()).code == 0
    assert [(sent.method, sent.target) for sent in appliance.requests] == [
        ("GET", "/v1/sys/generate-root-token/attempt"),
        ("PUT", "/v1/sys/generate-root-token/update"),
    ]
    assert appliance.requests[1].json == {"key": KEY, "nonce": NONCE}


@pytest.mark.parametrize(
    ("status", "sentence"), [({"started": False}, "begin with --init"), ({"started": True, "nonce": ""}, "--nonce")]
)
def test_without_a_nonce_no_key_is_asked_for(mimir, appliance, status, sentence):
    appliance.answers(200, status)
    outcome = mimir("operator", "rekey", "--without-token", stdin=KEY.encode())
    assert outcome.code == 1
    assert sentence in outcome.err
    assert len(appliance.requests) == 1


def test_without_a_key_nothing_is_sent(mimir, appliance):
    outcome = mimir("operator", "generate-root", "--nonce", NONCE, stdin=b"\n")
    assert outcome.code == 1
    assert appliance.requests == []


def test_the_pad_is_printed_at_the_start(mimir, appliance):
    appliance.gives(**ROOT | {"progress": 0, "otp": OTP})
    lines = mimir("operator", "generate-root", "--init").out.splitlines()
    assert lines[2:] == [
        f"Nonce         {NONCE}",
        "Started       true",
        "Progress      0/3",
        "Complete      false",
        f"OTP           {OTP}",
        "OTP Length    28",
    ]


def test_the_last_key_holder_is_shown_the_encoded_token(mimir, appliance):
    appliance.gives(**ROOT | {"progress": 3, "complete": True, "encoded_token": ENCODED})
    assert f"Encoded Token    {ENCODED}" in mimir("operator", "generate-root", "--nonce", "n", stdin=KEY.encode()).out


@pytest.mark.parametrize("source", ["prompt", "-", "file"])
@pytest.mark.parametrize("padding", ["", "=="])
def test_the_pad_makes_the_token_of_it(mimir, appliance, tmp_path, source, padding):
    (tmp_path / "otp").write_text(f"{OTP}\n")
    option = {"prompt": (), "-": ("--otp", "-"), "file": ("--otp", f"@{tmp_path}/otp")}[source]
    outcome = mimir("operator", "generate-root", "--decode", ENCODED + padding, *option, stdin=OTP.encode())
    assert (outcome.code, outcome.out) == (0, f"{TOKEN}\n")
    assert appliance.requests == []


@pytest.mark.parametrize(
    ("encoded", "otp"), [(ENCODED, "x"), ("!", OTP), ("", OTP), (ENCODED, OTP[:-1] + "é"), ("AA", "\0")]
)
def test_a_pad_of_another_token_is_refused(encoded, otp):
    with pytest.raises(LocalError, match="do not belong together"):
        decoded(encoded, otp)


def test_new_keys_are_printed_as_init_prints_them(mimir, appliance):
    appliance.gives(complete=True, nonce=NONCE, keys=["aa", "bb"], keys_base64=["qg==", "uw=="])
    out = mimir("operator", "rekey", "--nonce", "n", stdin=KEY.encode()).out
    assert out.startswith("Recovery Key 1: qg==\nRecovery Key 2: uw==\n\nGive each new recovery key")


def test_unverified_keys_are_printed_with_what_comes_next(mimir, appliance):
    appliance.gives(complete=True, keys_base64=["qg=="], verification_nonce="v-1")
    assert "mimir operator rekey --verify --nonce v-1" in mimir("operator", "rekey", "--nonce", "n", stdin=b"k").out


def test_a_replaced_root_key_has_no_shares(mimir, appliance):
    appliance.gives(complete=True, keys=[], keys_base64=[])
    out = mimir("operator", "rekey", "--target", "barrier", "--nonce", "n", stdin=b"k").out
    assert out == "Success! The keys were replaced.\n"


def test_the_older_endpoints_answer_without_an_envelope(mimir, appliance):
    appliance.answers(200, REKEY | {"nonce": ""})
    lines = mimir("operator", "rekey", "--status", "--without-token").out.splitlines()
    assert lines[2:5] == [
        "Nonce                    -",
        "Started                  true",
        "Progress                 1/3",
    ]


def test_everything_is_there_as_json(mimir, appliance):
    appliance.gives(complete=True, keys=["aa"], keys_base64=["qg=="])
    outcome = mimir("-o", "json", "operator", "rekey", "--nonce", "n", stdin=b"k")
    assert json.loads(outcome.out)["data"]["keys"] == ["aa"]


@pytest.mark.parametrize("command", ["generate-root", "rekey"])
def test_a_cancelled_attempt_is_told(mimir, appliance, command):
    appliance.answers(204)
    assert mimir("operator", command, "--cancel").out.startswith("Success!")


def test_a_refusal_is_the_appliances(mimir, appliance):
    appliance.answers(400, {"errors": ["incorrect nonce supplied"]})
    outcome = mimir("operator", "generate-root", "--nonce", "x", stdin=KEY.encode())
    assert outcome.code == 1
    assert "incorrect nonce supplied" in outcome.err
