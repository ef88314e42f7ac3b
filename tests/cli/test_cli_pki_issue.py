"""`mimir pki issue`: what is sent, what is written, and answers that are not to be believed."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

from tests.cli.conftest import Mimir, Recorder
from tests.support.small_ca import SmallCa, pem

ROLE: dict[str, Any] = {"key_type": "ec", "key_bits": 256, "use_csr_common_name": True, "use_csr_sans": True}
Tamper = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def root() -> SmallCa:
    return SmallCa.root()


@pytest.fixture(scope="module")
def issuing(root: SmallCa) -> SmallCa:
    return root.below("Issuing")


@pytest.fixture
def signs(appliance: Recorder, root: SmallCa, issuing: SmallCa) -> Recorder:
    """The recorder signs what it is sent, as the role's issuer would."""
    script = appliance.next_answer

    def answer(request: str) -> tuple[int, Any]:
        if "/sign/" not in request:
            return script(request)
        csr = x509.load_pem_x509_csr(appliance.requests[-1].json["csr"].encode())
        key: Any = csr.public_key()
        leaf = issuing.sign(key, "app", extensions=tuple(extension.value for extension in csr.extensions))
        data = {"certificate": pem(leaf), "issuing_ca": issuing.pem, "ca_chain": [issuing.pem, root.pem]}
        return 200, {"data": data | tampering}

    tampering: dict[str, Any] = {}
    appliance.tampering = tampering  # type: ignore[attr-defined]  # for one test to change an answer
    appliance.next_answer = answer  # type: ignore[method-assign]  # the CSR decides what is answered
    appliance.on("GET /v1/pki/roles/web", 200, {"data": ROLE})
    return appliance


def sent(appliance: Recorder) -> tuple[x509.CertificateSigningRequest, dict[str, Any]]:
    body = appliance.requests[-1].json
    return x509.load_pem_x509_csr(body.pop("csr").encode()), body


def sans(csr: x509.CertificateSigningRequest) -> list[str]:
    extension = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return [str(name.value) for name in extension.value]


def test_only_a_csr_is_sent(signs: Recorder, mimir: Mimir) -> None:
    words = ("--san", "www.x.internal", "--ip", "192.0.2.7", "--uri", "spiffe://x/a", "--ttl", "12h")
    done = mimir("pki", "issue", "web", "app.x.internal", *words)
    assert signs.targets() == ["GET pki/roles/web", "POST pki/sign/web"]
    csr, body = sent(signs)
    assert csr.is_signature_valid
    assert sans(csr) == ["app.x.internal", "www.x.internal", "192.0.2.7", "spiffe://x/a"]
    assert body == {"ttl": "12h"}
    key = load_pem_private_key(done.raw, None)
    assert key.public_key() == csr.public_key()


def test_names_that_the_role_does_not_take_from_the_csr_stand_beside_it(signs: Recorder, mimir: Mimir) -> None:
    signs.script["GET /v1/pki/roles/web"] = [(200, {"data": ROLE | {"use_csr_sans": False}})]
    mimir("pki", "issue", "web", "alt_names=a.x,b.x", "common_name=app.x", "-mount=pki")
    assert sent(signs)[1] == {"alt_names": "a.x,b.x"}


@pytest.mark.parametrize(
    ("role", "options", "wanted"),
    [
        ({"key_type": "ec", "key_bits": 384}, (), "secp384r1"),
        ({"key_type": "any", "key_bits": 0}, (), "secp256r1"),
        ({"key_type": "ec", "key_bits": 0}, ("--key-type", "ec-p521"), "secp521r1"),
    ],
    ids=["of the role", "any", "asked for"],
)
def test_the_kind_of_key(
    signs: Recorder, mimir: Mimir, role: dict[str, Any], options: tuple[str, ...], wanted: str
) -> None:
    signs.script["GET /v1/pki/roles/web"] = [(200, {"data": role})]
    mimir("pki", "issue", "web", "app", *options)
    key: Any = sent(signs)[0].public_key()
    assert key.curve.name == wanted


def test_who_may_not_read_the_role_gets_a_certificate_all_the_same(signs: Recorder, mimir: Mimir) -> None:
    signs.script["GET /v1/pki/roles/web"] = [(403, {"errors": ["permission denied"]})]
    assert mimir("pki", "issue", "web", "app.x").code == 0
    assert sent(signs)[1] == {"common_name": "app.x"}


def test_a_named_issuer_signs(signs: Recorder, mimir: Mimir) -> None:
    mimir("pki", "issue", "web", "app", "--issuer", "old", "--mount", "pki")
    assert signs.targets()[-1] == "POST pki/issuer/old/sign/web"


