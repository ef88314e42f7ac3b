"""Signatures and MACs on the wire: `mimir:v<N>:`, then base64; for JWS the URL-safe alphabet without padding.

As with ciphertexts, only what is written here is read back, so that one signature has one spelling.
"""

import re

from core.encoding import base64_text
from core.errors import InvalidRequestError
from transit.format import IMPORTED, IMPORTED_PREFIX, MAX_VERSION, PREFIX, decode_base64

_TAGGED = re.compile(r"(mimir|vault):v([1-9][0-9]{0,9}):([A-Za-z0-9+/=_-]*)", re.ASCII)
_URL_SAFE = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)
_TO_URL_SAFE = str.maketrans("+/", "-_")
_TO_STANDARD = str.maketrans("-_", "+/")


def format_tagged(version: int, octets: bytes) -> str:
    """`mimir:v<version>:` and standard base64."""
    return f"{PREFIX}{version}:{base64_text(octets)}"


def format_jws(version: int, octets: bytes) -> str:
    """`mimir:v<version>:` and base64url without padding (RFC 7515, 2)."""
    return f"{PREFIX}{version}:{base64_text(octets).translate(_TO_URL_SAFE).rstrip('=')}"


def parse_tagged(text: str, *, what: str, imported: bool, jws: bool = False) -> tuple[int, bytes]:
    """Version and bytes of a signature or MAC; `what` names it in the errors.

    A key that was `imported` takes `vault:v<N>:`, too. Raises InvalidRequestError: whoever can read the text can see
    what is wrong with it.
    """
    match = _TAGGED.fullmatch(text)
    if match is None:
        raise InvalidRequestError(f"invalid {what}: {_what_is_wrong(text)}")
    maker, number, encoded = match.groups()
    if maker == IMPORTED and not imported:
        raise InvalidRequestError(
            f"invalid {what}: {IMPORTED_PREFIX}… is taken only by a key that was imported, and this one was not"
        )
    version = int(number)
    if version > MAX_VERSION:
        raise InvalidRequestError(f"invalid {what}: version is too new")
    try:
        return version, _decode_url_safe(encoded) if jws else decode_base64(encoded, field=what)
    except InvalidRequestError:
        raise InvalidRequestError(f"invalid base64 {what} value") from None


def _decode_url_safe(encoded: str) -> bytes:
    if not _URL_SAFE.fullmatch(encoded):
        raise InvalidRequestError("not base64url without padding")
    return decode_base64(encoded.translate(_TO_STANDARD) + "=" * (-len(encoded) % 4), field="signature")


def _what_is_wrong(text: str) -> str:
    if not text.startswith((PREFIX, IMPORTED_PREFIX)):
        return f"no prefix; it starts with {PREFIX} and a version number"
    version, separator, _ = text.removeprefix(PREFIX).removeprefix(IMPORTED_PREFIX).partition(":")
    if not separator:
        return "wrong number of fields"
    if not re.fullmatch(r"[1-9][0-9]{0,9}", version, re.ASCII):
        return "version number could not be decoded"
    return "it could not be decoded as base64"
