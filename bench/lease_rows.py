"""Fills leases into a stopped development server: `python -m bench.lease_rows DIRECTORY MOUNT COUNT ROLES`.

They are leases of the tests' accounts engine at robots/, sealed as the barrier seals them, but written past it: through
the API a million would take an hour. A process of its own, since SoftHSM reads its configuration when it is loaded.
"""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from appliance.composition import hsm_settings
from appliance.config import Config
from appliance.leases.entries import KIND, LeaseEntry
from appliance.processes.node import child_environment
from barrier.changes import ChangeRing
from barrier.seal import Barrier
from core.clock import SystemClock
from core.protocols import Record
from pkcs11_glue.hsm import Hsm
from tests.support.bulk_records import insert_records

LIFETIME = 86_400  # seconds; nothing of it is due while it is measured
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def rows(mount: str, *, count: int, roles: int) -> Iterator[Record]:
    """The leases, spread over the roles."""
    now = int(time.time())
    for number in range(count):
        role = f"role-{number % roles:03d}"
        yield LeaseEntry(
            lease_id=f"robots/creds/{role}/{_base62(number)}",
            namespace="root",
            mount=mount,
            path=f"creds/{role}",
            issue_time=now,
            first_ttl=LIFETIME,
            ttl=LIFETIME,
            max_ttl=2 * LIFETIME,
            expires_at=now + LIFETIME,
            renewable=True,
            internal={"account": 10_000_000 + number, "role": role},
            due=now + LIFETIME + number % 3600,
        ).record()


def _base62(number: int) -> str:
    text = ""
    while number:
        number, digit = divmod(number, 62)
        text = _DIGITS[digit] + text
    return text.rjust(24, "0")


async def fill(directory: Path, mount: str, *, count: int, roles: int) -> None:
    """Open the stopped server's token and store as a worker does, and write the rows."""
    config = Config.dev(directory, "127.0.0.1:0", workers=1)
    os.environ.update(child_environment(config))
    ring_path = directory / "fill-ring"
    ChangeRing.create(ring_path).close()
    hsm = await Hsm.open(hsm_settings(config))
    barrier = await Barrier.open(config.store.url, ChangeRing.open(ring_path), hsm, clock=SystemClock())
    await barrier.unseal_from_hsm()
    keyring = barrier.storage.keyring
    await insert_records(config.store.url, keyring, KIND, rows(mount, count=count, roles=roles))
    await barrier.close()
    await hsm.close()
    ring_path.unlink()


if __name__ == "__main__":
    asyncio.run(fill(Path(sys.argv[1]), sys.argv[2], count=int(sys.argv[3]), roles=int(sys.argv[4])))
