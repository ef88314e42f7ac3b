"""A plan as a certificate: what is encoded beforehand is what cryptography would have encoded."""

from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from core.protocols import KeyKind, KeyUsage
from core.public_keys import load_public_key
from pki.authority import Urls
from pki.building import build
from pki.plan import Origin, Plan
from tests.support.software_keys import SoftwareKeys
from tests.unit.pki.pki_mount import CA_KEY_USAGE, Mount
from tests.unit.pki.test_pki_issuing import leaf_plan

URLS = Urls(
    issuing_certificates=("http://pki.example.com/ca",),
    crl_distribution_points=("http://pki.example.com/crl", "http://other.example.com/crl"),
    delta_crl_distribution_points=("http://pki.example.com/delta",),
    ocsp_servers=("http://pki.example.com/ocsp",),
)
ORIGIN = Origin(way="issue", no_store=True)
KINDS = (KeyKind.EC_P256, KeyKind.EC_P521, KeyKind.RSA_2048, KeyKind.ED25519, KeyKind.ML_DSA_87)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
async def test_the_subject_key_identifier_is_the_hash_of_the_keys_bits(kind: KeyKind) -> None:
    """RFC 5280, 4.2.1.2, method 1."""
    mount = Mount()
    await mount.seed_root()
    plan = await leaf_plan(mount)
    keys = SoftwareKeys()
    key = await keys.generate_key(kind, usage=KeyUsage.SIGN_DECRYPT if kind is KeyKind.RSA_2048 else KeyUsage.SIGN)
    assert key.public_key is not None
    authority = await mount.parts.store.authority()
    made = await mount.parts.issuing.issue(
        replace(plan, public_key=key.public_key), authority.issuer("default"), authority, ORIGIN
    )
    found = made.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    public: Any = load_public_key(key.public_key)
    assert found == x509.SubjectKeyIdentifier.from_public_key(public)


async def test_every_extension_says_what_the_plan_says_and_is_critical_where_it_must_be() -> None:
    """RFC 5280, 4.2; critical: key usage, basic constraints, and the names where the subject is empty."""
    mount = Mount()
    await mount.seed_root()
    authority = await mount.parts.store.authority()
    issuer = authority.issuer("default")
    usages = (ExtendedKeyUsageOID.SERVER_AUTH, x509.ObjectIdentifier("1.2.3.4"))
    policy = x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), None)
    own = x509.Extension(
        x509.ObjectIdentifier("1.2.3.9"), False, x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.9"), b"\5\0")
    )
    plan: Plan = replace(
        await leaf_plan(mount),
        subject=x509.Name([]),
        key_usage=CA_KEY_USAGE,
        ext_key_usage=usages,
        basic_constraints=x509.BasicConstraints(ca=False, path_length=None),
        policies=(policy,),
        more=(own,),
    )
    made: x509.Certificate = build(plan, issuer, 77, URLS)(ec.generate_private_key(ec.SECP256R1()), SHA256())
    found = {extension.value: extension for extension in made.extensions}
    assert len(found) == 11
    assert {value for value, extension in found.items() if extension.critical} == {
        CA_KEY_USAGE,
        plan.basic_constraints,
        x509.SubjectAlternativeName(plan.names),
    }
    assert {issuer.authority_key_identifier, x509.ExtendedKeyUsage(usages), x509.CertificatePolicies([policy])} <= set(
        found
    )
    assert places(made) == URLS


def places(made: x509.Certificate) -> Urls:
    """What the certificate says about where to find more."""
    access = made.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    by_method = {
        method: tuple(one.access_location.value for one in access if one.access_method == method)
        for method in (AuthorityInformationAccessOID.OCSP, AuthorityInformationAccessOID.CA_ISSUERS)
    }
    points = [
        made.extensions.get_extension_for_class(kind).value for kind in (x509.CRLDistributionPoints, x509.FreshestCRL)
    ]
    full, delta = (tuple(point.full_name[0].value for point in one if point.full_name) for one in points)
    return Urls(
        issuing_certificates=by_method[AuthorityInformationAccessOID.CA_ISSUERS],
        crl_distribution_points=full,
        delta_crl_distribution_points=delta,
        ocsp_servers=by_method[AuthorityInformationAccessOID.OCSP],
    )
