"""Issuers and keys from elsewhere: all or nothing, nothing twice, and what is no CA's is refused."""

import asyncio
from typing import Any

import pytest
from asn1crypto import pem
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    PrivateFormat,
)

from core.errors import InvalidRequestError
from tests.unit.pki.brought_cas import KEY, ca, pem_key
from tests.unit.pki.pki_mount import Mount


async def take(mount: Mount, bundle: str, path: str = "issuers/import/bundle") -> dict[str, Any]:
    return await mount.data("update", path, {"pem_bundle": bundle})


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL], ids=["pkcs8", "sec1"])
async def test_a_ca_with_its_key_issues_at_once(form: PrivateFormat) -> None:
    mount = Mount()
    found = await take(mount, pem_key(KEY, form) + ca())
    [issuer_id], [key_id] = found["imported_issuers"], found["imported_keys"]
    assert found["mapping"] == {issuer_id: key_id}
    await mount.data("update", "roles/web", {"allow_any_name": True, "key_type": "ec"})
    made = await mount.data("update", "issue/web", {"common_name": "a.example.com"})
    leaf, issuer = (x509.load_pem_x509_certificate(made[member].encode()) for member in ("certificate", "issuing_ca"))
    leaf.verify_directly_issued_by(issuer)


async def test_what_is_here_already_is_not_taken_twice() -> None:
    mount, certificate = Mount(), ca()
    first = await take(mount, pem_key(KEY) + certificate)
    second = await take(mount, certificate + pem_key(KEY) + certificate)
    assert (second["imported_issuers"], second["imported_keys"]) == (None, None)
    assert second["existing_issuers"] == first["imported_issuers"]
    assert second["existing_keys"] == first["imported_keys"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["certificate first", "key first"])
async def test_key_and_certificate_find_each_other_whichever_comes_first(order: tuple[int, int]) -> None:
    mount = Mount()
    parts = [ca(), pem_key(KEY)]
    for place in order:
        await take(mount, parts[place])
    assert (await mount.parts.store.authority()).issuer("default").key is not None


async def test_of_several_the_one_with_a_key_is_the_default() -> None:
    mount = Mount()
    other = ec.generate_private_key(ec.SECP384R1())
    await take(mount, ca(other, "No key here") + ca() + pem_key(KEY))
    authority = await mount.parts.store.authority()
    assert authority.issuer("default").key is not None


async def test_certificates_of_one_key_are_issuers_of_their_own() -> None:
    mount = Mount()
    found = await take(mount, ca(serial=1) + ca(serial=2) + pem_key(KEY))
    assert len(found["imported_issuers"]) == 2
    assert set(found["mapping"].values()) == set(found["imported_keys"])


