"""HMAC as RFC 2202 and RFC 4231 have it, CMAC as SP 800-38B, by keys imported into either custody."""

import pytest

from core.errors import InvalidRequestError, InvalidSignatureError
from core.protocols import Custody, KeyKind, KeyUsage
from core.public_keys import verify_mac
from core.secret import Secret
from tests.vectors import published
from tests.vectors.published import unhex

HMACS = {
    "sha1": ("HMAC/rfc-2202-sha1.txt", 7),
    "sha224": ("HMAC/rfc-4231-sha224.txt", 6),
    "sha256": ("HMAC/rfc-4231-sha256.txt", 6),
    "sha384": ("HMAC/rfc-4231-sha384.txt", 6),
    "sha512": ("HMAC/rfc-4231-sha512.txt", 6),
}
CMACS = {KeyKind.AES_128: "CMAC/nist-800-38b-aes128.txt", KeyKind.AES_256: "CMAC/nist-800-38b-aes256.txt"}


def hmacs(hash_name):
    path, count = HMACS[hash_name]
    return [unhex(row, "key", "msg", "md") for row in published.rows(path, begins="len", count=count)]


@pytest.mark.parametrize("hash_name", HMACS)
@pytest.mark.parametrize("custody", [None, Custody.SEALED], ids=("by-default", "sealed"))
async def test_hmac_is_the_published_one_wherever_the_key_is_kept(custodian, custody, hash_name):
    for key, message, published_mac in hmacs(hash_name):
        record = await custodian.import_key(KeyKind.HMAC, Secret(key), usage=KeyUsage.MAC, custody=custody)
        (mac,) = await custodian.mac(record, [message], hash_name=hash_name)
        assert mac[: len(published_mac)] == published_mac  # one of them is published cut off
        verify_mac(mac, mac)
        for wrong in (mac[:-1], mac + b"\0", bytes([mac[0] ^ 1]) + mac[1:], b""):
            with pytest.raises(InvalidSignatureError):
                verify_mac(mac, wrong)


async def test_a_key_that_the_token_would_not_keep_faithfully_is_sealed(custodian):
    """RFC 4231 has keys of 4, 20, 25 and 131 bytes: none is a multiple of 8 of at least 64, as the token needs it."""
    for key, _, _ in hmacs("sha512"):
        record = await custodian.import_key(KeyKind.HMAC, Secret(key), usage=KeyUsage.MAC)
        assert record.custody is Custody.SEALED


@pytest.mark.parametrize("hash_name", HMACS)
async def test_both_custodies_make_the_same_hmac(custodian, hash_name):
    """With a longer key than any published one that the token takes; the sealed one is held by the tests above."""
    for size in (64, 72, 128, 256):
        key, message = bytes(range(256))[:size], b"Sample message for keylen"
        in_hsm, sealed = [
            await custodian.import_key(KeyKind.HMAC, Secret(key), usage=KeyUsage.MAC, custody=custody)
            for custody in (Custody.HSM, Custody.SEALED)
        ]
        assert in_hsm.custody is Custody.HSM
        one, other = [(await custodian.mac(key, [message], hash_name=hash_name))[0] for key in (in_hsm, sealed)]
        assert one == other


@pytest.mark.parametrize("kind", CMACS, ids=lambda kind: kind.value)
async def test_cmac_is_sp_800_38b_s(custodian, custody, kind):
    for row in published.rows(CMACS[kind], begins="count", count=4):
        key, message, published_mac = unhex(row, "key", "message", "output")
        record = await custodian.import_key(kind, Secret(key), usage=KeyUsage.MAC, custody=custody)
        assert record.custody is custody
        assert await custodian.mac(record, [message]) == [published_mac]


@pytest.mark.parametrize("kind", CMACS, ids=lambda kind: kind.value)
async def test_cmac_takes_no_hash(custodian, custody, kind):
    size = {KeyKind.AES_128: 16, KeyKind.AES_256: 32}[kind]
    record = await custodian.import_key(kind, Secret(bytes(size)), usage=KeyUsage.MAC, custody=custody)
    with pytest.raises(InvalidRequestError):
        await custodian.mac(record, [b""], hash_name="sha256")
