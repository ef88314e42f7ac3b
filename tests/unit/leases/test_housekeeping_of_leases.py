"""The housekeeper revokes what is due and works off jobs; no kind of work waits for another."""

import asyncio
import contextlib
from typing import Any, cast

import pytest

from appliance import housekeeping
from appliance.housekeeping import Housekeeping
from appliance.namespaces import ROOT
from core.errors import StoreUnavailableError


class Open:
    """A lifecycle that is unsealed."""

    ready = True

    def is_settled(self) -> bool:
        return True


class ExpiringTokens:
    def __init__(self) -> None:
        self.looks = 0

    async def revoke_expired(self, _limit: int) -> int:
        self.looks += 1
        return 0


@pytest.fixture(autouse=True)
def short_periods(monkeypatch):
    monkeypatch.setattr(housekeeping, "_PERIOD", 0.001)


@contextlib.asynccontextmanager
async def kept(world, tokens=None, **settings):
    """The housekeeper at work."""
    expiring = cast("Any", tokens or ExpiringTokens())
    keeping = Housekeeping(cast("Any", Open()), expiring, sync=lambda: None, leases=world.leases, **settings)
    task = asyncio.create_task(keeping.run())
    try:
        async with asyncio.timeout(5):
            yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(reached):
    while not reached():  # noqa: ASYNC110 - what is watched sets no event
        await asyncio.sleep(0.001)


async def test_what_is_due_is_revoked_to_the_last(world, token, accounts):
    for _ in range(120):
        await world.grant(token, ttl=60)
    world.clock.advance(60)
    async with kept(world):
        await until(lambda: len(accounts.revoked) == 120)


async def test_jobs_are_worked_off(world, token, accounts):
    for _ in range(20):
        await world.grant(token)
    job = await world.operations.revoke_below("database", within=ROOT, by="ops", wait=False)
    async with kept(world):
        await until(lambda: len(accounts.revoked) == 20)
        while not (await world.leases.jobs.find(job.job_id)).finished:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)


async def test_a_slow_engine_delays_no_tokens(world, token, accounts):
    await world.grant(token, ttl=60)
    accounts.gate = asyncio.Event()
    world.clock.advance(60)
    tokens = ExpiringTokens()
    async with kept(world, tokens):
        await accounts.entered.wait()
        before = tokens.looks
        await until(lambda: tokens.looks > before + 3)
        assert accounts.inside == 1


async def test_an_error_of_one_kind_of_work_stops_no_other(world, token, accounts):
    class Failing(ExpiringTokens):
        async def revoke_expired(self, limit: int) -> int:
            await super().revoke_expired(limit)
            raise StoreUnavailableError("away") if self.looks % 2 else RuntimeError("a fault of ours")

    await world.grant(token, ttl=60)
    world.clock.advance(60)
    tokens = Failing()
    async with kept(world, tokens):
        await until(lambda: accounts.revoked and tokens.looks > 3)


async def test_the_engines_are_those_of_the_mount_table_before_each_batch(world, token, accounts):
    """Another process may have mounted one a moment ago."""
    grant = await world.grant(token, ttl=60)
    mounted, world.engines.mounted = world.engines.mounted, {}
    world.clock.advance(60)

    async def follow() -> None:
        world.engines.mounted = mounted

    async with kept(world, follow=follow):
        await until(lambda: accounts.revoked == [grant.lease_id])
