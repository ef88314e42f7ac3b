"""Serial numbers of certificates (RFC 5280, 4.1.2.2): positive, at most 20 octets, and never twice from one issuer."""

import os
import re

from core.errors import InvalidRequestError

OCTETS = 20
_FORM = re.compile(r"[0-9a-f]{2}(?:[:-]?[0-9a-f]{2}){0,19}", re.IGNORECASE)


def new_serial() -> int:
    """A random one of 159 bits, so that its DER has 20 octets at most; the highest is set, so it has 20 always."""
    octets = bytearray(os.urandom(OCTETS))
    octets[0] = octets[0] & 0x7F | 0x40
    return int.from_bytes(octets, "big")


def format_serial(serial: int) -> str:
    """As Vault writes it: "3a:07:…", an even number of lower-case hex digits."""
    return serial.to_bytes((serial.bit_length() + 7) // 8 or 1, "big").hex(":")


def parse_serial(text: str) -> str:
    """A serial as somebody wrote it ("3A:07", "3a-07", "3a07"), in the form of `format_serial`.

    Raises InvalidRequestError.
    """
    if not _FORM.fullmatch(text):
        raise InvalidRequestError('a serial number is 1 to 20 octets in hex, with colons or hyphens: "3a:07:…"')
    return format_serial(int(text.replace(":", "").replace("-", ""), 16))
