"""`mimir pki`, against the server that it is for: from an empty appliance to a certificate that nobody trusts."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Mimir, Outcome
from tests.support.appliance import Appliance


@dataclass
class User:
    """Someone at a terminal with a token."""

    call: Mimir
    address: str
    token: str

    def mimir(self, *words: str, given: str = "", code: int = 0) -> Outcome:
        done = self.call("pki", *words, stdin=given.encode(), MIMIR_ADDR=self.address, MIMIR_TOKEN=self.token)
        assert done.code == code, (words, done)
        return done

    def out(self, *words: str, given: str = "", code: int = 0) -> str:
        return self.mimir(*words, given=given, code=code).out.rstrip("\n")

    def json(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.out(*words, "-o", "json", code=code))

    def rows(self, *words: str, code: int = 0) -> dict[str, str]:
        lines = [line.split(None, 1) for line in self.out(*words, code=code).splitlines()]
        return {line[0]: line[1] for line in lines if len(line) == 2}


@pytest.fixture
def user(mimir: Mimir, live: Appliance) -> User:
    return User(mimir, live.address, live.root_token)


def results(made: dict[str, Any]) -> dict[str, str]:
    return {step["step"]: step["result"] for step in made["steps"]}


@pytest.fixture(scope="module")
def inited() -> list[str]:
    """What init was run for."""
    return []


@pytest.fixture
def pki(user: User, inited: list[str]) -> User:
    """With a mount that the first test makes."""
    if not inited:
        user.mimir("init", "--domain", "example.internal")
        inited.append("pki")
    return user


def test_init_makes_all_of_it_once(user: User) -> None:
    words = ("init", "--domain", "once.internal", "--mount", "once", "--role", "app")
    dry = user.json(*words, "--dry-run")
    assert set(results(dry).values()) == {"missing"}
    first = user.json(*words)
    assert set(results(first).values()) == {"made"}
    assert first["root_certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert set(results(user.json(*words)).values()) == {"there"}
    table = user.out("issuer", "list", "-mount=once").splitlines()[2:]
    assert {line.split()[0]: line.split()[2] for line in table} == {"root": "false", "intermediate": "true"}
    assert "issuing-certificates" not in user.rows("issuer", "read", "root", "-mount=once")["usage"]
    assert user.rows("key", "read", "root", "-mount=once")["custody"] == "hsm"
    assert user.rows("show", "-mount=once")["ca"] == "yes, CAs below it: 0"


def test_init_goes_on_after_an_interruption(user: User, live: Appliance) -> None:
    """The key of the intermediate is there, and nothing was signed."""
    live.client().sys.enable_secrets_engine("pki", path="half", config={"max_lease_ttl": "87600h"})
    mount = ("--mount", "half")
    user.mimir("root", "generate", "--common-name", "x Root CA", "--issuer-name", "root", "--key-name", "root", *mount)
    user.mimir("intermediate", "generate", "--common-name", "x", "--key-name", "intermediate", *mount)
    made = results(user.json("init", "--domain", "half.internal", *mount))
    assert (made["root"], made["intermediate"], made["first certificate"]) == ("there", "made", "made")
    assert len(user.json("key", "list", *mount)["data"]["keys"]) == 2


def test_a_mount_of_another_kind_is_left_alone(user: User) -> None:
    assert "of type transit" in user.mimir("init", "--domain", "x.internal", "--mount", "transit", code=1).err


def test_a_certificate_from_its_birth_to_its_end(pki: User, tmp_path: Path) -> None:
    directory = tmp_path / "tls"
    name = "app.example.internal"
    made = pki.json("issue", "web", name, "--san", f"www.{name}", "--ttl", "12h", "--out-dir", str(directory))
    serial = made["serial_number"]
    verify = ["openssl", "verify", "-CAfile", "ca.pem", "-untrusted", "chain.pem", "cert.pem"]
    subprocess.run(verify, cwd=directory, check=True, capture_output=True)
    shown = pki.rows("show", str(directory / "cert.pem"))
    assert (shown["subject"], shown["names"]) == (f"CN={name}", f"DNS:{name}, DNS:www.{name}")
    assert shown["validity"].startswith("ends in 11 hours")
    assert shown["ocsp_servers"].endswith("/v1/pki/ocsp")

    [found] = pki.json("certs", "--san", f"www.{name}", "--expiring", "1d")["data"]["certificates"]
    assert (found["serial_number"], found["role"], found["issuer_name"]) == (serial, "web", "intermediate")
    assert pki.rows("ocsp", "check", str(directory / "cert.pem"))["status"] == "good"

    pki.mimir("revoke", str(directory / "cert.pem"), "--reason", "superseded")
    assert (
        pki.json("certs", "--state", "revoked", "--role", "web")["data"]["certificates"][0]["serial_number"] == serial
    )
    assert pki.rows("show", serial)["revoked"].startswith("yes")
    assert pki.rows("ocsp", "check", serial, code=1)["status"] == "revoked"
    pki.mimir("crl", "rotate")
    assert serial in pki.out("crl", "read")


def test_renewal_replaces_all_files_and_its_key(pki: User, tmp_path: Path) -> None:
    words = ("issue", "web", "renewed.example.internal", "--out-dir", str(tmp_path / "tls"))
    pki.mimir(*words)
    before = {path.name: path.read_bytes() for path in (tmp_path / "tls").glob("*.pem")}
    pki.mimir(*words)
    changed = {path.name for path in (tmp_path / "tls").glob("*.pem") if path.read_bytes() != before[path.name]}
    assert changed == {"key.pem", "cert.pem", "fullchain.pem"}


def test_a_key_of_the_appliance_and_a_csr_from_elsewhere(pki: User, tmp_path: Path) -> None:
    made = pki.json("issue", "web", "there.example.internal", "--server-key", "key_type=ec")["data"]
    assert made["private_key"].startswith("-----BEGIN")
    csr = tmp_path / "own.csr"
    new = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-subj", "/CN=own.example.internal", "-addext", "subjectAltName=DNS:own.example.internal"]
    subprocess.run([*new, *names, "-keyout", str(tmp_path / "k"), "-out", str(csr)], check=True, capture_output=True)
    pki.mimir("sign", "web", "--csr", str(csr), "--out", str(tmp_path / "own.pem"))
    assert pki.mimir("verify-sign", "intermediate", str(tmp_path / "own.pem")).code == 0
    assert pki.mimir("verify-sign", "root", str(tmp_path / "own.pem"), code=1).code == 1


def test_another_root_with_overlap(pki: User, tmp_path: Path) -> None:
    pki.mimir("root", "rotate", "--common-name", "Second", "--issuer-name", "second", "--ttl", "100h")
    pki.mimir(
        "intermediate", "generate", "--common-name", "Below", "--key-name", "below", "--out", str(tmp_path / "csr")
    )
    ca = str(tmp_path / "ca.pem")
    pki.mimir("intermediate", "sign", "--csr", str(tmp_path / "csr"), "--issuer", "second", "--ttl", "50h", "--out", ca)
    pki.mimir("intermediate", "set-signed", ca)
    assert pki.rows("show", "intermediate")["issuer"] == "CN=example.internal Root CA"
    pki.mimir("issuer", "delete", "second")
    assert "second" not in pki.out("issuer", "list")


def test_what_needs_a_look(pki: User) -> None:
    pki.mimir("role", "write", "open", "allow_any_name=true", "key_type=ec")
    found = [(one["about"], one["level"]) for one in pki.json("health-check", code=1)["findings"]]
    assert ("role open", "warning") in found
    assert "role web" not in dict(found)
    pki.mimir("role", "delete", "open")


REFUSED = [
    (("issue", "nobody", "a.example.internal"), "mimir pki role list"),
    (("issue", "web", "a.elsewhere.org"), "not allowed by this role"),
    (("issue", "web", "a.example.internal", "--ip", "192.0.2.1"), "IP"),
    (("show", "nobody"), "nobody"),
    (("revoke", "71:11:22:33:44:55"), "71:11:22:33:44:55"),
    (("certs", "--expiring", "soon"), "duration"),
    (("certs", "--issuer", "nobody"), "nobody"),
    (("issuer", "list", "-mount=nowhere"), "mimir secrets engine enable"),
    (("role", "write", "bad", "key_type=dsa"), "dsa"),
]


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_typical_mistakes_of_pki(pki: User, words: tuple[str, ...], said: str) -> None:
    refused = pki.mimir(*words, code=1)
    assert refused.out == ""
    assert said in refused.err
