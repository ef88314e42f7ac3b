"""A user: a password hash, and what the tokens of the user's logins may do."""

import re

import msgspec

from auth.token_fields import TokenBody, TokenFields
from auth.userpass.passwords import MAX_PASSWORD
from core.bodies import Duration, StringList
from core.errors import InvalidRequestError

_NAME = re.compile(r"\w(?:[\w.-]{0,254}\w)?", re.ASCII)


class UserBody(TokenBody):
    """users/<name>; what is left out stays as it is."""

    password: str | None = None
    password_hash: str | None = None
    policies: StringList | None = None
    ttl: Duration | None = None
    max_ttl: Duration | None = None
    bound_cidrs: StringList | None = None


class User(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A user as stored."""

    name: str  # in lower case
    password_hash: str  # PHC string format
    token: TokenFields = TokenFields()
    format: int = 1


def is_user_name(name: str) -> bool:
    """Whether a user can be called that."""
    return _NAME.fullmatch(name) is not None


def user_name(name: str) -> str:
    """The name as it is stored. Raises InvalidRequestError."""
    if not is_user_name(name):
        raise InvalidRequestError(
            "a user's name is 1 to 256 letters, digits and _ - . ; it begins and ends with a letter or digit"
        )
    return name.lower()


def check_password(password: str) -> None:
    """Raise InvalidRequestError unless this can be a password. It is not repeated in the error."""
    if not password:
        raise InvalidRequestError("missing password")
    if len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD:
        raise InvalidRequestError(f"password must be at most {MAX_PASSWORD} bytes long")


def check_no_hash(password_hash: str | None) -> None:
    """Raise InvalidRequestError for bcrypt hashes, which Vault takes."""
    if password_hash:
        raise InvalidRequestError(
            "password_hash is not available: send the password itself; it is kept as an Argon2id hash"
        )
