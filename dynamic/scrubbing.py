"""Takes secrets out of what a database says: its errors quote the statement that failed."""

from collections.abc import Iterable

_LONGEST = 500  # characters
_SHORTEST = 4  # characters of a secret that is looked for: "x" stands in every sentence
HIDDEN = "***"


def scrubbed(text: object, secrets: Iterable[str]) -> str:
    """`text` on one line, without any of the secrets, in whole or as a database quotes them; at most 500 characters."""
    found = " ".join(str(text).split())
    forms = {
        form
        for secret in secrets
        if len(secret) >= _SHORTEST
        for form in (secret, secret.replace("'", "''"), secret.replace("\\", "\\\\"))
    }
    for secret in sorted(forms, key=len, reverse=True):
        found = found.replace(secret, HIDDEN)
    return found[:_LONGEST]
