"""Names, metadata and policies as they come from outside: checked here, once.

Values that could change what a templated policy means (line breaks and other control characters) are refused; the
access list refuses those with wildcards and slashes where a template asks for them.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from appliance.access.policy_text import policy_name
from core.errors import InvalidRequestError

MAX_PAIRS = 64  # Vault's limits on metadata
MAX_KEY = 128  # bytes
MAX_VALUE = 512
MAX_NAME = 512  # bytes
MAX_POLICIES = 256
MAX_ACCESSOR = 128
_LOGIN_METADATA = 64 * 1024  # characters; what methods take from an identity provider

_UNASSIGNABLE = {
    "root": "policies cannot contain root",
    "response-wrapping": "policies cannot contain response-wrapping",
}


def check_name(name: str, *, field: str = "name") -> str:
    """The name as it stands. Raises InvalidRequestError that names `field`."""
    if not name or len(name.encode("utf-8", "surrogatepass")) > MAX_NAME:
        raise InvalidRequestError(f"{field} must have 1 to {MAX_NAME} bytes")
    _check_characters(name, field=field)
    if name != name.strip():
        raise InvalidRequestError(f"{field} must not begin or end with a blank")
    return name


def check_metadata(pairs: Mapping[str, str], *, field: str = "metadata") -> dict[str, str]:
    """Within Vault's limits. Raises InvalidRequestError that names `field`, never a value."""
    if len(pairs) > MAX_PAIRS:
        raise InvalidRequestError(f"{field} may hold at most {MAX_PAIRS} keys")
    for key, value in pairs.items():
        if not 0 < len(key.encode("utf-8", "surrogatepass")) <= MAX_KEY:
            raise InvalidRequestError(f"the keys of {field} must have 1 to {MAX_KEY} bytes")
        if not len(value.encode("utf-8", "surrogatepass")) <= MAX_VALUE:
            raise InvalidRequestError(f"the values of {field} may have at most {MAX_VALUE} bytes")
        _check_characters(key, field=f"the keys of {field}")
        _check_characters(value, field=f"the values of {field}")
    return dict(pairs)


def check_login_metadata(pairs: Mapping[str, str]) -> dict[str, str]:
    """What a login method notes on an alias: bounded, but otherwise as the identity provider spells it."""
    if sum(len(key) + len(value) for key, value in pairs.items()) > _LOGIN_METADATA:
        raise InvalidRequestError(f"the metadata of a login may have at most {_LOGIN_METADATA} characters")
    return dict(pairs)


def check_policies(names: Iterable[str]) -> tuple[str, ...]:
    """Policy names, sorted. Raises InvalidRequestError, also for "root" however it is spelled."""
    found = tuple(sorted({policy_name(name) for name in names}))
    for name in found:
        if name in _UNASSIGNABLE:
            raise InvalidRequestError(_UNASSIGNABLE[name])
    if len(found) > MAX_POLICIES:
        raise InvalidRequestError(f"at most {MAX_POLICIES} policies can be assigned")
    return found


def parse_pairs(given: object, *, field: str = "metadata") -> dict[str, str] | None:
    """String to string from an object, or from "key=value" texts as the command line sends them; None for nothing."""
    if given is None:
        return None
    if isinstance(given, Mapping):
        return {str(key): _text(value, field) for key, value in given.items()}
    texts: list[Any] = [given] if isinstance(given, str) else list(given) if isinstance(given, list | tuple) else [None]
    pairs = {}
    for text in texts:
        if text == "":
            continue
        key, equals, value = text.partition("=") if isinstance(text, str) else ("", "", "")
        if not key or not equals:
            raise InvalidRequestError(f'{field} must be an object whose values are strings, or texts like "key=value"')
        pairs[key.strip()] = value.strip()
    return pairs


def _text(value: object, field: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float | None):
        raise InvalidRequestError(f"{field} must be an object whose values are strings")
    return "" if value is None else str(value)


def _check_characters(text: str, *, field: str) -> None:
    if text.isprintable():  # none of them is; looking at each character takes a login longer than all its hashes
        return
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in text):
        raise InvalidRequestError(f"{field} must not hold control characters")