def test_the_files(signs: Recorder, mimir: Mimir, root: SmallCa, issuing: SmallCa, tmp_path: Path) -> None:
    done = mimir("pki", "issue", "web", "app", "--out-dir", str(tmp_path / "tls"), "-o", "json")
    directory = tmp_path / "tls"
    assert json.loads(done.out)["files"]["key.pem"] == str(directory / "key.pem")
    assert "PRIVATE" not in done.out + done.err
    assert stat.S_IMODE((directory / "key.pem").stat().st_mode) == 0o600
    certificate = (directory / "cert.pem").read_text()
    key = load_pem_private_key((directory / "key.pem").read_bytes(), None)
    assert x509.load_pem_x509_certificate(certificate.encode()).public_key() == key.public_key()
    assert (directory / "chain.pem").read_text() == issuing.pem
    assert (directory / "fullchain.pem").read_text() == certificate + issuing.pem
    assert (directory / "ca.pem").read_text() == root.pem


def test_a_bundle_under_a_password(signs: Recorder, mimir: Mimir, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("geheim\n")
    words = ("--out-dir", str(tmp_path / "tls"), "--pkcs12", "--password-file", str(tmp_path / "password"))
    done = mimir("pki", "issue", "web", "app", *words)
    assert "geheim" not in done.out + done.err
    bundle = tmp_path / "tls" / "bundle.p12"
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600
    key, certificate, more = load_key_and_certificates(bundle.read_bytes(), b"geheim")
    assert key is not None
    assert certificate is not None
    assert certificate.public_key() == key.public_key()
    assert len(more) == 1


def test_an_answer_with_another_key_is_not_written(
    signs: Recorder, mimir: Mimir, issuing: SmallCa, root: SmallCa, tmp_path: Path
) -> None:
    signs.tampering["certificate"] = pem(issuing.sign(root.key.public_key(), "app"))  # type: ignore[attr-defined]  # see signs
    done = mimir("pki", "issue", "web", "app", "--out-dir", str(tmp_path / "tls"))
    assert (done.code, done.out) == (1, "")
    assert "not of our key" in done.err
    assert not (tmp_path / "tls").exists()


def test_a_chain_that_does_not_hold_is_not_written(
    signs: Recorder, mimir: Mimir, root: SmallCa, tmp_path: Path
) -> None:
    signs.tampering["ca_chain"] = [SmallCa.root("Issuing").pem]  # type: ignore[attr-defined]  # see signs
    done = mimir("pki", "issue", "web", "app", "--out-dir", str(tmp_path / "tls"))
    assert (done.code, done.out) == (1, "")
    assert "CN=Issuing did not sign" in done.err
    assert not (tmp_path / "tls").exists()


WRONG = [
    (("web",), 2, "give a name"),
    (("web", "app", "--common-name", "b"), 2, "given twice"),
    (("web", "app", "--pkcs12"), 2, "go with --out-dir"),
    (("web", "app", "--overwrite"), 2, "go with --out-dir"),
    (("web", "app", "--out-dir", "x", "--password-file", "y"), 2, "goes with --pkcs12"),
    (("web", "app", "--server-key", "--key-type", "ed25519"), 2, "with --server-key"),
    (("web", "app", "csr=x"), 2, "mimir write"),
    (("web", "app", "--out-dir", "/nowhere/at/all"), 1, "cannot be made"),
    (("web", "app", "--wrap-ttl", "5m"), 2, "--wrap-ttl"),
    (("a/b", "app"), 1, "without a slash"),
    (("web", "app", "--mount", "/"), 2, "--mount is empty"),
]


@pytest.mark.parametrize(("words", "code", "said"), WRONG, ids=[" ".join(words) for words, _, _ in WRONG])
def test_what_is_wrong_is_said_before_anything_is_asked(
    appliance: Recorder, mimir: Mimir, words: tuple[str, ...], code: int, said: str
) -> None:
    done = mimir("pki", "issue", *words)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert appliance.requests == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--ip", "192.0.2.777"), "no IP address"),
        (("--san", "bücher.example"), "Punycode"),
        (("--key-type", "dsa"), "dsa"),
    ],
    ids=["ip", "idna", "key"],
)
def test_names_and_keys_that_cannot_be(signs: Recorder, mimir: Mimir, words: tuple[str, ...], said: str) -> None:
    done = mimir("pki", "issue", "web", "app", *words)
    assert (done.code, done.out) == (1, "")
    assert said in done.err
    assert signs.targets() == ["GET pki/roles/web"]


def test_a_role_that_is_not_there_is_told_with_where_to_look(appliance: Recorder, mimir: Mimir) -> None:
    appliance.answers(404, {"errors": []})
    assert "mimir pki role list" in mimir("pki", "issue", "web", "app").err


def test_a_key_of_the_appliance_is_asked_for_in_words(appliance: Recorder, mimir: Mimir) -> None:
    appliance.answers(400, {"errors": ["no"]})
    mimir("pki", "issue", "web", "app", "--server-key", "--ttl", "1h")
    assert appliance.targets() == ["POST pki/issue/web"]
    assert appliance.only.json == {"common_name": "app", "ttl": "1h"}
