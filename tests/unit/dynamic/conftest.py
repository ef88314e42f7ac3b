"""Servers that are databases."""

from tests.support.memory_target import memory_plugin, server
from tests.support.postgres import postgres

__all__ = ["memory_plugin", "postgres", "server"]
