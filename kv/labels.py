"""Names of labels."""

import re

from core.errors import InvalidRequestError

_LABEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def label_of(text: str) -> str:
    """A label as a caller names it; "" stays. AWS's AWSCURRENT and its kin are ours. Raises InvalidRequestError."""
    if not text:
        return ""
    label = text.lower().removeprefix("aws")
    if _LABEL.fullmatch(label) is None:
        raise InvalidRequestError(
            "a stage is current, previous, pending or a label of your own: up to 64 small letters, digits, _ and -"
        )
    return label
