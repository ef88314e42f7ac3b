"""export and byok-export: what may leave, in which form, and what refuses to."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import InvalidRequestError, KeyPolicyError, NotFoundError
from core.requests import Operation
from core.secret import Secret
from tests.support.key_wrapping import ASYMMETRIC, SYMMETRIC, material, public_pem
from tests.unit.transit.transit_mount import Mount
from transit.errors import KeyVersionError, UnknownKeyError
from transit.importing import KeyImporter
from transit.key_types import key_type
from transit.lifecycle import NewKey


async def bring(mount: Mount, name: str, type_name: str, octets: bytes, **more: Any) -> None:
    """Import without the wrapping, which test_transit_import proves."""
    parts = mount.parts
    importer = KeyImporter(parts.storage, parts.store, parts.keys, parts.clock)
    new = NewKey(key_type=key_type(type_name), exportable=True, **more)
    await importer.import_key(name, new, allow_rotation=True, given=Secret(octets))


async def exported(mount: Mount, path: str, **query: str) -> dict[str, str]:
    response = await mount.call(Operation.READ, f"export/{path}", dict(query))
    assert response.data is not None
    keys: dict[str, str] = response.data["keys"]
    return keys


def pkcs8(key: Any) -> bytes:
    octets: bytes = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return octets


# --- what comes in is what goes out -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_name", "as_type"),
    [(name, "encryption-key") for name in SYMMETRIC if name.endswith(("96", "1305"))]
    + [("hmac", "hmac-key"), ("aes256-cmac", "cmac-key")],
)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_a_symmetric_key_leaves_as_it_came(type_name: str, as_type: str, data: st.DataObject) -> None:
    mount = Mount()
    sizes = st.integers(32, 512) if type_name == "hmac" else st.just(SYMMETRIC[type_name])
    octets = data.draw(sizes.flatmap(lambda size: st.binary(min_size=size, max_size=size)))
    await bring(mount, "k", type_name, octets)
    assert base64.b64decode((await exported(mount, f"{as_type}/k"))["1"]) == octets


@pytest.mark.parametrize("type_name", ASYMMETRIC)
async def test_a_key_pair_leaves_as_it_came(mount: Mount, type_name: str) -> None:
    await bring(mount, "k", type_name, material(type_name))
    der = (await exported(mount, "signing-key/k", format="der"))["1"]
    pem = (await exported(mount, "signing-key/k", format="pem"))["1"]
    assert pkcs8(load_der_private_key(base64.b64decode(der), None)) == material(type_name)
    assert pkcs8(load_pem_private_key(pem.encode(), None)) == material(type_name)
    public = (await exported(mount, "public-key/k", format="pem"))["1"]
    assert load_pem_public_key(public.encode()) == load_pem_public_key(public_pem(type_name).encode())
    public = (await exported(mount, "public-key/k", format="der"))["1"]
    assert load_der_public_key(base64.b64decode(public)) == load_pem_public_key(public_pem(type_name).encode())


@pytest.mark.parametrize(
    ("type_name", "begins"),
    [("rsa-2048", "-----BEGIN RSA PRIVATE KEY-----"), ("ecdsa-p256", "-----BEGIN EC PRIVATE KEY-----")],
)
async def test_without_a_format_vaults_own(mount: Mount, type_name: str, begins: str) -> None:
    await bring(mount, "k", type_name, material(type_name))
    pem = (await exported(mount, "signing-key/k"))["1"]
    assert pem.startswith(begins)
    assert pkcs8(load_pem_private_key(pem.encode(), None)) == material(type_name)


async def test_an_ed25519_key_is_seed_and_public_key(mount: Mount) -> None:
    """As Go's crypto/ed25519 has it."""
    await bring(mount, "k", "ed25519", material("ed25519"))
    octets = base64.b64decode((await exported(mount, "signing-key/k"))["1"])
    public = base64.b64decode((await exported(mount, "public-key/k"))["1"])
    assert len(octets) == 64
    assert octets[32:] == public
    assert material("ed25519").endswith(octets[:32])


