"""Every command of docs/cli.md, at least once, against the server that it is for."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.e2e.conftest import Terminal
from tests.docs.transcript import guide_steps
from tests.support.appliance import ROOT, Appliance


def as_json(user: Terminal, *words: str) -> Any:
    return json.loads(user.out(*words, "-o", "json"))


def test_status_in_three_formats(stranger: Terminal) -> None:
    assert "Sealed" in stranger.out("status")
    assert as_json(stranger, "status")["sealed"] is False
    assert yaml.safe_load(stranger.out("status", "-o", "yaml"))["initialized"] is True
    assert stranger.out("status", "--field", "type") == "pkcs11"


def test_hsm_status_in_three_formats(user: Terminal) -> None:
    table = user.out("hsm", "status")
    for shown in ("State", "ready", "Token Objects", "AES_GCM", "Custody"):
        assert shown in table
    data = as_json(user, "hsm", "status")["data"]
    assert data["objects"] == 2
    again = yaml.safe_load(user.out("hsm", "status", "-o", "yaml"))["data"]
    assert data["token_serial"] in table
    assert again["token_serial"] == data["token_serial"]
    assert again["mechanisms"] == data["mechanisms"]


def test_the_guide_line_by_line(user: Terminal) -> None:
    """The guide's own text through a shell; its ciphertext stands for the one that this key made."""
    guide = (ROOT / "tests" / "docs" / "guide.txt").read_text()
    ciphertext = ""
    for step in guide_steps(guide):
        command = step.command.replace("mimir:v1:xK8s2pQ7...", ciphertext)
        done = user.run(["bash", "-c", f"set -o pipefail\n{command}"])
        if "encrypt" in command:
            ciphertext = done.stdout.strip()
            assert ciphertext.startswith("mimir:v1:")
        if "decrypt" in command:
            assert done.stdout == "ssn=123-45-6789"
    assert user.out("transit", "decrypt", "customer-data", "--ciphertext", ciphertext) == "ssn=123-45-6789"
    assert user.out("transit", "encrypt", "customer-data", "--input", "-", given="YQ==\n").startswith("mimir:v2:")
    moved = user.out("transit", "rewrap", "customer-data", "--ciphertext", ciphertext)
    assert moved.startswith("mimir:v2:")
    assert user.out("transit", "decrypt", "customer-data", "--ciphertext", moved, "--base64") == (
        base64.b64encode(b"ssn=123-45-6789").decode()
    )


def test_transit_keys_from_birth_to_end(user: Terminal) -> None:
    user.mimir("transit", "key", "create", "short-lived")
    assert "aes256-gcm96" in user.out("transit", "key", "read", "short-lived")
    assert "short-lived" in user.out("transit", "key", "list").split()
    user.mimir("transit", "key", "rotate", "short-lived")
    user.mimir("transit", "key", "config", "short-lived", "--min-decryption-version", "2")
    refused = user.refusal("transit", "key", "delete", "short-lived")
    assert "deletion" in refused
    user.mimir("transit", "key", "config", "short-lived", "--deletion-allowed")
    user.mimir("transit", "key", "delete", "short-lived")
    assert user.refusal("transit", "key", "read", "short-lived")


def test_a_batch_each_way(user: Terminal, tmp_path: Path) -> None:
    user.mimir("transit", "key", "create", "batched")
    values = tmp_path / "values"
    values.write_text("one\ntwo\nthree\n")
    coded = [base64.b64encode(word.encode()).decode() for word in ("one", "two", "three")]
    values.write_text("\n".join(coded))
    sealed = user.out("transit", "encrypt", "batched", "--batch", str(values))
    assert len(sealed.splitlines()) == 3
    opened = user.out("transit", "decrypt", "batched", "--batch", "-", given=sealed)
    assert opened.splitlines() == coded
    broken = sealed.replace(sealed.splitlines()[1], "mimir:v1:AAAA")
    done = user.mimir("transit", "decrypt", "batched", "--batch", "-", given=broken, code=1)
    assert done.stdout.split("\n")[:3] == [coded[0], "", coded[2]]


def test_tokens_policies_and_a_user_with_little(user: Terminal, live: Appliance, tmp_path: Path) -> None:
    user.mimir("transit", "key", "create", "shared")
    text = 'path "transit/encrypt/shared" { capabilities = ["update"] }\n'
    user.mimir("policy", "write", "encrypt-only", "-", given=text)
    assert user.mimir("policy", "read", "encrypt-only").stdout == text
    assert "encrypt-only" in user.out("policy", "list").split()
    made = as_json(user, "token", "create", "--policy", "encrypt-only", "--ttl", "1h")["auth"]
    little = Terminal(tmp_path, live.address, made["client_token"])
    assert little.out("transit", "encrypt", "shared", "--input", "-", given="YQ==").startswith("mimir:v1:")
    assert "permission denied" in little.refusal("transit", "key", "read", "shared")
    assert "encrypt-only" in little.out("token", "lookup")
    little.mimir("token", "renew")
    user.mimir("token", "revoke", "-", given=made["client_token"])
    assert little.refusal("token", "lookup")
    user.mimir("policy", "delete", "encrypt-only")
    assert "encrypt-only" not in user.out("policy", "list").split()


