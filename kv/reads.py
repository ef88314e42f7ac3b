"""Who read a secret last, noted without a write on the way of a read."""

from core.requests import Request
from kv.store import OpenSecret


class ReadLog:
    """What a worker has seen of reads, until it is worth a write."""

    def note(self, opened: OpenSecret, request: Request) -> None:
        """The request is being answered with a value of the secret."""
