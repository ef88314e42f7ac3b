"""Leases on the real store of each engine."""

import pytest

from barrier.seal import Barrier
from tests.barrier.conftest import (
    barrier,
    node,
    postgres,
    postgres_template,
    shared_database,
    sqlite_template,
    url,
)
from tests.barrier.nodes import Node
from tests.unit.leases.world import Accounts, Engines, World, build

__all__ = ["barrier", "node", "postgres", "postgres_template", "shared_database", "sqlite_template", "url"]


@pytest.fixture
async def world(node: Node, barrier: Barrier) -> World:
    """One process on the store, with an engine at database/."""
    engines = Engines()
    engines.mount("database/")
    return build(node.clock, barrier.storage, engines)


@pytest.fixture
def accounts(world: World) -> Accounts:
    return world.engines.mounted["root", "database/"][1]
