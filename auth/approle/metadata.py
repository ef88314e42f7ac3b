"""The metadata of a secret id, in the forms in which clients send it."""

import base64
import binascii
from typing import Any

import msgspec

from core.errors import InvalidRequestError

MAX_METADATA = 4096  # characters, names and values: a batch token carries all of it in a header


def parse_metadata(given: str | dict[str, Any] | None) -> dict[str, str]:
    """String to string, from an object, JSON (plain or in base64), or "name=value,name=value".

    Raises InvalidRequestError.
    """
    found = _parsed(given) if isinstance(given, str) else given or {}
    if not all(isinstance(value, str) for value in found.values()):
        raise InvalidRequestError("failed to parse metadata: every value must be a string")
    if sum(len(name) + len(value) for name, value in found.items()) > MAX_METADATA:
        raise InvalidRequestError(f"metadata must be at most {MAX_METADATA} characters in all")
    return dict(found)


def _parsed(text: str) -> dict[str, Any]:
    text = text.strip()
    if not text:
        return {}
    found = _json_object(text)
    if found is None:
        found = _json_object(_decoded(text))
    return _pairs(text) if found is None else found


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def _pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in text.split(","):
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise InvalidRequestError(
                'failed to parse metadata: it is a JSON object in a string ({"team": "core"}), or team=core,tier=web'
            )
        found[name.strip()] = value.strip()
    return found
