"""Ciphertexts on the wire: `mimir:v<N>:`, then base64 of nonce, ciphertext and tag. And base64 itself.

Base64 is the standard alphabet with padding (RFC 4648, 4), and canonical: the unused bits of the last letter are
zero (RFC 4648, 3.5), so that one byte string has one encoding.
"""

import re

from core.encoding import base64_text, strict_base64
from core.errors import InvalidRequestError
from transit.errors import MalformedCiphertextError

OWN, IMPORTED = "mimir", "vault"
PREFIX = "mimir:v"
IMPORTED_PREFIX = "vault:v"
MAX_VERSION = 2**31 - 1

_CIPHERTEXT = re.compile(r"(mimir|vault):v([1-9][0-9]{0,9}):(.+)", re.DOTALL)
_LAST_LETTERS = {"==": frozenset("AQgw"), "=": frozenset("AEIMQUYcgkosw048")}


def decode_base64(text: str, *, field: str) -> bytes:
    """Bytes of a field; line breaks are skipped, as Go's decoder does. Raises InvalidRequestError naming `field`."""
    try:
        return canonical_base64(text)
    except ValueError:
        pass
    try:
        return canonical_base64(text.replace("\r", "").replace("\n", ""))
    except ValueError:
        raise InvalidRequestError(f"{field} must be standard base64 with its padding") from None


def canonical_base64(text: str) -> bytes:
    """Bytes of one line of base64, as `encode_base64` makes it. Raises ValueError."""
    octets = strict_base64(text)
    if text.endswith("="):
        padding = "==" if text.endswith("==") else "="
        if text[-len(padding) - 1] not in _LAST_LETTERS[padding]:
            raise ValueError("unused bits are not zero")
    return octets


def encode_base64(octets: bytes) -> str:
    """Standard base64 with padding, one line."""
    return base64_text(octets)


def prefix_of(version: int) -> str:
    """`mimir:v<version>:`."""
    return f"{PREFIX}{version}:"


def format_ciphertext(version: int, sealed: bytes) -> str:
    """`mimir:v<version>:` and base64."""
    return f"{PREFIX}{version}:{base64_text(sealed)}"


def parse_ciphertext(text: str, *, imported: bool = False) -> tuple[int, bytes]:
    """Version and sealed bytes. Only what `format_ciphertext` makes is taken, so what parses encodes to the same text.

    A key that was `imported` takes `vault:v<N>:`, too. Raises MalformedCiphertextError.
    """
    match = _CIPHERTEXT.fullmatch(text)
    if match is None:
        raise MalformedCiphertextError(_what_is_wrong(text, imported=imported))
    maker, number, encoded = match.groups()
    version = int(number)
    if version > MAX_VERSION or not (maker == OWN or imported):
        raise MalformedCiphertextError(_what_is_wrong(text, imported=imported))
    try:
        return version, canonical_base64(encoded)
    except ValueError:
        raise MalformedCiphertextError("invalid ciphertext: could not decode base64") from None


def _what_is_wrong(text: str, *, imported: bool) -> str:
    if text.startswith(IMPORTED_PREFIX) and not imported:
        return "invalid ciphertext: vault:v… is taken only by a key that was imported, and this one was not"
    if not text.startswith((PREFIX, IMPORTED_PREFIX) if imported else PREFIX):
        return f"invalid ciphertext: no prefix; a ciphertext starts with {PREFIX} and a version number"
    version, separator, _ = text.removeprefix(PREFIX).removeprefix(IMPORTED_PREFIX).partition(":")
    if not separator:
        return "invalid ciphertext: wrong number of fields"
    if not re.fullmatch(r"[1-9][0-9]{0,9}", version, re.ASCII) or int(version) > MAX_VERSION:
        return "invalid ciphertext: version number could not be decoded"
    return "invalid ciphertext: could not decode base64"
