"""A throw-away server of each kind, for a whole session."""

from tests.support.postgres import postgres

__all__ = ["postgres"]
