"""Sealed values: the layout, what they are bound to, and terms."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from barrier.keyring import OVERHEAD, Keyring, UnknownTermError
from barrier.recovery import RecoveryCheck
from barrier.unseal import _Given
from core.errors import IntegrityError
from core.secret import Secret

KEY = bytes(range(32))


def fixed_keyring() -> Keyring:
    stored = b'{"terms":[[7,"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",1800000000]],"format":1}'
    return Keyring.from_secret(Secret(stored))


def test_the_layout() -> None:
    """Format 1, term 7, nonce, ciphertext, tag; header and context are the associated data."""
    nonce = b"N" * 12
    sealed = fixed_keyring()._encrypt_with_nonce(nonce, b"value", b"context")
    header = bytes.fromhex("0100000007")
    assert sealed == header + nonce + AESGCM(KEY).encrypt(nonce, b"value", header + b"context")
    assert len(sealed) == OVERHEAD + len(b"value")


@given(st.binary(max_size=300), st.binary(max_size=50))
def test_what_was_sealed_opens(value: bytes, context: bytes) -> None:
    keyring = Keyring.create(now=0)
    assert keyring.decrypt(keyring.encrypt(value, context), context, "x") == value


@given(st.binary(max_size=40), st.data())
def test_any_flipped_bit_is_refused(value: bytes, data: st.DataObject) -> None:
    keyring = Keyring.create(now=0)
    sealed = bytearray(keyring.encrypt(value, b"context"))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(IntegrityError, match="the entry"):
        keyring.decrypt(bytes(sealed), b"context", "the entry")


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_another_context_is_refused(one: bytes, other: bytes) -> None:
    keyring = Keyring.create(now=0)
    sealed = keyring.encrypt(b"value", one)
    if one != other:
        with pytest.raises(IntegrityError):
            keyring.decrypt(sealed, other, "x")


@given(st.binary(max_size=OVERHEAD - 1))
def test_what_is_too_short_is_refused(sealed: bytes) -> None:
    with pytest.raises(IntegrityError):
        Keyring.create(now=0).decrypt(sealed, b"", "x")


def test_two_encryptions_differ() -> None:
    keyring = Keyring.create(now=0)
    assert keyring.encrypt(b"v", b"") != keyring.encrypt(b"v", b"")


def test_rotation_adds_a_term_and_keeps_the_old() -> None:
    old = Keyring.create(now=100)
    sealed = old.encrypt(b"v", b"")
    new = old.rotated(now=200)
    assert (old.term, new.term, new.installed_at) == (1, 2, 200)
    assert new.decrypt(sealed, b"", "x") == b"v"
    with pytest.raises(UnknownTermError):
        old.decrypt(new.encrypt(b"v", b""), b"", "x")


def test_a_keyring_survives_storage() -> None:
    keyring = Keyring.create(now=1).rotated(now=2)
    again = Keyring.from_secret(keyring.to_secret())
    assert again.decrypt(keyring.encrypt(b"v", b""), b"", "x") == b"v"
    assert again.to_secret() == keyring.to_secret()


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"{}",
        b'{"terms":[]}',
        b'{"terms":[[1,"AAAA",0]]}',
        b'{"terms":[[7,"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",0]],"format":2}',
        b'{"terms":[[2,"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",0],[1,"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",0]]}',
    ],
)
def test_a_keyring_that_cannot_be_is_refused(stored: bytes) -> None:
    with pytest.raises(IntegrityError):
        Keyring.from_secret(Secret(stored))


def test_no_key_in_any_repr() -> None:
    keyring = fixed_keyring()
    assert str(KEY) not in f"{keyring!r} {keyring._terms!r} {keyring.to_secret()!r}"
    assert "AAEC" not in repr(keyring._terms)


def test_no_share_and_no_check_key_in_any_repr() -> None:
    assert "kkkk" not in repr(RecoveryCheck(b"kkkk", b"mmmm"))
    assert "ssss" not in repr(_Given("nonce", [b"ssss"]))
