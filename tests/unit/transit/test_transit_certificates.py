"""keys/<name>/csr and set-certificate: a request in the key's name, and the chain that came of one."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from cryptography.x509.oid import AttributeOID, NameOID

from core.errors import CallerError, InvalidRequestError, KeyPolicyError
from core.requests import Operation
from tests.support.key_wrapping import key_pair, public_pem
from tests.unit.transit.transit_mount import Mount

SIGNING = ("ecdsa-p256", "ecdsa-p384", "ecdsa-p521", "rsa-2048", "ed25519", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87")
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def template() -> str:
    names = x509.SubjectAlternativeName([x509.DNSName("orders.example")])
    key = key_pair("ecdsa-p256")
    skid = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = x509.CertificateSigningRequestBuilder().subject_name(named("orders")).add_extension(names, critical=True)
    builder = builder.add_extension(skid, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


ODD = (  # bytes of a well-formed request, and what stands for them
    (b"\x02\x01\x00", b"\x02\x01\x05"),  # version 6
    (b"\x0c\x06orders", b"\x03\x06\x00rders"),  # the subject is a BIT STRING
    (b"\x0c\x06orders", b"\x0c\x06\xff\xff\xff\xff\xff\xff"),  # or not UTF-8
    (b"\x0c\x06secret", b"\x1e\x06\xd8\x00\x00a\x00b"),  # the password is half of a surrogate pair
)


def patched(old: bytes, new: bytes) -> str:
    key = key_pair("ecdsa-p256")
    builder = x509.CertificateSigningRequestBuilder().subject_name(named("orders"))
    builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, b"secret")
    der = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    assert old in der
    return pem("CERTIFICATE REQUEST", der.replace(old, new, 1))


def pem(label: str, der: bytes) -> str:
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n"


def certificate(subject: str, public_key: Any, issuer: str, issuer_key: Any, *, ca: bool) -> str:
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(issuer))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


ROOT, MIDDLE = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
ROOT_PEM = certificate("root", ROOT.public_key(), "root", ROOT, ca=True)
ROOT_DER = x509.load_pem_x509_certificate(ROOT_PEM.encode()).public_bytes(Encoding.DER)
MIDDLE_PEM = certificate("middle", MIDDLE.public_key(), "root", ROOT, ca=True)


async def leaf_of(mount: Mount, name: str, version: str = "1") -> str:
    pem = (await mount.read(f"export/public-key/{name}"))["keys"][version] if name else public_pem("ecdsa-p256")
    return certificate("leaf", load_pem_public_key(pem.encode()), "middle", MIDDLE, ca=False)


# --- the request -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_type", SIGNING)
async def test_a_request_of_each_type_verifies(mount: Mount, key_type: str) -> None:
    await mount.write("keys/k", type=key_type)
    answer = await mount.write("keys/k/csr", csr=template())
    csr = x509.load_pem_x509_csr(answer["csr"].encode())
    assert csr.is_signature_valid
    assert csr.subject == named("orders")
    assert csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical is True
    assert (answer["name"], answer["type"]) == ("k", key_type)


async def test_without_a_template_the_request_is_bare(mount: Mount) -> None:
    await mount.write("keys/k", type="ecdsa-p256")
    csr = x509.load_pem_x509_csr((await mount.write("keys/k/csr"))["csr"].encode())
    assert csr.subject == x509.Name([])
    assert list(csr.extensions) == []


async def test_the_identifier_of_the_templates_key_is_not_taken_over(mount: Mount) -> None:
    await mount.write("keys/k", type="ecdsa-p256")
    csr = x509.load_pem_x509_csr((await mount.write("keys/k/csr", csr=template()))["csr"].encode())
    assert [type(extension.value) for extension in csr.extensions] == [x509.SubjectAlternativeName]


async def test_a_version_is_named(mount: Mount) -> None:
    await mount.write("keys/k", type="ecdsa-p256")
    await mount.write("keys/k/rotate")
    public = (await mount.read("export/public-key/k"))["keys"]
    for version, number in ((1, "1"), (2, "2"), (0, "2")):
        csr = x509.load_pem_x509_csr((await mount.write("keys/k/csr", version=version))["csr"].encode())
        assert csr.public_key() == load_pem_public_key(public[number].encode())


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ({"type": "aes256-gcm96"}, {}),
        ({"type": "ed25519", "derived": True}, {}),
        ({"type": "ecdsa-p256"}, {"version": 2}),
        ({"type": "ecdsa-p256"}, {"version": -1}),
        ({"type": "ecdsa-p256"}, {"csr": "x"}),
        ({"type": "ecdsa-p256"}, {"csr": ROOT_PEM}),
        ({"type": "ecdsa-p256"}, {"csr": template()[:-60]}),
        *[({"type": "ecdsa-p256"}, {"csr": patched(*change)}) for change in ODD],
    ],
)
async def test_what_makes_no_request(mount: Mount, options: dict[str, Any], body: dict[str, Any]) -> None:
    await mount.write("keys/k", **options)
    with pytest.raises(CallerError):
        await mount.write("keys/k/csr", **body)


async def test_a_public_key_alone_and_a_deleted_key_sign_nothing(mount: Mount) -> None:
    await mount.write("keys/public/import", type="ecdsa-p256", public_key=public_pem("ecdsa-p256"))
    await mount.write("keys/gone", type="ecdsa-p256")
    await mount.call(Operation.DELETE, "keys/gone/soft-delete")
    for name in ("public", "gone"):
        with pytest.raises(KeyPolicyError):
            await mount.write(f"keys/{name}/csr")
    with pytest.raises(InvalidRequestError):
        await mount.write("keys/nobody/csr")


# --- the chain --------------------------------------------------------------------------------------------------------


async def test_a_chain_is_kept_shown_and_exported(mount: Mount) -> None:
    await mount.write("keys/k", type="ecdsa-p256")
    other = mount.other_worker()
    assert (await other.read("keys/k"))["keys"]["1"]["certificate_chain"] == ""
    chain = await leaf_of(mount, "k") + MIDDLE_PEM + ROOT_PEM
    await mount.write("keys/k/set-certificate", certificate_chain=chain)
    assert (await other.read("keys/k"))["keys"]["1"]["certificate_chain"] == chain
    assert (await mount.read("export/certificate-chain/k"))["keys"]["1"] == chain.strip()


async def test_the_leaf_alone_is_a_chain(mount: Mount) -> None:
    await mount.write("keys/k", type="ecdsa-p256")
    await mount.write("keys/k/set-certificate", certificate_chain=await leaf_of(mount, "k"))
    assert (await mount.read("export/certificate-chain/k"))["keys"]


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "x",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "{middle}",
        "{middle}{root}",
        "{leaf}{root}",
        "{leaf}{root}{middle}",
        "{leaf}{leaf}",
        "{leaf}{middle}{leaf}",
        "{other}{middle}",
        "{leaf}" * 11,
        "{version}",
    ],
)
async def test_what_is_no_chain_of_the_key_is_refused(mount: Mount, broken: str) -> None:
    await mount.write("keys/k", type="ecdsa-p256")
    parts = {
        "leaf": await leaf_of(mount, "k"),
        "other": await leaf_of(mount, ""),
        "middle": MIDDLE_PEM,
        "root": ROOT_PEM,
        "version": pem("CERTIFICATE", ROOT_DER.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1)),
    }
    with pytest.raises(InvalidRequestError):
        await mount.write("keys/k/set-certificate", certificate_chain=broken.format(**parts))
    assert (await mount.read("keys/k"))["keys"]["1"]["certificate_chain"] == ""


async def test_a_chain_belongs_to_its_version(mount: Mount) -> None:
    await mount.write("keys/k", type="ecdsa-p256")
    await mount.write("keys/k/rotate")
    chain = await leaf_of(mount, "k", "1") + MIDDLE_PEM
    for version in (0, 2, 3, -1):
        with pytest.raises(InvalidRequestError):
            await mount.write("keys/k/set-certificate", certificate_chain=chain, version=version)
    await mount.write("keys/k/set-certificate", certificate_chain=chain, version=1)
    shown = (await mount.read("keys/k"))["keys"]
    assert (bool(shown["1"]["certificate_chain"]), bool(shown["2"]["certificate_chain"])) == (True, False)


async def test_a_chain_comes_along_in_a_backup(mount: Mount) -> None:
    await mount.write("keys/k", type="ecdsa-p256", allow_plaintext_backup=True)
    chain = await leaf_of(mount, "k")
    await mount.write("keys/k/set-certificate", certificate_chain=chain)
    await mount.write("restore/other", backup=(await mount.read("backup/k"))["backup"])
    assert (await mount.read("keys/other"))["keys"]["1"]["certificate_chain"] == chain
