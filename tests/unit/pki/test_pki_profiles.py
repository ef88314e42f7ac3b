"""Every profile as others see it: pkilint finds nothing, and OpenSSL, GnuTLS and cryptography verify the chain."""

from __future__ import annotations

import time
from typing import Any

import pytest
from cryptography import x509

from core.protocols import KeyKind
from tests.support.certificate_checks import all_say, lint, lint_pair
from tests.support.clock import SettableClock
from tests.unit.pki.pki_mount import Mount

ANY_NAME = {"allow_any_name": True, "key_type": "ec", "ttl": "1h"}
PROFILES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "service": ({}, {"common_name": "web.example.com"}),
    "many names": (
        {"allowed_uri_sans": "spiffe://example.org/*", "allowed_other_sans": "*"},
        {
            "common_name": "web.example.com",
            "alt_names": "a.example.com,*.b.example.com,ann@example.com,b\u00fccher.example.com",
            "ip_sans": "10.0.0.1,2001:db8::1",
            "uri_sans": "spiffe://example.org/web",
            "other_sans": "1.3.6.1.4.1.311.20.2.3;UTF8:ann@example.com",
        },
    ),
    "no subject": (
        {"require_cn": False, "allowed_uri_sans": "spiffe://example.org/*"},
        {"uri_sans": "spiffe://example.org/web"},
    ),
    "full subject": (
        {
            "ou": "one,two",
            "organization": "Example",
            "country": "DE",
            "locality": "Berlin",
            "province": "Berlin",
            "allowed_serial_numbers": "*",
            "allowed_user_ids": "*",
        },
        {"common_name": "web.example.com", "serial_number": "77", "user_ids": "ann"},
    ),
    "client only": ({"server_flag": False}, {"common_name": "web.example.com"}),
    "mail and code": (
        {"email_protection_flag": True, "code_signing_flag": True, "ext_key_usage_oids": "1.3.6.1.4.1.311.54.1.2"},
        {"common_name": "web.example.com"},
    ),
    "policies": (
        {"policy_identifiers": '[{"oid":"1.3.6.1.4.1.99999.1","cps":"https://example.com/cps","notice":"A test"}]'},
        {"common_name": "web.example.com"},
    ),
    "basic constraints": ({"basic_constraints_valid_for_non_ca": True}, {"common_name": "web.example.com"}),
    "ed25519": ({"key_type": "ed25519"}, {"common_name": "web.example.com"}),
    "ec 384": ({"key_bits": 384}, {"common_name": "web.example.com"}),
    "ec 521": ({"key_bits": 521}, {"common_name": "web.example.com"}),
}
ISSUERS = [KeyKind.EC_P256, KeyKind.EC_P384, KeyKind.EC_P521, KeyKind.ED25519]


async def issued(issuer: KeyKind, role: dict[str, Any], asked: dict[str, Any]) -> list[x509.Certificate]:
    """The leaf and its root; the clock stands at now, since the verifiers' do."""
    mount = Mount(clock=SettableClock(time.time()))
    await mount.seed_root("Example Root", issuer)
    await mount.data("update", "roles/r", ANY_NAME | role)
    made = await mount.data("update", "issue/r", asked)
    return [x509.load_pem_x509_certificate(made[name].encode()) for name in ("certificate", "issuing_ca")]


@pytest.mark.parametrize("profile", PROFILES)
async def test_nobody_finds_fault_with_a_profile(profile: str) -> None:
    leaf, root = await issued(KeyKind.EC_P256, *PROFILES[profile])
    assert lint(leaf) + lint_pair(root, leaf) == []
    is_for_servers = profile not in {"client only", "no subject"}
    assert all_say(leaf, [], root, server_name="web.example.com" if is_for_servers else "") == []


@pytest.mark.parametrize("kind", ISSUERS, ids=lambda kind: kind.value)
async def test_nobody_finds_fault_with_an_issuer(kind: KeyKind) -> None:
    leaf, root = await issued(kind, *PROFILES["service"])
    assert lint(root) + lint(leaf) + lint_pair(root, leaf) == []
    assert all_say(leaf, [], root, server_name="web.example.com") == []


async def test_rsa_pss_is_verified_by_all() -> None:
    leaf, root = await issued(KeyKind.RSA_2048, *({**PROFILES["service"][0], "use_pss": True}, PROFILES["service"][1]))
    assert lint(leaf) == []
    assert all_say(leaf, [], root, server_name="web.example.com") == []


@pytest.mark.parametrize("kind", [KeyKind.ML_DSA_44, KeyKind.ML_DSA_87], ids=lambda kind: kind.value)
async def test_ml_dsa_passes_the_lint_and_verifies(kind: KeyKind) -> None:
    """cryptography's path verifier, OpenSSL 3.0 and GnuTLS 3.7 know no ML-DSA; its signature check does."""
    leaf, root = await issued(kind, {"key_type": "ml-dsa", "key_bits": int(kind.value[-2:])}, PROFILES["service"][1])
    assert lint(leaf) + lint(root) == []
    leaf.verify_directly_issued_by(root)


# --- CAs: a root, an intermediate below it, a leaf below that ---------------------------------------------------------

URLS = {
    "issuing_certificates": "http://ca.example.com/{{issuer_id}}/der",
    "crl_distribution_points": "http://ca.example.com/{{issuer_id}}/crl",
    "delta_crl_distribution_points": "http://ca.example.com/{{issuer_id}}/delta",
    "ocsp_servers": "http://ca.example.com/ocsp",
    "enable_templating": True,
}
CHAINS: dict[str, dict[str, Any]] = {
    "plain": {},
    "p-384": {"key_type": "ec", "key_bits": 384},
    "ed25519": {"key_type": "ed25519"},
    "limited": {"max_path_length": 1},
    "constrained": {
        "permitted_dns_domains": "example.com",
        "excluded_dns_domains": "secret.example.com",
        "permitted_ip_ranges": "10.0.0.0/8",
    },
    "named": {"organization": "Example", "country": "DE", "alt_names": "ca.example.com"},
}


async def chain(root: dict[str, Any]) -> list[x509.Certificate]:
    """Leaf, intermediate and root, made as an operator makes them."""
    mount = Mount(clock=SettableClock(time.time()))
    await mount.data("update", "config/urls", URLS)
    body = {"common_name": "Example Root", "key_type": "ec", "ttl": "700h", **root}
    top = await mount.data("update", "root/generate/internal", body)
    csr = (await mount.data("update", "intermediate/generate/internal", {"common_name": "Below", "key_type": "ec"}))[
        "csr"
    ]
    asked = {"csr": csr, "common_name": "Example Issuing", "ttl": "600h", "max_path_length": 0}
    signed = await mount.data("update", "root/sign-intermediate", asked)
    taken = await mount.data("update", "intermediate/set-signed", {"certificate": signed["certificate"]})
    await mount.data("update", "roles/r", ANY_NAME)
    path = f"issuer/{taken['imported_issuers'][0]}/issue/r"
    leaf = await mount.data("update", path, {"common_name": "web.example.com"})
    texts = (leaf["certificate"], leaf["issuing_ca"], top["certificate"])
    return [x509.load_pem_x509_certificate(text.encode()) for text in texts]


@pytest.mark.parametrize("what", CHAINS)
async def test_nobody_finds_fault_with_a_chain(what: str) -> None:
    leaf, intermediate, root = await chain(CHAINS[what])
    assert lint(leaf) + lint(intermediate) + lint(root) == []
    assert lint_pair(root, intermediate) + lint_pair(intermediate, leaf) == []
    assert all_say(leaf, [intermediate], root, server_name="web.example.com") == []
