"""What each command of `mimir pki` sends and prints, and what it refuses before it sends anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Mimir, Recorder
from tests.support.small_ca import SmallCa, pem

SERIAL = "39:dd:2e:90:b7:23:1f:8d"
CA = {"certificate": "x", "issuer_id": "i-1", "csr": "c", "key_id": "k-1"}


@pytest.fixture(scope="module")
def root() -> SmallCa:
    return SmallCa.root()


@pytest.fixture(autouse=True)
def files(tmp_path: Path, root: SmallCa, monkeypatch: pytest.MonkeyPatch) -> None:
    from client.pki_key import Names, make_csr

    (tmp_path / "ca.pem").write_text(root.pem)
    (tmp_path / "app.csr").write_text(make_csr(root.key, Names(common_name="app")))
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\ngeheim\n-----END PRIVATE KEY-----\n")
    (tmp_path / "empty").write_text("")
    monkeypatch.chdir(tmp_path)


ROWS: list[tuple[str, str, str, Any]] = [
    ("root generate --common-name R", "POST", "root/generate/internal", {"common_name": "R", "key_type": "ec"}),
    (
        "root generate --common-name R --type exported --key-type rsa --key-bits 3072 --issuer-name r --ttl 9h ou=x",
        *("POST", "root/generate/exported"),
        {"common_name": "R", "key_type": "rsa", "key_bits": 3072, "issuer_name": "r", "ttl": "9h", "ou": "x"},
    ),
    ("root generate --type existing --key-ref k", "POST", "root/generate/existing", {"key_ref": "k"}),
    ("root rotate --common-name R", "POST", "root/rotate/internal", {"common_name": "R", "key_type": "ec"}),
    ("root replace r2", "POST", "root/replace", {"default": "r2"}),
    ("intermediate generate --common-name I", *("POST", "intermediate/generate/internal"), None),
    ("intermediate sign --csr app.csr --max-path-length 0 --ttl 9h", "POST", "root/sign-intermediate", None),
    ("intermediate sign --csr app.csr --issuer r", "POST", "issuer/r/sign-intermediate", None),
    ("intermediate set-signed ca.pem", "POST", "intermediate/set-signed", None),
    (
        "intermediate cross-sign --key-ref k --common-name I",
        *("POST", "intermediate/cross-sign", {"key_ref": "k", "common_name": "I"}),
    ),
    ("sign web --csr app.csr --ttl 1h", "POST", "sign/web", None),
    ("sign web --csr app.csr --issuer r", "POST", "issuer/r/sign/web", None),
    ("sign-verbatim --csr app.csr", "POST", "sign-verbatim", None),
    ("sign-verbatim --csr app.csr --role web --issuer r", "POST", "issuer/r/sign-verbatim/web", None),
    ("root sign-self-issued ca.pem", "POST", "root/sign-self-issued", None),
    ("root sign-self-issued ca.pem --issuer r", "POST", "issuer/r/sign-self-issued", None),
    ("issuer read", "GET", "issuer/default", None),
    ("issuer read r --pem", "GET", "issuer/r", None),
    ("issuer write r issuer_name=s", "PATCH", "issuer/r", {"issuer_name": "s"}),
    ("issuer default", "GET", "config/issuers", None),
    ("issuer default r", "POST", "config/issuers", {"default": "r"}),
    ("issuer import ca.pem", "POST", "issuers/import/bundle", None),
    ("issuer revoke r", "POST", "issuer/r/revoke", {}),
    ("issuer delete r", "DELETE", "issuer/r", None),
    ("key read", "GET", "key/default", None),
    (
        "key generate --name k --key-bits 384",
        *("POST", "keys/generate/internal", {"key_name": "k", "key_bits": 384, "key_type": "ec"}),
    ),
    ("key import key.pem --name k", "POST", "keys/import", None),
    ("key rename k l", "POST", "key/k", {"key_name": "l"}),
    ("key delete k", "DELETE", "key/k", None),
    (
        "role write web allowed_domains=x allowed_domains=y",
        *("POST", "roles/web", {"allowed_domains": ["x", "y"]}),
    ),
    ("role write web --patch ttl=12h", "PATCH", "roles/web", {"ttl": "12h"}),
    ("role read web", "GET", "roles/web", None),
    ("role delete web", "DELETE", "roles/web", None),
    ("crl rotate", "GET", "crl/rotate", None),
    ("crl rotate --delta", "GET", "crl/rotate-delta", None),
    ("crl config", "GET", "config/crl", None),
    ("crl config auto_rebuild=true", "POST", "config/crl", {"auto_rebuild": "true"}),
    ("tidy start", "POST", "tidy", {"tidy_cert_store": True, "tidy_revoked_certs": True}),
    (
        "tidy start --safety-buffer 9h tidy_acme=true",
        *("POST", "tidy", {"safety_buffer": "9h", "tidy_acme": "true"}),
    ),
    ("tidy status", "GET", "tidy-status", None),
    ("tidy cancel", "POST", "tidy-cancel", {}),
    ("tidy auto", "GET", "config/auto-tidy", None),
    ("tidy auto enabled=true", "POST", "config/auto-tidy", {"enabled": "true"}),
    ("urls", "GET", "config/urls", None),
    ("urls ocsp_servers=http://x/ocsp", "POST", "config/urls", {"ocsp_servers": "http://x/ocsp"}),
    ("cluster path=http://x/v1/pki", "POST", "config/cluster", {"path": "http://x/v1/pki"}),
    (f"revoke {SERIAL}", "POST", "revoke", {"serial_number": SERIAL}),
    (f"revoke {SERIAL} --reason superseded", "POST", "revoke", {"serial_number": SERIAL, "reason": "superseded"}),
    ("revoke ca.pem", "POST", "revoke", None),
    ("revoke ca.pem --key key.pem", "POST", "revoke-with-key", None),
]


@pytest.mark.parametrize(("words", "method", "path", "body"), ROWS, ids=[row[0] for row in ROWS])
def test_what_is_sent(appliance: Recorder, mimir: Mimir, words: str, method: str, path: str, body: Any) -> None:
    appliance.gives(**CA)
    done = mimir("pki", *words.split(), "--mount", "ca/")
    assert done.code == 0, done.err
    assert (appliance.only.method, appliance.only.target) == (method, f"/v1/ca/{path}")
    if body is not None:
        assert appliance.only.json == body
    assert "geheim" not in done.out + done.err


@pytest.mark.parametrize("words", [row[0] for row in ROWS])
def test_the_answer_as_json(appliance: Recorder, mimir: Mimir, words: str) -> None:
    appliance.gives(**CA)
    assert json.loads(mimir("pki", *words.split(), "-o", "json").out)["data"] == CA


WRONG = [
    ("root generate --common-name R common_name=S", 2, "give it once"),
    ("root generate --common-name R --force", 2, "--force goes with --out"),
    ("sign web --csr ca.pem", 1, "no CSR"),
    ("sign web --csr nowhere", 1, "nowhere"),
    ("sign web --csr empty", 1, "empty"),
    ("sign a/b --csr app.csr", 1, "without a slash"),
    ("sign web --csr app.csr --out ca.pem", 1, "is there already"),
    ("intermediate set-signed empty", 1, "empty"),
    ("issuer write r", 2, "say what to change"),
    ("issuer read r --pem --chain", 2, "contradict"),
    ("role write web", 2, "say what the role allows"),
    ("revoke web.example", 1, "neither a file nor a serial number"),
    ("revoke ca.pem --reason because", 2, "because"),
    (f"revoke {SERIAL} --key key.pem", 1, "goes with the certificate's file"),
    ("show key.pem", 1, "holds a key and no certificate"),
    ("show nowhere/cert.pem", 1, "there is no file"),
    ("show empty", 1, "empty"),
    ("ocsp check app", 1, "neither a file nor a serial number"),
    ("certs --all --limit 3", 2, "contradict"),
    ("certs --state gone", 2, "gone"),
    ("init", 2, "--domain"),
    ("init --domain *.x", 2, "--domain"),
    ("init --domain x --url ftp://x", 2, "--url"),
    ("root replace a/b", 1, "without a slash"),
]


@pytest.mark.parametrize(("words", "code", "said"), WRONG, ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_said_before_anything_is_sent(
    appliance: Recorder, mimir: Mimir, words: str, code: int, said: str
) -> None:
    done = mimir("pki", *words.split())
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert "geheim" not in done.err
    assert appliance.requests == []


def row(number: int) -> dict[str, Any]:
    names = ["DNS:a.x", "DNS:b.x", "DNS:c.x", "DNS:d.x"]
    return {"serial_number": f"0{number}:aa", "common_name": "a.x", "names": names, "state": "valid", "expiration": 1}


def test_certificates_are_fetched_page_by_page(appliance: Recorder, mimir: Mimir) -> None:
    appliance.on(
        "GET /v1/pki/inventory?san=web%2A&state=valid&limit=1000",
        200,
        {"data": {"certificates": [row(1)], "next": "n1"}},
    )
    appliance.on(
        "GET /v1/pki/inventory?san=web%2A&state=valid&limit=1000&after=n1",
        200,
        {"data": {"certificates": [], "next": "n2"}},
    )
    appliance.on(
        "GET /v1/pki/inventory?san=web%2A&state=valid&limit=1000&after=n2",
        200,
        {"data": {"certificates": [row(2)], "next": ""}},
    )
    found = json.loads(mimir("pki", "certs", "--san", "web*", "--all", "-o", "json").out)["data"]
    assert [one["serial_number"] for one in found["certificates"]] == ["01:aa", "02:aa"]
    assert found["next"] == ""


def test_a_limit_ends_the_search_and_says_that_there_is_more(appliance: Recorder, mimir: Mimir) -> None:
    appliance.gives(certificates=[row(1)], next="n1")
    done = mimir("pki", "certs", "--limit", "1", "--expiring", "7d")
    assert appliance.targets() == ["GET pki/inventory?expiring=7d&state=valid&limit=1"]
    assert "a.x, b.x, and 2 more" in done.out
    assert "--all" in done.err


def test_no_certificate_is_told_so(appliance: Recorder, mimir: Mimir) -> None:
    appliance.gives(certificates=[], next="")
    assert mimir("pki", "certs").out == "None.\n"


def test_warnings_are_shown_as_sentences_the_soonest_first(appliance: Recorder, mimir: Mimir) -> None:
    rows = [{"at": "2027-01-01T00:00:00Z", "kind": "issuer_ends", "sentence": "the issuer root ends in 29 days"}]
    appliance.gives(warnings=rows)
    done = mimir("pki", "warnings")
    assert appliance.targets() == ["GET pki/warnings"]
    assert "the issuer root ends in 29 days" in done.out
    appliance.gives(warnings=[])
    assert mimir("pki", "warnings").out == "None.\n"


def test_an_answer_that_is_no_inventory_is_no_empty_one(appliance: Recorder, mimir: Mimir) -> None:
    appliance.gives(keys=["a"])
    assert mimir("pki", "certs").code == 3


def test_issuers_and_keys_as_tables(appliance: Recorder, mimir: Mimir) -> None:
    appliance.gives(keys=["i-1"], key_info={"i-1": {"issuer_name": "root", "key_name": "root", "is_default": True}})
    for kind in ("issuer", "key"):
        assert mimir("pki", kind, "list").out.splitlines()[2].split()[:3] == ["root", "i-1", "true"]


def test_a_mount_without_issuers_is_told_what_to_do(appliance: Recorder, mimir: Mimir) -> None:
    appliance.answers(404, {"errors": []})
    assert "mimir pki init" in mimir("pki", "issuer", "list").err


def test_a_signed_certificate_goes_into_a_file(
    appliance: Recorder, mimir: Mimir, root: SmallCa, tmp_path: Path
) -> None:
    appliance.gives(certificate=root.pem, ca_chain=[root.pem], serial_number=SERIAL)
    done = mimir("pki", "sign", "web", "--csr", "app.csr", "--out", "app.pem")
    assert done.out == f"Success! The certificate {SERIAL} and those above it are written to app.pem.\n"
    assert (tmp_path / "app.pem").read_text() == root.pem * 2


def test_an_exported_key_goes_into_a_private_file(appliance: Recorder, mimir: Mimir, tmp_path: Path) -> None:
    appliance.gives(private_key="-----BEGIN PRIVATE KEY-----\ngeheim", certificate="-----BEGIN CERTIFICATE-----")
    done = mimir("pki", "root", "generate", "--common-name", "R", "--type", "exported", "--out", "root.pem")
    assert "geheim" not in done.out + done.err
    assert (tmp_path / "root.pem").stat().st_mode & 0o777 == 0o600


def test_a_certificate_for_people(appliance: Recorder, mimir: Mimir, root: SmallCa) -> None:
    leaf = root.sign(root.key.public_key(), "app.x")
    appliance.gives(certificate=pem(leaf), revocation_time=1, revocation_time_rfc3339="2027-01-01T00:00:00Z")
    shown = dict(line.split(None, 1) for line in mimir("pki", "show", SERIAL).out.splitlines())
    assert (shown["subject"], shown["issuer"], shown["key"], shown["ca"]) == ("CN=app.x", "CN=Root", "P-256", "no")
    assert shown["revoked"] == "yes, 2027-01-01T00:00:00Z"
    assert appliance.only.target == f"/v1/pki/cert/{SERIAL}"


def test_a_file_is_shown_without_asking_anybody(appliance: Recorder, mimir: Mimir, tmp_path: Path) -> None:
    (tmp_path / "chain.pem").write_text((tmp_path / "ca.pem").read_text() * 2)
    assert len(json.loads(mimir("pki", "show", "chain.pem", "-o", "json").out)["certificates"]) == 2
    assert json.loads(mimir("pki", "show", "app.csr", "-o", "json").out)["signature_valid"] is True
    assert appliance.requests == []


def test_whether_a_ca_signed_a_certificate_is_told_by_the_exit_code(
    mimir: Mimir, root: SmallCa, tmp_path: Path
) -> None:
    (tmp_path / "leaf.pem").write_text(pem(root.sign(root.key.public_key(), "app")))
    (tmp_path / "other.pem").write_text(SmallCa.root("Root").pem)
    assert mimir("pki", "verify-sign", "ca.pem", "leaf.pem").code == 0
    other = mimir("pki", "verify-sign", "other.pem", "leaf.pem", "-o", "json")
    assert other.code == 1
    assert json.loads(other.out) == {"subject_match": True, "key_id_match": False, "signature_match": False}


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [(503, 4, "sealed"), (404, 1, "no handler"), (200, 1, "no OCSP response")],
    ids=["sealed", "no mount", "something else"],
)
def test_an_answer_that_is_no_ocsp_response(
    appliance: Recorder, mimir: Mimir, status: int, code: int, said: str
) -> None:
    appliance.answers(status, {"errors": ["Vault is sealed" if status == 503 else "no handler for route"]})
    done = mimir("pki", "ocsp", "check", "ca.pem", "--issuer-file", "ca.pem")
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert appliance.only.headers["Content-Type"] == "application/ocsp-request"
