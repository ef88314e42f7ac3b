"""What a request gets: names, subjects, usages and keys under a role; all of it, but nothing more, in sign-verbatim."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.bodies import parse_body
from core.engine import MountInfo
from core.errors import InvalidRequestError
from pki.alternative_names import MAX_NAMES
from pki.asked import Asked
from pki.authority import Issuer, IssuerRow
from pki.csr import parse_csr
from pki.names import name_texts
from pki.plan import Plan
from pki.planning import plan_leaf, plan_verbatim
from pki.role import OpenRole, Role
from tests.support import odd_requests as odd

NOW = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())
DAY = 86400
MOUNT = MountInfo(uuid="u", accessor="pki_1", type="pki", path="pki/")
KEY = ec.generate_private_key(ec.SECP256R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()


def spki(key: Any) -> bytes:
    der: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der


def make_issuer(days: int = 365, behavior: str = "err") -> Issuer:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root")])
    start = datetime(2025, 1, 1, tzinfo=UTC)
    end = datetime.fromtimestamp(NOW + days * DAY, UTC)
    made = x509.CertificateBuilder(name, name, KEY.public_key(), 1, start, end).sign(KEY, hashes.SHA256())
    row = IssuerRow(issuer_id="i", certificate=made.public_bytes(Encoding.DER), leaf_not_after_behavior=behavior)
    return Issuer(row, None)


ISSUER = make_issuer()
ROLE = Role(allowed_domains=("example.com",), allow_subdomains=True, key_type="any")


def plan(role: Role = ROLE, csr: str = "", key: Any = KEY, **asked: Any) -> Plan:
    request = parse_csr(csr) if csr else None
    return plan_leaf(
        OpenRole("web", role),
        parse_body(asked, Asked),
        csr=request,
        public_key=request.public_key if request else spki(key),
        issuer=ISSUER,
        now=NOW,
        mount=MOUNT,
    ).plan


def role_with(**changes: Any) -> Role:
    return replace(ROLE, **changes)


def texts(made: Plan) -> tuple[str, ...]:
    return name_texts(made.names)


# --- names of the body ------------------------------------------------------------------------------------------------


def test_the_common_name_is_an_alternative_name_too() -> None:
    made = plan(common_name="web.example.com")
    assert made.subject.rfc4514_string() == "CN=web.example.com"
    assert texts(made) == ("dns:web.example.com",)


def test_the_common_name_is_left_out_of_the_alternative_names_when_told_so() -> None:
    made = plan(common_name="web.example.com", exclude_cn_from_sans=True, alt_names="a.example.com")
    assert texts(made) == ("dns:a.example.com",)


def test_a_common_name_that_is_left_out_of_the_alternative_names_is_checked_all_the_same() -> None:
    with pytest.raises(InvalidRequestError, match=r"common name www\.example\.org not allowed by this role"):
        plan(common_name="www.example.org", exclude_cn_from_sans=True)


def test_each_name_stands_once() -> None:
    made = plan(common_name="web.example.com", alt_names="web.example.com,a.example.com,a.example.com")
    assert texts(made) == ("dns:web.example.com", "dns:a.example.com")


def test_names_of_all_kinds() -> None:
    role = role_with(allowed_uri_sans=("spiffe://example.org/*",), allowed_other_sans=("1.2.3.4;UTF8:a*",))
    made = plan(
        role,
        common_name="web.example.com",
        alt_names="ann@mail.example.com,B\u00fccher.example.com",
        ip_sans="10.0.0.1,2001:db8::1,::ffff:10.0.0.2",
        uri_sans="spiffe://example.org/web",
        other_sans="1.2.3.4;utf8:ann",
    )
    assert texts(made) == (
        "dns:web.example.com",
        "email:ann@mail.example.com",
        "dns:xn--bcher-kva.example.com",
        "ip:10.0.0.1",
        "ip:2001:db8::1",
        "ip:10.0.0.2",
        "uri:spiffe://example.org/web",
        "other:1.2.3.4;0c03616e6e",
    )


def test_a_common_name_in_u_labels_stands_in_a_labels() -> None:
    made = plan(common_name="b\u00fccher.example.com")
    assert made.subject.rfc4514_string() == "CN=xn--bcher-kva.example.com"
    assert texts(made) == ("dns:xn--bcher-kva.example.com",)


def test_a_mailbox_as_common_name_is_one_in_the_alternative_names() -> None:
    assert texts(plan(common_name="ann@mail.example.com")) == ("email:ann@mail.example.com",)


def test_an_address_as_common_name_is_one_in_the_alternative_names() -> None:
    assert texts(plan(role_with(allow_any_name=True), common_name="10.0.0.1")) == ("ip:10.0.0.1",)


ANY = role_with(allow_any_name=True)
REFUSED: dict[str, tuple[Role, dict[str, Any], str]] = {
    "no common name": (ROLE, {"alt_names": "a.example.com"}, "common_name field is required"),
    "alt name": (ROLE, {"alt_names": "www.example.org"}, "subject alternate name"),
    "one of many": (ROLE, {"alt_names": "a.example.com,b.example.com,example.org"}, "subject alternate name"),
    "mail": (ROLE, {"alt_names": "ann@example.org"}, "email address"),
    "quoted mail": (ANY, {"alt_names": '"ann x"@example.org'}, "email address"),
    "mail at an address": (ANY, {"alt_names": "ann@[10.0.0.1]"}, "email address"),
    "no idn": (ANY, {"alt_names": "\u2603\u200d.example.com"}, "internationalized"),
    "no host": (ANY, {"alt_names": "John Doe"}, "subject alternate name"),
    "address among hosts": (ANY, {"alt_names": "10.0.0.1"}, "ip_sans"),
    "address as common name": (role_with(allow_any_name=True, allow_ip_sans=False), {"common_name": "10.0.0.1"}, "IP"),
    "address": (role_with(allow_ip_sans=False), {"ip_sans": "10.0.0.1"}, "IP address 10.0.0.1 not allowed"),
    "address outside": (role_with(allowed_ip_sans_cidr=("10.0.0.0/8",)), {"ip_sans": "11.0.0.1"}, "not allowed"),
    "mapped": (role_with(allowed_ip_sans_cidr=("10.0.0.0/8",)), {"ip_sans": "::ffff:11.0.0.1"}, "not allowed"),
    "no address": (ROLE, {"ip_sans": "10.0.0"}, "not a valid IP"),
    "a network": (ROLE, {"ip_sans": "10.0.0.0/8"}, "not a valid IP"),
    "zone": (ROLE, {"ip_sans": "fe80::1%eth0"}, "not a valid IP"),
    "uri": (ROLE, {"uri_sans": "spiffe://example.org/web"}, "URI"),
    "uri outside": (role_with(allowed_uri_sans=("spiffe://a/*",)), {"uri_sans": "spiffe://b/web"}, "URI"),
    "other": (ROLE, {"other_sans": "1.2.3.4;UTF8:ann"}, "other SAN"),
    "other oid": (role_with(allowed_other_sans=("1.2.3.5;UTF8:*",)), {"other_sans": "1.2.3.4;UTF8:ann"}, "other SAN"),
    "other type": (role_with(allowed_other_sans=("*",)), {"other_sans": "1.2.3.4;IA5:ann"}, "UTF8"),
    "other nul": (role_with(allowed_other_sans=("*",)), {"other_sans": ["1.2.3.4;UTF8:a\0b"]}, "control"),
    "other no oid": (role_with(allowed_other_sans=("*",)), {"other_sans": "x;UTF8:ann"}, "object identifier"),
    "user id": (ROLE, {"user_ids": "ann"}, "user_id ann not allowed"),
    "serial number": (ROLE, {"serial_number": "77"}, "serial_number 77 not allowed"),
    "no serial number": (role_with(allowed_serial_numbers=("*",)), {"serial_number": "{{"}, "X.520"),
    "accented serial number": (role_with(allowed_serial_numbers=("*",)), {"serial_number": "\u00e9"}, "X.520"),
    "common name is mail": (role_with(cn_validations=("hostname",)), {"common_name": "a@x.example.com"}, "common name"),
    "common name is host": (role_with(cn_validations=("email",)), {"common_name": "x.example.com"}, "common name"),
    "line break": (ROLE, {"common_name": "a.example.com\n"}, "common name"),
    "line break, unchecked": (role_with(cn_validations=("disabled",)), {"common_name": "a\nb"}, "control character"),
    "nul, unchecked": (role_with(cn_validations=("disabled",)), {"common_name": "a\0b"}, "control character"),
    "long common name": (ANY, {"common_name": f"{'a' * 60}.example.com"}, "at most 64"),
    "one many times": (ROLE, {"alt_names": ["n.example.com"] * (MAX_NAMES + 1)}, "at most 1000"),
    "many": (ROLE, {"alt_names": [f"n{i}.example.com" for i in range(MAX_NAMES + 1)]}, "at most 1000"),
    "many user ids": (role_with(allowed_user_ids=("*",)), {"user_ids": [str(i) for i in range(101)]}, "at most 100"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_request_is_refused(what: str) -> None:
    role, asked, sentence = REFUSED[what]
    with pytest.raises(InvalidRequestError, match=sentence):
        plan(role, **({} if what == "no common name" else {"common_name": "web.example.com"}) | asked)


BAD_URIS = [
    "example.org/web",
    "//example.org",
    "",
    "spiffe:",
    "a b:c",
    "https://b\u00fccher.example",
    "https://example.org/\nx",
    "https://[::1",
    "https://example.org:99999/",
    "x:" + "a" * 2048,
    "spiffe:web",
    "spiffe:///web",
    "SPIFFE://example.org/web",
    "spiffe://Example.org/web",
    "spiffe://example.org:443/web",
    "spiffe://ann@example.org/web",
    "spiffe://example.org/web?x",
    "spiffe://example.org/web#",
    "spiffe://example.org/",
    "spiffe://example.org//web",
    "spiffe://example.org/../web",
    "spiffe://example.org/w%41b",
]


@pytest.mark.parametrize("uri", BAD_URIS, ids=range(len(BAD_URIS)))
def test_what_is_no_uri_is_refused_even_where_any_is_allowed(uri: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"URI|SPIFFE"):
        plan(role_with(allowed_uri_sans=("*",), require_cn=False), uri_sans=[uri or ":"])


@pytest.mark.parametrize(
    "uri", ["spiffe://example.org", "spiffe://example.org/a/b", "https://[::1]:8443/x?y#z", "urn:a:b"]
)
def test_uris(uri: str) -> None:
    assert texts(plan(role_with(allowed_uri_sans=("*",), require_cn=False), uri_sans=[uri])) == (f"uri:{uri}",)


def test_any_common_name_stands_where_none_is_validated_but_is_no_alternative_name() -> None:
    made = plan(role_with(cn_validations=("disabled",)), common_name="J\u00f6rg M\u00fcller")
    assert made.subject.rfc4514_string() == "CN=J\u00f6rg M\u00fcller"
    assert made.names == ()


def test_a_host_as_unvalidated_common_name_must_be_allowed_as_an_alternative_name() -> None:
    with pytest.raises(InvalidRequestError, match="subject alternate name"):
        plan(role_with(cn_validations=("disabled",)), common_name="www.example.org")


# --- subjects ---------------------------------------------------------------------------------------------------------


def test_the_subject_stands_in_the_order_of_openbao_one_value_to_an_rdn() -> None:
    role = role_with(
        country=("DE",),
        organization=("A", "B", "A"),
        ou=("C",),
        locality=("D",),
        province=("E",),
        street_address=("F",),
        postal_code=("1",),
        allowed_serial_numbers=("7*",),
        allowed_user_ids=("ANN",),
    )
    made = plan(role, common_name="web.example.com", serial_number="77", user_ids="ann")
    found = [part.value for rdn in made.subject.rdns for part in rdn]
    assert found == ["DE", "E", "D", "F", "1", "A", "B", "C", "web.example.com", "77", "ann"]
    assert len(made.subject.rdns) == len(found)


# --- CSRs -------------------------------------------------------------------------------------------------------------


def test_names_of_a_csr_come_before_those_of_the_body() -> None:
    csr = odd.request_pem(KEY, extensions=[odd.dns_names("a.example.com")])
    made = plan(csr=csr, common_name="b.example.com", alt_names="c.example.com", ip_sans="10.0.0.1")
    assert made.subject.rfc4514_string() == "CN=web.example.com"
    assert texts(made) == ("dns:a.example.com", "dns:web.example.com")


def test_names_of_a_csr_are_passed_over_where_the_role_says_so() -> None:
    csr = odd.request_pem(KEY, common_name="www.example.org", extensions=[odd.dns_names("www.example.org")])
    role = role_with(use_csr_common_name=False, use_csr_sans=False)
    made = plan(role, csr=csr, common_name="b.example.com", alt_names="c.example.com")
    assert made.subject.rfc4514_string() == "CN=b.example.com"
    assert texts(made) == ("dns:b.example.com", "dns:c.example.com")


REGISTERED_ID = (odd.SUBJECT_ALT_NAME, False, b"\x30\x04\x88\x02\x2a\x03")
CSR_REFUSED = {
    "common name": (ROLE, odd.request_pem(KEY, common_name="www.example.org")),
    "host": (ROLE, odd.request_pem(KEY, extensions=[odd.dns_names("a.example.com", "www.example.org")])),
    "nul": (ROLE, odd.request_pem(KEY, extensions=[odd.dns_names("a.example.org\0.example.com")])),
    "mail": (ROLE, odd.request_pem(KEY, extensions=[odd.emails("ann@example.org")])),
    "uri": (ROLE, odd.request_pem(KEY, extensions=[odd.uris("spiffe://example.org/web")])),
    "address": (role_with(allow_ip_sans=False), odd.request_pem(KEY, extensions=[odd.addresses(b"\x0a\0\0\1")])),
    # CVE-2026-115369 of OpenBao: the networks of a role did not hold for a CSR
    "network": (
        role_with(allowed_ip_sans_cidr=("10.0.0.0/8",)),
        odd.request_pem(KEY, extensions=[odd.addresses(b"\x0b\0\0\1")]),
    ),
    "range": (ROLE, odd.request_pem(KEY, extensions=[odd.addresses(b"\x0a\0\0\0\xff\0\0\0")])),
    "registered id": (
        ANY,
        odd.request_pem(KEY, extensions=[REGISTERED_ID]),
    ),
}


@pytest.mark.parametrize("what", CSR_REFUSED)
def test_names_of_a_csr_are_held_against_the_role(what: str) -> None:
    role, csr = CSR_REFUSED[what]
    with pytest.raises(InvalidRequestError):
        plan(role, csr=csr)


@pytest.mark.parametrize(
    ("key_type", "key_bits", "sentence"),
    [("rsa", 2048, "keys of type rsa"), ("ed25519", 0, "keys of type ed25519"), ("ec", 384, "384")],
)
def test_a_csr_has_the_key_that_the_role_asks_for(key_type: str, key_bits: int, sentence: str) -> None:
    with pytest.raises(InvalidRequestError, match=sentence):
        plan(role_with(key_type=key_type, key_bits=key_bits), csr=odd.request_pem(KEY))


def test_basic_constraints_of_a_csr_are_passed_over_with_a_warning() -> None:
    csr = parse_csr(odd.request_pem(KEY, extensions=[(odd.BASIC_CONSTRAINTS, True, b"\x30\x03\x01\x01\xff")]))
    where: dict[str, Any] = {"issuer": ISSUER, "now": NOW, "mount": MOUNT}
    by_role = plan_leaf(OpenRole("web", ROLE), Asked(), csr=csr, public_key=csr.public_key, **where)
    verbatim = plan_verbatim(None, Asked(), csr=csr, **where)
    for planned in (by_role, verbatim):
        assert (planned.plan.basic_constraints, planned.plan.more) == (None, ())
        assert len(planned.warnings) == 1


# --- usages -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "expected"), [(KEY, {"digital_signature", "key_agreement"}), (ED25519, {"digital_signature"})]
)
def test_a_key_is_only_marked_for_what_its_type_can_do(key: Any, expected: set[str]) -> None:
    usage = plan(key=key, common_name="web.example.com").key_usage
    assert usage is not None
    names = ("digital_signature", "key_encipherment", "key_agreement", "key_cert_sign", "crl_sign")
    assert {name for name in names if getattr(usage, name)} == expected


def test_usages_that_leave_nothing_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="key usages"):
        plan(role_with(key_usage=("KeyEncipherment",)), common_name="web.example.com")


def test_no_usages_make_no_extension() -> None:
    made = plan(role_with(key_usage=(), server_flag=False, client_flag=False), common_name="web.example.com")
    assert (made.key_usage, made.ext_key_usage) == (None, ())


def test_a_leaf_never_signs_certificates() -> None:
    made = plan(role_with(key_usage=("CertSign", "DigitalSignature")), common_name="web.example.com")
    assert made.key_usage is not None
    assert not made.key_usage.key_cert_sign


def test_extended_usages_of_flags_words_and_oids_stand_once() -> None:
    role = role_with(ext_key_usage=("ServerAuth", "OCSPSigning", "nonsense"), ext_key_usage_oids=("1.2.3.4",))
    found = [usage.dotted_string for usage in plan(role, common_name="web.example.com").ext_key_usage]
    assert found == ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.9", "1.2.3.4"]


# --- sign-verbatim ----------------------------------------------------------------------------------------------------


def verbatim(csr: str, **asked: Any) -> Plan:
    body = parse_body(asked, Asked)
    return plan_verbatim(None, body, csr=parse_csr(csr), issuer=ISSUER, now=NOW, mount=MOUNT).plan


KEY_USAGE = ("2.5.29.15", True, b"\x03\x02\x01\x86")  # digitalSignature, keyCertSign, cRLSign
OCSP_ONLY = ("2.5.29.37", False, bytes.fromhex("300a06082b06010505070309"))


def test_verbatim_takes_names_subject_and_unknown_extensions() -> None:
    unknown = ("1.3.6.1.4.1.99999.1", False, b"\x05\0")
    csr = odd.request_pem(KEY, common_name="Any Body", extensions=[odd.dns_names("*.example.org", "a_b"), unknown])
    made = verbatim(csr)
    assert made.subject.rfc4514_string() == "CN=Any Body"
    assert texts(made) == ("dns:*.example.org", "dns:a_b")
    assert [extension.oid.dotted_string for extension in made.more] == ["1.3.6.1.4.1.99999.1"]


def test_verbatim_takes_names_that_no_role_speaks_of() -> None:
    made = verbatim(odd.request_pem(KEY, extensions=[REGISTERED_ID]))
    assert texts(made) == ("oid:1.2.3",)


def test_verbatim_takes_usages_of_the_csr_but_for_those_of_a_ca() -> None:
    made = verbatim(odd.request_pem(KEY, extensions=[KEY_USAGE, OCSP_ONLY]), key_usage="KeyAgreement")
    assert made.key_usage is not None
    assert (made.key_usage.digital_signature, made.key_usage.key_cert_sign) == (True, False)
    assert [usage.dotted_string for usage in made.ext_key_usage] == ["1.3.6.1.5.5.7.3.9"]


def test_verbatim_takes_usages_of_the_body_where_the_csr_has_none() -> None:
    made = verbatim(odd.request_pem(KEY), key_usage="KeyAgreement", ext_key_usage="ServerAuth")
    assert made.key_usage is not None
    assert (made.key_usage.digital_signature, made.key_usage.key_agreement) == (False, True)
    assert len(made.ext_key_usage) == 1


NOT_COPIED = ["2.5.29.35", "2.5.29.14", "1.3.6.1.5.5.7.1.1", "2.5.29.31", "2.5.29.30", "1.3.6.1.4.1.11129.2.4.3"]
VALUES = {
    "2.5.29.35": "30068004deadbeef",
    "2.5.29.14": "0404deadbeef",
    "1.3.6.1.5.5.7.1.1": "3017301506082b06010505073001860968747470733a2f2f78",
    "2.5.29.31": "300f300da00ba009860768747470733a2f",
    "2.5.29.30": "300aa0083006820474657374",
    "1.3.6.1.4.1.11129.2.4.3": "0500",
}


@pytest.mark.parametrize("oid", NOT_COPIED)
def test_verbatim_never_takes_what_only_a_ca_can_say(oid: str) -> None:
    csr = odd.request_pem(KEY, extensions=[(oid, False, bytes.fromhex(VALUES[oid]))])
    assert verbatim(csr).more == ()


@pytest.mark.parametrize("name", ["a\nb", "a\0b", "a" * 65])
def test_verbatim_refuses_a_subject_that_is_none(name: str) -> None:
    with pytest.raises(InvalidRequestError, match="subject"):
        verbatim(odd.request_pem(KEY, common_name=name))


@pytest.mark.parametrize("name", ["a\0b", "a b", "10.0.0.1", "*.*", ""])
def test_verbatim_refuses_a_host_that_is_none(name: str) -> None:
    with pytest.raises(InvalidRequestError):
        verbatim(odd.request_pem(KEY, extensions=[odd.dns_names(name)]))


def test_verbatim_refuses_a_hash_that_there_is_not() -> None:
    with pytest.raises(InvalidRequestError, match="signature_bits"):
        verbatim(odd.request_pem(KEY), signature_bits=224)


OIDS = ["2.5.29.17", "2.5.29.15", "2.5.29.37", "2.5.29.32", "2.5.29.19", "1.3.6.1.5.5.7.1.24", "2.5.29.30", "2.5.29.31"]
# tags of strings, sequences, general names and OIDs, with short lengths: what has a chance to be half understood
TAGS = bytes.fromhex("3082818786a0a488060304050c0001020761ff")
OCTETS = st.lists(st.sampled_from(TAGS), max_size=40).map(bytes)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(OIDS), OCTETS)
def test_no_extension_of_a_csr_is_a_failure(oid: str, content: bytes) -> None:
    try:
        text = odd.request_pem(KEY, extensions=[(oid, False, b"\x30" + bytes([len(content)]) + content)])
    except ValueError:
        return  # what makes the request does not make this one
    try:
        csr = parse_csr(text)
        plan_verbatim(None, Asked(), csr=csr, issuer=ISSUER, now=NOW, mount=MOUNT)
        plan_leaf(OpenRole("", ANY), Asked(), csr=csr, public_key=csr.public_key, issuer=ISSUER, now=NOW, mount=MOUNT)
    except InvalidRequestError:
        pass


def test_a_tls_feature_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="could not be parsed"):
        parse_csr(odd.request_pem(KEY, extensions=[("1.3.6.1.5.5.7.1.24", False, b"\x30\x03\x02\x01\x63")]))
