"""Fills a stopped server: `python -m bench.inventory_rows DIRECTORY MOUNT-UUID ISSUER-ID COUNT EVERY`.

One of EVERY is revoked (50 if it is left out).

Bodies and terms are the engine's; where the certificate stands there are random bytes, for nothing here looks into it.
A process of its own, as bench.kv_rows.
"""

import asyncio
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from appliance.composition import hsm_settings
from appliance.config import Config
from appliance.processes.node import child_environment
from barrier.changes import ChangeRing
from barrier.seal import Barrier
from bench.inventory_names import REQUESTERS, ROLES, name_of
from core.clock import SystemClock
from core.protocols import CatalogRow
from pkcs11_glue.hsm import Hsm
from pki.certificates import CATALOG, Certificate, Known, State, encode_row
from pki.serials import format_serial
from tests.support.bulk_rows import insert_rows

_LONGEST = 90 * 86400  # seconds
_CERTIFICATE = 560  # bytes: a leaf of P-256
_REVOKED = 50  # one of so many


def rows(issuer_id: str, count: int, *, now: int, revoked: int = _REVOKED) -> Iterator[CatalogRow]:
    """Certificates of the last 30 days, valid for at most 90."""
    chance = random.Random(1)  # noqa: S311 - the same at every run
    for number in range(count):
        revoked_at = now - chance.randrange(86400) if number % revoked == 0 else 0
        name = name_of(number)
        body = Certificate(
            certificate=chance.randbytes(_CERTIFICATE),
            issuer_id=issuer_id,
            role=chance.choice(ROLES),
            way="sign",
            requester=chance.choice(REQUESTERS),
            common_name=name,
            names=(f"dns:{name}", f"uri:spiffe://example.com/{name}"),
            issued_at=now - chance.randrange(30 * 86400),
            revoked_at=revoked_at,
            reason="superseded" if revoked_at else "",
        )
        known = Known(
            serial=format_serial(chance.getrandbits(158) | 1 << 158),
            state=State.REVOKED if revoked_at else State.ISSUED,
            not_after=now + 3600 + chance.randrange(_LONGEST),
            body=body,
        )
        yield encode_row(known, with_terms=True)


async def fill(directory: Path, mount: str, issuer_id: str, *, count: int, revoked: int) -> None:
    """Open the stopped server's token and store as a worker does, and write the rows."""
    config = Config.dev(directory, "127.0.0.1:0", workers=1)
    os.environ.update(child_environment(config))
    ring_path = directory / "fill-ring"
    ChangeRing.create(ring_path).close()
    hsm = await Hsm.open(hsm_settings(config))
    barrier = await Barrier.open(config.store.url, ChangeRing.open(ring_path), hsm, clock=SystemClock())
    await barrier.unseal_from_hsm()
    made = rows(issuer_id, count, now=int(time.time()), revoked=revoked)
    await insert_rows(config.store.url, barrier.storage.keyring, f"logical/{mount}/{CATALOG}", made)
    await barrier.close()
    await hsm.close()
    ring_path.unlink()


if __name__ == "__main__":
    every = int(sys.argv[5]) if len(sys.argv) > 5 else _REVOKED
    asyncio.run(fill(Path(sys.argv[1]), sys.argv[2], sys.argv[3], count=int(sys.argv[4]), revoked=every))
