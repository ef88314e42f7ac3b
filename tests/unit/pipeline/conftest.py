"""Appliances on a fresh store."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.system.node import NodeInfo
from barrier.changes import ChangeRing
from barrier.schema import upgrade
from tests.support.clock import SettableClock
from tests.unit.pipeline.rig import NODE, MakeRig, Rig, make_rig


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipeline") / "store.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
async def make(empty_store: Path, tmp_path: Path) -> AsyncIterator[MakeRig]:
    """Workers of one node, each with its own caches."""
    shutil.copy(empty_store, tmp_path / "store.db")
    ChangeRing.create(tmp_path / "ring").close()
    clock = SettableClock()
    made: list[Rig] = []

    async def another(node: NodeInfo = NODE) -> Rig:
        hsm = made[0].hsm if made else None
        rig = await make_rig(f"sqlite:///{tmp_path}/store.db", tmp_path, clock, hsm=hsm, node=node)
        made.append(rig)
        return rig

    yield another
    for rig in made:
        await rig.stop()


@pytest.fixture
async def fresh(make: MakeRig) -> Rig:
    """Not initialised."""
    return await make()


@pytest.fixture
async def rig(fresh: Rig) -> Rig:
    """Initialised, with a shelf/ mounted."""
    await fresh.initialize()
    reply = await fresh.call("POST", "sys/mounts/shelf", {"type": "shelf"})
    assert reply.status == 204, reply.body
    assert (await fresh.call("GET", "sys/mounts")).status == 200  # the mount is made by the first request after
    return fresh