def test_engines_and_audit_devices(user: Terminal, live: Appliance) -> None:
    user.mimir("secrets", "engine", "enable", "transit", "--path", "payments")
    assert "payments/" in user.out("secrets", "engine", "list")
    user.mimir("transit", "key", "create", "k", "--mount", "payments")
    assert user.out("transit", "key", "list", "--mount", "payments").split()[-1] == "k"
    user.mimir("secrets", "engine", "disable", "payments")
    assert "payments/" not in user.out("secrets", "engine", "list")
    user.mimir("audit", "enable", "file", f"file_path={live.data_dir}/cli-audit.log", "--path", "second")
    assert yaml.safe_load(user.out("audit", "list", "-o", "yaml"))
    assert "second/" in user.out("audit", "list")
    user.mimir("audit", "disable", "second")
    assert live.root_token not in (live.data_dir / "cli-audit.log").read_text()


def test_generic_verbs(user: Terminal) -> None:
    user.mimir("write", "transit/keys/generic", "type=aes256-gcm96")
    assert user.out("read", "transit/keys/generic", "--field", "name") == "generic"
    assert "generic" in user.out("list", "transit/keys").split()
    assert as_json(user, "secret", "read", "transit/keys/generic")["data"]["custody"] == "hsm"
    user.mimir("secret", "write", "transit/keys/generic/config", "deletion_allowed=true")
    assert "generic" in user.out("secret", "list", "transit/keys")
    user.mimir("delete", "transit/keys/generic")
    user.mimir("secret", "delete", "transit/keys/generic", code=1)


def test_operator_rotates_the_barrier_key(user: Terminal) -> None:
    before = int(user.out("operator", "key-status", "--field", "term"))
    user.mimir("operator", "rotate")
    assert int(user.out("operator", "key-status", "--field", "term")) == before + 1


def test_login_keeps_the_token_for_its_owner_alone(stranger: Terminal, live: Appliance) -> None:
    refused = stranger.refusal("token", "lookup")
    assert "mimir login" in refused
    done = stranger.mimir("login", "-", given=live.root_token + "\n")
    file = stranger.home / ".mimir-token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert live.root_token not in done.stdout + done.stderr
    assert "root" in stranger.out("token", "lookup")
    file.chmod(0o644)
    assert "chmod 600" in stranger.refusal("token", "lookup")


def test_login_with_a_wrong_token_keeps_nothing(stranger: Terminal) -> None:
    wrong = "hvs.wrong-token-that-someone-typed"
    assert wrong not in stranger.refusal("login", "-", given=wrong)
    assert not (stranger.home / ".mimir-token").exists()


def test_version_needs_no_server(stranger: Terminal) -> None:
    stranger.address = "http://127.0.0.1:1"
    assert stranger.out("version")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed(stranger: Terminal, shell: str) -> None:
    assert "mimir" in stranger.out("completion", shell)


def test_bash_takes_the_completion_and_completes(stranger: Terminal) -> None:
    script = stranger.home / "completion"
    script.write_text(stranger.out("completion", "bash"))
    typed = 'COMP_WORDS=(mimir tran); COMP_CWORD=1; _mimir_completion mimir tran mimir; echo "${COMPREPLY[@]}"'
    done = stranger.run(["bash", "-euc", f"source {script}\n{typed}"])
    assert done.stdout.split() == ["transit"]
    assert done.stderr == ""


# --- what people do wrong --------------------------------------------------------------------------------------------


def test_three_mistakes_end_in_a_way_forward(user: Terminal, stranger: Terminal) -> None:
    """A key that is not there, a text that is no base64, and no server at that address."""
    assert "not found" in user.refusal("transit", "decrypt", "nobody", "--ciphertext", "mimir:v1:AAAA")
    assert "base64" in user.refusal("transit", "encrypt", "customer-data", "--input", "-", given="ssn=123-45-6789")
    user.address = "http://127.0.0.1:1"
    lost = user.refusal("status", code=1)
    assert "127.0.0.1:1" in lost
    assert "127.0.0.1:1" in user.refusal("transit", "key", "list", code=3)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("transit", "key", "creat", "x"), 2),
        (("transit", "encrypt"), 2),
        (("transit", "key", "create", "x", "--type", "rot13"), 1),
        (("status", "--no-such-flag"), 1),
        (("read", "no/such/path"), 1),
        (("operator", "init"), 1),
        (("server", "--dev"), 2),
        (("completion", "tcsh"), 2),
    ],
)
def test_exit_codes(user: Terminal, words: tuple[str, ...], code: int) -> None:
    assert len(user.refusal(*words, code=code)) > 10


def test_a_reader_that_goes_away_is_no_error(user: Terminal) -> None:
    done = user.run(["bash", "-c", "mimir list sys/policies/acl | head -0; exit ${PIPESTATUS[0]}"], code=141)
    assert done.stderr == ""


def test_the_program_is_the_one_that_is_installed(user: Terminal) -> None:
    done = user.run(["mimir", "--help"])
    for word in ("transit", "operator", "hsm", "secrets", "completion"):
        assert word in done.stdout
