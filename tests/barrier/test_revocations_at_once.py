"""Many certificates of one issuer revoked at once by two workers, while a third process signs CRLs."""

import asyncio

from appliance.events.record import Announcer
from appliance.mount_table import MountEntry
from appliance.pipeline.mount_view import MountView
from appliance.router import RouteTable
from barrier.seal import Barrier
from core.engine import EngineContext
from core.protocols import Transaction
from pki.certificates import CATALOG, Certificate, Known, State, encode_row
from pki.routes import create
from pki.serials import format_serial, new_serial
from tests.barrier.nodes import Node
from tests.unit.pki.pki_mount import Mount
from tests.unit.pki.test_pki_crl import crl_of

COUNT = 48


ENTRY = MountEntry(uuid="u", accessor="pki_1", type="pki", path="pki/")


def mounted(barrier: Barrier, like: Mount) -> Mount:
    """A worker's engine on a real store."""
    mount = Mount(keys=like.keys, clock=like.clock)
    announcer = Announcer(ENTRY, mount.clock)
    mount.view = MountView(barrier.storage, prefix=ENTRY.data_prefix, row=ENTRY.row, announcer=announcer)
    mount.engine = create(EngineContext(mount=ENTRY.info(), storage=mount.view, keys=mount.keys, clock=mount.clock))
    mount.parts, mount.routes = mount.engine.parts, RouteTable(mount.engine.routes)
    return mount


async def another(node: Node) -> Barrier:
    worker = await node.worker()
    await worker.unseal_from_hsm()
    return worker


async def seed(mount: Mount) -> list[str]:
    """Serial numbers of certificates that nobody signed."""
    issuer_id, now = await mount.seed_root(), int(mount.clock.now())
    body = Certificate(certificate=bytes(600), issuer_id=issuer_id, way="issue", issued_at=now)
    serials = [format_serial(new_serial()) for _ in range(COUNT)]
    rows = [
        encode_row(Known(serial=serial, state=State.ISSUED, not_after=now + 9000, body=body), with_terms=True)
        for serial in serials
    ]

    async def write(txn: Transaction) -> None:
        await txn.put_rows(CATALOG, rows, cas=0)

    await mount.view.transact(write)
    return serials


async def test_none_of_them_is_missing_on_the_crl_in_the_end(node: Node, barrier: Barrier) -> None:
    """A wish that is written beside one that the housekeeper is just fulfilling is not lost in it."""
    await barrier.storage.put(ENTRY.row, b"a mount")
    first = mounted(barrier, Mount())
    serials = await seed(first)
    second, third = [mounted(await another(node), first) for _ in range(2)]
    done = False

    async def keep_house() -> None:
        while not done:
            await third.engine.housekeep()
            await asyncio.sleep(0)

    keeping = asyncio.create_task(keep_house())
    await asyncio.gather(
        *(
            (first, second)[place % 2].data("update", "revoke", {"serial_number": serial})
            for place, serial in enumerate(serials)
        )
    )
    done = True
    await keeping
    for _ in range(100):  # a CRL that took long rests first
        await third.engine.housekeep()
        listed = {format_serial(row.serial_number) for row in await crl_of(third)}
        if listed == set(serials):
            break
        await asyncio.sleep(0.05)
    assert listed == set(serials)
