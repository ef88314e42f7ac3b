"""The headers of a request as an engine may see them: without the caller's token."""

from collections.abc import Iterator, Mapping
from typing import Any

_TOKENS = frozenset(("x-vault-token", "x-mimir-token", "authorization"))


class VeiledHeaders(Mapping[str, str]):
    """Looks through to the case-insensitive headers, all but those that carry a token."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> str:
        if name.lower() in _TOKENS:
            raise KeyError(name)
        return self._headers[name]

    def get(self, name: str, default: Any = None) -> Any:  # Mapping's own raises and catches a KeyError
        """The header, or `default`."""
        return default if name.lower() in _TOKENS else self._headers.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._headers if name.lower() not in _TOKENS)

    def __len__(self) -> int:
        return sum(1 for _ in self)
