"""HKDF (RFC 5869), by which sealed keys make derived ones, and what Vault's derived keys look like."""

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import CiphertextError, InvalidRequestError
from core.protocols import AeadInput, Custody, KeyKind, KeyUsage
from core.secret import Secret
from pkcs11_glue.software_ciphers import derive
from tests.vectors import published
from tests.vectors.published import unhex

KEY, CONTEXT = bytes(range(32)), b"tenant 7"


def hkdf(secret, salt, info, length):
    """RFC 5869, 2.2 and 2.3, word for word; held to the RFC's vectors below."""
    prk = hmac.digest(salt or bytes(32), secret, "sha256")
    block, output = b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(prk, block + info + bytes([number]), "sha256")
        output += block
    return output[:length]


def test_the_reference_is_rfc_5869_s():
    rows = published.rows("KDF/rfc-5869-HKDF-SHA256.txt", begins="count", count=3)
    (longer,) = published.rows("KDF/hkdf-generated.txt", begins="count", count=1)
    for row in (*rows, longer):
        secret, salt, info, output = unhex(row, "ikm", "salt", "info", "okm")
        assert hkdf(secret, salt, info, int(row["l"])) == output


@pytest.mark.parametrize("length", [16, 32, 64, 96, 1200])
@pytest.mark.parametrize("context", [b"\0", CONTEXT, bytes(200)], ids=("zero", "short", "long"))
def test_what_is_derived_is_hkdf_s_output(context, length):
    assert derive(KEY, context, length) == hkdf(KEY, b"", context, length)


def test_nothing_is_derived_without_a_context():
    with pytest.raises(InvalidRequestError):
        derive(KEY, b"", 32)


@pytest.mark.parametrize(("kind", "size"), [(KeyKind.AES_128, 16), (KeyKind.AES_256, 32)], ids=("128", "256"))
async def test_an_imported_deriving_key_opens_what_vault_made(custodian, kind, size):
    """Vault: key = HKDF-SHA-256(key, info=context); convergent: nonce = HMAC(next 32 bytes, plaintext), cut to 12."""
    key = KEY[:size]
    record = await custodian.import_key(kind, Secret(key), usage=KeyUsage.DERIVE, custody=Custody.SEALED)
    output, plaintext = hkdf(key, b"", CONTEXT, size + 32), b"orders-api"
    nonce = hmac.digest(output[size:], plaintext, "sha256")[:12]
    vaults = nonce + AESGCM(output[:size]).encrypt(nonce, plaintext, None)
    assert await custodian.decrypt(record, [AeadInput(vaults, context=CONTEXT)]) == [plaintext]
    assert await custodian.encrypt(record, [AeadInput(plaintext, context=CONTEXT)], convergent=True) == [vaults]
    (result,) = await custodian.decrypt(record, [AeadInput(vaults, context=b"tenant 8")])
    assert isinstance(result, CiphertextError)
