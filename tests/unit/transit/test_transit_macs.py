"""hmac and cmac, and verify with what they make: checked by hashlib and the `cryptography` package, and refused."""

import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from core.errors import InvalidRequestError, KeyPolicyError
from core.protocols import Custody, KeyKind, KeyUsage
from core.requests import Operation
from core.secret import Secret
from tests.unit.transit.signing_desk import INPUT, MESSAGE, b64, change, raw, tagged
from tests.unit.transit.transit_mount import Mount
from transit.errors import KeyVersionError, UnknownKeyError

HASHES = {
    "sha1": "sha1",
    **{f"sha2-{bits}": f"sha{bits}" for bits in (224, 256, 384, 512)},
    **{f"sha3-{bits}": f"sha3_{bits}" for bits in (224, 256, 384, 512)},
}
SECRET = bytes(range(64))
AES_KEY = bytes(range(32))


@pytest.fixture
async def hmac_mount(mount: Mount) -> Mount:
    """A sealed key of type hmac whose secret the tests know."""
    await mount.write("keys/k", type="hmac", custody="sealed")
    wrapped = await mount.keys.import_key(KeyKind.HMAC, Secret(SECRET), usage=KeyUsage.MAC, custody=Custody.SEALED)
    await change(mount, key=wrapped)
    return mount


@pytest.fixture
async def cmac_mount(mount: Mount) -> Mount:
    """A key of type aes256-cmac whose secret the tests know."""
    await mount.write("keys/k", type="aes256-cmac")
    wrapped = await mount.keys.import_key(KeyKind.AES_256, Secret(AES_KEY), usage=KeyUsage.MAC)
    await change(mount, key=wrapped)
    return mount


def cmac(message: bytes) -> bytes:
    context = CMAC(AES(AES_KEY))
    context.update(message)
    return context.finalize()


async def valid(mount: Mount, **given: Any) -> bool:
    answer = await mount.write("verify/k", **{"input": INPUT, **given})
    assert set(answer) == {"valid"}
    verdict: bool = answer["valid"]
    return verdict


# --- HMAC -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", HASHES)
@pytest.mark.parametrize("in_path", [True, False])
async def test_hmac_with_every_hash(hmac_mount: Mount, algorithm: str, in_path: bool) -> None:
    """FIPS 198-1, as Python's own hmac computes it."""
    path, body = ("/" + algorithm, {}) if in_path else ("", {"algorithm": algorithm})
    answer = await hmac_mount.write("hmac/k" + path, input=INPUT, **body)
    assert answer == {"hmac": tagged(hmac.digest(SECRET, MESSAGE, HASHES[algorithm]))}
    assert (await hmac_mount.write("verify/k" + path, input=INPUT, hmac=answer["hmac"], **body)) == {"valid": True}
    assert await valid(hmac_mount, hmac=answer["hmac"], hash_algorithm=algorithm)


@pytest.mark.parametrize("algorithm", HASHES)
async def test_in_the_hsm_every_hash_but_sha3(mount: Mount, algorithm: str) -> None:
    shown = await mount.write("keys/k")
    assert shown["custody"] == "hsm"
    if algorithm.startswith("sha3-"):
        with pytest.raises(KeyPolicyError, match="custody=sealed"):
            await mount.write("hmac/k", input=INPUT, algorithm=algorithm)
    else:
        made = (await mount.write("hmac/k", input=INPUT, algorithm=algorithm))["hmac"]
        assert await valid(mount, hmac=made, algorithm=algorithm)


async def test_sha2_256_is_the_default(hmac_mount: Mount) -> None:
    made = tagged(hmac.digest(SECRET, MESSAGE, "sha256"))
    assert await hmac_mount.write("hmac/k", input=INPUT) == {"hmac": made}
    assert await valid(hmac_mount, hmac=made)
    assert not await valid(hmac_mount, hmac=made, algorithm="sha2-512")


