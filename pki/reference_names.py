"""Names by which issuers and keys are referred to: how they are written, and that each is given once."""

import re

from core.errors import InvalidRequestError
from pki.authority import DEFAULT, Authority

_FORM = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9_])?")


def check_issuer_name(name: str, authority: Authority, *, but: str = "") -> None:
    """Raise InvalidRequestError unless an issuer may have that name; "" is none. `but`: the id of its present owner."""
    _check_form(name, "issuer")
    taken = authority.issuers.get(name) or authority.issuer_named(name)
    if name and taken is not None and taken.issuer_id != but:
        raise InvalidRequestError(f"issuer name already in use: {name}")


def check_key_name(name: str, authority: Authority, *, but: str = "") -> None:
    """Raise InvalidRequestError unless a key may have that name; "" is none. `but`: the id of its present owner."""
    _check_form(name, "key")
    taken = authority.keys.get(name) or authority.key_named(name)
    if name and taken is not None and taken.key_id != but:
        raise InvalidRequestError(f"key name already in use: {name}")


def _check_form(name: str, what: str) -> None:
    if name.lower() == DEFAULT:
        raise InvalidRequestError(f"reserved keyword 'default' can not be used as {what} name")
    if name and not _FORM.fullmatch(name):
        raise InvalidRequestError(
            f"{what} name contained invalid characters: it has 1 to 128 letters, digits, hyphens, dots and underscores,"
            " and neither begins nor ends with a hyphen or a dot"
        )
