"""`mimir transit encrypt|decrypt --file`: what is asked of the appliance, what is written, and what never is."""

import base64
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_cli_process import environment

KEY = base64.b64encode(bytes(32)).decode()


@pytest.fixture
def sealed(mimir, appliance, tmp_path):
    """A file of three chunks, encrypted; requests are forgotten."""
    appliance.gives(plaintext=KEY, ciphertext="mimir:v3:AAAA")
    plain = tmp_path / "plain"
    plain.write_bytes(bytes(range(256)) * 10)
    outcome = mimir("transit", "encrypt", "k", "--file", str(plain), "--out", str(tmp_path / "g"), "--chunk-size", "1k")
    assert outcome.code == 0, outcome.err
    appliance.requests.clear()
    return tmp_path / "g"


def test_a_file_comes_back(mimir, appliance, sealed, tmp_path):
    outcome = mimir("transit", "decrypt", "k", "--file", str(sealed), "--out", str(tmp_path / "f"))
    assert (outcome.code, outcome.err) == (0, "")
    assert (tmp_path / "f").read_bytes() == (tmp_path / "plain").read_bytes()
    assert (appliance.only.target, appliance.only.json) == ("/v1/transit/decrypt/k", {"ciphertext": "mimir:v3:AAAA"})


def test_encryption_asks_for_one_data_key(mimir, appliance, tmp_path):
    appliance.gives(plaintext=KEY, ciphertext="mimir:v3:AAAA")
    options = ("--context", "Yw==", "--associated-data", "YQ==", "--mount", "pay", "--key-version", "3")
    out = tmp_path / "g"
    outcome = mimir("transit", "encrypt", "k", "--file", "-", "--out", str(out), *options, "-o", "json", stdin=b"x" * 9)
    report = json.loads(outcome.out)
    assert (report["bytes_read"], report["key_version"]) == (9, 3)
    assert appliance.only.target == "/v1/pay/datakey/plaintext/k"
    assert appliance.only.json == {"bits": 256, "context": "Yw==", "associated_data": "YQ==", "key_version": 3}
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert b"xxx" not in out.read_bytes()
    assert bytes(32) not in out.read_bytes()


def test_pipes_on_both_sides(mimir, appliance):
    appliance.gives(plaintext=KEY, ciphertext="mimir:v1:AAAA")
    content = mimir("transit", "encrypt", "k", "--file", "-", "--out", "-", stdin=b"").raw
    assert content.startswith(b"MIMIRENC")
    outcome = mimir("transit", "decrypt", "k", "--file", "-", "--out", "-", stdin=content)
    assert (outcome.code, outcome.raw) == (0, b"")


@pytest.mark.parametrize("cut", [1, 16, 600, 1500, 2600])
def test_a_truncated_file_leaves_nothing_behind(mimir, sealed, tmp_path, cut):
    sealed.write_bytes(sealed.read_bytes()[:-cut])
    before = sorted(tmp_path.iterdir())
    outcome = mimir("transit", "decrypt", "k", "--file", str(sealed), "--out", str(tmp_path / "f"))
    assert outcome.code == 1
    assert "truncated" in outcome.err
    assert sorted(tmp_path.iterdir()) == before


def test_to_standard_output_goes_only_what_is_verified(mimir, sealed, tmp_path):
    content = bytearray(sealed.read_bytes())
    content[-100] ^= 1
    outcome = mimir("transit", "decrypt", "k", "--file", "-", "--out", "-", stdin=bytes(content))
    assert outcome.code == 1
    assert (tmp_path / "plain").read_bytes()[:2048] == outcome.raw
    assert "chunk 3" in outcome.err


def test_a_truncated_pipe_says_to_discard_what_came(mimir, sealed):
    content = sealed.read_bytes()[: -(512 + 16)]
    outcome = mimir("transit", "decrypt", "k", "--file", "-", "--out", "-", stdin=content)
    assert outcome.code == 1
    assert "discard it" in outcome.err
    assert len(outcome.raw) == 1024


@pytest.mark.parametrize("verb", ["encrypt", "decrypt"])
def test_a_file_that_is_there_is_replaced_only_by_force(mimir, appliance, sealed, tmp_path, verb):
    out = tmp_path / "out"
    out.write_text("mine")
    source = tmp_path / "plain" if verb == "encrypt" else sealed
    words = ("transit", verb, "k", "--file", str(source), "--out", str(out))
    outcome = mimir(*words)
    assert (outcome.code, out.read_text(), appliance.requests) == (1, "mine", [])
    assert "--force" in outcome.err
    assert mimir(*words, "--force").code == 0
    assert out.read_bytes() != b"mine"