@pytest.mark.parametrize(
    "type_name", ["aes256-gcm96", "chacha20-poly1305", "ed25519", "ecdsa-p256", "rsa-2048", "aes256-cmac", "hmac"]
)
async def test_every_type_makes_hmacs(mount: Mount, type_name: str) -> None:
    await mount.write("keys/k", type=type_name)
    made = (await mount.write("hmac/k", input=INPUT))["hmac"]
    assert len(raw(made)) == 32
    assert await valid(mount, hmac=made)
    assert not await valid(mount, hmac=made, input="")


async def test_the_empty_message_has_an_hmac(hmac_mount: Mount) -> None:
    made = await hmac_mount.write("hmac/k", input="")
    assert raw(made["hmac"]) == hmac.digest(SECRET, b"", "sha256")


async def test_older_versions_make_and_verify_hmacs(mount: Mount) -> None:
    await mount.write("keys/k")
    first = (await mount.write("hmac/k", input=INPUT))["hmac"]
    await mount.write("keys/k/rotate")
    second = (await mount.write("hmac/k", input=INPUT))["hmac"]
    assert second.startswith("mimir:v2:")
    assert (await mount.write("hmac/k", input=INPUT, key_version=1))["hmac"] == first
    assert await valid(mount, hmac=first)
    assert not await valid(mount, hmac=second.replace(":v2:", ":v1:"))


@pytest.mark.parametrize("octets", [b"", bytes(1), bytes(31), bytes(32), bytes(33), bytes(64)])
async def test_octets_that_are_not_the_hmac(hmac_mount: Mount, octets: bytes) -> None:
    assert not await valid(hmac_mount, hmac=tagged(octets))


async def test_a_truncated_or_extended_hmac_is_not_valid(hmac_mount: Mount) -> None:
    mac = hmac.digest(SECRET, MESSAGE, "sha256")
    for octets in (mac[:-1], mac[:16], mac + b"\x00", mac[1:] + mac[:1]):
        assert not await valid(hmac_mount, hmac=tagged(octets))


