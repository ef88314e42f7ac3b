"""Roots over Vault's API: keys by custody, names, answers, and what cannot be made."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from core.errors import HsmGoneError, InvalidRequestError, NotFoundError
from pki.authority import DEFAULT
from pki.certificates import CATALOG, State, decode_row
from tests.unit.pki.pki_mount import Mount

EC = {"key_type": "ec", "common_name": "Root"}


async def make(mount: Mount, way: str = "internal", path: str = "root/generate", **more: Any) -> dict[str, Any]:
    return await mount.data("update", f"{path}/{way}", EC | more)


def certificate(data: dict[str, Any]) -> x509.Certificate:
    return x509.load_pem_x509_certificate(data["certificate"].encode())


async def test_a_root_is_signed_by_its_own_key_and_is_the_default() -> None:
    mount = Mount()
    data = await make(mount, issuer_name="root-1", key_name="key-1", ttl="24h")
    found = certificate(data)
    found.verify_directly_issued_by(found)
    assert found.subject.rfc4514_string() == "CN=Root"
    assert (data["issuer_name"], data["key_name"], data["custody"]) == ("root-1", "key-1", "hsm")
    assert data["issuing_ca"] == data["certificate"]
    assert data["expiration"] == int(found.not_valid_after_utc.timestamp()) == int(mount.clock.now()) + 86400
    assert "private_key" not in data
    authority = await mount.parts.store.authority()
    assert authority.issuer(DEFAULT).issuer_id == authority.issuer("root-1").issuer_id == data["issuer_id"]
    assert authority.key(DEFAULT).key_id == authority.key("key-1").key_id == data["key_id"]


async def test_its_certificate_is_in_the_inventory_as_its_own_issuers() -> None:
    mount = Mount()
    data = await make(mount)
    known = await mount.parts.store.certificate(data["serial_number"])
    assert known is not None
    assert (known.state, known.body.is_ca, known.body.way) == (State.ISSUED, True, "root")
    assert (known.body.issuer_id, known.body.requester) == (data["issuer_id"], "userpass-ann")


@pytest.mark.parametrize(
    ("key_type", "bits", "custody"),
    [
        ("ec", 384, "hsm"),
        ("ec", 521, "hsm"),
        ("ed25519", 0, "sealed"),
        ("ml-dsa", 44, "sealed"),
        ("ml-dsa", 0, "sealed"),
    ],
)
async def test_keys_are_in_the_hsm_where_it_can_have_them(key_type: str, bits: int, custody: str) -> None:
    data = await make(Mount(), key_type=key_type, key_bits=bits)
    assert data["custody"] == custody
    certificate(data).verify_directly_issued_by(certificate(data))


@pytest.mark.parametrize(
    ("key_type", "format_", "begin"),
    [
        ("ec", "der", "-----BEGIN EC PRIVATE KEY"),
        ("ec", "pkcs8", "-----BEGIN PRIVATE KEY"),
        ("ed25519", "der", "-----BEGIN PRIVATE KEY"),
        ("ml-dsa", "", "-----BEGIN PRIVATE KEY"),
    ],
)
async def test_an_exported_key_is_shown_once_and_is_that_of_the_certificate(
    key_type: str, format_: str, begin: str
) -> None:
    mount = Mount()
    data = await make(mount, "exported", key_type=key_type, private_key_format=format_)
    assert data["private_key"].startswith(begin)
    private: Any = load_pem_private_key(data["private_key"].encode(), None)
    assert private.public_key() == certificate(data).public_key()
    assert (data["custody"], data["private_key_type"]) == ("sealed", key_type)


async def test_formats() -> None:
    mount = Mount()
    der = await make(mount, "exported", format="der")
    x509.load_der_x509_certificate(b64decode(der["certificate"]))
    load_der_private_key(b64decode(der["private_key"]), None)
    bundle = await make(mount, "exported", format="pem_bundle")
    assert bundle["certificate"] == bundle["private_key"] + "\n" + bundle["issuing_ca"]


async def test_an_existing_key_gets_another_certificate() -> None:
    mount = Mount()
    first = await make(mount, key_name="k")
    second = await mount.data("update", "root/generate/existing", {"common_name": "Second", "key_ref": "k"})
    assert (second["key_id"], second["key_name"]) == (first["key_id"], "k")
    assert certificate(second).public_key() == certificate(first).public_key()
    assert len((await mount.parts.store.authority()).keys) == 1


async def test_rotation_makes_a_root_beside_the_default() -> None:
    mount = Mount()
    old = await make(mount)
    new = await make(mount, path="root/rotate")
    third = await make(mount, path="root/rotate")
    assert (new["issuer_name"], third["issuer_name"]) == ("next", "")
    assert (await mount.parts.store.authority()).index.default_issuer == old["issuer_id"]


async def test_the_mounts_urls_stand_in_it_with_its_own_id() -> None:
    mount = Mount()
    await make(mount)

    async def work(change: Any) -> None:
        from msgspec.structs import replace

        from pki.authority import Urls

        urls = Urls(crl_distribution_points=("http://x/{{issuer_id}}",), enable_templating=True)
        change.set_index(replace(change.index, urls=urls))

    await mount.parts.store.change_authority(work)
    data = await make(mount)
    points = certificate(data).extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert [point.full_name[0].value for point in points if point.full_name] == [f"http://x/{data['issuer_id']}"]


async def test_every_member_has_its_place() -> None:
    data = await make(
        Mount(),
        ou="a,b",
        organization="Example",
        country="DE",
        locality="Berlin",
        province="Berlin",
        street_address="Street 1",
        postal_code="10115",
        serial_number="7",
        alt_names="ca.example.com,ca@example.com",
        ip_sans="10.0.0.1",
        uri_sans="https://ca.example.com",
        other_sans="1.3.6.1.4.1.311.20.2.3;UTF8:ca",
        max_path_length=1,
        permitted_dns_domains=".example.com",
        excluded_ip_ranges="10.0.0.0/8",
        permitted_email_addresses="example.com",
        excluded_uri_domains=".example.org",
        key_usage="DigitalSignature",
        ext_key_usage="ServerAuth",
        signature_bits=384,
        not_before="2020-01-01T00:00:00Z",
        not_after="9999-12-31T23:59:59Z",
        skid="01:02:03",
    )
    found = certificate(data)
    assert len(found.subject) == 10
    extensions = found.extensions
    assert len(extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == 5
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 1
    assert extensions.get_extension_for_class(x509.NameConstraints).critical
    assert extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    assert extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest == bytes((1, 2, 3))
    assert found.signature_hash_algorithm is not None
    assert found.signature_hash_algorithm.name == "sha384"
    assert found.not_valid_after_utc.year == 9999


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no subject": ({"common_name": ""}, "subject"),
    "unknown type": ({"key_type": "dsa"}, "key_type"),
    "any type": ({"key_type": "any"}, "key_type"),
    "ec 224": ({"key_bits": 224}, "256, 384 or 521"),
    "rsa 1024": ({"key_type": "rsa", "key_bits": 1024}, "2048, 3072 or 4096"),
    "rsa 8192": ({"key_type": "rsa", "key_bits": 8192}, "2048, 3072 or 4096"),
    "ml-dsa 2": ({"key_type": "ml-dsa", "key_bits": 2}, "44, 65 or 87"),
    "format": ({"format": "pkcs12"}, "format"),
    "key format": ({"private_key_format": "jwk"}, "private_key_format"),
    "issuer named default": ({"issuer_name": "default"}, "reserved"),
    "key named default": ({"key_name": "default"}, "reserved"),
    "issuer name with slash": ({"issuer_name": "a/b"}, "characters"),
    "issuer name with dash last": ({"issuer_name": "a-"}, "characters"),
    "key name with blank": ({"key_name": "a b"}, "characters"),
    "long name": ({"key_name": "a" * 129}, "128"),
    "path length": ({"max_path_length": -2}, "max_path_length"),
    "path length too long": ({"max_path_length": 256}, "max_path_length"),
    "ttl and not_after": ({"ttl": "1h", "not_after": "2099-01-01T00:00:00Z"}, "both|Both"),
    "ended": ({"not_after": "2001-01-01T00:00:00Z"}, "ended"),
    "begins after its end": ({"not_before": "2090-01-01T00:00:00Z", "ttl": "1h"}, "begin"),
    "beyond 9999": ({"not_after": "10000-01-01T00:00:00Z"}, "not_after"),
    "no moment": ({"not_after": "tomorrow"}, "RFC 3339"),
    "country": ({"country": "Germany"}, "country"),
    "long name of it": ({"common_name": "a" * 65}, "64"),
    "control character": ({"common_name": "a\x00b"}, "control"),
    "alt name": ({"alt_names": "a b.example.com"}, "."),
    "ip": ({"ip_sans": "10.0.0.256"}, "IP"),
    "uri": ({"uri_sans": "nothing"}, "URI"),
    "signature bits": ({"signature_bits": 224}, "signature_bits"),
    "key usage of a leaf": ({"key_usage": "KeyEncipherment"}, "key_usage"),
    "unknown key usage": ({"key_usage": "Everything"}, "key_usage"),
    "unknown ext key usage": ({"ext_key_usage": "Everything"}, "ext_key_usage"),
    "dns constraint": ({"permitted_dns_domains": "*.example.com"}, "DNS domain"),
    "ip constraint": ({"permitted_ip_ranges": "10.0.0.0/33"}, "range"),
    "mail constraint": ({"excluded_email_addresses": "@example.com"}, "mail"),
    "uri constraint": ({"permitted_uri_domains": "https://example.com"}, "URI domain"),
    "brackets in mail": ({"permitted_email_addresses": "<a>@example.com"}, "mail"),
    "many constraints": ({"permitted_dns_domains": [f"a{number}.com" for number in range(1001)]}, "at most 1000"),
    "one name many times": ({"alt_names": ["a.example.com"] * 1001}, "at most 1000"),
    "many units": ({"ou": ["unit"] * 101}, "at most 100"),
    "skid": ({"skid": "xyz"}, "skid"),
    "long skid": ({"skid": "00" * 65}, "skid"),
}


@pytest.mark.parametrize("years", [100, 100_000_000])
async def test_no_certificate_begins_before_1970(years: int) -> None:
    """Before 1950 it could not be written, and the builder panics."""
    mount = Mount()
    made = await make(mount, not_before_duration=years * 365 * 86400)
    assert x509.load_pem_x509_certificate(made["certificate"].encode()).not_valid_before_utc.year == 1970


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_refused_leaves_no_key_no_issuer_and_no_certificate(case: str) -> None:
    more, words = REFUSED[case]
    mount = Mount()
    with pytest.raises(InvalidRequestError, match=words):
        await make(mount, **more)
    assert (await mount.parts.store.authority()).index.keys == ()
    assert await mount.view.row_ids(CATALOG) == []


@pytest.mark.parametrize("way", ["kms", "external", ""])
async def test_other_ways_to_a_key_are_refused(way: str) -> None:
    with pytest.raises(InvalidRequestError):
        await make(Mount(), way or "x")


@pytest.mark.parametrize("member", ["issuer_name", "key_name"])
async def test_a_name_is_given_once(member: str) -> None:
    mount = Mount()
    await make(mount, **{member: "one"})
    with pytest.raises(InvalidRequestError, match="already in use"):
        await make(mount, **{member: "one"})


async def test_an_id_is_no_name_for_another() -> None:
    mount = Mount()
    first = await make(mount)
    with pytest.raises(InvalidRequestError, match="already in use"):
        await make(mount, issuer_name=first["issuer_id"])


async def test_an_existing_key_must_exist_and_says_its_type_itself() -> None:
    mount = Mount()
    with pytest.raises(InvalidRequestError, match="no default key"):
        await mount.data("update", "root/generate/existing", {"common_name": "x"})
    await make(mount, key_name="k")
    with pytest.raises(NotFoundError):
        await mount.data("update", "root/generate/existing", {"common_name": "x", "key_ref": "other"})
    for more in ({"key_type": "ec"}, {"key_bits": 0}, {"key_name": "other"}):
        with pytest.raises(InvalidRequestError):
            await mount.data("update", "root/generate/existing", {"common_name": "x", **more})


async def test_a_name_that_is_taken_while_the_hsm_signs_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = Mount()
    sign = mount.keys.sign
    raced: list[str] = []

    async def race(*given: Any, **more: Any) -> list[bytes]:
        if not raced:
            raced.append("now")
            raced.append((await make(mount.other_worker(), issuer_name="one"))["issuer_id"])
        return await sign(*given, **more)

    monkeypatch.setattr(mount.keys, "sign", race)
    with pytest.raises(InvalidRequestError, match="already in use"):
        await make(mount, issuer_name="one")
    index = (await mount.parts.store.authority()).index
    assert (index.issuers, len(index.keys)) == ((raced[1],), 1)
    rows = [await mount.view.row(CATALOG, serial) for serial in await mount.view.row_ids(CATALOG)]
    assert sorted(decode_row(row).state for row in rows if row) == [State.INTENDED, State.ISSUED]


async def test_an_hsm_that_goes_leaves_no_key_and_no_issuer(monkeypatch: pytest.MonkeyPatch) -> None:
    mount = Mount()

    async def gone(*_: object, **__: object) -> list[bytes]:
        raise HsmGoneError("the HSM is gone")

    monkeypatch.setattr(mount.keys, "sign", gone)
    with pytest.raises(HsmGoneError):
        await make(mount)
    index = (await mount.parts.store.authority()).index
    assert (index.issuers, index.keys) == ((), ())


async def test_a_root_longer_than_the_mount_allows_is_cut_with_a_warning() -> None:
    mount = Mount()
    answer = await mount.call("update", "root/generate/internal", EC | {"ttl": "90000h"})
    assert answer.data is not None
    assert answer.data["expiration"] == int(mount.clock.now()) + mount.parts.mount.max_lease_ttl
    assert any("max_lease_ttl" in warning for warning in answer.warnings or ())


async def test_a_root_of_path_length_zero_is_warned_of() -> None:
    answer = await Mount().call("update", "root/generate/internal", EC | {"max_path_length": 0})
    assert any("path length" in warning for warning in answer.warnings or ())
