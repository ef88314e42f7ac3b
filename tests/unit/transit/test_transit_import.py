"""Import and import_version: what a key from elsewhere may be, and how it arrives."""

import asyncio
import base64
import os
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from core.errors import CiphertextError, InvalidRequestError, KeyPolicyError
from core.protocols import KeyKind
from core.requests import Operation
from tests.support.key_wrapping import ASYMMETRIC, TYPES, key_pair, material, public_pem, wrap
from tests.support.software_keys import SoftwareKeys
from tests.unit.transit.transit_mount import Mount
from transit.errors import UnknownKeyError
from transit.format import decode_base64, encode_base64
from transit.wrapping_key import PATH

# an RSA-4096 key takes a second to make, so that all mounts of this module begin with the same
_KEYS = SoftwareKeys()
_MADE: list[tuple[bytes, str]] = []


@pytest.fixture
async def mount() -> Mount:
    fresh = Mount(keys=_KEYS)
    view = fresh.parts.storage
    if not _MADE:
        pem = (await fresh.read("wrapping_key"))["public_key"]
        entry = await view.get(PATH)
        assert entry is not None
        _MADE.append((entry.value, pem))
    else:
        await view.put(PATH, _MADE[0][0])
    return fresh


def wrapped(octets: bytes, hash_name: str = "SHA256") -> str:
    return wrap(_MADE[0][1], octets, hash_name)


async def send(mount: Mount, name: str, key_type: str, **more: Any) -> None:
    await mount.write(f"keys/{name}/import", type=key_type, ciphertext=wrapped(material(key_type)), **more)


# --- the wrapping key ------------------------------------------------------------------------------------------------


async def test_the_wrapping_key_is_made_once_and_stays(mount: Mount) -> None:
    pems = await asyncio.gather(
        *(mount.read("wrapping_key") for _ in range(5)), mount.other_worker().read("wrapping_key")
    )
    assert {answer["public_key"] for answer in pems} == {_MADE[0][1]}


async def test_of_two_workers_that_make_it_at_once_one_wins() -> None:
    """The other takes the winner's."""
    first = Mount(keys=SlowKeys())
    second = first.other_worker()
    answers = await asyncio.gather(first.read("wrapping_key"), second.read("wrapping_key"), first.read("wrapping_key"))
    assert len({answer["public_key"] for answer in answers}) == 1
    assert first.keys.made == 2  # type: ignore[attr-defined]  # one for each worker, not one for each request
    assert answers[0] == await first.other_worker().read("wrapping_key")


