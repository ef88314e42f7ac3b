"""A process that is killed in the middle of something: `python -m tests.leases.child ROLE URL RING TARGET`.

What its engine revokes is appended to the file TARGET, which stands for a database outside.
"""

import asyncio
import os
import sys
from pathlib import Path

from barrier.changes import ChangeRing
from barrier.seal import Barrier
from core.engine import Lease
from core.requests import LeaseGrant
from tests.support.clock import SettableClock
from tests.unit.barrier.software_hsm import SoftwareHsm
from tests.unit.leases.world import Engines, World, build


class Target:
    def __init__(self, path: Path) -> None:
        self._path = path

    async def renew_lease(self, lease: Lease, *, increment: int) -> LeaseGrant:
        raise NotImplementedError

    async def revoke_lease(self, lease: Lease) -> None:
        await asyncio.sleep(0.001)
        with self._path.open("a") as target:
            target.write(f"{lease.lease_id}\n")


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def work(world: World) -> None:
    while True:
        await world.leases.worker.work()
        say("batch")


async def expire(world: World) -> None:
    world.clock.advance(4000)
    while True:
        await world.leases.expire_due()
        say("batch")


async def grant(world: World) -> None:
    token = await world.tokens.add("child")
    while True:
        say((await world.grant(token)).lease_id)


async def main() -> None:
    role, url, ring_path, target = sys.argv[1:]
    barrier = await Barrier.open(url, ChangeRing.open(Path(ring_path)), SoftwareHsm(), clock=SettableClock())
    await barrier.unseal_from_hsm()
    engines = Engines()
    engines.mount("database/")
    mount, _ = engines.mounted["root", "database/"]
    engines.mounted["root", "database/"] = (mount, Target(Path(target)))
    await {"work": work, "expire": expire, "grant": grant}[role](build(SettableClock(), barrier.storage, engines))


if __name__ == "__main__":
    asyncio.run(main())