USAGE = [
    ("encrypt", "--file", "f"),
    ("encrypt", "--file", "f", "--out", "g", "--input", "aGk="),
    ("encrypt", "--file", "f", "--out", "g", "--batch", "b"),
    ("encrypt", "--file", "f", "--out", "g", "--raw"),
    ("encrypt", "--input", "aGk=", "--out", "g"),
    ("encrypt", "--input", "aGk=", "--force"),
    ("encrypt", "--input", "aGk=", "--chunk-size", "64K"),
    ("encrypt", "--file", "f", "--out", "g", "--chunk-size", "0"),
    ("encrypt", "--file", "f", "--out", "g", "--chunk-size", "17M"),
    ("encrypt", "--file", "f", "--out", "g", "--chunk-size", "1G"),
    ("encrypt", "--file", "f", "--out", "-", "-o", "json"),
    ("encrypt", "--file", "f", "--out", "/no-such-g", "--wrap-ttl", "5m"),
    ("decrypt", "--file", "f"),
    ("decrypt", "--file", "f", "--out", "g", "--ciphertext", "c"),
    ("decrypt", "--file", "f", "--out", "g", "--base64"),
    ("decrypt", "--ciphertext", "c", "--out", "g"),
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_options_that_contradict_each_other_are_wrong_usage(mimir, appliance, words):
    assert mimir("transit", words[0], "k", *words[1:]).code == 2
    assert not appliance.requests


LOCAL = [
    (("encrypt", "--file", "/no/such", "--out", "{}/g"), "'/no/such' cannot be read"),
    (("encrypt", "--file", "/", "--out", "{}/g"), "Is a directory"),
    (("encrypt", "--file", "-", "--out", "/no/such/g"), "no directory '/no/such'"),
    (("encrypt", "--file", "-", "--out", "/dev/null", "--force"), "not a regular file"),
    (("encrypt", "--file", "-", "--out", "{}", "--force"), "not a regular file"),
    (("encrypt", "--file", "-", "--out", "{}/g", "--context", "*"), "context is not base64"),
    (("decrypt", "--file", "-", "--out", "{}/g"), "no file that `mimir transit encrypt --file` wrote"),
]


@pytest.mark.parametrize(("words", "said"), LOCAL, ids=lambda value: str(value)[:50])
def test_what_cannot_work_is_refused_before_anything_is_sent(mimir, appliance, tmp_path, words, said):
    verb, *rest = [word.format(tmp_path) for word in words]
    outcome = mimir("transit", verb, "k", *rest, stdin=b"content")
    assert outcome.code == 1
    assert said in outcome.err
    assert not appliance.requests


def test_a_refusal_names_the_key_that_the_file_names(mimir, appliance, sealed, tmp_path):
    appliance.answers(400, {"errors": ["invalid ciphertext"]})
    outcome = mimir("transit", "decrypt", "other", "--file", str(sealed), "--out", str(tmp_path / "f"))
    assert outcome.code == 1
    assert "invalid ciphertext" in outcome.err
    assert "under the key 'k' of the mount 'transit'" in outcome.err


@pytest.mark.parametrize("plaintext", ["*", "AAAA", None])
def test_an_answer_without_a_data_key_leaves_no_file(mimir, appliance, tmp_path, plaintext):
    appliance.gives(plaintext=plaintext, ciphertext="mimir:v1:AAAA")
    assert mimir("transit", "encrypt", "k", "--file", "-", "--out", str(tmp_path / "g"), stdin=b"x").code in {1, 3}
    assert not list(tmp_path.glob("*g*"))


PROGRAM = """
import os, resource, sys
from client.main import run
for words in (["encrypt", "k", "--file", sys.argv[1], "--out", sys.argv[2]],
              ["decrypt", "k", "--file", sys.argv[2], "--out", sys.argv[3]]):
    warm = ["--file", "/dev/null", "--out", sys.argv[2] + words[0]]
    run(["transit", "encrypt", "k", *warm], os.environ)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert run(["transit", *words], os.environ) == 0
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_file(appliance, tmp_path):
    appliance.gives(plaintext=KEY, ciphertext="mimir:v1:AAAA")
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(64 << 20)
    names = [str(large), str(tmp_path / "g"), str(tmp_path / "f")]
    settings = environment(MIMIR_ADDR=appliance.address, MIMIR_FORMAT="json")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names], capture_output=True, text=True, timeout=60, check=True, env=settings
    )
    grown = [int(line) for line in done.stdout.splitlines() if line.strip().isdigit()]
    assert len(grown) == 2
    assert max(grown) < 8 * 1024  # KiB
    assert Path(names[2]).stat().st_size == 64 << 20