class SlowKeys(SoftwareKeys):
    """Generation suspends, as the custodian's does; and RSA-2048 stands in for RSA-4096, for speed."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    async def generate_key(self, kind: KeyKind, **more: Any) -> Any:
        self.made += 1
        await asyncio.sleep(0)
        return await super().generate_key(KeyKind.RSA_2048, **more)


# --- import ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_type", TYPES)
async def test_a_key_of_each_type_is_imported_and_shown_as_that(mount: Mount, key_type: str) -> None:
    await send(mount, "k", key_type)
    shown = await mount.read("keys/k")
    assert shown["type"] == key_type
    assert shown["imported_key"] is True
    assert shown["imported_key_allow_rotation"] is False
    if key_type in ASYMMETRIC and key_type != "ed25519":
        assert shown["keys"]["1"]["public_key"] == public_pem(key_type)


@pytest.mark.parametrize("hash_name", ["SHA1", "SHA224", "SHA256", "SHA384", "SHA512"])
async def test_every_hash_of_the_wrapping(mount: Mount, hash_name: str) -> None:
    await mount.write("keys/k/import", ciphertext=wrapped(bytes(32), hash_name), hash_function=hash_name)
    assert (await mount.read("keys/k"))["type"] == "aes256-gcm96"


async def test_what_was_encrypted_elsewhere_decrypts(mount: Mount) -> None:
    """`vault:v1:` of the old server: nonce, ciphertext and tag under the same key."""
    await send(mount, "k", "aes256-gcm96")
    old = "vault:v1:" + encode_base64(bytes(12) + AESGCM(material("aes256-gcm96")).encrypt(bytes(12), b"before", None))
    assert decode_base64((await mount.write("decrypt/k", ciphertext=old))["plaintext"], field="p") == b"before"
    assert (await mount.write("rewrap/k", ciphertext=old))["ciphertext"].startswith("mimir:v1:")


async def test_an_imported_key_is_in_the_hsm_where_it_can_be(mount: Mount) -> None:
    await send(mount, "k", "ecdsa-p256")
    await send(mount, "e", "ed25519")
    await send(mount, "s", "ecdsa-p256", custody="sealed")
    assert [(await mount.read(f"keys/{name}"))["custody"] for name in "kes"] == ["hsm", "sealed", "sealed"]


@pytest.mark.parametrize("flag", ["exportable", "allow_plaintext_backup", "derived"])
async def test_what_may_leave_or_derives_as_elsewhere_is_sealed(mount: Mount, flag: str) -> None:
    await send(mount, "k", "aes256-gcm96", **{flag: True})
    assert (await mount.read("keys/k"))["custody"] == "sealed"


@pytest.mark.parametrize("flag", ["exportable", "allow_plaintext_backup", "derived"])
@pytest.mark.parametrize("asked", [{"custody": "hsm"}, {"require_custody": "hsm"}])
async def test_a_key_that_must_be_in_the_hsm_is_not_sealed(mount: Mount, flag: str, asked: dict[str, str]) -> None:
    with pytest.raises(KeyPolicyError):
        await send(mount, "k", "aes256-gcm96", **{flag: True}, **asked)
    assert await mount.parts.store.find("k") is None


async def test_require_custody_refuses_a_type_that_the_token_cannot_have(mount: Mount) -> None:
    await mount.write("config/keys", require_custody="hsm")
    with pytest.raises(KeyPolicyError):
        await send(mount, "k", "ed25519")
    with pytest.raises(KeyPolicyError):
        await send(mount, "k", "aes256-gcm96", custody="sealed")
    await send(mount, "k", "aes256-gcm96")


async def test_allow_rotation_lets_the_key_be_rotated_here(mount: Mount) -> None:
    await send(mount, "fixed", "aes256-gcm96")
    await send(mount, "free", "aes256-gcm96", allow_rotation=True, auto_rotate_period="24h")
    await mount.write("keys/free/rotate")
    assert (await mount.read("keys/free"))["latest_version"] == 2
    with pytest.raises(KeyPolicyError):
        await mount.write("keys/fixed/rotate")


@pytest.mark.parametrize(
    "body",
    [
        {"auto_rotate_period": "24h"},
        {"auto_rotate_period": "5m", "allow_rotation": True},
        {"convergent_encryption": True, "derived": True},
        {"type": "rot13"},
        {"type": "ml-dsa"},
        {"type": "ecdsa-p256", "derived": True},
        {"type": "hmac", "derived": True},
        {"hash_function": "MD5"},
        {"hash_function": ""},
        {"ciphertext": ""},
        {"ciphertext": "not base64!"},
        {"ciphertext": "-_-_"},
        {"public_key": "x"},
    ],
)
async def test_contradictions_are_refused(mount: Mount, body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        await mount.write("keys/k/import", **{"ciphertext": wrapped(bytes(32)), **body})
    assert await mount.parts.store.find("k") is None


def broken_wrappings() -> dict[str, bytes]:
    good = base64.b64decode(wrapped(bytes(32)))
    return {
        "empty but one": b"x",
        "only the RSA part": good[:512],
        "one byte short": good[:-1],
        "a block short": good[:-8],
        "a byte more": good + b"x",
        "a block more": good + bytes(8),
        "a key longer than any": base64.b64decode(wrapped(bytes(1 << 14))),
        "RSA part flipped": bytes([good[0] ^ 1]) + good[1:],
        "RSA part above the modulus": b"\xff" * 512 + good[512:],
        "wrapped part flipped": good[:-1] + bytes([good[-1] ^ 1]),
        "wrong hash": base64.b64decode(wrapped(bytes(32), "SHA1")),
        "AES-128 as the ephemeral key": base64.b64decode(wrap(_MADE[0][1], bytes(32), ephemeral=bytes(16))),
        "another mount's RSA part": os.urandom(511).rjust(512, b"\0") + good[512:],
    }


async def test_a_ciphertext_that_does_not_open_says_one_thing(mount: Mount) -> None:
    """Neither OAEP nor AES-KWP is an oracle."""
    said = set()
    for what, octets in broken_wrappings().items():
        with pytest.raises(CiphertextError) as refusal:
            await mount.write("keys/k/import", ciphertext=encode_base64(octets))
        said.add(refusal.value.sentence)
        assert await mount.parts.store.find("k") is None, what
    assert len(said) == 1


async def test_a_wrapping_of_another_mount_does_not_open(mount: Mount) -> None:
    pem = (await Mount(keys=SlowKeys()).read("wrapping_key"))["public_key"]
    octets = base64.b64decode(wrap(pem, bytes(32)))
    with pytest.raises(CiphertextError):
        await mount.write("keys/k/import", ciphertext=encode_base64(octets.rjust(552 + 256, b"\0")))


def sec1() -> bytes:
    return key_pair("ecdsa-p256").private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def encrypted_pkcs8() -> bytes:
    return key_pair("ecdsa-p256").private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


@pytest.mark.parametrize(
    ("key_type", "octets"),
    [
        ("aes256-gcm96", bytes(16)),
        ("aes256-gcm96", bytes(33)),
        ("aes128-gcm96", bytes(32)),
        ("chacha20-poly1305", bytes(31)),
        ("xchacha20-poly1305", bytes(24)),
        ("aes256-cmac", bytes(16)),
        ("hmac", bytes(31)),
        ("hmac", bytes(513)),
        ("ed25519", bytes(31)),
        ("ed25519", bytes(64)),
        ("ml-dsa-44", bytes(33)),
        ("ecdsa-p256", material("ecdsa-p384")),
        ("ecdsa-p256", material("ed25519")),
        ("ed25519", material("ecdsa-p256")),
        ("ml-dsa-44", material("ml-dsa-65")),
        ("rsa-2048", material("ecdsa-p256")),
        ("rsa-3072", material("rsa-2048")),
        ("ecdsa-p256", sec1()),
        ("ecdsa-p256", encrypted_pkcs8()),
        ("ecdsa-p256", material("ecdsa-p256") + b"\0"),
        ("ecdsa-p256", material("ecdsa-p256")[:-1]),
        ("ecdsa-p256", public_pem("ecdsa-p256").encode()),
        ("rsa-2048", b"\x30\x82"),
    ],
    ids=map(str, range(23)),  # the bytes are new in each process
)
async def test_what_opened_and_is_no_key_of_the_type_is_refused(mount: Mount, key_type: str, octets: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        await mount.write("keys/k/import", type=key_type, ciphertext=wrapped(octets))
    assert await mount.parts.store.find("k") is None


async def test_a_name_that_is_taken_is_refused(mount: Mount) -> None:
    await mount.write("keys/made")
    await send(mount, "sent", "aes256-gcm96")
    for name in ("made", "sent"):
        with pytest.raises(InvalidRequestError, match="existing key"):
            await send(mount, name, "aes256-gcm96")
    assert (await mount.read("keys/made"))["imported_key"] is False


async def test_of_two_workers_that_import_at_once_one_wins(mount: Mount) -> None:
    results = await asyncio.gather(
        *(send(worker, "k", "aes256-gcm96") for worker in (mount, mount.other_worker()) for _ in range(3)),
        return_exceptions=True,
    )
    assert results.count(None) == 1
    assert sum(isinstance(result, InvalidRequestError) for result in results) == 5
    assert (await mount.read("keys/k"))["latest_version"] == 1


# --- a public key alone ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_type", ASYMMETRIC)
async def test_a_public_key_alone_is_imported(mount: Mount, key_type: str) -> None:
    await mount.write("keys/k/import", type=key_type, public_key=public_pem(key_type))
    assert (await mount.read("keys/k"))["keys"]["1"]["public_key_only"] is True


async def test_a_public_key_alone_encrypts_and_does_not_decrypt(mount: Mount) -> None:
    await mount.write("keys/k/import", type="rsa-2048", public_key=public_pem("rsa-2048"))
    sealed = await mount.write("encrypt/k", plaintext=encode_base64(b"x"))
    with pytest.raises(KeyPolicyError):
        await mount.write("decrypt/k", ciphertext=sealed["ciphertext"])
    await mount.write("keys/k/import_version", ciphertext=wrapped(material("rsa-2048")))
    assert (await mount.write("decrypt/k", ciphertext=sealed["ciphertext"]))["plaintext"] == encode_base64(b"x")


@pytest.mark.parametrize(
    ("key_type", "pem"),
    [
        ("aes256-gcm96", public_pem("rsa-2048")),
        ("hmac", public_pem("rsa-2048")),
        ("ecdsa-p384", public_pem("ecdsa-p256")),
        ("rsa-4096", public_pem("rsa-2048")),
        ("ed25519", public_pem("ml-dsa-44")),
        ("ecdsa-p256", "-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----"),
        ("ecdsa-p256", "é"),
    ],
)
async def test_another_public_key_than_the_types_is_refused(mount: Mount, key_type: str, pem: str) -> None:
    with pytest.raises(InvalidRequestError):
        await mount.write("keys/k/import", type=key_type, public_key=pem)


async def test_a_derived_key_is_not_imported_as_a_public_key(mount: Mount) -> None:
    with pytest.raises(InvalidRequestError):
        await mount.write("keys/k/import", type="ed25519", derived=True, public_key=public_pem("ed25519"))


# --- import_version -------------------------------------------------------------------------------------------------


async def test_a_version_is_added_and_the_old_one_decrypts(mount: Mount) -> None:
    await send(mount, "k", "aes256-gcm96")
    old = await mount.write("encrypt/k", plaintext=encode_base64(b"x"))
    await mount.write("keys/k/import_version", ciphertext=wrapped(bytes(32)))
    assert (await mount.write("decrypt/k", ciphertext=old["ciphertext"]))["plaintext"] == encode_base64(b"x")
    assert (await mount.write("encrypt/k", plaintext=encode_base64(b"x")))["ciphertext"].startswith("mimir:v2:")


async def test_another_private_key_than_the_latest_public_one_becomes_a_version(mount: Mount) -> None:
    await mount.write("keys/k/import", type="ecdsa-p256", public_key=public_pem("ecdsa-p256"))
    await mount.write("keys/k/import_version", ciphertext=wrapped(material("ecdsa-p256", 1)))
    shown = (await mount.read("keys/k"))["keys"]
    assert shown["1"]["public_key_only"] is True
    assert "public_key_only" not in shown["2"]


async def test_the_private_half_of_a_named_version(mount: Mount) -> None:
    await mount.write("keys/k/import", type="ecdsa-p256", public_key=public_pem("ecdsa-p256"))
    await mount.write("keys/k/import_version", public_key=public_pem("ecdsa-p256", 1))
    with pytest.raises(InvalidRequestError, match="does not match"):
        await mount.write("keys/k/import_version", ciphertext=wrapped(material("ecdsa-p256", 2)), version=1)
    with pytest.raises(InvalidRequestError, match="already has a public key"):
        await mount.write("keys/k/import_version", public_key=public_pem("ecdsa-p256"), version=1)
    await mount.write("keys/k/import_version", ciphertext=wrapped(material("ecdsa-p256")), version=1)
    with pytest.raises(KeyPolicyError, match="cannot be updated"):
        await mount.write("keys/k/import_version", ciphertext=wrapped(material("ecdsa-p256")), version=1)
    shown = await mount.read("keys/k")
    assert shown["latest_version"] == 2
    assert "public_key_only" not in shown["keys"]["1"]


@pytest.mark.parametrize("version", [0, -1, 2, 2**40])
async def test_a_version_that_is_not_there_is_refused(mount: Mount, version: int) -> None:
    await send(mount, "k", "ecdsa-p256")
    with pytest.raises(InvalidRequestError):
        await mount.write("keys/k/import_version", ciphertext=wrapped(material("ecdsa-p256")), version=version)


async def test_versions_are_imported_into_imported_keys_only(mount: Mount) -> None:
    with pytest.raises(UnknownKeyError):
        await mount.write("keys/k/import_version", ciphertext=wrapped(bytes(32)))
    await mount.write("keys/k")
    with pytest.raises(KeyPolicyError, match="imported"):
        await mount.write("keys/k/import_version", ciphertext=wrapped(bytes(32)))


async def test_after_a_rotation_here_no_version_comes_from_elsewhere(mount: Mount) -> None:
    await send(mount, "k", "aes256-gcm96", allow_rotation=True)
    await mount.write("keys/k/import_version", ciphertext=wrapped(bytes(32)))
    await mount.write("keys/k/rotate")
    with pytest.raises(KeyPolicyError, match="rotated here"):
        await mount.write("keys/k/import_version", ciphertext=wrapped(bytes(32)))
    assert (await mount.read("keys/k"))["latest_version"] == 3


async def test_a_softly_deleted_key_takes_no_version(mount: Mount) -> None:
    await send(mount, "k", "aes256-gcm96")
    await mount.call(Operation.DELETE, "keys/k/soft-delete")
    with pytest.raises(KeyPolicyError):
        await mount.write("keys/k/import_version", ciphertext=wrapped(bytes(32)))


async def test_a_version_of_another_type_is_refused(mount: Mount) -> None:
    await send(mount, "k", "ecdsa-p256")
    for octets in (bytes(32), material("ecdsa-p384"), material("rsa-2048")):
        with pytest.raises(InvalidRequestError):
            await mount.write("keys/k/import_version", ciphertext=wrapped(octets))
    assert (await mount.read("keys/k"))["latest_version"] == 1


async def test_two_workers_add_versions_side_by_side(mount: Mount) -> None:
    await send(mount, "k", "aes256-gcm96")
    other = mount.other_worker()
    await asyncio.gather(
        *(worker.write("keys/k/import_version", ciphertext=wrapped(os.urandom(32))) for worker in (mount, other) * 3)
    )
    assert (await mount.read("keys/k"))["latest_version"] == 7
