"""The tests' engine from another distribution: found by its entry point, and leasing as the contract says."""

import sys
from pathlib import Path

import msgspec
import pytest

from appliance.mount_table import MountEntry
from appliance.namespaces import ROOT
from appliance.pipeline.catalog import EngineCatalog
from appliance.router import RouteTable
from core.bodies import parse_body
from core.engine import EngineContext, LeasingEngine
from core.errors import InvalidRequestError
from core.requests import Operation, Request
from tests.unit.leases.world import Accounts

DISTRIBUTION = Path(__file__).resolve().parents[2] / "support" / "leasing_distribution"
MOUNT = MountEntry(uuid="u-robots", accessor="acc_robots", type="accounts", path="robots/")


@pytest.fixture
def engine(world, monkeypatch):
    monkeypatch.syspath_prepend(str(DISTRIBUTION))
    create = EngineCatalog().factory("accounts")
    made = create(
        EngineContext(mount=MOUNT.info(), storage=world.storage.view("logical/u-robots/"), keys=None, clock=world.clock)
    )
    world.engines.mounted["root", "robots/"] = (MOUNT, made)
    yield made
    sys.modules.pop("leasing_accounts")


async def ask(engine, operation, path, data=None):
    route, params = RouteTable(engine.routes).find(path)
    method = route.methods[operation]
    request = Request(request_id="r", operation=operation, mount_path="robots/", path=path, params=params)
    return await method.handler(request, parse_body(data or {}, method.body))


async def opened(world, engine, token, role="app"):
    await world.storage.put(MOUNT.row, msgspec.json.encode(MOUNT))
    response = await ask(engine, Operation.READ, f"creds/{role}")
    return await world.leases.register_or_undo(
        response.lease, namespace="root", mount=MOUNT, path=f"creds/{role}", token=token, engine=engine
    )


async def test_an_account_lives_as_long_as_its_lease(world, token, engine):
    assert isinstance(engine, LeasingEngine)
    await ask(engine, Operation.UPDATE, "roles/app", {"ttl": "10m", "max_ttl": "1h"})
    grant = await opened(world, engine, token)
    assert (grant.ttl, grant.max_ttl) == (600, 3600)
    await world.leases.renew(grant.lease_id, within=ROOT, increment=1200)
    account = (await ask(engine, Operation.READ, "accounts/1")).data
    assert account == {"role": "app", "valid_until": int(world.clock.now()) + 1200}
    world.clock.advance(1200)
    await world.leases.expire_due()
    assert (await ask(engine, Operation.READ, "revocations")).data == {"count": 1}


@pytest.mark.parametrize("trouble", [{"revoke": "the account is locked"}, {"away": True}, {"crash": True}])
async def test_its_revocations_can_fail(world, token, engine, trouble):
    grant = await opened(world, engine, token)
    await ask(engine, Operation.UPDATE, "trouble", trouble)
    with pytest.raises(InvalidRequestError, match="could not take back") as caught:
        await world.leases.revoke(grant.lease_id, within=ROOT)
    assert "hunter2" not in caught.value.sentence
    assert (await ask(engine, Operation.LIST, "accounts")).data == {"keys": ["1"]}


def test_a_struct_without_leases_is_no_leasing_engine():
    assert isinstance(Accounts(), LeasingEngine)
    assert not isinstance(msgspec.Struct(), LeasingEngine)
