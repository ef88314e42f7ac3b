"""What transit adds to the encryption itself: `python bench/transit_engine.py`, from the project's root.

Runs the handlers as the pipeline calls them, over in-memory storage and software keys, and takes the keys' time off.
"""

import asyncio
import base64
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.bodies import parse_body
from core.clock import SystemClock
from core.engine import EngineContext, MountInfo
from core.protocols import AeadInput
from core.requests import Operation, Request
from tests.support.memory_storage import memory_storage
from tests.support.software_keys import SoftwareKeys
from transit.key_types import DEFAULT_TYPE, key_type
from transit.routes import TransitRoutes, create

ROUNDS = 30


async def _best(call: Callable[[], Awaitable[Any]], count: int) -> float:
    """Microseconds a call, the best of several rounds: the machine may be busy with other things."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(count):
            await call()
        best = min(best, (time.perf_counter() - start) / count * 1e6)
    return best


def _call(routes: TransitRoutes, operation: str, data: dict[str, Any]) -> Callable[[], Awaitable[Any]]:
    route = next(route for route in routes.routes if route.pattern == f"{operation}/{{name}}")
    method = route.methods[Operation.UPDATE]
    request = Request(
        request_id="bench",
        operation=Operation.UPDATE,
        mount_path="transit/",
        path=f"{operation}/bench",
        params={"name": "bench"},
        data=data,
    )
    body = parse_body(data, method.body)
    return lambda: method.handler(request, body)


async def main() -> None:
    """Print one line for each operation."""
    keys = SoftwareKeys()
    routes = create(
        EngineContext(
            mount=MountInfo(uuid="u", accessor="transit_1", type="transit", path="transit/"),
            storage=memory_storage().view("logical/u/"),
            keys=keys,
            clock=SystemClock(),
        )
    )
    assert isinstance(routes, TransitRoutes)  # noqa: S101 - a bench
    engine = routes._engine  # noqa: SLF001 - a bench looks inside
    await engine.create_key("bench", key_type(DEFAULT_TYPE))
    payload = os.urandom(64)
    plaintext = base64.b64encode(payload).decode()
    encrypt = _call(routes, "encrypt", {"plaintext": plaintext})
    ciphertext = (await encrypt()).data["ciphertext"]
    decrypt = _call(routes, "decrypt", {"ciphertext": ciphertext})
    batch = _call(routes, "encrypt", {"batch_input": [{"plaintext": plaintext}] * 100})
    wrapped = await engine.store.version(await engine.open_key("bench"), 1)
    one, hundred = [AeadInput(payload)], [AeadInput(payload)] * 100
    sealed = [AeadInput((await keys.encrypt(wrapped, one))[0])]

    for name, call, bare, items in (
        ("encrypt 64 B", encrypt, lambda: keys.encrypt(wrapped, one), 1),
        ("decrypt 64 B", decrypt, lambda: keys.decrypt(wrapped, sealed), 1),
        ("encrypt 100 x 64 B", batch, lambda: keys.encrypt(wrapped, hundred), 100),
    ):
        whole, key = await _best(call, 2000 // items), await _best(bare, 2000 // items)
        print(f"{name}: {(whole - key) / items:.1f} µs an item beside {key / items:.1f} µs in the keys")


if __name__ == "__main__":
    asyncio.run(main())
