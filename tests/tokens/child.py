"""A process that is killed in the middle of deleting a tree: `python -m tests.tokens.child URL RING RECORD_ID`."""

import asyncio
import os
import resource
import sys
from pathlib import Path

from appliance.access import token_trees
from appliance.access.tokens import TokenStore
from barrier.changes import ChangeRing
from barrier.seal import Barrier
from tests.support.clock import SettableClock
from tests.unit.barrier.software_hsm import SoftwareHsm


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB


async def main() -> None:
    url, ring_path, record_id = sys.argv[1:]
    barrier = await Barrier.open(url, ChangeRing.open(Path(ring_path)), SoftwareHsm(), clock=SettableClock())
    await barrier.unseal_from_hsm()
    tokens = TokenStore(barrier.storage, SettableClock())
    await tokens.open()
    before = peak()
    transact = barrier.storage.transact

    async def told(body):
        result = await transact(body)
        say(f"step {peak() - before}")
        return result

    barrier.storage.transact = told  # type: ignore[method-assign]  # tells the test where we are
    token_trees._INLINE = 10**9
    await tokens.revoke(record_id)
    say("done")


if __name__ == "__main__":
    asyncio.run(main())
