"""The lint: every rule refuses the certificate that breaks it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.errors import InvalidRequestError
from pki.authority import Issuer, IssuerRow
from pki.lint import check_certificate
from pki.usages import with_usages

NOW = datetime(2030, 1, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
ROOT = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root")])
LEAF = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Leaf")])
OWN = x509.SubjectKeyIdentifier(b"own")
CA_USAGE = with_usages(frozenset({"key_cert_sign", "crl_sign"}))
Extensions = dict[type[Any], tuple[Any, bool]]


def built(extensions: Extensions, *, key: Any = KEY, subject: x509.Name = LEAF, **more: Any) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        more.get("issuer", ROOT),
        subject,
        KEY.public_key(),
        more.get("serial", 1 << 150),
        NOW.replace(tzinfo=None),
        (NOW + timedelta(days=1)).replace(tzinfo=None),
        [x509.Extension(value.oid, critical, value) for value, critical in extensions.values() if value is not None],
    )
    return builder.sign(key, more.get("hash", hashes.SHA256()))


def ca_extensions(path_length: int | None = None) -> Extensions:
    return {
        x509.BasicConstraints: (x509.BasicConstraints(ca=True, path_length=path_length), True),
        x509.KeyUsage: (CA_USAGE, True),
        x509.SubjectKeyIdentifier: (OWN, False),
        x509.AuthorityKeyIdentifier: (x509.AuthorityKeyIdentifier(b"own", None, None), False),
    }


def leaf_extensions(*names: x509.GeneralName) -> Extensions:
    return {
        x509.SubjectKeyIdentifier: (x509.SubjectKeyIdentifier(b"leaf"), False),
        x509.AuthorityKeyIdentifier: (x509.AuthorityKeyIdentifier(b"own", None, None), False),
        x509.SubjectAlternativeName: (x509.SubjectAlternativeName(names or [x509.DNSName("a.example.com")]), False),
    }


def issuer_of(extensions: Extensions | None = None, **row: Any) -> Issuer:
    from cryptography.hazmat.primitives.serialization import Encoding

    certificate = built(extensions or ca_extensions(), subject=ROOT)
    return Issuer(IssuerRow(issuer_id="i", certificate=certificate.public_bytes(Encoding.DER), **row), None)


ISSUER = issuer_of()


def test_a_good_leaf_a_good_root_and_a_good_intermediate_pass() -> None:
    check_certificate(built(leaf_extensions()), ISSUER)
    check_certificate(built(ca_extensions(), subject=ROOT), None)
    check_certificate(built(ca_extensions()), ISSUER)


BROKEN: dict[str, tuple[Extensions, dict[str, Any], str]] = {
    "another issuer": ({}, {"issuer": LEAF}, "name its issuer"),
    "serial of 21 octets": ({}, {"serial": 1 << 159}, "serial"),
    "no subject key identifier": ({x509.SubjectKeyIdentifier: (None, False)}, {}, "key identifier"),
    "no authority key identifier": ({x509.AuthorityKeyIdentifier: (None, False)}, {}, "key identifier"),
    "foreign authority key identifier": (
        {x509.AuthorityKeyIdentifier: (x509.AuthorityKeyIdentifier(b"other", None, None), False)},
        {},
        "authority key identifier",
    ),
    "leaf that signs certificates": ({x509.KeyUsage: (CA_USAGE, True)}, {}, "may not sign"),
    "CA without key usage": ({x509.BasicConstraints: (x509.BasicConstraints(True, None), True)}, {}, "certSign"),
    "CA with constraints that are not critical": (
        {x509.BasicConstraints: (x509.BasicConstraints(True, None), False), x509.KeyUsage: (CA_USAGE, True)},
        {},
        "critical",
    ),
    "CA without subject": (ca_extensions(), {"subject": x509.Name([])}, "subject"),
    "nobody": ({x509.SubjectAlternativeName: (None, False)}, {"subject": x509.Name([])}, "nobody"),
    "names not critical without subject": ({}, {"subject": x509.Name([])}, "critical"),
    "names critical with a subject": (
        {x509.SubjectAlternativeName: (x509.SubjectAlternativeName([x509.DNSName("a.example.com")]), True)},
        {},
        "critical",
    ),
    "no names in the extension": ({x509.SubjectAlternativeName: (x509.SubjectAlternativeName([]), False)}, {}, "empty"),
    "no DNS name": (leaf_extensions(x509.DNSName("a..example.com")), {}, "DNS name"),
    "a wildcard inside": (leaf_extensions(x509.DNSName("a.*.example.com")), {}, "DNS name"),
    "an underscore": (leaf_extensions(x509.DNSName("_a.example.com")), {}, "DNS name"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_breaks_a_rule_is_refused(case: str) -> None:
    changes, more, words = BROKEN[case]
    with pytest.raises(InvalidRequestError, match=words):
        check_certificate(built(leaf_extensions() | changes, **more), ISSUER)


def test_a_leaf_cannot_sign_itself() -> None:
    with pytest.raises(InvalidRequestError, match="no CA"):
        check_certificate(built(leaf_extensions() | {x509.SubjectKeyIdentifier: (OWN, False)}, subject=ROOT), None)


@pytest.mark.parametrize(("limit", "asked"), [(0, 0), (0, None), (1, 1), (1, None), (2, 5)], ids=str)
def test_a_ca_below_must_have_a_shorter_path(limit: int, asked: int | None) -> None:
    with pytest.raises(InvalidRequestError, match="path length"):
        check_certificate(built(ca_extensions(asked)), issuer_of(ca_extensions(limit)))
    check_certificate(built(ca_extensions(asked)), issuer_of(ca_extensions(limit), disable_path_length_checks=True))


def test_a_new_key_of_the_same_ca_does_not_count() -> None:
    """RFC 5280, 4.2.1.9: self-issued certificates."""
    check_certificate(built(ca_extensions(0), subject=ROOT), issuer_of(ca_extensions(0)))


def test_an_issuer_whose_critical_extension_nobody_knows_issues_only_when_told_so() -> None:
    strange = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    extensions = ca_extensions() | {x509.UnrecognizedExtension: (strange, True)}
    with pytest.raises(InvalidRequestError, match=r"1\.2\.3\.4"):
        check_certificate(built(leaf_extensions()), issuer_of(extensions))
    check_certificate(built(leaf_extensions()), issuer_of(extensions, disable_critical_extension_checks=True))
