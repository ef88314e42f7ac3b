"""Names that an issuer's name constraints allow (RFC 5280, 4.2.1.10), form by form."""

from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from core.errors import InvalidRequestError
from pki.lint import check_certificate
from tests.unit.pki.pki_mount import Mount
from tests.unit.pki.test_pki_root_lint import LEAF, built, ca_extensions, issuer_of, leaf_extensions


def dns(text: str) -> x509.GeneralName:
    return x509.DNSName(text)


def mail(text: str) -> x509.GeneralName:
    return x509.RFC822Name(text)


def uri(text: str) -> x509.GeneralName:
    return x509.UniformResourceIdentifier(text)


def address(text: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_address(text))


def network(text: str) -> x509.GeneralName:
    return x509.IPAddress(ipaddress.ip_network(text))


def directory(*organizations: str) -> x509.GeneralName:
    return x509.DirectoryName(
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, text) for text in organizations])
    )


def is_allowed(
    name: x509.GeneralName, *, permitted: x509.GeneralName | None = None, excluded: x509.GeneralName | None = None
) -> bool:
    constraints = x509.NameConstraints([permitted] if permitted else None, [excluded] if excluded else None)
    issuer = issuer_of(ca_extensions() | {x509.NameConstraints: (constraints, True)})
    try:
        check_certificate(built(leaf_extensions(name)), issuer)
    except InvalidRequestError as exc:
        assert "name constraints" in exc.sentence  # noqa: PT017 - the refusal is the value that is asked for
        return False
    return True


WITHIN = [
    (dns("example.com"), dns("example.com"), True),
    (dns("a.b.EXAMPLE.com"), dns("example.COM"), True),
    (dns("badexample.com"), dns("example.com"), False),
    (dns("example.com.evil.org"), dns("example.com"), False),
    (dns("example.com"), dns(".example.com"), False),
    (dns("a.example.com"), dns(".example.com"), True),
    (dns("*.example.com"), dns("example.com"), True),
    (dns("*.com"), dns("example.com"), False),
    (mail("ann@example.com"), mail("example.com"), True),
    (mail("ann@a.example.com"), mail("example.com"), False),
    (mail("ann@a.example.com"), mail(".example.com"), True),
    (mail("ann@example.com"), mail("ann@example.com"), True),
    (mail("Ann@example.com"), mail("ann@example.com"), False),
    (uri("https://example.com/x"), uri("example.com"), True),
    (uri("https://a.example.com:1/x"), uri("example.com"), False),
    (uri("spiffe://a.example.com/x"), uri(".example.com"), True),
    (uri("https://example.com@evil.org/"), uri("example.com"), False),
    (uri("https://10.0.0.1/"), uri("example.com"), False),
    (uri("urn:x:example.com"), uri("example.com"), False),
    (address("10.1.2.3"), network("10.0.0.0/8"), True),
    (address("11.1.2.3"), network("10.0.0.0/8"), False),
    (address("2001:db8::1"), network("10.0.0.0/8"), False),
    (address("2001:db8::1"), network("2001:db8::/32"), True),
    (directory("Example", "Team"), directory("EXAMPLE"), True),
    (directory("Other"), directory("Example"), False),
]


@pytest.mark.parametrize(("name", "subtree", "is_within"), WITHIN, ids=str)
def test_alternative_names_must_be_within_what_is_permitted(
    name: x509.GeneralName, subtree: x509.GeneralName, is_within: bool
) -> None:
    if isinstance(subtree, x509.DirectoryName):  # the subject counts, too: see below
        assert is_allowed(name, excluded=subtree) is not is_within
        return
    assert is_allowed(name, permitted=subtree) is is_within


@pytest.mark.parametrize(
    ("name", "subtree"),
    [
        (dns("a.example.com"), dns("example.com")),
        (dns("*.example.com"), dns("bad.example.com")),
        (uri("urn:x:y"), uri("example.com")),
        (uri("https://10.0.0.1/"), uri("example.com")),
        (address("10.1.2.3"), network("10.0.0.0/8")),
        (mail("ann@example.com"), mail("example.com")),
    ],
    ids=str,
)
def test_what_touches_an_excluded_subtree_is_refused(name: x509.GeneralName, subtree: x509.GeneralName) -> None:
    assert not is_allowed(name, excluded=subtree)


def test_forms_without_constraints_are_free() -> None:
    assert is_allowed(address("10.0.0.1"), permitted=dns("example.com"))
    assert is_allowed(dns("a.example.org"), permitted=mail("example.com"))


def test_a_form_that_nobody_can_compare_is_refused_where_it_is_constrained() -> None:
    other = x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))
    assert not is_allowed(other, permitted=other)


def test_the_subject_must_be_within_the_permitted_directory() -> None:
    organization = directory("Example")
    assert not is_allowed(dns("a.example.com"), permitted=organization)


def test_a_host_as_common_name_and_a_mail_address_in_the_subject_count_when_there_is_no_alternative_name() -> None:
    for oid, text in ((NameOID.COMMON_NAME, "web.example.org"), (NameOID.EMAIL_ADDRESS, "ann@example.org")):
        constraints = x509.NameConstraints([dns("example.com"), mail("example.com")], None)
        issuer = issuer_of(ca_extensions() | {x509.NameConstraints: (constraints, True)})
        draft = built(leaf_extensions(address("10.0.0.1")), subject=x509.Name([x509.NameAttribute(oid, text)]))
        with pytest.raises(InvalidRequestError, match="name constraints"):
            check_certificate(draft, issuer)


def test_the_checks_can_be_switched_off_for_an_issuer() -> None:
    constraints = x509.NameConstraints([dns("example.org")], None)
    extensions = ca_extensions() | {x509.NameConstraints: (constraints, True)}
    with pytest.raises(InvalidRequestError):
        check_certificate(built(leaf_extensions(), subject=LEAF), issuer_of(extensions))
    check_certificate(built(leaf_extensions()), issuer_of(extensions, disable_name_constraint_checks=True))


async def test_the_constraints_of_a_root_hold_below_its_intermediates() -> None:
    mount = Mount()
    body = {
        "common_name": "Root",
        "key_type": "ec",
        "permitted_dns_domains": "inside.example.com",
        "issuer_name": "top",
    }
    await mount.data("update", "root/generate/internal", body)
    made = await mount.data("update", "intermediate/generate/internal", {"common_name": "Below", "key_type": "ec"})
    signed = await mount.data("update", "root/sign-intermediate", {"csr": made["csr"], "common_name": "Below"})
    found = await mount.data("update", "intermediate/set-signed", {"certificate": signed["certificate"]})
    [issuer_id] = found["imported_issuers"]
    await mount.data("update", "roles/r", {"allow_any_name": True, "key_type": "ec", "ttl": "1h"})
    path = f"issuer/{issuer_id}/issue/r"
    assert (await mount.data("update", path, {"common_name": "a.inside.example.com"}))["serial_number"]
    with pytest.raises(InvalidRequestError, match="constraint"):
        await mount.data("update", path, {"common_name": "a.elsewhere.example.com"})
