"""Throw-away servers of each kind, for a whole session."""

from tests.support.mariadb import mariadb
from tests.support.mongo_server import mongo
from tests.support.postgres import postgres
from tests.support.redis_server import redis_server
from tests.targets.mysql_shop import a_target, shop, who

__all__ = ["a_target", "mariadb", "mongo", "postgres", "redis_server", "shop", "who"]
