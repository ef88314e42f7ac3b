"""HMAC and CMAC of sealed custody."""

import hashlib
import hmac

import pytest

from core.errors import InvalidRequestError, KeyPolicyError
from core.protocols import AeadInput, KeyKind, KeyUsage, SignatureScheme
from core.public_keys import HASHES
from core.secret import Secret
from pkcs11_glue.software import open_software

LONG_KEY_TEXT = b"Test Using Larger Than Block-Size Key - Hash Key First"
RFC_4231 = {
    "4.3 (key shorter than the digest)": (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    "4.7 (key longer than a block)": (
        b"\xaa" * 131,
        LONG_KEY_TEXT,
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
}
SP_800_38B = {
    "D.1, empty": (KeyKind.AES_128, "2b7e151628aed2a6abf7158809cf4f3c", "", "bb1d6929e95937287fa37d129b756746"),
    "D.1, 16 bytes": (
        KeyKind.AES_128,
        "2b7e151628aed2a6abf7158809cf4f3c",
        "6bc1bee22e409f96e93d7e117393172a",
        "070a16b46b4d4144f79bdd9dd04a287c",
    ),
    "D.3, empty": (
        KeyKind.AES_256,
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        "",
        "028962f61b7bf89efc6b551f4667d983",
    ),
    "D.3, 16 bytes": (
        KeyKind.AES_256,
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        "6bc1bee22e409f96e93d7e117393172a",
        "28a7023f452e8f82bd4bf28d8c37c35c",
    ),
}


def hmac_key(material):
    return open_software(KeyKind.HMAC, KeyUsage.MAC, Secret(material))


@pytest.mark.parametrize("case", RFC_4231)
def test_hmac_is_rfc_4231s(case):
    key, message, expected = RFC_4231[case]
    assert hmac_key(key).mac([message], hash_name="sha256")[0].hex() == expected


@pytest.mark.parametrize("name", HASHES)
@pytest.mark.parametrize("length", [1, 20, 33, 63, 65, 100, 144, 512])
def test_hmac_with_every_hash_and_odd_key_lengths(name, length):
    """Against the standard library's own code: pads and hashes by hand (RFC 2104, 2)."""
    material, message = bytes(range(256))[:length].ljust(length, b"k"), b"message"
    expected = hmac.new(material, message, getattr(hashlib, name.replace("-", "_"))).digest()
    assert hmac_key(material).mac([message, b"", message], hash_name=name)[::2] == [expected] * 2


@pytest.mark.parametrize("case", SP_800_38B)
def test_cmac_is_sp_800_38bs(case):
    kind, key, message, expected = SP_800_38B[case]
    cmac = open_software(kind, KeyUsage.MAC, Secret(bytes.fromhex(key)))
    assert [mac.hex() for mac in cmac.mac([bytes.fromhex(message)] * 2)] == [expected] * 2


@pytest.mark.parametrize("name", ["", "md5", "sha3", "SHA256", "sha-256", "sha3_256"])
def test_hmac_with_an_unknown_hash_is_an_invalid_request(name):
    with pytest.raises(InvalidRequestError, match="sha3-512"):
        hmac_key(bytes(64)).mac([b"x"], hash_name=name)


def test_cmac_takes_no_hash():
    with pytest.raises(InvalidRequestError, match="no hash"):
        open_software(KeyKind.AES_256, KeyUsage.MAC, Secret(bytes(32))).mac([b"x"], hash_name="sha256")


@pytest.mark.parametrize("kind", [KeyKind.HMAC, KeyKind.AES_128, KeyKind.AES_256])
def test_a_mac_key_does_nothing_else(kind):
    key = open_software(kind, KeyUsage.MAC, Secret(bytes(16 if kind is KeyKind.AES_128 else 32)))
    for refused in (
        lambda: key.encrypt([AeadInput(b"x")]),
        lambda: key.decrypt([AeadInput(b"x")]),
        lambda: key.sign([b"x"], scheme=SignatureScheme.ECDSA),
        lambda: key.decrypt_oaep([b"x"]),
    ):
        with pytest.raises(KeyPolicyError, match="cannot"):
            refused()


def test_no_key_shows_its_material():
    key = hmac_key(b"hunter2hunter2hunter2")
    assert "hunter2" not in repr(key)
    assert "hmac" in repr(key)
