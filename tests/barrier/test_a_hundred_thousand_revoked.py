"""A CRL of 100,000 entries from a real store: how long the housekeeper takes, and how long it holds others up."""

import asyncio
import resource
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from appliance.router import RouteTable
from core.engine import EngineContext, MountInfo
from core.protocols import Transaction
from pki.certificates import CATALOG, Certificate, Known, State, encode_row
from pki.crl_scope import scope_of
from pki.crl_wishes import wish
from pki.routes import create
from pki.serials import format_serial, new_serial
from tests.barrier.nodes import Node, initialize
from tests.unit.pki.pki_mount import Mount

COUNT, BATCH = 100_000, 1000
LIMIT = 5.0  # seconds: what the contract allows on a machine with a core to spare


async def revoke_many(mount: Mount) -> None:
    issuer = (await mount.parts.store.authority()).issuer("default")
    now = int(mount.clock.now())

    def row() -> Any:
        body = Certificate(certificate=bytes(600), issuer_id=issuer.issuer_id, revoked_at=now, reason="keyCompromise")
        known = Known(serial=format_serial(new_serial()), state=State.REVOKED, not_after=now + 86400, body=body)
        return encode_row(known, with_terms=True)

    for _ in range(COUNT // BATCH):
        rows = [row() for _ in range(BATCH)]

        async def write(txn: Transaction, rows: list[Any] = rows) -> None:
            for new in rows:
                await txn.put_row(CATALOG, new, cas=0)

        await mount.view.transact(write)
    await mount.view.transact(lambda txn: wish(txn, scope_of(issuer)))


@pytest.mark.heavy
async def test_a_crl_of_a_hundred_thousand_is_signed_in_seconds(sqlite_url: str, tmp_path: Path) -> None:
    node = Node(sqlite_url, tmp_path)
    barrier = await node.worker()
    await initialize(barrier)
    mount = Mount()
    mount.view = barrier.storage.view("logical/u/")
    info = MountInfo(uuid="u", accessor="pki_1", type="pki", path="pki/")
    mount.engine = create(EngineContext(mount=info, storage=mount.view, keys=mount.keys, clock=mount.clock))
    mount.parts, mount.routes = mount.engine.parts, RouteTable(mount.engine.routes)
    await mount.seed_root()
    await revoke_many(mount)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gaps: list[float] = []

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append(time.perf_counter() - began)

    watcher = asyncio.create_task(watch())
    began, cpu = time.perf_counter(), time.process_time()
    await mount.engine.housekeep()
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    watcher.cancel()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(f"took {took:.2f} s, CPU {cpu:.2f} s, longest gap {max(gaps):.3f} s, memory +{grown} MiB")  # noqa: T201 - a measurement
    raw = (await mount.call("read", "crl")).raw
    assert raw is not None
    assert len(x509.load_der_x509_crl(raw.body)) == COUNT
    await node.close()
    assert cpu < LIMIT
