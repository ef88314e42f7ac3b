"""Fixtures of the lease tests."""

import pytest

from appliance.access.tokens import TokenEntry
from tests.unit.leases.world import Accounts, World, new_world


@pytest.fixture
def world() -> World:
    return new_world()


@pytest.fixture
def accounts(world: World) -> Accounts:
    return world.engines.mounted["root", "database/"][1]


@pytest.fixture
async def token(world: World) -> TokenEntry:
    return await world.tokens.add("tok1")