async def test_the_companion_that_makes_hmacs_leaves_too(mount: Mount) -> None:
    await mount.write("keys/k", exportable=True)
    octets = base64.b64decode((await exported(mount, "hmac-key/k"))["1"])
    assert len(octets) == 64
    assert octets != base64.b64decode((await exported(mount, "encryption-key/k"))["1"])


async def test_rsa_keys_leave_for_encryption_and_signing(mount: Mount) -> None:
    await bring(mount, "k", "rsa-2048", material("rsa-2048"))
    assert await exported(mount, "encryption-key/k") == await exported(mount, "signing-key/k")


# --- versions --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def four(mount: Mount) -> Mount:
    """A key of four versions: the first is trimmed, the second retired."""
    await mount.write("keys/k", exportable=True)
    for _ in range(3):
        await mount.write("keys/k/rotate")
    await mount.write("keys/k/config", min_decryption_version=3, min_encryption_version=3)
    await mount.write("keys/k/trim", min_available_version=2)
    return mount


async def test_all_versions_that_decrypt(four: Mount) -> None:
    assert list(await exported(four, "encryption-key/k")) == ["3", "4"]


@pytest.mark.parametrize(("version", "number"), [("latest", "4"), ("3", "3"), ("v4", "4")])
async def test_one_version(four: Mount, version: str, number: str) -> None:
    assert list(await exported(four, f"encryption-key/k/{version}")) == [number]


@pytest.mark.parametrize("version", ["1", "2", "0", "5", "-1", "x", "٣", "99999999999999999999", "latest2", "vv3"])
async def test_retired_trimmed_and_unknown_versions_do_not_leave(four: Mount, version: str) -> None:
    with pytest.raises(KeyVersionError):
        await exported(four, f"encryption-key/k/{version}")


# --- refusals ---------------------------------------------------------------------------------------------------------


async def test_a_key_in_the_hsm_says_why_it_stays(mount: Mount) -> None:
    await mount.write("keys/k")
    for as_type in ("encryption-key", "hmac-key"):
        with pytest.raises(KeyPolicyError, match="hsm custody"):
            await exported(mount, f"{as_type}/k")


async def test_a_sealed_key_leaves_only_when_it_is_exportable(mount: Mount) -> None:
    await mount.write("keys/k", custody="sealed")
    with pytest.raises(KeyPolicyError, match="not exportable"):
        await exported(mount, "encryption-key/k")
    await mount.write("keys/k/config", exportable=True)
    assert await exported(mount, "encryption-key/k")


async def test_the_public_key_always_leaves(mount: Mount) -> None:
    await mount.write("keys/k", type="ecdsa-p256")
    assert (await exported(mount, "public-key/k"))["1"].startswith("-----BEGIN PUBLIC KEY-----")


@pytest.mark.parametrize(
    ("type_name", "as_type"),
    [
        ("aes256-gcm96", "signing-key"),
        ("aes256-gcm96", "public-key"),
        ("aes256-gcm96", "certificate-chain"),
        ("aes256-gcm96", "cmac-key"),
        ("hmac", "encryption-key"),
        ("hmac", "cmac-key"),
        ("aes256-cmac", "encryption-key"),
        ("ed25519", "encryption-key"),
        ("ecdsa-p256", "encryption-key"),
        ("ecdsa-p256", "certificate-chain"),  # it has none yet
        ("ecdsa-p256", "password"),
        ("ecdsa-p256", ""),
    ],
)
async def test_what_the_key_does_not_have_is_refused(mount: Mount, type_name: str, as_type: str) -> None:
    size = {"key_size": 32} if type_name == "hmac" else {}
    await mount.write("keys/k", type=type_name, exportable=True, **size)
    with pytest.raises(InvalidRequestError):
        await exported(mount, f"{as_type}/k")


