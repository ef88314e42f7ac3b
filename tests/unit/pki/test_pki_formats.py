"""What is answered about a new certificate, in each format."""

from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
    pkcs12,
)

from core.errors import InvalidRequestError
from pki.formats import Chain, Made, Wanted, answer_of, check_wanted, pem_of
from pki.leaf_keys import LeafKeys
from pki.plan import Origin, Plan
from tests.unit.pki.pki_mount import Mount

PKCS8 = "-----BEGIN PRIVATE KEY-----"
HEADS = {
    ("ec", 256): "-----BEGIN EC PRIVATE KEY-----",
    ("ec", 521): "-----BEGIN EC PRIVATE KEY-----",
    ("rsa", 2048): "-----BEGIN RSA PRIVATE KEY-----",
    ("ed25519", 0): PKCS8,
    ("ml-dsa", 44): PKCS8,
}


def answer(made: Made, **wanted: Any) -> dict[str, Any]:
    return answer_of(made, Wanted(**wanted))


async def make(key_type: str = "ec", key_bits: int = 0) -> Made:
    mount = Mount()
    authority_id = await mount.seed_root()
    authority = await mount.parts.store.authority()
    issuer = authority.issuer(authority_id)
    key: Any = await LeafKeys().generate(key_type, key_bits)
    now = int(mount.clock.now())
    plan = Plan(
        public_key=key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        subject=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "web")]),
        not_before=now - 30,
        not_after=now + 3600,
    )
    origin = Origin(way="issue", no_store=True)
    issued = await mount.parts.issuing.issue(plan, issuer, authority, origin)
    return Made(issued=issued, issuer=issuer, chain=Chain([issuer]), key=key)


async def test_pem_has_vaults_members_without_line_breaks_at_the_end() -> None:
    made = await make()
    data = answer(made)
    assert data.keys() == {
        *("certificate", "issuing_ca", "ca_chain", "private_key", "private_key_type"),
        *("serial_number", "expiration", "not_before"),
    }
    assert data["issuing_ca"] == made.issuer.pem == data["ca_chain"][0]
    assert x509.load_pem_x509_certificate(data["certificate"].encode()) == made.issued.certificate
    assert data["expiration"] == made.issued.certificate.not_valid_after_utc.timestamp()
    assert not any(data[member].endswith("\n") for member in ("certificate", "issuing_ca", "private_key"))


async def test_a_certificate_as_pem_is_what_cryptography_writes() -> None:
    issued = (await make()).issued
    assert pem_of(issued.der) + "\n" == issued.certificate.public_bytes(Encoding.PEM).decode()


@pytest.mark.parametrize(("kind", "head"), HEADS.items(), ids=[f"{kind}-{bits}" for kind, bits in HEADS])
async def test_the_private_key_has_its_types_older_form_or_pkcs8(kind: tuple[str, int], head: str) -> None:
    made = await make(*kind)
    own = made.issued.certificate.public_key()
    for is_pkcs8, wanted in ((False, head), (True, PKCS8)):
        data = answer(made, is_pkcs8=is_pkcs8)
        assert data["private_key"].startswith(wanted)
        assert data["private_key_type"] == kind[0]
        key: Any = load_pem_private_key(data["private_key"].encode(), None)
        assert key.public_key() == own


async def test_a_bundle_has_key_certificate_and_chain_in_this_order() -> None:
    made = await make()
    plain, data = answer(made), answer(made, format="pem_bundle")
    assert data["certificate"] == "\n".join([plain["private_key"], plain["certificate"], made.issuer.pem])
    signed = answer(replace(made, key=None), format="pem_bundle")
    assert signed["certificate"] == "\n".join([plain["certificate"], made.issuer.pem])


async def test_der_is_in_base64() -> None:
    made = await make()
    data = answer(made, format="der")
    assert b64decode(data["certificate"]) == made.issued.der
    assert [b64decode(data["issuing_ca"])] == [b64decode(one) for one in data["ca_chain"]]
    key: Any = load_der_private_key(b64decode(data["private_key"]), None)
    assert key.public_key() == made.issued.certificate.public_key()


@pytest.mark.parametrize("password", ["", "Grüße"], ids=["open", "encrypted"])
async def test_pkcs12_holds_key_certificate_and_chain(password: str) -> None:
    made = await make()
    data = answer(made, format="pkcs12", pkcs12_password=password)
    found = pkcs12.load_pkcs12(b64decode(data["pkcs12"]), password.encode() or None)
    key: Any = found.key
    assert key.public_key() == made.issued.certificate.public_key()
    assert found.cert is not None
    assert found.cert.certificate == made.issued.certificate
    assert [one.certificate for one in found.additional_certs] == [made.issuer.certificate]


async def test_an_encrypted_pkcs12_does_not_open_without_its_password() -> None:
    data = answer(await make(), format="pkcs12", pkcs12_password="right")
    with pytest.raises(ValueError, match=r"[Pp]assword"):
        pkcs12.load_pkcs12(b64decode(data["pkcs12"]), b"wrong")


@pytest.mark.parametrize("format_", ["pem", "der", "pkcs12"])
async def test_a_chain_of_roots_alone_is_not_shown_without_roots(format_: str) -> None:
    data = answer(await make(), format=format_, without_roots=True)
    assert "ca_chain" not in data
    assert "issuing_ca" in data


async def test_what_was_signed_for_a_csr_has_no_private_key() -> None:
    made = await make()
    for format_ in ("pem", "pem_bundle", "der"):
        data = answer(replace(made, key=None), format=format_)
        assert "private_key" not in data
        assert "PRIVATE" not in data["certificate"]


@pytest.mark.parametrize(
    ("wanted", "how", "sentence"),
    [
        ("PEM", {"has_key": True}, '"format"'),
        ("", {"has_key": True}, '"format"'),
        ("pkcs12", {"has_key": False}, "issue"),
        ("pkcs12", {"has_key": True, "key_type": "ml-dsa"}, "ML-DSA"),
    ],
)
def test_a_format_that_cannot_be_is_said_before_anything_is_made(
    wanted: str, how: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidRequestError, match=sentence):
        check_wanted(Wanted(format=wanted), **how)
