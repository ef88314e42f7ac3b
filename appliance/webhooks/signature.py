"""Keys and signatures of Standard Webhooks 1.0.0 ("Signature scheme"), the symmetric kind: v1, HMAC-SHA256."""

import hmac
from collections.abc import Sequence

from core.encoding import base64_text, strict_base64
from core.errors import InvalidRequestError
from core.secret import Secret

PREFIX = "whsec_"
KEY_LENGTH = 32  # bytes of a key that is made here; the specification asks for 24 to 64
_SHORTEST, _LONGEST = 24, 64


def parse_key(text: str) -> bytes:
    """The bytes of `whsec_<base64>`. Raises InvalidRequestError."""
    try:
        key = strict_base64(text.removeprefix(PREFIX)) if text.startswith(PREFIX) else b""
    except ValueError:
        key = b""
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise InvalidRequestError(
            f"key must be {PREFIX} and behind it, in standard base64, {_SHORTEST} to {_LONGEST} random bytes; "
            "leave it out to have one made"
        )
    return key


def format_key(key: bytes) -> str:
    """As receivers are given it."""
    return PREFIX + base64_text(key)


def signature_header(keys: Sequence[Secret], *, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature for each key, with spaces between."""
    content = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return " ".join("v1," + base64_text(hmac.digest(key.expose(), content, "sha256")) for key in keys)
