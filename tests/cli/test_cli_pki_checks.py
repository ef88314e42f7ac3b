"""What the client believes and what it warns of: OCSP answers, steps of init, health. No appliance is needed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from client.commands.pki_init import about_url
from client.errors import LocalError
from client.pki_certificate import distance, is_serial, serial_text
from client.pki_health import about_issuer, about_role
from client.pki_ocsp import build_request, read_answer
from client.pki_setup import Found, Wishes, check_ours, steps
from client.pki_verify import check_chain
from tests.support.small_ca import NOW, SmallCa

OCSP_SIGNING = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING])
NONCE = b"0123456789abcdef"


@pytest.fixture(scope="module")
def root() -> SmallCa:
    return SmallCa.root()


@pytest.fixture(scope="module")
def leaf(root: SmallCa) -> x509.Certificate:
    return root.sign(root.key.public_key(), "app")


def answered(
    leaf: x509.Certificate,
    issuer: SmallCa,
    *,
    signer: SmallCa | None = None,
    nonce: bytes | None = NONCE,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    age: timedelta = timedelta(),
) -> bytes:
    signer = signer or issuer
    revoked = status is ocsp.OCSPCertStatus.REVOKED
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=leaf,
        issuer=issuer.certificate,
        algorithm=hashes.SHA1(),  # noqa: S303 - how OCSP names issuers
        cert_status=status,
        this_update=NOW - age,
        next_update=NOW - age + timedelta(hours=1),
        revocation_time=NOW if revoked else None,
        revocation_reason=x509.ReasonFlags.superseded if revoked else None,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
    if signer is not issuer:
        builder = builder.certificates([signer.certificate])
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def read(content: bytes, leaf: x509.Certificate, issuer: SmallCa) -> dict[str, Any]:
    return read_answer(content, leaf, issuer.certificate, nonce=NONCE, now=NOW)


def delegate(root: SmallCa, *extensions: x509.ExtensionType, now: Any = NOW) -> SmallCa:
    key = ec.generate_private_key(ec.SECP256R1())
    return SmallCa(key, root.sign(key.public_key(), "OCSP", extensions=extensions, now=now))


def test_the_request_names_the_certificate_and_has_the_nonce(root: SmallCa, leaf: x509.Certificate) -> None:
    request = ocsp.load_der_ocsp_request(build_request(leaf, root.certificate, NONCE))
    assert request.serial_number == leaf.serial_number
    assert request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == NONCE


def test_a_good_answer(root: SmallCa, leaf: x509.Certificate) -> None:
    found = read(answered(leaf, root), leaf, root)
    assert (found["status"], found["nonce"], found["signed_by"]) == ("good", "the same", "CN=Root")


def test_a_revoked_certificate(root: SmallCa, leaf: x509.Certificate) -> None:
    found = read(answered(leaf, root, status=ocsp.OCSPCertStatus.REVOKED), leaf, root)
    assert (found["status"], found["reason"]) == ("revoked", "superseded")


def test_an_answer_made_before_may_lack_the_nonce(root: SmallCa, leaf: x509.Certificate) -> None:
    """RFC 5019, 4."""
    assert read(answered(leaf, root, nonce=None), leaf, root)["nonce"] == "not answered"


def test_a_responder_that_the_issuer_named_may_sign(root: SmallCa, leaf: x509.Certificate) -> None:
    """RFC 6960, 4.2.2.2."""
    found = read(answered(leaf, root, signer=delegate(root, OCSP_SIGNING)), leaf, root)
    assert found["signed_by"] == "CN=OCSP (for the issuer)"


def refused(root: SmallCa, leaf: x509.Certificate) -> dict[str, tuple[bytes, str]]:
    other = SmallCa.root("Root")
    stranger = SmallCa(other.key, other.sign(other.key.public_key(), "OCSP", extensions=(OCSP_SIGNING,)))
    ended = delegate(root, OCSP_SIGNING, now=NOW - timedelta(days=30))
    return {
        "other issuer": (answered(leaf, other), "not signed by the issuer"),
        "not for OCSP": (answered(leaf, root, signer=delegate(root)), "not for OCSP signing"),
        "stranger": (answered(leaf, root, signer=stranger), "did not sign"),
        "ended responder": (answered(leaf, root, signer=ended), "has ended"),
        "old": (answered(leaf, root, age=timedelta(hours=3)), "not of this time"),
        "future": (answered(leaf, root, age=-timedelta(hours=3)), "not of this time"),
        "other nonce": (answered(leaf, root, nonce=b"x" * 16), "nonce of another request"),
        "other certificate": (answered(root.certificate, root), "about another certificate"),
        "refusal": (
            ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER),
            "try later",
        ),
        "noise": (b"\x30\x03\x0a\x01", "no OCSP response"),
    }


@pytest.mark.parametrize(
    "case",
    [
        *("other issuer", "not for OCSP", "stranger", "ended responder", "old", "future", "other nonce"),
        *("other certificate", "refusal", "noise"),
    ],
)
def test_an_answer_that_is_not_believed(root: SmallCa, leaf: x509.Certificate, case: str) -> None:
    content, said = refused(root, leaf)[case]
    with pytest.raises(LocalError, match=said):
        read(content, leaf, root)


def test_a_chain_in_any_order_of_those_above(root: SmallCa) -> None:
    below = root.below("Issuing")
    leaf = below.sign(root.key.public_key(), "app")
    check_chain([leaf, below.certificate, root.certificate])
    check_chain([leaf, root.certificate, below.certificate])


def test_a_chain_without_the_issuer_does_not_hold(root: SmallCa) -> None:
    leaf = root.below("Issuing").sign(root.key.public_key(), "app")
    with pytest.raises(LocalError, match="CN=Issuing, which issued it"):
        check_chain([leaf, root.certificate])


WISHES = Wishes(
    mount="pki",
    domain="x.internal",
    role="web",
    name="X",
    url="http://x",
    key_type="ec",
    root_bits=384,
    intermediate_bits=256,
)
ROOT = {"issuer_id": "i-1", "issuer_name": "root", "key_id": "k-1", "usage": "read-only,crl-signing"}
BELOW = {"issuer_id": "i-2", "issuer_name": "intermediate", "key_id": "k-2", "usage": "issuing-certificates"}


def whole() -> Found:
    return Found(
        mounted=True,
        issuers={"i-1": ROOT, "i-2": BELOW},
        keys={"root": "k-1", "intermediate": "k-2"},
        default="i-2",
        has_urls=True,
        tidies=True,
        has_role=True,
    )


def missing(**changes: Any) -> list[str]:
    found = whole()
    for name, value in changes.items():
        setattr(found, name, value)
    return [step.name for step in steps(found, WISHES) if not step.is_there]


ALL_BUT_MOUNT = ["urls", "tidy", "root", "intermediate", "default", "usage", "role"]
NOTHING: dict[str, Any] = {
    "issuers": {},
    "keys": {},
    "default": "",
    "has_urls": False,
    "tidies": False,
    "has_role": False,
}
UNNAMED = BELOW | {"issuer_name": ""}
OPEN_ROOT = ROOT | {"usage": "read-only,issuing-certificates"}
STATES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("whole", {}, []),
    ("no mount", NOTHING | {"mounted": False}, ["mount", *ALL_BUT_MOUNT]),
    ("mounted", NOTHING, ALL_BUT_MOUNT),
    ("after the root", {"issuers": {"i-1": OPEN_ROOT}, "default": "i-1"}, ["intermediate", "default", "usage"]),
    ("before its name", {"issuers": {"i-1": OPEN_ROOT, "i-2": UNNAMED}}, ["intermediate", "usage"]),
    ("before the default", {"default": "i-1"}, ["default"]),
    ("before the root is restricted", {"issuers": {"i-1": OPEN_ROOT, "i-2": BELOW}}, ["usage"]),
    ("before the role", {"has_role": False}, ["role"]),
]


@pytest.mark.parametrize(("changes", "wanted"), [state[1:] for state in STATES], ids=[state[0] for state in STATES])
def test_init_goes_on_where_it_was_interrupted(changes: dict[str, Any], wanted: list[str]) -> None:
    assert missing(**changes) == wanted


def test_issuers_that_were_made_otherwise_are_left_alone() -> None:
    found = whole()
    found.issuers, found.keys = {"i-3": {"issuer_id": "i-3", "issuer_name": "mine"}}, {}
    with pytest.raises(LocalError, match="left alone"):
        check_ours(found, WISHES)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:8200/v1/pki", "only this machine"),
        ("https://mimir.x/v1/pki", "http:// alone"),
        ("", "is a socket"),
        ("http://mimir.x/v1/pki", ""),
    ],
    ids=["loopback", "https", "socket", "plain"],
)
def test_urls_that_not_everybody_reaches_are_told(url: str, said: str) -> None:
    lines = about_url(replace(WISHES, url=url))
    assert said in "\n".join(lines)
    assert bool(lines) is bool(said)


ROLES: list[tuple[dict[str, Any], str]] = [
    ({"allow_any_name": True}, "warning"),
    ({"allow_localhost": True, "server_flag": True}, "notice"),
    ({"allow_glob_domains": True, "allowed_domains": ["*.x"]}, "warning"),
    ({"enforce_hostnames": False}, "notice"),
    ({"max_ttl": 400 * 86400}, "notice"),
    ({"no_store": True}, "notice"),
    ({"key_type": "rsa", "key_bits": 2048}, "notice"),
]


@pytest.mark.parametrize(("role", "level"), ROLES, ids=[" ".join(role) for role, _ in ROLES])
def test_a_role_that_is_too_generous(role: dict[str, Any], level: str) -> None:
    assert [found[0] for found in about_role("web", role)] == [level]


def test_a_role_as_init_makes_it_needs_no_look() -> None:
    role = {"allowed_domains": ["x"], "allow_subdomains": True, "max_ttl": 259200, "key_type": "any", "key_bits": 0}
    assert list(about_role("web", role)) == []


def test_a_ca_that_ends_soon_or_has_ended(root: SmallCa) -> None:
    levels = [
        [found[0] for found in about_issuer("root", root.certificate, "crl-signing", NOW + timedelta(days=days))]
        for days in (0, 6)
    ]
    assert levels == [["warning"], ["critical"]]


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        (timedelta(days=5, hours=1), "in 5 days"),
        (timedelta(hours=1), "in 1 hour"),
        (timedelta(days=-1), "1 day ago"),
        (timedelta(days=366), "in 366 days"),
        (timedelta(days=731), "in 2 years"),
        (timedelta(seconds=5), "in 5s"),
    ],
    ids=str,
)
def test_times_for_people(delta: timedelta, text: str) -> None:
    assert distance(NOW + delta, NOW) == text


@pytest.mark.parametrize("number", [0x01, 0x0ABC, 0x80AABBCCDD])
def test_serial_numbers_as_text(number: int) -> None:
    text = serial_text(number)
    assert int(text.replace(":", ""), 16) == number
    assert all(len(pair) == 2 for pair in text.split(":"))


@pytest.mark.parametrize("text", ["default", "aa:bb", "web-01", "0a:1b:2c:3", "root-2026"])
def test_what_is_no_serial_number(text: str) -> None:
    assert not is_serial(text)
