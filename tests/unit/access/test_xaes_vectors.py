"""XAES-256-GCM against the vectors of its specification (c2sp.org/XAES-256-GCM, "Test vectors")."""

import hashlib

import pytest

from appliance.access.xaes import NONCE, OVERHEAD, Xaes256Gcm
from core.errors import CiphertextError
from core.secret import Secret

PUBLISHED = [  # key, associated data, ciphertext; the second key has the other most significant bit in L
    (b"\x01" * 32, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
    (b"\x03" * 32, b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
]
N = b"ABCDEFGHIJKLMNOPQRSTUVWX"


@pytest.mark.parametrize(("key", "associated_data", "ciphertext"), PUBLISHED)
def test_the_published_vectors(key, associated_data, ciphertext):
    cipher = Xaes256Gcm(Secret(key))
    made = cipher.seal_with_nonce(N, b"XAES-256-GCM", associated_data)
    assert made.hex() == ciphertext
    assert cipher.open(N + made, associated_data) == b"XAES-256-GCM"


class _Stream:
    """SHAKE-128 as the deterministic generator of the accumulated test; longer outputs repeat what was drawn."""

    def __init__(self, length):
        self.octets, self.at = hashlib.shake_128(b"").digest(length), 0

    def draw(self, length):
        self.at += length
        return self.octets[self.at - length : self.at]


def test_the_accumulated_hash_of_ten_thousand_random_messages():
    stream, total = _Stream(10_000 * (32 + 24 + 2 * 256)), hashlib.shake_128()
    assert stream.octets[:16].hex() == "7f9c2ba4e88f827d616045507605853e"
    for _ in range(10_000):
        key, nonce = stream.draw(32), stream.draw(24)
        plaintext = stream.draw(stream.draw(1)[0])
        associated_data = stream.draw(stream.draw(1)[0])
        cipher = Xaes256Gcm(Secret(key))
        sealed = cipher.seal_with_nonce(nonce, plaintext, associated_data)
        assert cipher.open(nonce + sealed, associated_data) == plaintext
        total.update(sealed)
    assert total.hexdigest(32) == "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"


def test_every_message_has_a_nonce_of_its_own():
    cipher = Xaes256Gcm(Secret(bytes(32)))
    assert len({cipher.seal(b"", b"")[:NONCE] for _ in range(1000)}) == 1000


def test_nothing_but_the_whole_opens():
    cipher = Xaes256Gcm(Secret(bytes(32)))
    sealed = cipher.seal(b"words", b"a")
    for wrong in (b"", sealed[: OVERHEAD - 1], sealed[:-1], sealed + b"\0", bytes([sealed[0] ^ 1]) + sealed[1:]):
        with pytest.raises(CiphertextError):
            cipher.open(wrong, b"a")
    with pytest.raises(CiphertextError):
        cipher.open(sealed, b"b")
    with pytest.raises(CiphertextError):
        Xaes256Gcm(Secret(b"\x01" * 32)).open(sealed, b"a")


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_size_is_our_bug(length):
    with pytest.raises(RuntimeError):
        Xaes256Gcm(Secret(bytes(length)))