@pytest.mark.parametrize(
    ("type_name", "as_type", "form"),
    [
        ("aes256-gcm96", "encryption-key", "der"),
        ("aes256-gcm96", "encryption-key", "pem"),
        ("aes256-gcm96", "hmac-key", "pem"),
        ("ecdsa-p256", "signing-key", "raw"),
        ("ecdsa-p256", "public-key", "raw"),
        ("ecdsa-p256", "signing-key", "PEM"),
        ("ecdsa-p256", "signing-key", "jwk"),
    ],
)
async def test_a_format_that_the_type_does_not_have(mount: Mount, type_name: str, as_type: str, form: str) -> None:
    await mount.write("keys/k", type=type_name, exportable=True)
    with pytest.raises(InvalidRequestError, match="format"):
        await exported(mount, f"{as_type}/k", format=form)


async def test_an_unknown_key_is_not_found(mount: Mount) -> None:
    with pytest.raises(NotFoundError):
        await exported(mount, "encryption-key/nobody")


async def test_a_softly_deleted_key_does_not_leave(mount: Mount) -> None:
    await mount.write("keys/k", exportable=True)
    await mount.call(Operation.DELETE, "keys/k/soft-delete")
    with pytest.raises(KeyPolicyError):
        await exported(mount, "encryption-key/k")


async def test_a_derived_key_has_no_public_key_to_export(mount: Mount) -> None:
    """Its own public half is part of the input of the derivation."""
    await mount.write("keys/k", type="ed25519", derived=True, exportable=True)
    with pytest.raises(KeyPolicyError):
        await exported(mount, "public-key/k")


# --- byok-export -----------------------------------------------------------------------------------------------------


async def test_a_key_moves_to_another_mount() -> None:
    """What byok-export gives, the import of the mount takes whose wrapping key was the destination."""
    source, target = Mount(), Mount()
    wrapping_key = (await target.read("wrapping_key"))["public_key"]
    await source.write("keys/target/import", type="rsa-4096", public_key=wrapping_key)
    for name in ("aes256-gcm96", "hmac", "ecdsa-p256", "ed25519", "ml-dsa-44", "rsa-2048"):
        await bring(source, name, name, material(name))
        response = await source.call(Operation.READ, f"byok-export/target/{name}/latest", {"hash": "SHA384"})
        assert response.data is not None
        sealed = response.data["keys"]["1"]
        await target.write(f"keys/{name}/import", type=name, ciphertext=sealed, hash_function="SHA384", exportable=True)
        assert await secret_of(target, name) == await secret_of(source, name)


async def secret_of(mount: Mount, name: str) -> Secret:
    row = await mount.parts.store.version(await mount.parts.store.open(name), 1)
    assert row.key is not None
    return await mount.keys.export_key(row.key)


async def test_byok_export_has_the_rules_of_export(mount: Mount) -> None:
    await mount.write("keys/rsa", type="rsa-2048")
    await mount.write("keys/aes", custody="sealed")
    await mount.write("keys/free", exportable=True)
    await mount.write("keys/gone", exportable=True)
    await mount.call(Operation.DELETE, "keys/gone/soft-delete")
    for path, error in [
        ("rsa/nobody", UnknownKeyError),
        ("nobody/free", UnknownKeyError),
        ("rsa/rsa", KeyPolicyError),
        ("rsa/aes", KeyPolicyError),
        ("rsa/gone", KeyPolicyError),
        ("aes/free", KeyPolicyError),
        ("rsa/free/2", KeyVersionError),
    ]:
        with pytest.raises(error):
            await mount.read(f"byok-export/{path}")
    with pytest.raises(InvalidRequestError):
        await mount.call(Operation.READ, "byok-export/rsa/free", {"hash": "MD5"})
    assert (await mount.read("byok-export/rsa/free"))["keys"].keys() == {"1"}


async def test_the_public_half_alone_does_not_move(mount: Mount) -> None:
    await mount.write("keys/rsa", type="rsa-2048")
    await mount.write("keys/k/import", type="ed25519", public_key=public_pem("ed25519"), exportable=True)
    with pytest.raises(KeyPolicyError):
        await mount.read("byok-export/rsa/k")
