"""A throw-away server of each kind, for a whole session."""

from tests.support.mariadb import mariadb
from tests.support.postgres import postgres

__all__ = ["mariadb", "postgres"]
