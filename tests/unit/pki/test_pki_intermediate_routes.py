"""Intermediates over Vault's API: requests, signing them, cross-signing, and rotation with overlap."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from core.errors import InvalidRequestError, NotFoundError
from core.ids import new_uuid
from core.protocols import KeyKind, KeyUsage
from pki.authority import IssuerRow
from pki.certificates import CATALOG
from pki.store import AuthorityChange
from tests.support import odd_requests as odd
from tests.unit.pki.pki_mount import Mount

EC = {"key_type": "ec"}


class Roots:
    """A mount with a root."""

    def __init__(self) -> None:
        self.mount = Mount()
        self.root: dict[str, Any] = {}

    async def make(self, **more: Any) -> dict[str, Any]:
        self.root = await self.mount.data(
            "update", "root/generate/internal", EC | {"common_name": "Root", "ttl": "20h"} | more
        )
        return self.root

    async def sign(self, csr: str, path: str = "root/sign-intermediate", **more: Any) -> dict[str, Any]:
        return await self.mount.data("update", path, {"csr": csr, "common_name": "Sub", "ttl": "10h"} | more)

    async def change_root(self, **more: Any) -> None:
        async def work(change: AuthorityChange) -> None:
            await change.put_issuer(replace(change.before.issuers[self.root["issuer_id"]].row, **more))

        await self.mount.parts.store.change_authority(work)


async def roots(**more: Any) -> Roots:
    made = Roots()
    await made.make(**more)
    return made


async def request(mount: Mount | None = None, **more: Any) -> str:
    body = EC | {"common_name": "Sub"} | more
    data = await (mount or Mount()).data("update", "intermediate/generate/internal", body)
    return str(data["csr"])


def load(data: dict[str, Any], member: str = "certificate") -> x509.Certificate:
    return x509.load_pem_x509_certificate(data[member].encode())


async def test_a_request_is_signed_by_the_key_that_stays_here() -> None:
    mount = Mount()
    body = EC | {"common_name": "Sub", "alt_names": "sub.example.com", "add_basic_constraints": True, "key_name": "k"}
    data = await mount.data("update", "issuers/generate/intermediate/internal", body)
    csr = x509.load_pem_x509_csr(data["csr"].encode())
    assert csr.is_signature_valid
    assert csr.subject.rfc4514_string() == "CN=Sub"
    assert csr.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert (data["custody"], data["key_name"]) == ("hsm", "k")
    authority = await mount.parts.store.authority()
    assert authority.index.keys == (data["key_id"],)
    assert authority.index.issuers == ()


async def test_an_exported_request_shows_its_key() -> None:
    data = await Mount().data("update", "intermediate/generate/exported", EC | {"format": "pem_bundle"})
    assert data["csr"].startswith(data["private_key"])
    private: Any = load_pem_private_key(data["private_key"].encode(), None)
    assert private.public_key() == x509.load_pem_x509_csr(data["csr"].encode()).public_key()


@pytest.mark.parametrize(
    "more",
    [
        {"key_type": "ec", "key_bits": 224},
        {"key_name": "default"},
        {"format": "jks"},
        {"signature_bits": 1},
        {"key_usage": "KeyAgreement"},
        {"country": "Germany"},
    ],
    ids=str,
)
async def test_a_request_that_cannot_be_made_leaves_no_key(more: dict[str, Any]) -> None:
    mount = Mount()
    with pytest.raises(InvalidRequestError):
        await request(mount, **more)
    assert (await mount.parts.store.authority()).keys == {}


@pytest.mark.parametrize("path", ["root/sign-intermediate", "issuer/default/sign-intermediate"])
async def test_a_signed_intermediate_is_a_ca_below_its_issuer(path: str) -> None:
    made = await roots()
    data = await made.sign(await request(), path, max_path_length=0)
    found = load(data)
    found.verify_directly_issued_by(load(made.root))
    constraints = found.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert data["ca_chain"] == [data["certificate"], made.root["certificate"]]
    assert data["issuing_ca"] == made.root["certificate"]
    known = await made.mount.parts.store.certificate(data["serial_number"])
    assert known is not None
    assert (known.body.is_ca, known.body.way, known.body.issuer_id) == (
        True,
        "sign-intermediate",
        made.root["issuer_id"],
    )


async def test_the_subject_is_the_bodys_unless_the_csrs_is_to_be_used() -> None:
    made = await roots()
    csr = await request(common_name="Asked", organization="Theirs", alt_names="a.example.com")
    assert load(await made.sign(csr)).subject.rfc4514_string() == "CN=Sub"
    assert load(await made.sign(csr, common_name="")).subject.rfc4514_string() == "CN=Asked"
    found = load(await made.sign(csr, use_csr_values=True))
    assert found.subject.rfc4514_string() == "CN=Asked,O=Theirs"
    assert len(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == 1


async def test_a_ca_ends_with_its_issuer_at_the_latest() -> None:
    made = await roots()
    answer = await made.mount.call(
        "update", "root/sign-intermediate", {"csr": await request(), "common_name": "Sub", "ttl": "30h"}
    )
    assert answer.data is not None
    assert answer.data["expiration"] == made.root["expiration"]
    assert any("outlived" in warning for warning in answer.warnings or ())


async def test_the_issuer_may_permit_a_longer_life_or_refuse_it() -> None:
    made, csr = await roots(), await request()
    await made.change_root(leaf_not_after_behavior="permit")
    assert (await made.sign(csr, ttl="30h"))["expiration"] > made.root["expiration"]
    await made.change_root(leaf_not_after_behavior="always_enforce_err")
    with pytest.raises(InvalidRequestError, match="beyond the expiration"):
        await made.sign(csr, ttl="30h")


async def test_path_lengths_shrink_downwards() -> None:
    made, csr = await roots(max_path_length=1), await request()
    found = load(await made.sign(csr)).extensions.get_extension_for_class(x509.BasicConstraints).value
    assert found.path_length == 0
    with pytest.raises(InvalidRequestError, match="max_path_length is 0"):
        await made.sign(csr, max_path_length=1)
    await made.change_root(disable_path_length_checks=True)
    await made.sign(csr, max_path_length=1)


async def test_an_issuer_of_path_length_zero_certifies_no_ca() -> None:
    made = await roots(max_path_length=0)
    with pytest.raises(InvalidRequestError, match="path length of zero"):
        await made.sign(await request())


@pytest.mark.parametrize(
    ("more", "is_allowed"),
    [
        ({"alt_names": "ca.example.com"}, True),
        ({"alt_names": "example.com"}, True),
        ({"alt_names": "example.org"}, False),
        ({"alt_names": "bad.example.com"}, False),
        ({"common_name": "ca.example.org"}, False),
        ({"ip_sans": "10.1.2.3"}, True),
        ({"ip_sans": "11.1.2.3"}, False),
    ],
    ids=str,
)
async def test_names_of_a_ca_obey_the_issuers_constraints(more: dict[str, Any], is_allowed: bool) -> None:
    made = await roots(
        permitted_dns_domains="example.com", excluded_dns_domains="bad.example.com", permitted_ip_ranges="10.0.0.0/8"
    )
    csr = await request()
    if is_allowed:
        await made.sign(csr, **more)
        return
    with pytest.raises(InvalidRequestError, match="name constraints"):
        await made.sign(csr, **more)
    await made.change_root(disable_name_constraint_checks=True)
    await made.sign(csr, **more)


@pytest.mark.parametrize("way", ["expired", "not yet", "revoked", "usage", "no key"])
async def test_an_issuer_that_may_not_sign_signs_nothing(way: str) -> None:
    made, csr = await roots(), await request()
    if way == "expired":
        made.mount.clock.advance(20 * 3600)
    elif way == "not yet":
        made.mount.clock.advance(-3600)
    else:
        changes: dict[str, Any] = {"revoked": {"revoked_at": 1}, "usage": {"usage": ("crl-signing",)}}
        await made.change_root(**changes.get(way, {"key_id": ""}))
    before = await made.mount.view.row_ids(CATALOG)
    with pytest.raises(InvalidRequestError):
        await made.sign(csr)
    assert await made.mount.view.row_ids(CATALOG) == before


@pytest.mark.parametrize(
    "more", [{"csr": ""}, {"csr": "nonsense"}, {"format": "pkcs12"}, {"max_path_length": 256}], ids=str
)
async def test_what_cannot_be_signed_is_refused(more: dict[str, Any]) -> None:
    made = await roots()
    with pytest.raises(InvalidRequestError):
        await made.sign(**({"csr": await request()} | more))


async def test_a_csr_without_proof_of_possession_is_refused() -> None:
    made = await roots()
    der = bytearray(x509.load_pem_x509_csr((await request()).encode()).public_bytes(Encoding.DER))
    at = der.find(b"Sub")
    der[at] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM).decode()
    with pytest.raises(InvalidRequestError, match="signature"):
        await made.sign(forged)


async def test_a_ca_needs_a_subject() -> None:
    made = await roots()
    csr = await request(common_name="")
    for more in ({"common_name": ""}, {"use_csr_values": True}):
        with pytest.raises(InvalidRequestError, match="subject"):
            await made.sign(csr, **more)


async def test_an_unknown_issuer_is_not_found() -> None:
    with pytest.raises(NotFoundError):
        await (await roots()).sign(await request(), "issuer/nobody/sign-intermediate")


async def test_cross_signing_says_what_the_certificate_of_the_key_says() -> None:
    made = await roots(organization="Example", skid="0102", key_name="k")
    data = await made.mount.data("update", "intermediate/cross-sign", {"key_ref": "k"})
    csr = x509.load_pem_x509_csr(data["csr"].encode())
    assert csr.subject == load(made.root).subject
    assert csr.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest == b"\x01\x02"
    assert data["key_id"] == made.root["key_id"]


async def test_a_key_without_a_certificate_needs_a_name_to_cross_sign() -> None:
    mount = Mount()
    await request(mount)
    with pytest.raises(InvalidRequestError, match="common_name"):
        await mount.data("update", "intermediate/cross-sign", {})


# --- rotation with overlap ------------------------------------------------------------------------------------------


async def _leaf(mount: Mount, issuer: str) -> str:
    csr = await request(common_name="web.example.com")
    await mount.data("update", "roles/web", {"allow_any_name": True, "key_type": "any", "require_cn": False})
    body = {"csr": csr, "common_name": "web.example.com", "ttl": "1h"}
    return str((await mount.data("update", f"issuer/{issuer}/sign/web", body))["certificate"])


def _verifies(tmp_path: Path, leaf: str, root: str, *between: str, at: int) -> bool:
    for name, pems in (("leaf", [leaf]), ("root", [root]), ("between", list(between))):
        (tmp_path / name).write_text("\n".join([*pems, ""]))
    command = ["openssl", "verify", "-x509_strict", "-attime", str(at), "-CAfile", str(tmp_path / "root")]
    untrusted = ["-untrusted", str(tmp_path / "between")] if between else []
    ran = subprocess.run([*command, *untrusted, str(tmp_path / "leaf")], capture_output=True, check=False)
    return ran.returncode == 0


async def test_a_new_root_is_trusted_through_the_old_one(tmp_path: Path) -> None:
    """Rotation: the old root certifies the new one's key, so who trusts only the old one accepts new leaves, too."""
    made = await roots(issuer_name="old")
    mount, at = made.mount, int(made.mount.clock.now()) + 60
    old_leaf = await _leaf(mount, "old")
    body = EC | {"common_name": "Root 2", "ttl": "20h"}
    new = await mount.data("update", "root/rotate/internal", body)
    request_ = await mount.data("update", "intermediate/cross-sign", {"key_ref": new["key_id"]})
    cross = (await made.sign(request_["csr"], use_csr_values=True))["certificate"]
    new_leaf = await _leaf(mount, "next")
    old_root, new_root = made.root["certificate"], new["certificate"]
    assert _verifies(tmp_path, old_leaf, old_root, at=at)
    assert _verifies(tmp_path, new_leaf, new_root, at=at)
    assert _verifies(tmp_path, new_leaf, old_root, cross, at=at)
    assert not _verifies(tmp_path, new_leaf, old_root, at=at)
    assert not _verifies(tmp_path, old_leaf, new_root, at=at)


