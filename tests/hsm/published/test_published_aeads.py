"""AES-GCM, ChaCha20-Poly1305 and XChaCha20-Poly1305 as published, by keys imported into either custody."""

import json
from pathlib import Path

import pytest

from core.errors import CiphertextError, KeyPolicyError
from core.protocols import AeadInput, Custody, KeyKind, KeyUsage
from core.secret import Secret
from pkcs11_glue.software import open_software
from tests.vectors import published
from tests.vectors.published import bytes_or_text, unhex

AES = {128: KeyKind.AES_128, 256: KeyKind.AES_256}
XCHACHA = Path(__file__).resolve().parents[2] / "vectors" / "xchacha20_poly1305.json"


def gcm(name, bits):
    """Mimir's nonces have 96 bits and its tags 128; the files have other lengths, too."""
    path = f"ciphers/AES/GCM/{name}{bits}.rsp"
    rows = published.rows(path, begins="count", count=7875)
    return published.expect([r for r in rows if (r["ivlen"], r["taglen"]) == ("96", "128")], 375, path=path)


def chacha():
    return [
        (*unhex(row, "key", "nonce"), *(bytes_or_text(row[name]) for name in ("in", "ad", "ct")), *unhex(row, "tag"))
        for row in published.rows("ciphers/ChaCha20Poly1305/boringssl.txt", begins="count", count=66)
    ]


def xchacha():
    rows = json.loads(XCHACHA.read_text())
    assert rows
    names = ("key", "nonce", "plaintext", "associated_data", "ciphertext", "tag")
    return [tuple(bytes.fromhex(row[name]) for name in names) for row in rows]


async def encrypt_with_nonce(custodian, custody, kind, key, nonce, plaintext, associated_data):
    """At the layer that is given a nonce: the token's session, or the software cipher."""
    if custody is Custody.SEALED:
        return open_software(kind, KeyUsage.ENCRYPT, Secret(key))._aead.encrypt(nonce, plaintext, associated_data)
    operations = custodian._keys.link.connection.operations
    record = await custodian.import_key(kind, Secret(key), usage=KeyUsage.ENCRYPT, custody=custody)
    live = await custodian._keys.get(record)
    return operations.encrypt_with_nonce(live.handle, nonce, plaintext, associated_data)


async def decrypt(custodian, custody, kind, key, payload, associated_data):
    record = await custodian.import_key(kind, Secret(key), usage=KeyUsage.ENCRYPT, custody=custody)
    assert record.custody is custody
    (result,) = await custodian.decrypt(record, [AeadInput(payload, associated_data)])
    return result


@pytest.mark.parametrize("bits", AES)
async def test_aes_gcm_encrypts_as_nist_s_cavs(custodian, custody, bits):
    for row in published.every(3, gcm("gcmEncryptExtIV", bits)):
        key, nonce, plaintext, data, ciphertext, tag = unhex(row, "key", "iv", "pt", "aad", "ct", "tag")
        made = await encrypt_with_nonce(custodian, custody, AES[bits], key, nonce, plaintext, data)
        assert made == ciphertext + tag, row


@pytest.mark.parametrize("bits", AES)
async def test_aes_gcm_decrypts_and_refuses_as_nist_s_cavs(custodian, custody, bits):
    refused = 0
    rows = gcm("gcmDecrypt", bits)
    for row in rows:
        key, nonce, data, ciphertext, tag = unhex(row, "key", "iv", "aad", "ct", "tag")
        result = await decrypt(custodian, custody, AES[bits], key, nonce + ciphertext + tag, data)
        if "fail" in row:
            assert isinstance(result, CiphertextError), row
            refused += 1
        else:
            assert result == bytes.fromhex(row["pt"]), row
    assert 100 < refused < len(rows) - 100


async def test_chacha20_poly1305_is_rfc_8439_s_and_boringssl_s(custodian):
    kind, custody = KeyKind.CHACHA20_POLY1305, Custody.SEALED
    for key, nonce, plaintext, data, ciphertext, tag in chacha():
        assert await encrypt_with_nonce(custodian, custody, kind, key, nonce, plaintext, data) == ciphertext + tag, (
            nonce
        )
        assert await decrypt(custodian, custody, kind, key, nonce + ciphertext + tag, data) == plaintext
        altered = nonce + ciphertext + bytes([tag[0] ^ 1]) + tag[1:]
        assert isinstance(await decrypt(custodian, custody, kind, key, altered, data), CiphertextError)


async def test_chacha20_poly1305_refuses_what_openssl_refuses(custodian):
    rows = published.rows("ciphers/ChaCha20Poly1305/openssl.txt", begins="count", count=5)
    refused = 0
    for row in rows:
        key, nonce, data, tag, plaintext, ciphertext = unhex(row, "key", "iv", "aad", "tag", "plaintext", "ciphertext")
        result = await decrypt(
            custodian, Custody.SEALED, KeyKind.CHACHA20_POLY1305, key, nonce + ciphertext + tag, data
        )
        if "result" in row:
            assert isinstance(result, CiphertextError)
            refused += 1
        else:
            assert result == plaintext
    assert refused == 1


async def test_xchacha20_poly1305_is_the_draft_s(custodian):
    kind, custody = KeyKind.XCHACHA20_POLY1305, Custody.SEALED
    for key, nonce, plaintext, data, ciphertext, tag in xchacha():
        assert await encrypt_with_nonce(custodian, custody, kind, key, nonce, plaintext, data) == ciphertext + tag
        assert await decrypt(custodian, custody, kind, key, nonce + ciphertext + tag, data) == plaintext
        forged = nonce + ciphertext[:-1] + bytes([ciphertext[-1] ^ 1]) + tag
        assert isinstance(await decrypt(custodian, custody, kind, key, forged, data), CiphertextError)


@pytest.mark.parametrize("kind", [KeyKind.CHACHA20_POLY1305, KeyKind.XCHACHA20_POLY1305], ids=lambda kind: kind.value)
async def test_a_cipher_that_the_token_lacks_is_not_imported_into_it(custodian, kind):
    with pytest.raises(KeyPolicyError):
        await custodian.import_key(kind, Secret(bytes(32)), usage=KeyUsage.ENCRYPT, custody=Custody.HSM)
