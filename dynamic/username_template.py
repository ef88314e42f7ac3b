"""Vault's `username_template`: the part of Go's text/template that makes names."""

from dataclasses import dataclass
from functools import lru_cache

from core.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class UsernameTemplate:
    """A template that was parsed."""

    text: str
    longest: int

    def render(self, *, role: str, display_name: str) -> str:
        """A name. Raises InvalidRequestError when it comes out empty, too long, or with characters no name has."""
        raise InvalidRequestError(f"username_template is not understood: {self.text!r} for {role}, {display_name}")


@lru_cache(maxsize=256)
def parse_template(text: str, *, longest: int) -> UsernameTemplate:
    """Raises InvalidRequestError that says where it is wrong."""
    return UsernameTemplate(text, longest)