async def test_a_root_is_cross_signed_from_its_certificate_alone(tmp_path: Path) -> None:
    made, other = await roots(), await roots(common_name="Other", max_path_length=3, skid="aa:bb")
    body = {"certificate": other.root["certificate"]}
    data = await made.mount.data("update", "root/sign-self-issued", body)
    cross = load(data)
    cross.verify_directly_issued_by(load(made.root))
    before = load(other.root)
    assert (cross.subject, cross.public_key()) == (before.subject, before.public_key())
    assert cross.serial_number != before.serial_number
    assert cross.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest == b"\xaa\xbb"
    leaf = await _leaf(other.mount, "default")
    at = int(made.mount.clock.now()) + 60
    assert _verifies(tmp_path, leaf, made.root["certificate"], data["certificate"], at=at)


@pytest.mark.parametrize("common_name", ["a\0b", "a" * 65], ids=["control", "long"])
async def test_a_subject_of_a_csr_that_no_certificate_may_have_is_refused(common_name: str) -> None:
    """It is taken as it stands with use_csr_values, so it is held against what holds for others."""
    csr = odd.request_pem(ec.generate_private_key(ec.SECP256R1()), common_name=common_name)
    with pytest.raises(InvalidRequestError, match="subject of the csr"):
        await (await roots()).sign(csr, use_csr_values=True)


