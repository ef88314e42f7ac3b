"""What recognising a token costs a request: `python bench/token_peek.py [rounds]`, from the project's root.

Times `TokenStore.peek` on a child of the root token, on a batch token, and on a batch token that has a parent; and what
opening a batch token for the first time costs. Prints nanoseconds and the ratio to the first. Each look-up is made with
a fresh string, as a request brings one.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from appliance.access.tokens import TokenSpec, TokenStore, bootstrap_tokens
from barrier.changes import ChangeRing
from barrier.initialize import InitRequest
from barrier.schema import upgrade
from barrier.seal import Barrier
from core.clock import SystemClock
from tests.unit.barrier.software_hsm import SoftwareHsm

_MEASUREMENTS = 7
_SPEC = {"policies": ("default", "orders"), "path": "auth/approle/login", "display_name": "approle"}


async def _store(directory: Path) -> tuple[Barrier, TokenStore]:
    url = f"sqlite:///{directory}/store.db"
    await asyncio.to_thread(upgrade, url)
    ChangeRing.create(directory / "ring").close()
    barrier = await Barrier.open(url, ChangeRing.open(directory / "ring"), SoftwareHsm(), clock=SystemClock())

    async def first_writes(txn: object) -> None:
        await bootstrap_tokens(txn, SystemClock())  # type: ignore[arg-type]  # the barrier gives a CoreTransaction

    await barrier.initialize(InitRequest(recovery_shares=1, recovery_threshold=1), first_writes)
    if hasattr(barrier, "unseal_from_hsm"):
        await barrier.unseal_from_hsm()
    tokens = TokenStore(barrier.storage, SystemClock())
    await tokens.open()
    return barrier, tokens


def _nanoseconds(look: Callable[[str], object], token: str, rounds: int) -> float:
    """The best of several measurements, less what the loop itself costs."""
    octets = token.encode()
    best = 1e12
    for _ in range(_MEASUREMENTS):
        texts = [octets.decode() for _ in range(rounds)]
        start = time.perf_counter_ns()
        for text in texts:
            look(text)
        best = min(best, (time.perf_counter_ns() - start) / rounds)
    return best


async def _opening(open_again: Callable[[], Awaitable[object]], forget: Callable[[], object], rounds: int) -> float:
    start = time.perf_counter_ns()
    for _ in range(rounds):
        forget()
        await open_again()
    return (time.perf_counter_ns() - start) / rounds


async def _main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        barrier, tokens = await _store(Path(directory))
        service, parent = await tokens.create(TokenSpec(**_SPEC), parent=None)
        child, _ = await tokens.create(TokenSpec(**_SPEC), parent=parent)
        batch, _ = await tokens.create(TokenSpec(**_SPEC, type="batch"), parent=None)
        bound, _ = await tokens.create(TokenSpec(**_SPEC, type="batch"), parent=parent)
        for token in (service, child, batch, bound):
            await tokens.find(token)
        first = 0.0
        for name, token in (("service", service), ("child", child), ("batch", batch), ("batch child", bound)):
            taken = _nanoseconds(tokens.peek, token, rounds)
            first = first or taken
            print(f"{name:12} {taken:8.0f} ns  {taken / first:5.2f}")
        taken = await _opening(lambda: tokens.find(batch), tokens._batches.close, 2000)  # noqa: SLF001 - what is measured
        print(f"{'opened first':12} {taken:8.0f} ns  {taken / first:5.2f}")
        await barrier.close()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000))