async def test_the_hmac_of_another_key_is_not_valid(mount: Mount) -> None:
    await mount.write("keys/k", type="hmac")
    await mount.write("keys/other", type="hmac")
    assert not await valid(mount, hmac=(await mount.write("hmac/other", input=INPUT))["hmac"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "invalid HMAC: no prefix"),
        ("mimir:v1", "invalid HMAC: wrong number of fields"),
        ("mimir:v0:AAAA", "invalid HMAC: version number could not be decoded"),
        ("mimir:v-1:AAAA", "invalid HMAC: version number could not be decoded"),
        ("mimir:v2:AAAA", "invalid HMAC: version is too new"),
        ("mimir:v4294967296:AAAA", "invalid HMAC: version is too new"),
        ("mimir:v1:AAA", "invalid base64 HMAC value"),
        ("mimir:v1:A-_A", "invalid base64 HMAC value"),
        ("vault:v1:AAAA", "only by a key that was imported"),
    ],
)
async def test_malformed_hmacs_are_bad_requests(hmac_mount: Mount, given: str, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        await valid(hmac_mount, hmac=given)


async def test_vaults_hmacs_verify_with_an_imported_key(hmac_mount: Mount) -> None:
    await change(hmac_mount, keyring={"imported": True})
    assert await valid(hmac_mount, hmac=tagged(hmac.digest(SECRET, MESSAGE, "sha256"), maker="vault"))


@pytest.mark.parametrize("path", ["hmac/k", "verify/k"])
@pytest.mark.parametrize("algorithm", ["none", "md5", "sha256", "SHA2-256", "blake2"])
async def test_hashes_there_are_not(hmac_mount: Mount, path: str, algorithm: str) -> None:
    with pytest.raises(InvalidRequestError, match="unsupported algorithm"):
        await hmac_mount.write(path, input=INPUT, hmac="mimir:v1:AAAA", algorithm=algorithm)
    with pytest.raises(InvalidRequestError, match="unsupported algorithm"):
        await hmac_mount.write(f"{path}/{algorithm}", input=INPUT, hmac="mimir:v1:AAAA")


@pytest.mark.parametrize("type_name", ["hmac", "aes256-gcm96"])
async def test_an_hsm_without_sha3_says_what_to_do(mount: Mount, type_name: str) -> None:
    await mount.write("keys/k", type=type_name)
    with pytest.raises(KeyPolicyError, match="create the key with custody=sealed"):
        await mount.write("hmac/k/sha3-256", input=INPUT)
    with pytest.raises(KeyPolicyError, match="create the key with custody=sealed"):
        await mount.write("verify/k/sha3-512", input=INPUT, hmac="mimir:v1:AAAA")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "missing input for HMAC"),
        ({"input": None}, "missing input for HMAC"),
        ({"input": "a"}, "input must be standard base64"),
        ({"input": "a b="}, "input must be standard base64"),
        ({"input": "_-8="}, "input must be standard base64"),
        ({"input": b64(bytes(2**20 + 1))}, "input is over 1 MiB"),
        ({"input": INPUT, "key_version": -1}, "requested version for HMAC is negative"),
        ({"input": INPUT, "key_version": 2}, "requested version for HMAC is higher"),
        ({"input": INPUT, "key_version": "one"}, "key_version must be a whole number"),
    ],
)
async def test_hmac_requests_that_are_none(hmac_mount: Mount, body: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        await hmac_mount.write("hmac/k", **body)


async def test_a_mebibyte_has_an_hmac(hmac_mount: Mount) -> None:
    made = await hmac_mount.write("hmac/k", input=b64(bytes(2**20)))
    assert raw(made["hmac"]) == hmac.digest(SECRET, bytes(2**20), "sha256")


async def test_retired_versions_make_and_verify_no_hmacs(mount: Mount) -> None:
    await mount.write("keys/k")
    made = (await mount.write("hmac/k", input=INPUT))["hmac"]
    await mount.write("keys/k/rotate")
    await mount.write("keys/k/config", min_decryption_version=2, min_encryption_version=2)
    with pytest.raises(KeyVersionError, match="less than the minimum"):
        await mount.write("hmac/k", input=INPUT, key_version=1)
    with pytest.raises(KeyVersionError, match="too old"):
        await valid(mount, hmac=made)


async def test_a_version_without_an_hmac_key_says_so(mount: Mount) -> None:
    await mount.write("keys/k", type="ecdsa-p256")
    await change(mount, mac=None)
    with pytest.raises(KeyPolicyError, match="no HMAC key exists for that key version"):
        await mount.write("hmac/k", input=INPUT)
    await change(mount, key=None)
    with pytest.raises(KeyPolicyError, match="no HMAC key exists for that key version"):
        await mount.write("hmac/k", input=INPUT)


@pytest.mark.parametrize("path", ["hmac/absent", "cmac/absent", "verify/absent"])
async def test_unknown_names(mount: Mount, path: str) -> None:
    with pytest.raises(UnknownKeyError, match=r"^encryption key not found$"):
        await mount.write(path, input=INPUT, hmac="mimir:v1:AAAA")


async def test_a_softly_deleted_key_makes_and_verifies_nothing(hmac_mount: Mount) -> None:
    made = (await hmac_mount.write("hmac/k", input=INPUT))["hmac"]
    await hmac_mount.parts.lifecycle.set_soft_deleted("k", True)
    items = [{"input": INPUT, "hmac": made}]
    for path, body in (
        ("hmac/k", {"input": INPUT}),
        ("hmac/k", {"batch_input": items}),
        ("verify/k", items[0]),
        ("verify/k", {"batch_input": items}),
    ):
        with pytest.raises(KeyPolicyError, match="softly deleted"):
            await hmac_mount.write(path, **body)


# --- CMAC -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [b"", b"x", bytes(16), MESSAGE, bytes(2**20)])
async def test_cmacs_are_those_of_another_implementation(cmac_mount: Mount, message: bytes) -> None:
    """SP 800-38B."""
    made = await cmac_mount.write("cmac/k", input=b64(message))
    assert made == {"cmac": tagged(cmac(message))}
    assert await valid(cmac_mount, input=b64(message), cmac=made["cmac"])


@pytest.mark.parametrize("length", [1, 4, 8, 15, 16, "12"])
async def test_a_cmac_may_be_truncated(cmac_mount: Mount, length: int | str) -> None:
    expected = tagged(cmac(MESSAGE)[: int(length)])
    assert await cmac_mount.write("cmac/k", input=INPUT, mac_length=length) == {"cmac": expected}
    assert await cmac_mount.write(f"cmac/k/{length}", input=INPUT, mac_length=3) == {"cmac": expected}
    assert await valid(cmac_mount, cmac=expected, mac_length=length)


@pytest.mark.parametrize(("given", "asked"), [(8, 0), (8, 7), (8, 9), (8, 16), (16, 8), (0, 8), (0, 0)])
async def test_a_cmac_of_another_length_than_asked_is_not_valid(cmac_mount: Mount, given: int, asked: int) -> None:
    assert not await valid(cmac_mount, cmac=tagged(cmac(MESSAGE)[:given]), mac_length=asked)


@pytest.mark.parametrize("length", [-1, 17, 2**40])
async def test_cmac_lengths_there_are_not(cmac_mount: Mount, length: int) -> None:
    for path, body in (
        ("cmac/k", {"input": INPUT, "mac_length": length}),
        ("verify/k", {"input": INPUT, "mac_length": length, "cmac": tagged(cmac(MESSAGE))}),
        (f"cmac/k/{length}", {"input": INPUT}),
    ):
        with pytest.raises(InvalidRequestError, match="mac_length"):
            await cmac_mount.write(path, **body)


@pytest.mark.parametrize("length", ["x", "1.5", "٣", "+1", "9999999999999"])
async def test_cmac_lengths_in_the_path_are_numbers(cmac_mount: Mount, length: str) -> None:
    with pytest.raises(InvalidRequestError, match="mac_length"):
        await cmac_mount.write(f"cmac/k/{length}", input=INPUT)


@pytest.mark.parametrize("type_name", ["aes256-gcm96", "hmac", "ed25519", "rsa-2048"])
async def test_other_types_make_no_cmacs(mount: Mount, type_name: str) -> None:
    await mount.write("keys/k", type=type_name)
    with pytest.raises(KeyPolicyError, match=f"key type {type_name} does not support CMAC operations"):
        await mount.write("cmac/k", input=INPUT)
    with pytest.raises(KeyPolicyError, match=f"key type {type_name} does not support CMAC operations"):
        await valid(mount, cmac=tagged(bytes(16)))


async def test_a_cmac_is_no_hmac(cmac_mount: Mount) -> None:
    made = (await cmac_mount.write("cmac/k", input=INPUT))["cmac"]
    assert not await valid(cmac_mount, hmac=made)
    assert not await valid(cmac_mount, cmac=(await cmac_mount.write("hmac/k", input=INPUT))["hmac"])


@pytest.mark.parametrize(
    ("given", "said"),
    [("", "invalid CMAC: no prefix"), ("mimir:v2:AAAA", "invalid CMAC: version"), ("mimir:v1:A", "base64 CMAC")],
)
async def test_malformed_cmacs_are_bad_requests(cmac_mount: Mount, given: str, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        await valid(cmac_mount, cmac=given)


# --- batches --------------------------------------------------------------------------------------------------------


async def batch(mount: Mount, path: str, items: list[Any], **options: Any) -> list[dict[str, Any]]:
    response = await mount.call(Operation.UPDATE, path, {"batch_input": items, **options})
    assert response.status is None  # 200
    assert response.data is not None
    found: list[dict[str, Any]] = response.data["batch_results"]
    return found


async def test_good_and_bad_items_of_an_hmac_batch(hmac_mount: Mount) -> None:
    found = await batch(
        hmac_mount,
        "hmac/k",
        [{"input": INPUT, "reference": "a"}, {}, {"input": "?"}, {"input": b64(bytes(2**20 + 1))}, {"input": ""}],
    )
    assert found[0] == {"hmac": tagged(hmac.digest(SECRET, MESSAGE, "sha256")), "reference": "a"}
    assert found[1] == {"error": "missing input for HMAC", "reference": ""}
    assert found[2]["error"].startswith("input must be standard base64")
    assert found[3]["error"].startswith("input is over 1 MiB")
    assert raw(found[4]["hmac"]) == hmac.digest(SECRET, b"", "sha256")


async def test_good_and_bad_items_of_a_verifying_batch(mount: Mount) -> None:
    await mount.write("keys/k")
    first = (await mount.write("hmac/k", input=INPUT))["hmac"]
    await mount.write("keys/k/rotate")
    second = (await mount.write("hmac/k", input=INPUT))["hmac"]
    mount.keys.calls.clear()
    given = [first, second, first, second.replace("v2", "v1"), "mimir:v3:AAAA", "x", second]
    found = await batch(mount, "verify/k", [{"input": INPUT, "hmac": mac} for mac in given])
    assert [one["valid"] for one in found] == [True, True, True, False, False, False, True]
    assert [("error" in one) for one in found] == [False, False, False, False, True, True, False]
    assert sorted(mount.keys.calls) == [("mac", 2), ("mac", 3)]  # one pass a version


async def test_cmac_batches_with_lengths_of_their_own(cmac_mount: Mount) -> None:
    items: list[dict[str, Any]] = [
        {"input": INPUT},
        {"input": INPUT, "mac_length": 8},
        {"input": INPUT, "mac_length": 17},
        {},
    ]
    made = await batch(cmac_mount, "cmac/k", items, mac_length=12)
    assert [len(raw(one["cmac"])) for one in made[:2]] == [12, 8]
    assert "mac_length" in made[2]["error"]
    assert made[3]["error"] == "missing input for CMAC"
    claims = [{**item, "cmac": one["cmac"]} for item, one in zip(items[:2], made[:2], strict=True)]
    assert [one["valid"] for one in await batch(cmac_mount, "verify/k", claims, mac_length=12)] == [True, True]
    assert [one["valid"] for one in await batch(cmac_mount, "verify/k", claims)] == [False, True]


async def test_a_batch_of_ten_thousand_goes_in_passes_of_a_thousand(hmac_mount: Mount) -> None:
    hmac_mount.keys.calls.clear()
    items = [{"input": b64(b"%d" % i)} for i in range(10_000)]
    made = await batch(hmac_mount, "hmac/k", items)
    assert hmac_mount.keys.calls == [("mac", 1000)] * 10
    claims = [{**item, "hmac": one["hmac"]} for item, one in zip(items, made, strict=True)]
    assert all(one["valid"] for one in await batch(hmac_mount, "verify/k", claims))
    assert hmac_mount.keys.calls == [("mac", 1000)] * 20


@pytest.mark.parametrize("path", ["hmac/k", "cmac/k"])
async def test_an_empty_batch_is_refused(cmac_mount: Mount, path: str) -> None:
    with pytest.raises(InvalidRequestError, match="missing batch input to process"):
        await cmac_mount.write(path, batch_input=[])


async def test_a_wrong_version_fails_the_whole_hmac_batch(hmac_mount: Mount) -> None:
    """Unlike sign: Vault looks for the HMAC key before it looks at the items."""
    with pytest.raises(KeyVersionError, match="requested version for HMAC"):
        await batch(hmac_mount, "hmac/k", [{"input": INPUT}], key_version=2)
