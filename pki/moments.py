"""Moments as Vault's API writes them: RFC 3339, in seconds since the epoch here."""

from datetime import UTC, datetime

from core.errors import InvalidRequestError
from pki.plan import NO_EXPIRY


def parse_moment(text: str, member: str) -> int:
    """Epoch seconds, a fraction cut off. Raises InvalidRequestError that names the member."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or "T" not in text:
        raise InvalidRequestError(f'{member} must be a moment as RFC 3339 writes it: "2030-01-31T00:00:00Z"')
    try:
        seconds = int(found.timestamp())
    except (OverflowError, ValueError):
        seconds = -1
    if not 0 <= seconds <= NO_EXPIRY:
        raise InvalidRequestError(f"{member} must lie between 1970 and 9999")
    return seconds


def format_moment(seconds: int) -> str:
    """2030-01-31T00:00:00Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
