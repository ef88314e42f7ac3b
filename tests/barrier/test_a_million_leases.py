"""A million leases in the store: what is looked for comes in milliseconds, and opening the barrier reads none."""

import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from barrier.seal import Barrier
from core.protocols import Record
from tests.barrier.nodes import Node
from tests.support.bulk_records import insert_records

COUNT = 1_000_000
ROLES = 10
NOW = 1_800_000_000

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(600)]


def leases() -> Iterator[Record]:
    for number in range(COUNT):
        path = f"root/database/creds/role-{number % ROLES}/{number:026}"
        parent = f"token-{number // 100}"
        yield Record(record_id=f"{number:064x}", body=b"x" * 300, expires_at=NOW + number, parent=parent, path=path)


async def milliseconds(work: Callable[[], Awaitable[object]]) -> float:
    """The best of five: others use this machine too."""
    taken = []
    for _ in range(5):
        begin = time.perf_counter()
        await work()
        taken.append(time.perf_counter() - begin)
    return min(taken) * 1000


async def test_a_million_leases(node: Node, barrier: Barrier) -> None:
    await insert_records(node.url, barrier.storage.keyring, "lease", leases())
    storage = barrier.storage
    role = "root/database/creds/role-3/"
    assert await storage.count_records("lease") == COUNT
    assert await storage.count_records("lease", role) == COUNT // ROLES
    times = {
        "page of a prefix": await milliseconds(lambda: storage.records_below("lease", role, limit=100)),
        "page behind a path": await milliseconds(
            lambda: storage.records_below("lease", role, after=f"{role}{COUNT // 2:026}", limit=100)
        ),
        "expired": await milliseconds(lambda: storage.expired_records("lease", before=NOW + 5000, limit=100)),
        "none expired": await milliseconds(lambda: storage.expired_records("lease", before=NOW - 1, limit=100)),
        "children": await milliseconds(lambda: storage.child_records("lease", "token-4711", limit=100)),
        "names": await milliseconds(lambda: storage.record_names("lease", "root/database/creds/")),
        "count of a role": await milliseconds(lambda: storage.count_records("lease", role)),
        "count of all": await milliseconds(lambda: storage.count_records("lease")),
    }
    begin = time.perf_counter()
    fresh = await node.worker()
    await fresh.unseal_from_hsm()
    times["another worker opens"] = (time.perf_counter() - begin) * 1000
    slow = {"count of a role": 200, "count of all": 1000, "another worker opens": 500}  # counting reads the index
    assert {name: taken for name, taken in times.items() if taken > slow.get(name, 50)} == {}
