"""Ciphertexts and base64 on the wire."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidRequestError
from transit.errors import MalformedCiphertextError
from transit.format import MAX_VERSION, decode_base64, encode_base64, format_ciphertext, parse_ciphertext


@given(st.integers(1, MAX_VERSION), st.binary(min_size=1, max_size=200))
def test_what_is_formatted_parses_back(version: int, sealed: bytes) -> None:
    assert parse_ciphertext(format_ciphertext(version, sealed)) == (version, sealed)


@given(st.text(max_size=40) | st.from_regex(r"mimir:v[0-9]{1,3}:[A-Za-z0-9+/]{0,12}={0,3}", fullmatch=True))
def test_what_parses_formats_to_the_same_text(text: str) -> None:
    try:
        parsed = parse_ciphertext(text)
    except MalformedCiphertextError:
        return
    assert format_ciphertext(*parsed) == text


@given(st.binary(max_size=200))
def test_base64_round_trip(octets: bytes) -> None:
    assert encode_base64(octets) == base64.b64encode(octets).decode()
    assert decode_base64(encode_base64(octets), field="plaintext") == octets


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no prefix"),
        ("x", "no prefix"),
        ("mimir:1:AAAA", "no prefix"),
        ("MIMIR:v1:AAAA", "no prefix"),
        (" mimir:v1:AAAA", "no prefix"),
        ("vault:v1:AAAA", "only by a key that was imported"),
        ("mimir:v1", "wrong number of fields"),
        ("mimir:v1AAAA", "wrong number of fields"),
        ("mimir:v:AAAA", "version number"),
        ("mimir:v0:AAAA", "version number"),
        ("mimir:v-1:AAAA", "version number"),
        ("mimir:v+1:AAAA", "version number"),
        ("mimir:v01:AAAA", "version number"),
        ("mimir:v1.0:AAAA", "version number"),
        ("mimir:v 1:AAAA", "version number"),
        ("mimir:v1_0:AAAA", "version number"),
        ("mimir:v\u0661:AAAA", "version number"),  # ARABIC-INDIC DIGIT ONE
        ("mimir:v\uff11:AAAA", "version number"),  # FULLWIDTH DIGIT ONE
        ("mimir:v2147483648:AAAA", "version number"),
        (f"mimir:v{'9' * 5000}:AAAA", "version number"),
        ("mimir:v1:", "base64"),
        ("mimir:v1:AAA", "base64"),
        ("mimir:v1:AA=", "base64"),
        ("mimir:v1:AB==", "base64"),  # unused bits are not zero
        ("mimir:v1:AAB=", "base64"),
        ("mimir:v1:AAAA=", "base64"),
        ("mimir:v1:AAAA\n", "base64"),
        ("mimir:v1:AA AA", "base64"),
        ("mimir:v1:AA-_", "base64"),
        ("mimir:v1:AAAA:AAAA", "base64"),
        ("mimir:v1:\u00c4AAA", "base64"),
    ],
)
def test_malformed_ciphertexts(text: str, said: str) -> None:
    with pytest.raises(MalformedCiphertextError, match=said):
        parse_ciphertext(text)


@pytest.mark.parametrize(
    "text", ["A", "AA", "AAA", "AA=", "A===", "====", "AB==", "AAB=", "AA-_", "A A=", "AAAA====", "Ä"]
)
def test_malformed_base64_names_the_field(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="associated_data must be standard base64"):
        decode_base64(text, field="associated_data")


def test_line_breaks_are_skipped_as_go_does() -> None:
    assert decode_base64("aGVs\r\nbG8=\n", field="plaintext") == b"hello"
