"""Many threads in one module: every result is checked, and nothing crashes (C_Initialize with OS locking)."""

import asyncio
import hashlib
import time

import pytest

from core.protocols import AeadInput, KeyKind, KeyUsage, SignatureScheme
from core.public_keys import verify_signature
from pkcs11_glue.hsm import Hsm


async def soak(token, seconds, tasks):
    hsm = await Hsm.open(token.settings(mode="pool", pool_size=8, handle_cache=6))
    aes = [await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT) for _ in range(6)]
    mac = await hsm.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC)
    ec = await hsm.generate_key(KeyKind.EC_P256, usage=KeyUsage.SIGN)
    (expected_mac,) = await hsm.mac(mac, [b"message"], hash_name="sha256")
    digest = hashlib.sha256(b"message").digest()
    end = time.monotonic() + seconds
    rounds = 0

    async def worker(number):
        nonlocal rounds
        while time.monotonic() < end:
            key = aes[(number + rounds) % len(aes)]
            text = b"%d.%d" % (number, rounds)
            sealed = await hsm.encrypt(key, [AeadInput(text, b"a"), AeadInput(text * 50)])
            assert await hsm.decrypt(key, [AeadInput(sealed[0], b"a"), AeadInput(sealed[1])]) == [text, text * 50]
            assert await hsm.mac(mac, [b"message"], hash_name="sha256") == [expected_mac]
            (signature,) = await hsm.sign(ec, [digest], scheme=SignatureScheme.ECDSA)
            verify_signature(ec.public_key, signature, digest, scheme=SignatureScheme.ECDSA)
            if rounds % 20 == 0:
                await hsm.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC)
            rounds += 1

    async with asyncio.TaskGroup() as group:
        for number in range(tasks):
            group.create_task(worker(number))
    assert (await hsm.status()).state == "ready"
    assert (await hsm.status()).epoch == 1
    await hsm.close()
    return rounds


async def test_soak_of_threads(token):
    assert await soak(token, seconds=2.5, tasks=24) > 20


@pytest.mark.heavy
@pytest.mark.timeout(300)
async def test_long_soak_of_threads(token):
    assert await soak(token, seconds=90, tasks=48) > 1000
