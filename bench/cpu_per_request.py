"""Processor time of a request: `python -m bench.cpu_per_request`, from the project's root.

A rate tells what else the machine did; the processor time of the worker hardly does. One worker is put under load by
wrk, and what the kernel charges it for is divided by the requests. Beside the product stand its floors: its HTTP part
answering a constant, aiohttp's own server doing the same, and calls of the HSM in a row. `--tree` measures other
checkouts in turn with this one. Of all rounds the least is shown: a disturbance only adds.
"""

import argparse
import asyncio
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.http_api import Api
from bench.load import run_wrk
from bench.scenarios import IN_HSM, PLAINTEXT, prepare
from bench.servers import ROOT, Mimir, free_port
from core.protocols import AeadInput, KeyKind, KeyUsage
from pkcs11_glue.hsm import Hsm
from pkcs11_glue.settings import HsmSettings, PinSource
from softhsm.provisioning import provision

_TICK = 1e6 / os.sysconf("SC_CLK_TCK")  # microseconds
_MIB = base64.b64encode(bytes(1 << 20)).decode()
_IN_A_ROW = 200


@dataclass(frozen=True, slots=True)
class Load:
    """One request to repeat."""

    name: str
    path: str
    body: Callable[[Api], Mapping[str, object]]


def _sealed(api: Api, plaintext: str) -> str:
    return str(api.call("POST", f"transit/encrypt/{IN_HSM.name}", {"plaintext": plaintext})["data"]["ciphertext"])


_ENCRYPT, _DECRYPT = f"transit/encrypt/{IN_HSM.name}", f"transit/decrypt/{IN_HSM.name}"
LOADS = (
    Load("encrypt 64 B", _ENCRYPT, lambda _: {"plaintext": PLAINTEXT}),
    Load("decrypt 64 B", _DECRYPT, lambda api: {"ciphertext": _sealed(api, PLAINTEXT)}),
    Load("encrypt 100 x 64 B", _ENCRYPT, lambda _: {"batch_input": [{"plaintext": PLAINTEXT}] * 100}),
    Load("decrypt 100 x 64 B", _DECRYPT, lambda api: {"batch_input": [{"ciphertext": _sealed(api, PLAINTEXT)}] * 100}),
    Load("encrypt 1 MiB", _ENCRYPT, lambda _: {"plaintext": _MIB}),
    Load("decrypt 1 MiB", _DECRYPT, lambda api: {"ciphertext": _sealed(api, _MIB)}),
)


@dataclass(frozen=True, slots=True)
class Target:
    """A process that is put under load."""

    name: str
    address: str
    token: str
    process: int

    def cpu(self) -> tuple[int, int]:
        """User and system time so far, in ticks."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]), int(fields[12])


@contextmanager
def _mimir(directory: Path, tree: Path) -> Iterator[Target]:
    """The product of that checkout with one worker; its children inherit where to import from."""
    os.environ["PYTHONPATH"] = str(tree)
    server = Mimir(directory, workers=1)
    try:
        server.start().enable_audit()
        with Api(server.address, server.token) as api:
            prepare(api)
        yield Target(tree.name, server.address, server.token, _worker_of(directory))
    finally:
        server.stop()


def _worker_of(directory: Path) -> int:
    """The worker that has a file of this directory open."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            is_worker = b"worker" in command.read_bytes().split(b"\0")
            opened = [str(link.readlink()) for link in command.with_name("fd").iterdir()] if is_worker else []
        except OSError:  # it ended, or is not ours
            continue
        if any(path.startswith(str(directory)) for path in opened):
            return int(command.parent.name)
    raise RuntimeError("the worker was not found")


@contextmanager
def _constant(kind: str) -> Iterator[Target]:
    port = free_port()
    child = subprocess.Popen([sys.executable, "-m", "bench.constant_server", str(port), kind], cwd=ROOT)
    try:
        with Api(f"127.0.0.1:{port}") as api:
            while not api.health():
                time.sleep(0.01)
        yield Target(f"constant by {kind}", f"127.0.0.1:{port}", "none", child.pid)
    finally:
        child.terminate()
        child.wait()


@dataclass(frozen=True, slots=True, order=True)
class Cost:
    """Microseconds a request."""

    total: float
    user: float
    system: float
    rate: float


def _round(target: Target, path: str, body: bytes, seconds: int) -> Cost:
    before = target.cpu()
    sample = run_wrk(target.address, path, token=target.token, body=body, seconds=seconds)
    after = target.cpu()
    user, system = ((b - a) * _TICK / (sample.rate * seconds) for a, b in zip(before, after, strict=True))
    return Cost(user + system, user, system, sample.rate)


def _measure(targets: Sequence[Target], load: Load, *, rounds: int, seconds: int) -> None:
    """Warm each up, then measure them in turn, and print the cheapest round of each."""
    bodies: list[bytes] = []
    for target in targets:
        with Api(target.address, target.token) as api:
            bodies.append(json.dumps(load.body(api)).encode())
        _round(target, load.path, bodies[-1], 1)
    costs = [
        [_round(target, load.path, body, seconds) for target, body in zip(targets, bodies, strict=True)]
        for _ in range(rounds)
    ]
    for target, of_target in zip(targets, zip(*costs, strict=True), strict=True):
        cost = min(of_target)
        print(
            f"{load.name:20}{target.name:24}{cost.total:10.1f} us"
            f"   user {cost.user:9.1f}   system {cost.system:8.1f}   {cost.rate:8,.0f}/s",
            flush=True,
        )


async def _measure_hsm() -> None:
    """Calls in a row on the session that serves the event loop, without event loop and batching."""
    with tempfile.TemporaryDirectory(prefix="mimir-bench-") as name:
        pin = Path(name) / "pin"
        made = provision(Path(name), label="bench", pin_file=pin)
        hsm = await Hsm.open(
            HsmSettings(module=made.module, token_label="bench", pin=PinSource(file=pin), login_lock=made.login_lock)  # noqa: S106 - a label
        )
        key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
        for size, count in ((64, _IN_A_ROW), (1 << 20, 1)):
            plain = [AeadInput(bytes(size))]
            sealed = [AeadInput(octets) for octets in await hsm.encrypt(key, plain)]
            for operation, items in ((hsm.encrypt, plain * count), (hsm.decrypt, sealed * count)):
                best = float("inf")
                for _ in range(30):
                    begun = time.process_time_ns()
                    await operation(key, items)
                    best = min(best, (time.process_time_ns() - begun) / 1000 / count)
                print(f"{operation.__name__} {size} B by the HSM alone, {count} in a row: {best:.1f} us", flush=True)
        await hsm.close()


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m bench.cpu_per_request", description="Processor time of a request.")
    parser.add_argument("--tree", action="append", type=Path, default=[], help="another checkout, in turn with this")
    parser.add_argument("--load", action="append", choices=[load.name for load in LOADS], help="only this one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of a round")
    parser.add_argument("--no-floors", action="store_true", help="the product only")
    given = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mimir-bench-")))
        targets = [stack.enter_context(_mimir(directory / tree.name, tree)) for tree in (ROOT, *given.tree)]
        for load in LOADS:
            if not given.load or load.name in given.load:
                _measure(targets, load, rounds=given.rounds, seconds=given.seconds)
    if not given.no_floors:
        for kind in ("connection", "aiohttp"):
            with _constant(kind) as target:
                _measure([target], LOADS[0], rounds=given.rounds, seconds=given.seconds)
        asyncio.run(_measure_hsm())


if __name__ == "__main__":
    main()
