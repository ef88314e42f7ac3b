"""pki over HTTP against two workers: what must never become a certificate. Never a 500, nothing issued twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.support import odd_requests as odd
from tests.support.appliance import Appliance, Reply
from tests.support.odd_requests import request_pem

ROLE = {
    "allowed_domains": "example.com",
    "allow_subdomains": True,
    "key_type": "any",
    "ttl": "1h",
    "max_ttl": "72h",
    "allowed_uri_sans": "spiffe://example.org/*",
    "allow_ip_sans": False,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    running = Appliance(tmp_path_factory.mktemp("appliance") / "data").start()
    running.client().sys.enable_secrets_engine("pki", config={"max_lease_ttl": "87600h"})
    write(running, "pki/root/generate/internal", common_name="Root", key_type="ec", issuer_name="root", ttl="8760h")
    write(running, "pki/roles/web", **ROLE)
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def write(server: Appliance, path: str, **body: object) -> dict[str, Any]:
    reply = server.request("POST", path, body)
    assert reply.status in {200, 204}, (path, reply.body)
    return dict(reply.json["data"]) if reply.body else {}


def ask(server: Appliance, path: str, **body: object) -> Reply:
    return server.request("POST", f"pki/{path}", body)


def assert_refused(reply: Reply) -> None:
    assert 400 <= reply.status < 500, reply.body
    assert reply.errors
    assert all(error.strip() for error in reply.errors)
    assert b"Traceback" not in reply.body


# --- requests that are not what they seem -----------------------------------------------------------------------------

GARBAGE = (odd.SUBJECT_ALT_NAME, False, b"\x30\x03\x82\x7fa")
UNKNOWN = ("1.3.6.1.4.1.99999.1", True, b"\x05\x00")
ODD_REQUESTS: dict[str, Callable[[Any], str]] = {
    "bad signature": lambda key: request_pem(key, spoil_signature=True),
    "sha1": lambda key: request_pem(key, hash_algorithm=hashes.SHA1()),  # noqa: S303 - to be refused
    "unknown critical extension": lambda key: request_pem(key, extensions=[UNKNOWN]),
    "extension twice": lambda key: request_pem(
        key, extensions=[odd.dns_names("a.example.com"), odd.dns_names("b.example.com")]
    ),
    "name outside": lambda key: request_pem(key, extensions=[odd.dns_names("www.example.org")]),
    "one name of many outside": lambda key: request_pem(
        key, extensions=[odd.dns_names("a.example.com", "b.example.com", "example.net")]
    ),
    "mail outside": lambda key: request_pem(key, extensions=[odd.emails("ann@example.org")]),
    "uri outside": lambda key: request_pem(key, extensions=[odd.uris("spiffe://example.net/web")]),
    "address": lambda key: request_pem(key, extensions=[odd.addresses(b"\x0a\0\0\1")]),
    "address of five octets": lambda key: request_pem(key, extensions=[odd.addresses(b"\x0a\0\0\1\1")]),
    "NUL in a name": lambda key: request_pem(key, extensions=[odd.dns_names("a.example.com\0.example.org")]),
    "NUL in the common name": lambda key: request_pem(key, common_name="a.example.com\0.example.org"),
    "line break": lambda key: request_pem(key, extensions=[odd.dns_names("a.example.com\n")]),
    "empty name": lambda key: request_pem(key, extensions=[odd.dns_names("")]),
    "no ascii": lambda key: request_pem(key, extensions=[odd.dns_names("b\xfccher.example.com")]),
    "two wildcards": lambda key: request_pem(key, extensions=[odd.dns_names("*.*.example.com")]),
    "wildcard inside": lambda key: request_pem(key, extensions=[odd.dns_names("a.*.example.com")]),
    "wildcard alone": lambda key: request_pem(key, extensions=[odd.dns_names("*")]),
    "wildcard of the top": lambda key: request_pem(key, extensions=[odd.dns_names("*.com")]),
    "10,000 names": lambda key: request_pem(
        key, extensions=[odd.dns_names(*(f"n{place}.example.com" for place in range(10_000)))]
    ),
    "garbage in the names": lambda key: request_pem(
        key, extensions=[(odd.SUBJECT_ALT_NAME, False, b"\x30\x03\x82\x7fa")]
    ),
    "rsa 1024": lambda _key: request_pem(rsa.generate_private_key(65537, 1024)),  # noqa: S505 - to be refused
    "secp256k1": lambda _key: request_pem(ec.generate_private_key(ec.SECP256K1())),
    "p-224": lambda _key: request_pem(ec.generate_private_key(ec.SECP224R1())),
    "no pem": lambda _key: "MIIB",
    "another pem": lambda key: request_pem(key).replace("CERTIFICATE REQUEST", "CERTIFICATE"),
    "nothing": lambda _key: "",
    "cut off": lambda key: request_pem(key)[:200],
}


@pytest.mark.parametrize("what", ODD_REQUESTS)
def test_an_odd_request_is_refused_with_a_sentence(
    server: Appliance, key: ec.EllipticCurvePrivateKey, what: str
) -> None:
    assert_refused(ask(server, "sign/web", csr=ODD_REQUESTS[what](key)))


@pytest.mark.parametrize("way", ["sign-verbatim", "root/sign-intermediate"])
@pytest.mark.parametrize("what", ["bad signature", "sha1", "extension twice", "rsa 1024", "10,000 names", "cut off"])
def test_no_way_takes_a_request_without_proof(
    server: Appliance, key: ec.EllipticCurvePrivateKey, way: str, what: str
) -> None:
    assert_refused(ask(server, way, csr=ODD_REQUESTS[what](key), common_name="Intermediate"))


def test_a_request_for_a_ca_gets_none(server: Appliance, key: ec.EllipticCurvePrivateKey) -> None:
    """basicConstraints CA:TRUE in a CSR, DER 30 03 01 01 FF: the role's certificate is a leaf all the same."""
    csr = request_pem(key, extensions=[(odd.BASIC_CONSTRAINTS, True, b"\x30\x03\x01\x01\xff")])
    for path in ("sign/web", "sign-verbatim"):
        reply = ask(server, path, csr=csr)
        if reply.status != 200:
            assert_refused(reply)
            continue
        made = x509.load_pem_x509_certificate(reply.json["data"]["certificate"].encode())
        found = [ext.value for ext in made.extensions if isinstance(ext.value, x509.BasicConstraints)]
        assert not any(value.ca for value in found)


