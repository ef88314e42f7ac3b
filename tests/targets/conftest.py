"""Throw-away servers of each kind, for a whole session."""

from tests.support.mariadb import mariadb
from tests.support.mongo_server import mongo
from tests.support.postgres import postgres
from tests.support.redis_server import redis_server

__all__ = ["mariadb", "mongo", "postgres", "redis_server"]
