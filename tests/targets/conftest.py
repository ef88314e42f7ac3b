"""Throw-away servers of each kind, for a whole session."""

from tests.support.mariadb import mariadb
from tests.support.postgres import postgres
from tests.support.redis_server import redis_server

__all__ = ["mariadb", "postgres", "redis_server"]
