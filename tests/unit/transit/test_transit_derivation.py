"""Derived and convergent keys, data keys, and keys that encrypt by RSA."""

import base64
from typing import Any

import pytest

from core.errors import CallerError, InvalidRequestError, KeyPolicyError
from tests.unit.transit.transit_mount import Mount

CONTEXT = base64.b64encode(b"tenant-1").decode()
OTHER = base64.b64encode(b"tenant-2").decode()
CIPHERS = ["aes128-gcm96", "aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"]


async def _refused(mount: Mount, path: str, said: str, **body: Any) -> None:
    with pytest.raises(CallerError, match=said):
        await mount.write(path, **body)


@pytest.mark.parametrize("custody", ["hsm", "sealed"])
@pytest.mark.parametrize("type_", CIPHERS[:2])
async def test_each_context_has_a_key_of_its_own(mount: Mount, type_: str, custody: str) -> None:
    await mount.write("keys/k", type=type_, derived=True, custody=custody)
    text = (await mount.write("encrypt/k", plaintext="aGk=", context=CONTEXT))["ciphertext"]
    assert (await mount.write("decrypt/k", ciphertext=text, context=CONTEXT))["plaintext"] == "aGk="
    await _refused(mount, "decrypt/k", "unable to decrypt", ciphertext=text, context=OTHER)


async def test_a_derived_key_needs_a_context_and_another_takes_none(mount: Mount) -> None:
    await mount.write("keys/derived", derived=True)
    await mount.write("keys/plain")
    text = (await mount.write("encrypt/plain", plaintext="aGk="))["ciphertext"]
    await _refused(mount, "encrypt/derived", "missing 'context'", plaintext="aGk=")
    await _refused(mount, "decrypt/derived", "missing 'context'", ciphertext=text)
    await _refused(mount, "encrypt/plain", "not derived", plaintext="aGk=", context=CONTEXT)
    await _refused(mount, "decrypt/plain", "not derived", ciphertext=text, context=CONTEXT)
    await _refused(mount, "encrypt/derived", "context must be standard base64", plaintext="aGk=", context="a b")


async def test_in_a_batch_only_the_items_without_context_fail(mount: Mount) -> None:
    await mount.write("keys/k", derived=True)
    response = await mount.write(
        "encrypt/k",
        batch_input=[
            {"plaintext": "aGk=", "context": CONTEXT},
            {"plaintext": "aGk="},
            {"plaintext": "aGk=", "context": OTHER},
        ],
    )
    first, second, third = response["batch_results"]
    assert "missing 'context'" in second["error"]
    for item, context in ((first, CONTEXT), (third, OTHER)):
        assert (await mount.write("decrypt/k", ciphertext=item["ciphertext"], context=context))["plaintext"] == "aGk="


@pytest.mark.parametrize(("type_", "custody"), [*((t, "sealed") for t in CIPHERS), *((t, "hsm") for t in CIPHERS[:2])])
async def test_convergent_keys_give_equal_ciphertexts(mount: Mount, type_: str, custody: str) -> None:
    await mount.write("keys/k", type=type_, derived=True, convergent_encryption=True, custody=custody)

    async def encrypt(worker: Mount, **more: str) -> str:
        body = {"plaintext": "aGk=", "context": CONTEXT} | more
        return str((await worker.write("encrypt/k", **body))["ciphertext"])

    one = await encrypt(mount)
    assert await encrypt(mount.other_worker()) == one
    assert await encrypt(mount, context=OTHER) != one
    assert await encrypt(mount, plaintext="aGo=") != one
    bound = await encrypt(mount, associated_data=OTHER)
    # a nonce that did not cover the associated data would be used twice, and GCM's key would leak
    assert base64.b64decode(bound.split(":")[2])[:12] != base64.b64decode(one.split(":")[2])[:12]
    assert (await mount.write("decrypt/k", ciphertext=one, context=CONTEXT))["plaintext"] == "aGk="


