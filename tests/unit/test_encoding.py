"""Base64 by msgspec's codec: it must take, and refuse, exactly what binascii's strict mode does."""

import binascii
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.encoding import base64_text, base64_texts, canonical_base64_all, strict_base64

_LETTERS = "AB/+zQ=-_ \n\r\0é"


def _reference(text: str) -> bytes | None:
    """None for what is refused; binascii lets padding after a whole group pass."""
    if len(text) % 4:
        return None
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


def _found(text: str) -> bytes | None:
    try:
        return strict_base64(text)
    except ValueError:
        return None


@given(st.binary(max_size=200))
def test_encodes_as_binascii_does(octets: bytes) -> None:
    assert base64_text(octets) == binascii.b2a_base64(octets, newline=False).decode()
    assert strict_base64(base64_text(octets)) == octets


def test_takes_the_same_groups_as_binascii() -> None:
    for letters in itertools.product(_LETTERS, repeat=4):
        text = "".join(letters)
        assert _found(text) == _reference(text), repr(text)


@given(st.text(alphabet=_LETTERS + "gw09", max_size=24))
def test_takes_the_same_texts_as_binascii(text: str) -> None:
    assert _found(text) == _reference(text)


@pytest.mark.parametrize("text", ["A", "AA", "AAA", "AAAA=", "AAAA====", "====", "A===", "AA=A", "AAAA\n", "\ud800AAA"])
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_base64(text)


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_many_are_encoded_as_one_is(octets: list[bytes]) -> None:
    texts = base64_texts(octets)
    assert texts == [base64_text(each) for each in octets]
    assert canonical_base64_all(texts) == octets


def test_many_are_refused_when_one_is_not_what_would_be_encoded() -> None:
    for letters in itertools.product(_LETTERS, repeat=4):
        text = "".join(letters)
        octets = _reference(text)
        if octets is not None and base64_text(octets) == text:
            assert canonical_base64_all(["QUJD", text]) == [b"ABC", octets]
            continue
        with pytest.raises(ValueError, match=r"base64|bits"):
            canonical_base64_all(["QUJD", text])
