"""Names of issuers and keys: how they look, and that no two are the same."""

import re

from core.errors import InvalidRequestError
from core.ids import is_uuid
from pki.authority import DEFAULT, Authority

_NAME = re.compile(r"\w(?:[\w.-]{0,253}\w)?", re.ASCII)


def check_issuer_name(name: str, authority: Authority, *, own_id: str = "") -> None:
    """Raise InvalidRequestError for a name that cannot be one, or that another issuer has. "" is no name."""
    _check_form(name, "issuer")
    other = authority.issuer_named(name) if name else None
    if other is not None and other.issuer_id != own_id:
        raise InvalidRequestError(f"issuer name {name!r} already in use")


def check_key_name(name: str, authority: Authority, *, own_id: str = "") -> None:
    """Raise InvalidRequestError for a name that cannot be one, or that another key has. "" is no name."""
    _check_form(name, "key")
    other = authority.key_named(name) if name else None
    if other is not None and other.key_id != own_id:
        raise InvalidRequestError(f"key name {name!r} already in use")


def _check_form(name: str, what: str) -> None:
    if not name:
        return
    if name == DEFAULT:
        raise InvalidRequestError(f'reserved keyword "default" can not be used as {what} name')
    if not _NAME.fullmatch(name) or is_uuid(name):
        raise InvalidRequestError(
            f"the {what} name has letters, digits and underscores, and hyphens and dots inside; a UUID is none"
        )