async def test_a_root_whose_extensions_cannot_be_read_is_not_cross_signed() -> None:
    """A BIT STRING as a common name in a directory name, where cryptography's error is a TypeError."""
    name = bytes.fromhex("300fa40d300b3109300706035504030300")
    odd_names = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), name)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Odd")])
    now = datetime.fromtimestamp(1_800_000_000, UTC)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 5, now, now + timedelta(days=30))
    made = builder.add_extension(odd_names, critical=False).sign(key, hashes.SHA256())
    certificate = made.public_bytes(Encoding.PEM).decode()
    with pytest.raises(InvalidRequestError, match="could not be parsed"):
        await (await roots()).mount.data("update", "root/sign-self-issued", {"certificate": certificate})


async def test_what_is_not_a_root_is_not_cross_signed() -> None:
    made = await roots()
    leaf = await _leaf(made.mount, "default")
    intermediate = (await made.sign(await request()))["certificate"]
    root = made.root["certificate"]
    for certificate, words in (
        (leaf, "not a CA"),
        (intermediate, "not self-issued"),
        (root + "\n" + root, "2 certificates"),
        ("nonsense", "PEM-decoded"),
        ("", "PEM-decoded"),
    ):
        with pytest.raises(InvalidRequestError, match=words):
            await made.mount.data("update", "root/sign-self-issued", {"certificate": certificate})


