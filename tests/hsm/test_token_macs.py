"""CMAC and HMAC inside the token, against `cryptography`; hashes that it lacks are refused with the way out."""

import asyncio
import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from core.errors import HsmGoneError, InvalidRequestError, KeyPolicyError
from core.protocols import AeadInput, Custody, KeyKind, KeyUsage
from core.secret import Secret

SIGN = 43
MESSAGES = [b"m" * length for length in (0, 1, 15, 16, 17, 31, 32, 33, 1000, 70_000)]


def cmac(value, message):
    software = CMAC(AES(value))
    software.update(message)
    return software.finalize()


@pytest.mark.parametrize(("kind", "size"), [(KeyKind.AES_128, 16), (KeyKind.AES_256, 32)])
async def test_cmac_equals_software(hsm, kind, size):
    value = bytes(range(size))
    key = await hsm.import_key(kind, Secret(value), usage=KeyUsage.MAC)
    assert key.custody is Custody.HSM
    assert await hsm.mac(key, MESSAGES) == [cmac(value, message) for message in MESSAGES]
    assert await hsm.mac(key, MESSAGES[:3]) == [cmac(value, message) for message in MESSAGES[:3]]


@pytest.mark.parametrize("size", [64, 72, 128, 512])
async def test_hmac_with_keys_of_any_size_that_the_hsm_takes(hsm, size):
    value = bytes(n % 251 for n in range(size))
    key = await hsm.import_key(KeyKind.HMAC, Secret(value), usage=KeyUsage.MAC)
    assert key.custody is Custody.HSM
    for name in ("sha1", "sha224", "sha256", "sha384", "sha512"):
        assert await hsm.mac(key, MESSAGES, hash_name=name) == [hmac.digest(value, m, name) for m in MESSAGES]


@pytest.mark.parametrize("kind", [KeyKind.AES_128, KeyKind.AES_256])
async def test_a_generated_cmac_key_is_its_own(hsm, kind):
    one, other = [await hsm.generate_key(kind, usage=KeyUsage.MAC) for _ in range(2)]
    assert len((await hsm.mac(one, [b"m"]))[0]) == 16
    assert await hsm.mac(one, [b"m"]) == await hsm.mac(one, [b"m"]) != await hsm.mac(other, [b"m"])


@pytest.mark.parametrize("name", ["sha3-224", "sha3-256", "sha3-384", "sha3-512"])
async def test_a_hash_that_the_hsm_lacks_points_to_sealed_custody(hsm, name):
    key = await hsm.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC)
    with pytest.raises(KeyPolicyError, match="sealed custody"):
        await hsm.mac(key, [b"m"], hash_name=name)


async def test_cmac_takes_no_hash_and_hmac_needs_one(hsm):
    aes = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.MAC)
    with pytest.raises(InvalidRequestError, match="CMAC uses no hash"):
        await hsm.mac(aes, [b"m"], hash_name="sha256")
    key = await hsm.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC)
    with pytest.raises(InvalidRequestError, match="one of sha1"):
        await hsm.mac(key, [b"m"])


async def test_a_cmac_key_does_not_encrypt_and_a_cipher_key_makes_no_mac(hsm):
    aes_mac = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.MAC)
    aes = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    with pytest.raises(KeyPolicyError):
        await hsm.encrypt(aes_mac, [AeadInput(b"m")])
    with pytest.raises(KeyPolicyError):
        await hsm.mac(aes, [b"m"])


async def test_small_calls_of_one_turn_are_made_together_and_answered_apart(hsm):
    key = await hsm.import_key(KeyKind.HMAC, Secret(bytes(64)), usage=KeyUsage.MAC)
    await hsm.mac(key, [b"warm"], hash_name="sha256")
    answers = await asyncio.gather(*(hsm.mac(key, [b"%d" % n], hash_name="sha256") for n in range(200)))
    assert answers == [[hmac.digest(bytes(64), b"%d" % n, hashlib.sha256)] for n in range(200)]
    assert hsm._handles.get(key.key_id).users == 0


@pytest.mark.parametrize("count", [1, 20, 300])
async def test_when_the_hsm_goes_in_the_middle_the_whole_call_fails(hsm, function_list, count):
    key = await hsm.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC)
    (expected,) = await hsm.mac(key, [b"m"], hash_name="sha256")
    calls = []

    def last_fails(original):
        def stand_in(*arguments):
            calls.append(1)
            return original(*arguments) or (0x32 if len(calls) >= count else 0)

        return stand_in

    function_list.replace(SIGN, last_fails)
    with pytest.raises(HsmGoneError):
        await hsm.mac(key, [b"m"] * count, hash_name="sha256")
    function_list.restore()
    await hsm._link._reopening
    assert await hsm.mac(key, [b"m"], hash_name="sha256") == [expected]