async def test_upserting_with_a_context_makes_a_derived_key(mount: Mount) -> None:
    text = (await mount.write("encrypt/k", plaintext="aGk=", context=CONTEXT, convergent_encryption=True))["ciphertext"]
    assert (await mount.read("keys/k"))["convergent_encryption"] is True
    assert (await mount.write("encrypt/k", plaintext="aGk=", context=CONTEXT))["ciphertext"] == text


# --- data keys --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "size"), [(None, 32), (128, 16), (256, 32), (512, 64)])
async def test_a_data_key_decrypts_to_what_was_shown(mount: Mount, bits: int | None, size: int) -> None:
    await mount.write("keys/k")
    body = {} if bits is None else {"bits": bits}
    made = await mount.write("datakey/plaintext/k", associated_data=CONTEXT, **body)
    assert len(base64.b64decode(made["plaintext"])) == size
    opened = await mount.write("decrypt/k", ciphertext=made["ciphertext"], associated_data=CONTEXT)
    assert opened["plaintext"] == made["plaintext"]


async def test_a_wrapped_data_key_is_not_shown(mount: Mount) -> None:
    await mount.write("keys/k")
    assert set(await mount.write("datakey/wrapped/k")) == {"ciphertext", "key_version"}


async def test_data_keys_in_a_batch_differ(mount: Mount) -> None:
    await mount.write("keys/k")
    results = (await mount.write("datakey/plaintext/k", batch_input=[{"bits": 128}, {"bits": 7}, {}]))["batch_results"]
    assert [len(base64.b64decode(results[i]["plaintext"])) for i in (0, 2)] == [16, 32]
    assert "bits must be" in results[1]["error"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("datakey/plain/k", {}, "invalid path"),
        ("datakey/plaintext/k", {"bits": 257}, "bits must be"),
        ("datakey/plaintext/k", {"bits": 0}, "bits must be"),
        ("datakey/plaintext/absent", {}, "not found"),
        ("datakey/plaintext/k", {"nonce": "aGk="}, "nonce not allowed"),
        ("datakey/plaintext/k", {"context": CONTEXT}, "not derived"),
        ("datakey/plaintext/k", {"batch_input": []}, "missing batch input"),
        ("datakey/plaintext/k", {"key_version": 9}, "higher than the latest"),
    ],
)
async def test_data_keys_that_are_refused(mount: Mount, path: str, body: dict[str, Any], said: str) -> None:
    await mount.write("keys/k")
    await _refused(mount, path, said, **body)


# --- what does not encrypt, and what does so by RSA -------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["ed25519", "ecdsa-p256", "hmac", "aes256-cmac", "ml-dsa-44"])
async def test_keys_that_do_not_encrypt(mount: Mount, type_: str) -> None:
    await mount.write("keys/k", type=type_)
    with pytest.raises(KeyPolicyError, match="encryption not supported"):
        await mount.write("encrypt/k", plaintext="aGk=")
    with pytest.raises(KeyPolicyError, match="decryption not supported"):
        await mount.write("decrypt/k", ciphertext="mimir:v1:aGk=")
    with pytest.raises(InvalidRequestError, match="does not encrypt"):
        await mount.write("encrypt/new", plaintext="aGk=", type=type_, parameter_set="")


async def test_rsa_encrypts_by_oaep(mount: Mount) -> None:
    await mount.write("keys/k", type="rsa-2048")
    text = (await mount.write("encrypt/k", plaintext="aGk="))["ciphertext"]
    assert (await mount.write("decrypt/k", ciphertext=text))["plaintext"] == "aGk="
    await _refused(mount, "encrypt/k", "neither associated_data nor context", plaintext="aGk=", associated_data="aGk=")
    await _refused(mount, "encrypt/k", "(?i)at most 190", plaintext=base64.b64encode(bytes(191)).decode())
    await _refused(
        mount, "decrypt/k", "unable to decrypt", ciphertext="mimir:v1:" + base64.b64encode(bytes(256)).decode()
    )
    await _refused(mount, "decrypt/k", "unable to decrypt", ciphertext="mimir:v1:aGk=")
