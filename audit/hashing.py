"""Secrets as keyed hashes, so that an auditor can look for a value without being able to read one."""

import hashlib
from typing import Any

import msgspec

from core.secret import Secret

PREFIX = "hmac-sha256:"
_BLOCK = 64  # bytes of a SHA-256 block (FIPS 180-4)
_REMEMBERED = 8192  # tokens and accessors; about 2 MB


class Hasher:
    """HMAC-SHA-256 (FIPS 198-1) under one device's key, as `sys/audit-hash` answers it: `hmac-sha256:<hex>`."""

    def __init__(self, key: Secret) -> None:
        """`key` is at most one block long, as every key that Mimir makes for this is."""
        padded = key.expose().ljust(_BLOCK, b"\0")
        if len(padded) != _BLOCK:
            raise RuntimeError("an audit key is at most 64 bytes")
        # copies of the two keyed states cost a third of hmac.digest, which looks its algorithm up on each call
        self._inner = hashlib.sha256(bytes(octet ^ 0x36 for octet in padded))
        self._outer = hashlib.sha256(bytes(octet ^ 0x5C for octet in padded))
        self._known: dict[str, str] = {}
        self._nothing = ""
        self._nothing = self.text("")

    def text(self, value: str) -> str:
        """The hash of a string's UTF-8 form."""
        if not value and self._nothing:  # batches have one in each item
            return self._nothing
        inner = self._inner.copy()
        inner.update(value.encode("utf-8", "surrogatepass"))
        outer = self._outer.copy()
        outer.update(inner.digest())
        return PREFIX + outer.hexdigest()

    def recurring(self, value: str) -> str:
        """`text`, remembered: for tokens and accessors. Nothing stays nothing."""
        found = self._known.get(value)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[value] = self.text(value) if value else ""
        return found

    def data(self, value: Any) -> Any:
        """A copy in which every string is its hash, at any depth; names, numbers, booleans and null stay."""
        kind = type(value)
        if kind is str:
            return self.text(value)
        if kind is dict:
            return self.members(value)
        if kind is list or kind is tuple:
            return [self.members(member) if type(member) is dict else self.data(member) for member in value]
        if value is None or kind is bool or kind is int or kind is float:
            return value
        return self._unusual(value)

    def members(self, value: dict[Any, Any]) -> dict[str, Any]:
        """`data` of an object; what nearly all members are (strings and numbers) is seen to without a call more."""
        text, hashed = self.text, {}
        for name, member in value.items():
            kind = type(member)
            if kind is str:
                member = text(member)  # noqa: PLW2901 - its hash takes its place
            elif kind is not int:
                member = self.data(member)  # noqa: PLW2901 - as above
            hashed[name if type(name) is str else str(name)] = member
        return hashed

    def _unusual(self, value: object) -> object:
        """What is not JSON yet. It becomes JSON first; what cannot is hashed as one string."""
        if isinstance(value, str):
            return self.text(str(value))
        if isinstance(value, msgspec.Raw):  # a number, of which every digit is kept
            return value
        if isinstance(value, dict):
            return self.members(value)
        try:
            return self.data(msgspec.to_builtins(value, str_keys=True))
        except (TypeError, ValueError, RecursionError):
            return self.text(repr(value))