async def test_a_root_that_its_own_key_did_not_sign_is_not_cross_signed() -> None:
    made, other = await roots(), await roots()
    der = bytearray(load(other.root).public_bytes(Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_certificate(bytes(der)).public_bytes(Encoding.PEM).decode()
    with pytest.raises(InvalidRequestError, match="own key"):
        await made.mount.data("update", "root/sign-self-issued", {"certificate": forged})


async def test_matching_algorithms_can_be_required() -> None:
    made, other = await roots(), await roots(key_type="ed25519")
    body = {"certificate": other.root["certificate"]}
    await made.mount.data("update", "root/sign-self-issued", body)
    with pytest.raises(InvalidRequestError, match="does not match"):
        await made.mount.data(
            "update", "root/sign-self-issued", body | {"require_matching_certificate_algorithms": True}
        )


async def test_cross_signing_a_root_is_a_sudo_path() -> None:
    found = {route.pattern for route in Mount().engine.routes if route.sudo}
    assert {"root/sign-self-issued", "issuer/{issuer_ref}/sign-self-issued"} <= found


async def test_an_issuer_without_a_key_here_is_no_signer() -> None:
    made = await roots()
    mount = made.mount
    key = await mount.keys.generate_key(KeyKind.EC_P256, usage=KeyUsage.SIGN)
    assert key.public_key is not None
    row = IssuerRow(issuer_id=new_uuid(), name="foreign", certificate=load(made.root).public_bytes(Encoding.DER))
    await mount.parts.store.change_authority(lambda change: change.put_issuer(row))
    with pytest.raises(InvalidRequestError, match="not here"):
        await made.sign(await request(), "issuer/foreign/sign-intermediate")
