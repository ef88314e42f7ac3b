"""A throw-away server of each kind, for a whole session."""

from tests.support.mongo_server import mongo
from tests.support.postgres import postgres
from tests.support.redis_server import redis_server

__all__ = ["mongo", "postgres", "redis_server"]