# --- names in the body ------------------------------------------------------------------------------------------------

ODD_BODIES: dict[str, dict[str, object]] = {
    "domain itself": {"common_name": "example.com"},
    "another domain": {"common_name": "www.example.org"},
    "a suffix that only looks so": {"common_name": "badexample.com"},
    "NUL": {"common_name": "a.example.com\0.example.org"},
    "line break": {"common_name": "a.example.com\r\nb"},
    "two wildcards": {"common_name": "*.*.example.com"},
    "partial wildcard outside": {"common_name": "a*.example.org"},
    "dots": {"common_name": "a..example.com"},
    "long label": {"common_name": f"{'a' * 64}.example.com"},
    "long name": {"common_name": "a." * 150 + "example.com"},
    "address": {"common_name": "a.example.com", "ip_sans": "10.0.0.1"},
    "no address": {"common_name": "a.example.com", "ip_sans": "10.0.0"},
    "uri outside": {"common_name": "a.example.com", "uri_sans": "spiffe://example.net/web"},
    "other name": {"common_name": "a.example.com", "other_sans": "1.2.3;UTF8:x"},
    "bad idna": {"common_name": "xn--\u00fc.example.com"},
    "bad a-label": {"common_name": "xn--a-.example.com"},
    "10,000 names": {"common_name": "a.example.com", "alt_names": [f"n{place}.example.com" for place in range(10_000)]},
    "a number": {"common_name": 7},
    "a list": {"common_name": ["a.example.com"]},
    "ttl": {"common_name": "a.example.com", "ttl": "soon"},
    "not_after": {"common_name": "a.example.com", "not_after": "2020-01-01T00:00:00Z"},
    "format": {"common_name": "a.example.com", "format": "xml"},
    "nothing": {},
}


@pytest.fixture(scope="module")
def ec_role(server: Appliance) -> str:
    write(server, "pki/roles/ec", **{**ROLE, "key_type": "ec"})
    return "ec"


@pytest.mark.parametrize("what", ODD_BODIES)
def test_odd_names_are_refused_with_a_sentence(server: Appliance, ec_role: str, what: str) -> None:
    assert_refused(ask(server, f"issue/{ec_role}", **ODD_BODIES[what]))


@pytest.mark.parametrize("raw", [b"", b"[]", b'"x"', b"{", b"\xff\xfe", b'{"common_name": "a.example.com"'])
def test_a_body_that_is_no_object_is_refused(server: Appliance, ec_role: str, raw: bytes) -> None:
    assert_refused(server.request("POST", f"pki/issue/{ec_role}", raw=raw))


# --- issuers that may not ---------------------------------------------------------------------------------------------


def test_a_revoked_issuer_issues_nothing(server: Appliance, ec_role: str) -> None:
    write(server, "pki/root/generate/internal", common_name="Gone", key_type="ec", issuer_name="gone", ttl="100h")
    assert ask(server, f"issuer/gone/issue/{ec_role}", common_name="a.example.com").status == 200
    write(server, "pki/issuer/gone/revoke")
    assert_refused(ask(server, f"issuer/gone/issue/{ec_role}", common_name="a.example.com"))


def test_an_issuer_that_ends_first_refuses_or_cuts_short_as_it_says(server: Appliance, ec_role: str) -> None:
    write(server, "pki/root/generate/internal", common_name="Short", key_type="ec", issuer_name="short", ttl="2h")
    asked = {"common_name": "a.example.com", "ttl": "72h"}
    assert_refused(ask(server, f"issuer/short/issue/{ec_role}", **asked))
    changed = server.request(
        "POST", "pki/issuer/short", {"leaf_not_after_behavior": "truncate", "issuer_name": "short"}
    )
    assert changed.status == 200
    made = ask(server, f"issuer/short/issue/{ec_role}", **asked).json["data"]
    issuer, leaf = (x509.load_pem_x509_certificate(made[name].encode()) for name in ("issuing_ca", "certificate"))
    assert leaf.not_valid_after_utc == issuer.not_valid_after_utc


def test_path_length_and_name_constraints_of_the_issuer_hold(server: Appliance) -> None:
    write(
        server,
        "pki/root/generate/internal",
        common_name="Narrow",
        key_type="ec",
        issuer_name="narrow",
        max_path_length=0,
        permitted_dns_domains="inside.example.com",
        ttl="100h",
    )
    write(server, "pki/roles/anyname", allow_any_name=True, key_type="ec", ttl="1h")
    assert ask(server, "issuer/narrow/issue/anyname", common_name="a.inside.example.com").status == 200
    assert_refused(ask(server, "issuer/narrow/issue/anyname", common_name="a.outside.example.com"))
    csr = write(server, "pki/intermediate/generate/internal", common_name="Below", key_type="ec")["csr"]
    assert_refused(ask(server, "issuer/narrow/sign-intermediate", csr=csr, common_name="Below"))
