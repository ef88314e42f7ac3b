"""AES-KWP (RFC 5649, SP 800-38F) as NIST's CAVS has it: as the token wraps, and as a mount's wrapping key unwraps."""

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pkcs11.mechanisms import Mechanism

from core.errors import CiphertextError
from core.protocols import KeyKind, KeyUsage
from pkcs11_glue import templates
from tests.support.memory_storage import memory_storage
from tests.vectors import published
from tests.vectors.published import unhex
from transit.wrapping_key import WrappingKey

CAVS = "keywrap/kwtestvectors/"


def whole_blocks(rows, name, *, count):
    """SoftHSM fills a secret up to 8 bytes with zeros before it wraps: others it would change, so Mimir seals them."""
    return published.expect([row for row in rows if len(row[name]) % 16 == 0], count, path="wrapped secrets")


def token_wrap(session, kek, key):
    """A secret, wrapped inside the token by CKM_AES_KEY_WRAP_PAD."""
    wrapper = session.create(templates.throwaway_wrapper(kek))
    inner = session.create(templates.imported_secret(KeyKind.HMAC, key, KeyUsage.MAC, extractable=True))
    try:
        return session.wrap(Mechanism.AES_KEY_WRAP_PAD, wrapper, inner)
    finally:
        session.destroy(inner)
        session.destroy(wrapper)


@pytest.mark.parametrize("bits", [128, 256])
async def test_the_token_wraps_as_nist_s_cavs(operations, bits):
    rows = published.rows(f"{CAVS}KWP_AE_{bits}.txt", begins="count", count=500)
    for row in whole_blocks(rows, "p", count=200):
        kek, key, wrapped = unhex(row, "k", "p", "c")
        assert token_wrap(operations.session, kek, key) == wrapped
        assert aes_key_unwrap_with_padding(kek, wrapped) == key


async def test_the_token_wraps_as_botan(operations):
    rows = published.rows("keywrap/kwp_botan.txt", begins="count", count=129)
    for row in whole_blocks(rows, "input", count=15):
        kek, key, wrapped = unhex(row, "key", "input", "output")
        assert token_wrap(operations.session, kek, key) == wrapped


async def test_the_wrapping_key_unwraps_and_refuses_as_nist_s_cavs(custodian):
    """What `import` sends: the vector's key-encryption key by RSA-OAEP, and behind it the vector's ciphertext."""
    wrapping_key = WrappingKey(memory_storage(), custodian)
    public_key = load_pem_public_key((await wrapping_key.public_key()).encode())
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    refused = 0
    rows = published.rows(f"{CAVS}KWP_AD_256.txt", begins="count", count=500)
    for row in published.every(9, rows):
        kek, wrapped = unhex(row, "k", "c")
        sent = public_key.encrypt(kek, oaep) + wrapped
        if "fail" in row:
            refused += 1
            with pytest.raises(CiphertextError):
                await wrapping_key.unwrap(sent, hash_name="sha256")
        else:
            assert (await wrapping_key.unwrap(sent, hash_name="sha256")).expose() == bytes.fromhex(row["p"])
    assert refused > 5
