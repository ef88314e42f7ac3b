"""Key material that the process must hold."""

import hmac
from typing import NoReturn


class Secret:
    """Bytes that no log, repr, pickle or traceback shows; `.expose()` is the one way in.

    Python cannot promise to wipe memory (docs/limits.md); this keeps secrets from leaking by accident.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def expose(self) -> bytes:
        """The bytes themselves."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a secret is no dictionary key

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")
