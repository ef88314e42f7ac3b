"""Leases through the whole pipeline, of an engine that keeps numbered accounts."""

import asyncio

import pytest

from tests.unit.pipeline.rig import Reply, Rig


@pytest.fixture
async def bank(rig: Rig) -> Rig:
    """With accounts at bank/."""
    assert (await rig.call("POST", "sys/mounts/bank", {"type": "accounts"})).status == 204
    assert (await rig.call("GET", "sys/mounts")).status == 200  # the mount is made by the first request after
    return rig


async def opened(rig: Rig, role: str = "app", **more: object) -> str:
    reply = await rig.call("GET", f"bank/creds/{role}", **more)
    assert reply.status == 200, reply.body
    return str(reply.json["lease_id"])


async def looked_up(rig: Rig, lease_id: str) -> Reply:
    return await rig.call("PUT", "sys/leases/lookup", {"lease_id": lease_id})


async def test_a_lease_is_named_by_the_path_of_its_request(bank: Rig) -> None:
    lease_id = await opened(bank)
    assert lease_id.startswith("bank/creds/app/")
    assert lease_id.count("/") == 3
    assert (await bank.call("LIST", "sys/leases/lookup/bank/creds")).json["data"]["keys"] == ["app/"]


async def test_a_prefix_ends_at_a_slash(bank: Rig) -> None:
    short, long = await opened(bank, "app"), await opened(bank, "application")
    assert (await bank.call("PUT", "sys/leases/revoke-prefix/bank/creds/app")).status == 204
    assert (await looked_up(bank, short)).status == 400
    assert (await looked_up(bank, long)).status == 200


async def test_the_body_does_not_name_another_lease_than_the_path(bank: Rig) -> None:
    """A policy grants sys/leases/revoke/bank/creds/app/*, and sees no lease_id."""
    own, other = await opened(bank, "app"), await opened(bank, "payroll")
    token = await bank.child(
        'path "sys/leases/revoke/bank/creds/app/*" { capabilities = ["update"] }\n'
        'path "sys/leases/renew/bank/creds/app/*" { capabilities = ["update"] }'
    )
    for verb in ("revoke", "renew"):
        reply = await bank.call("PUT", f"sys/leases/{verb}/{own}", {"lease_id": other}, token=token)
        assert reply.status == 400, reply.body
    assert (await looked_up(bank, other)).status == 200
    assert (await bank.call("PUT", f"sys/leases/revoke/{own}", {"lease_id": own}, token=token)).status == 204


async def test_no_lease_outlives_a_mount_that_is_disabled_while_its_engine_works(bank: Rig) -> None:
    mounted = bank.made.mounts.find("bank/creds/app")
    assert mounted is not None
    found = mounted.routes.find("creds/app")
    assert found is not None
    engine, entered, go_on = mounted.engine, asyncio.Event(), asyncio.Event()
    role = engine._role

    async def slow(name: str) -> object:
        entered.set()
        await go_on.wait()
        return await role(name)

    engine._role = slow
    asking = asyncio.ensure_future(bank.call("GET", "bank/creds/app"))
    await entered.wait()
    removed = bank.made.store.remove

    async def hold(entry: object) -> bool:
        go_on.set()
        assert (await asking).status >= 400  # what it opened is closed again
        return await removed(entry)

    bank.made.store.remove = hold
    assert (await bank.call("DELETE", "sys/mounts/bank")).status == 204
    assert await bank.barrier.storage.count_records("lease") == 0
