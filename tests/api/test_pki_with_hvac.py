"""Certificates through an independent Vault client (hvac): two workers, and the CA keys in a real SoftHSM."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hvac
import hvac.exceptions
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from tests.support.appliance import Appliance
from tests.support.certificate_checks import all_say

ROLE = {"allowed_domains": "example.com", "allow_subdomains": True, "key_type": "ec", "max_ttl": "72h"}
WITH_URI = {**ROLE, "allowed_uri_sans": "spiffe://*"}
LEASED = {**ROLE, "generate_lease": True, "ttl": "1h"}
OF_ENTITY = {**ROLE, "allowed_domains": "{{identity.entity.name}}.example.com", "allowed_domains_template": True}


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """On SQLite alone: test_pki_races.py and tests/barrier have both stores."""
    running = Appliance(tmp_path_factory.mktemp("appliance") / "data").start()
    log = {"file_path": str(running.data_dir / "audit.log")}
    running.client().sys.enable_audit_device("file", path="file", options=log)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def pki(appliance: Appliance) -> Any:
    """Two roots, of which one issues as a rule, and roles."""
    client = appliance.client()
    client.sys.enable_secrets_engine("pki", config={"max_lease_ttl": "87600h"})
    made = client.secrets.pki
    for name, common_name in (("root", "Test Root"), ("issuing", "Test Issuing CA")):
        extra = {"key_type": "ec", "ttl": "87600h", "issuer_name": name}
        made.generate_root("internal", common_name, extra_params=extra)
    client.write("pki/config/issuers", default="issuing")
    for name, role in {"web": ROLE, "leased": LEASED, "of-entity": OF_ENTITY, "with-uri": WITH_URI}.items():
        made.create_or_update_role(name, extra_params=role)
    return made


def certificate(data: dict[str, Any]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(data["certificate"].encode())


def new_csr(name: str) -> str:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    csr = builder.sign(ec.generate_private_key(ec.SECP256R1()), SHA256())
    return csr.public_bytes(Encoding.PEM).decode()


def test_what_is_issued_verifies_up_to_the_root_and_fits_its_key(pki: Any) -> None:
    data = pki.generate_certificate("web", "a.example.com")["data"]
    assert data["ca_chain"] == [data["issuing_ca"]]
    leaf, root = certificate(data), x509.load_pem_x509_certificate(data["issuing_ca"].encode())
    assert all_say(leaf, [], root, server_name="a.example.com") == []
    key: Any = load_pem_private_key(data["private_key"].encode(), None)
    assert key.public_key() == leaf.public_key()
    assert data["expiration"] == int(leaf.not_valid_after_utc.timestamp())


def test_what_is_issued_can_be_read_at_once_from_any_worker(pki: Any) -> None:
    for _ in range(4):
        data = pki.generate_certificate("web", "b.example.com")["data"]
        assert pki.read_certificate(data["serial_number"])["data"]["certificate"].strip() == data["certificate"]
    assert data["serial_number"] in pki.list_certificates()["data"]["keys"]


def test_a_csr_is_signed_for_its_own_key(pki: Any) -> None:
    csr = new_csr("c.example.com")
    data = pki.sign_certificate("web", csr, "c.example.com")["data"]
    assert "private_key" not in data
    assert certificate(data).public_key() == x509.load_pem_x509_csr(csr.encode()).public_key()


def test_sign_verbatim_takes_names_that_no_role_allows(pki: Any) -> None:
    data = pki.sign_verbatim(new_csr("elsewhere.example.net"))["data"]
    assert certificate(data).subject.rfc4514_string() == "CN=elsewhere.example.net"


def test_the_issuer_in_the_path_goes_before_that_of_the_role(appliance: Appliance, pki: Any) -> None:
    data = appliance.client().write("pki/issuer/root/issue/web", common_name="d.example.com")["data"]
    assert certificate(data).issuer.rfc4514_string() == "CN=Test Root"


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("issue/none", {"common_name": "a.example.com"}, "unknown role: none"),
        ("sign/none", {"csr": "x"}, "unknown role: none"),
        ("sign-verbatim/none", {"csr": "x"}, "unknown role: none"),
        ("issue/web", {"common_name": "a.example.org"}, "not allowed by this role"),
        ("sign/web", {"csr": "garbage"}, "csr"),
        ("issue/web", {"common_name": "a.example.com", "format": "nonsense"}, '"format"'),
    ],
    ids=["issue", "sign", "sign-verbatim", "name", "csr", "format"],
)
def test_what_is_refused_is_said(
    appliance: Appliance, pki: Any, path: str, body: dict[str, str], sentence: str
) -> None:
    assert pki
    reply = appliance.request("POST", f"pki/{path}", body)
    assert reply.status == 400
    assert sentence in reply.errors[0]


def test_what_cert_manager_sends_is_understood(appliance: Appliance, pki: Any) -> None:
    assert pki
    body = {"common_name": "e.example.com", "alt_names": "e.example.com", "ip_sans": "", "uri_sans": ""}
    more = {"ttl": "48h0m0s", "csr": new_csr("e.example.com"), "exclude_cn_from_sans": "true"}
    reply = appliance.request("POST", "pki/sign/web", body | more)
    assert reply.status == 200, reply.body
    assert reply.json["data"].keys() >= {"certificate", "issuing_ca", "ca_chain", "serial_number", "expiration"}


def test_a_revoked_lease_revokes_the_certificate(appliance: Appliance, pki: Any) -> None:
    answer = pki.generate_certificate("leased", "f.example.com")
    assert answer["lease_id"].startswith("pki/issue/leased/")
    assert (answer["renewable"], 3500 < answer["lease_duration"] <= 3600) == (False, True)
    client = appliance.client()
    with pytest.raises(hvac.exceptions.InvalidRequest):
        client.sys.renew_lease(answer["lease_id"])
    client.sys.revoke_lease(answer["lease_id"])
    assert pki.read_certificate(answer["data"]["serial_number"])["data"]["revocation_time"] > 0


def test_names_of_the_callers_entity_and_no_others(appliance: Appliance, pki: Any) -> None:
    assert pki
    client = appliance.client()
    client.sys.enable_auth_method("userpass")
    client.sys.create_or_update_policy("issuer", 'path "pki/issue/*" { capabilities = ["update"] }')
    client.auth.userpass.create_or_update_user("ann", password="secret", policies="issuer")
    ann = appliance.client(client.auth.userpass.login("ann", "secret", use_token=False)["auth"]["client_token"])
    accessor = client.sys.list_auth_methods()["data"]["userpass/"]["accessor"]
    entity = client.secrets.identity.lookup_entity(alias_name="ann", alias_mount_accessor=accessor)["data"]
    client.secrets.identity.update_entity(entity["id"], name="ann")
    made = ann.secrets.pki.generate_certificate("of-entity", "web.ann.example.com")["data"]
    assert certificate(made).subject.rfc4514_string() == "CN=web.ann.example.com"
    for name in ("web.bob.example.com", "{{identity.entity.name}}.example.com"):
        with pytest.raises(hvac.exceptions.InvalidRequest):
            ann.secrets.pki.generate_certificate("of-entity", name)


def test_serial_numbers_of_two_workers_never_meet_and_all_are_in_the_inventory(appliance: Appliance, pki: Any) -> None:
    assert pki

    def issue(_: int) -> str:
        reply = appliance.request("POST", "pki/issue/web", {"common_name": "g.example.com"})
        assert reply.status == 200, reply.body
        return str(reply.json["data"]["serial_number"])

    with ThreadPoolExecutor(8) as pool:
        serials = list(pool.map(issue, range(40)))
    assert len(set(serials)) == len(serials)
    assert set(serials) <= set(pki.list_certificates()["data"]["keys"])


def test_the_inventory_finds_by_either_end_of_a_name_longer_than_its_index_takes(
    appliance: Appliance, pki: Any
) -> None:
    assert pki
    uri = "spiffe://example.com/" + "a" * 1972 + "/inbound"
    made = appliance.request(
        "POST", "pki/issue/with-uri", {"common_name": "i.example.com", "uri_sans": uri, "ttl": "1h"}
    )
    assert made.status == 200, made.body
    for words in ("san=i.*", "san=spiffe://*/inbound", "san=*/inbound", "role=with-uri", "expiring=2h&role=with-uri"):
        found = appliance.request("GET", f"pki/inventory?{words}").json["data"]["certificates"]
        assert [row["serial_number"] for row in found] == [made.json["data"]["serial_number"]], words


@pytest.mark.parametrize("path", ["inventory", "warnings"])
def test_what_a_mount_knows_of_its_certificates_is_not_for_everybody(appliance: Appliance, pki: Any, path: str) -> None:
    assert pki
    assert appliance.request("GET", f"pki/{path}").status == 200
    assert appliance.request("GET", f"pki/{path}", token="hvs.nobody").status == 403


def test_the_private_key_is_nowhere_in_the_audit_log(appliance: Appliance, pki: Any) -> None:
    data = pki.generate_certificate("web", "h.example.com")["data"]
    log = (appliance.data_dir / "audit.log").read_text()
    assert data["private_key"].splitlines()[1] not in log
    assert "pki/issue/web" in log