PASSED_OVER = ("EC PARAMETERS", "X509 CRL")
WEAK = rsa.generate_private_key(65537, 1024)  # noqa: S505 - to be refused
REFUSED = {
    "nothing": "",
    "a path": "/etc/ssl/ca.pem",
    "no pem": "x" * 100,
    "a leaf": ca(is_ca=False),
    "a request": "-----BEGIN CERTIFICATE REQUEST-----\n" + "A" * 80 + "\n-----END CERTIFICATE REQUEST-----\n",
    "garbage": "-----BEGIN CERTIFICATE-----\n" + "A" * 80 + "\n-----END CERTIFICATE-----\n",
    "garbage in the key": "-----BEGIN PRIVATE KEY-----\n" + "A" * 80 + "\n-----END PRIVATE KEY-----\n",
    "an encrypted key": pem_key(KEY, encryption=BestAvailableEncryption(b"secret")),
    "an encrypted old key": pem_key(KEY, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret")),
    "a weak key": pem_key(WEAK),
    "a weak ca": ca(WEAK),
    "a curve of 224": pem_key(ec.generate_private_key(ec.SECP224R1())),
    "ed448": pem_key(ed448.Ed448PrivateKey.generate()),
    "a ca of ed448": ca(ed448.Ed448PrivateKey.generate()),
    "good and bad": ca() + pem_key(WEAK),
    "too many": ca() * 257,
    "cut off": ca() + ca(serial=8)[:-40],
    "an ended key": pem_key(KEY).replace("END PRIVATE", "END RSA PRIVATE"),
    "dsa": "-----BEGIN DSA PRIVATE KEY-----\n" + "A" * 80 + "\n-----END DSA PRIVATE KEY-----\n",
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_cannot_be_used_is_refused_and_nothing_is_taken(what: str) -> None:
    mount = Mount()
    with pytest.raises(InvalidRequestError) as refused:
        await take(mount, REFUSED[what])
    assert "PRIVATE" not in refused.value.sentence.replace("BEGIN PRIVATE KEY", "")
    authority = await mount.parts.store.authority()
    assert (authority.issuers, authority.keys) == ({}, {})


UNREADABLE = {
    "a name that is a bit string": (b"\x0c\x08Imported", b"\x03\x08\0mported"),
    "a name that is a number": (b"\x0c\x08Imported", b"\x02\x08Imported"),
    "a serial number below zero": (b"\x02\x01\x02\x02\x01\x07", b"\x02\x01\x02\x02\x01\xf9"),
}


@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.filterwarnings("ignore:Parsed a serial number")
async def test_a_ca_that_every_later_request_would_fail_at_is_refused(what: str) -> None:
    """Chains, CRLs and lists read the names and serial numbers of all issuers."""
    der = pem.unarmor(ca().encode())[2]
    assert UNREADABLE[what][0] in der
    with pytest.raises(InvalidRequestError, match=r"block 1 .* can be read"):
        await take(Mount(), pem.armor("CERTIFICATE", der.replace(*UNREADABLE[what])).decode())


@pytest.mark.parametrize("path", ["issuers/import/cert", "intermediate/set-signed"])
async def test_where_only_certificates_are_taken_a_key_is_refused(path: str) -> None:
    mount = Mount()
    member = "certificate" if path.endswith("set-signed") else "pem_bundle"
    with pytest.raises(InvalidRequestError, match="private keys"):
        await mount.data("update", path, {member: ca() + pem_key(KEY)})


async def test_an_intermediate_that_was_signed_elsewhere_comes_back_to_its_key() -> None:
    root, mount = Mount(), Mount()
    await root.seed_root("Elsewhere")
    csr = (await mount.data("update", "intermediate/generate/internal", {"common_name": "Here", "key_type": "ec"}))[
        "csr"
    ]
    signed = await root.data("update", "root/sign-intermediate", {"csr": csr, "common_name": "Here"})
    found = await mount.data("update", "intermediate/set-signed", {"certificate": signed["certificate"]})
    assert len(found["imported_issuers"]) == 1
    assert all(found["mapping"].values())


async def test_a_certificate_whose_key_is_elsewhere_is_warned_of() -> None:
    response = await Mount().call("update", "intermediate/set-signed", {"certificate": ca()})
    assert response.warnings is not None
    assert "no key of this mount" in response.warnings[0]


async def test_a_key_is_imported_with_its_name_and_once() -> None:
    mount = Mount()
    first = await mount.data("update", "keys/import", {"pem_bundle": pem_key(KEY), "key_name": "mine"})
    again = await mount.call("update", "keys/import", {"pem_bundle": pem_key(KEY), "key_name": "other"})
    assert again.data == first
    assert again.warnings is not None


@pytest.mark.parametrize("bundle", [ca(), ca() + pem_key(KEY)], ids=["certificate", "both"])
async def test_keys_import_takes_one_key_and_nothing_else(bundle: str) -> None:
    with pytest.raises(InvalidRequestError, match="one private key"):
        await Mount().data("update", "keys/import", {"pem_bundle": bundle})


async def test_a_taken_key_name_is_refused() -> None:
    mount = Mount()
    await mount.data("update", "keys/generate/internal", {"key_type": "ec", "key_name": "mine"})
    with pytest.raises(InvalidRequestError, match="in use"):
        await mount.data("update", "keys/import", {"pem_bundle": pem_key(KEY), "key_name": "mine"})


@pytest.mark.parametrize(
    ("way", "body"),
    [("internal", {"key_type": "dsa"}), ("nowhere", {"key_type": "ec"}), ("existing", {}), ("kms", {"key_type": "ec"})],
)
async def test_keys_that_cannot_be_made_are_refused(way: str, body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        await Mount().data("update", f"keys/generate/{way}", body)


async def test_only_an_exported_key_is_shown_and_only_once() -> None:
    mount = Mount()
    internal = await mount.data("update", "keys/generate/internal", {"key_type": "ec"})
    exported = await mount.data("update", "keys/generate/exported", {"key_type": "ed25519"})
    assert "private_key" not in internal
    assert exported["private_key"].startswith("-----BEGIN PRIVATE KEY-----")
    assert "private_key" not in await mount.data("read", f"key/{exported['key_id']}")


# --- what else is in bundles, and names -------------------------------------------------------------------------------


async def test_parameters_crls_and_text_between_are_passed_over() -> None:
    between = "".join(f"some text\n-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n" for label in PASSED_OVER)
    assert len((await take(Mount(), ca() + between + pem_key(KEY)))["imported_issuers"]) == 1


async def test_the_new_issuer_gets_its_name() -> None:
    mount = Mount()
    found = await mount.data("update", "issuers/import/cert", {"pem_bundle": ca(), "issuer_name": "mine"})
    assert (await mount.data("read", "issuer/mine"))["issuer_id"] == found["imported_issuers"][0]


async def test_an_issuer_that_is_here_keeps_its_name() -> None:
    mount, certificate = Mount(), ca()
    await take(mount, certificate)
    answer = await mount.call("update", "issuers/import/cert", {"pem_bundle": certificate, "issuer_name": "other"})
    assert answer.warnings is not None
    assert "already imported" in answer.warnings[0]
    [issuer] = (await mount.parts.store.authority()).issuers.values()
    assert issuer.row.name == ""


@pytest.mark.parametrize(
    ("bundle", "name"),
    [(ca(serial=1), "taken"), (ca(serial=1), "default"), (ca(serial=1), "a b"), (ca(serial=1) + ca(serial=2), "new")],
    ids=["taken", "reserved", "blank", "for two"],
)
async def test_a_name_that_cannot_be_refuses_the_whole_bundle(bundle: str, name: str) -> None:
    mount = Mount()
    await mount.data("update", "issuers/import/cert", {"pem_bundle": ca(), "issuer_name": "taken"})
    with pytest.raises(InvalidRequestError, match="name"):
        await mount.data("update", "issuers/import/bundle", {"pem_bundle": bundle + pem_key(KEY), "issuer_name": name})
    authority = await mount.parts.store.authority()
    assert (len(authority.issuers), len(authority.keys)) == (1, 0)


@pytest.mark.parametrize(
    "path", ["issuers/import/cert", "issuers/import/bundle", "config/ca", "intermediate/set-signed"]
)
@pytest.mark.parametrize(
    "body",
    [{}, {"pem_bundle": ca(), "certificate": ca()}, {"certificate": ca() + pem_key(KEY)}],
    ids=["nothing", "both", "keys"],
)
async def test_one_bundle_is_sent_and_as_certificate_without_keys(path: str, body: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError, match=r"certificate|private keys"):
        await Mount().data("update", path, body)


async def test_the_default_stays_where_several_could_follow() -> None:
    mount = Mount()
    first = await mount.seed_root("first")
    await mount.data("update", "config/issuers", {"default": first, "default_follows_latest_issuer": True})
    answer = await mount.call(
        "update", "issuers/import/bundle", {"pem_bundle": ca(serial=1) + ca(serial=2) + pem_key(KEY)}
    )
    assert (await mount.data("read", "config/issuers"))["default"] == first
    assert any("left unchanged" in warning for warning in answer.warnings or [])


@pytest.mark.parametrize(
    ("bundle", "word"),
    [(ca(serial=1) + ca(serial=2) + pem_key(KEY), "multiple certs"), (ca(), "AIA")],
    ids=["several", "no urls"],
)
async def test_what_may_surprise_is_warned_of(bundle: str, word: str) -> None:
    answer = await Mount().call("update", "issuers/import/bundle", {"pem_bundle": bundle})
    assert any(word in warning for warning in answer.warnings or [])


async def test_a_default_without_its_key_is_warned_of() -> None:
    mount, certificate = Mount(), ca()
    await mount.data("update", "issuers/import/cert", {"pem_bundle": certificate, "issuer_name": "keyless"})
    await mount.data("update", "config/issuers", {"default": "keyless"})
    answer = await mount.call("update", "issuers/import/cert", {"pem_bundle": certificate})
    assert any("no key associated" in warning for warning in answer.warnings or [])


async def test_an_issuer_without_a_key_is_no_default_of_itself() -> None:
    """Who imports a root for its chain, and then the intermediate that issues, means that one."""
    mount = Mount()
    await take(mount, ca())
    assert (await mount.data("read", "config/issuers"))["default"] == ""
    latest = await mount.seed_root("with a key")
    assert (await mount.data("read", "config/issuers"))["default"] == latest


async def test_of_two_workers_that_import_the_same_one_finds_it_there() -> None:
    mount = Mount()
    body = {"pem_bundle": ca() + pem_key(KEY)}
    workers = [mount, mount.other_worker()]
    answers = await asyncio.gather(*(one.data("update", "issuers/import/bundle", body) for one in workers))
    assert [len(answer["imported_issuers"] or []) for answer in answers] in ([1, 0], [0, 1])
    authority = await mount.parts.store.authority()
    assert (len(authority.issuers), len(authority.keys)) == (1, 1)


async def test_a_revoked_root_that_is_deleted_and_brought_back_stays_revoked() -> None:
    """No CRL lists it, so nothing but this mount knows."""
    mount, root = Mount(), ca()
    [issuer] = (await take(mount, root + pem_key(KEY)))["imported_issuers"]
    revoked = await mount.data("update", f"issuer/{issuer}/revoke")
    await mount.call("delete", f"issuer/{issuer}")
    mount.clock.advance(60)
    [again] = (await take(mount, root))["imported_issuers"]
    assert (await mount.data("read", f"issuer/{again}"))["revocation_time"] == revoked["revocation_time"]


async def test_a_revoked_ca_that_is_deleted_and_brought_back_stays_revoked() -> None:
    mount = Mount()
    await mount.seed_root()
    made = await mount.data("update", "intermediate/generate/internal", {"common_name": "Below", "key_type": "ec"})
    signed = await mount.data("update", "root/sign-intermediate", {"csr": made["csr"], "common_name": "Below"})
    [below] = (await take(mount, signed["certificate"], "intermediate/set-signed"))["imported_issuers"]
    await mount.call("update", f"issuer/{below}/revoke")
    await mount.call("delete", f"issuer/{below}")
    [again] = (await take(mount, signed["certificate"]))["imported_issuers"]
    assert (await mount.data("read", f"issuer/{again}"))["revoked"] is True
    await mount.data("update", "roles/web", {"allow_any_name": True, "key_type": "ec", "issuer_ref": again})
    with pytest.raises(InvalidRequestError, match="revoked"):
        await mount.call("update", "issue/web", {"common_name": "a.example.com"})
