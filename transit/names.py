"""What a key may be called, and the key that a path names."""

import re

from core.errors import InvalidRequestError
from core.requests import Request
from transit.errors import UnknownKeyError
from transit.store import KeyStore, OpenKey

_NAME = re.compile(r"\w(?:[\w.-]{0,254}\w)?", re.ASCII)


def is_key_name(name: str) -> bool:
    """Whether a key may be called that."""
    return _NAME.fullmatch(name) is not None


def key_name(request: Request, param: str = "name") -> str:
    """The name in the path. Raises InvalidRequestError if no key may be called that."""
    name = request.params[param]
    check_key_name(name)
    return name


def check_key_name(name: str) -> None:
    """Raises InvalidRequestError."""
    if not is_key_name(name):
        raise InvalidRequestError(
            "a key's name is 1 to 256 letters, digits, '_', '-' and '.'; it does not begin or end with '-' or '.'"
        )


async def key_in_path(store: KeyStore, request: Request, *, otherwise: str) -> OpenKey:
    """The key that the path names. Raises UnknownKeyError with the sentence `otherwise`."""
    found = store.peek(request.params["name"])
    if found is None and (found := await store.find(key_name(request))) is None:
        raise UnknownKeyError(otherwise)
    return found
