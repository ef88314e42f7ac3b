"""Takes secrets out of what a database says: its errors quote the statement that failed."""

import re
from collections.abc import Iterable

_ERRNO = re.compile(r"^\[Errno -?\d+\] ")  # how Python begins what the system said
_LONGEST = 500  # characters
_SHORTEST = 4  # characters of a secret that is looked for: "x" stands in every sentence
HIDDEN = "***"


def scrubbed(text: object, secrets: Iterable[str]) -> str:
    """`text` on one line, without any of the secrets, in whole or as a database quotes them; at most 500 characters."""
    found = _ERRNO.sub("", " ".join(str(text).split()))
    forms = {
        form
        for secret in secrets
        if len(secret) >= _SHORTEST
        for form in (secret, secret.replace("'", "''"), secret.replace("\\", "\\\\"))
    }
    for secret in sorted(forms, key=len, reverse=True):
        found = found.replace(secret, HIDDEN)
    return found[:_LONGEST]
