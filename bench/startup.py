"""`bench/startup`: how soon Mimir serves when it holds many transit keys, and what that costs in memory.

Makes the keys over HTTP, stops the appliance, starts it again, and takes the time from starting the process to the
first answered encryption. The HSM token must hold as few objects then as it did with no key.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import scenarios
from bench.figures import add_json_option, report
from bench.http_api import Api
from bench.servers import Mimir, ServerError

CONNECTIONS = 8
TRIES = 3  # starts; the median counts


class Progress:
    """Counts what is done, and says so now and then."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._lock = threading.Lock()
        self._started = time.monotonic()

    def step(self) -> None:
        """One more is done."""
        with self._lock:
            self._done += 1
            if self._done % 1000 == 0 or self._done == self._total:
                rate = self._done / (time.monotonic() - self._started)
                say(f"{self._done:,} of {self._total:,} keys made ({rate:,.0f} a second)")


def say(text: str) -> None:
    """Say what is going on, apart from the result."""
    print(f"    {text}", file=sys.stderr, flush=True)


def key_name(number: int) -> str:
    """What the keys are called; in the order of their numbers."""
    return f"startup-{number:06d}"


def make_keys(server: Mimir, *, count: int, deadline: float) -> None:
    """Create transit keys over several connections; gives up at the deadline (monotonic seconds)."""
    progress = Progress(count)

    def make(api: Api, name: str) -> None:
        if time.monotonic() > deadline:
            raise ServerError("making the keys takes too long; try fewer with --keys")
        api.call("POST", f"transit/keys/{name}", {"type": "aes256-gcm96"})
        progress.step()

    for_each_key(server, range(count), make)


def for_each_key(server: Mimir, numbers: Sequence[int], act: Callable[[Api, str], object]) -> None:
    """Call `act` once for each key, over several connections."""

    def act_on_share(share: Sequence[int]) -> None:
        with Api(server.address, server.token) as api:
            for number in share:
                act(api, key_name(number))

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for done in [pool.submit(act_on_share, numbers[first::CONNECTIONS]) for first in range(CONNECTIONS)]:
            done.result()


def timed_start(server: Mimir) -> float:
    """Seconds from starting the process to the first answered encryption with one of the keys."""
    begin = time.monotonic()
    server.start()
    with Api(server.address, server.token) as api:
        api.call("POST", f"transit/encrypt/{key_name(0)}", {"plaintext": scenarios.PLAINTEXT})
    return time.monotonic() - begin


def token_objects(server: Mimir, home: Path) -> object:
    """What `mimir hsm status` says of the objects in the HSM token."""
    command = [str(Path(sys.executable).with_name("mimir")), "hsm", "status", "-o", "json"]
    environment = {
        **os.environ,
        "HOME": str(home),
        "MIMIR_ADDR": f"http://{server.address}",
        "MIMIR_TOKEN": server.token,
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise ServerError(f"mimir hsm status: {done.stderr.strip()}")
    status = json.loads(done.stdout)
    objects = status.get("data", status)["objects"]
    return objects if isinstance(objects, int) else len(objects)


def run(directory: Path, *, keys: int, limit: float) -> dict[str, object]:
    """The whole measurement."""
    server = Mimir(directory / "mimir")
    server.start()
    try:
        with Api(server.address, server.token) as api:
            scenarios.prepare(api)
        make_keys(server, count=keys, deadline=time.monotonic() + limit)
    finally:
        server.stop()
    times = []
    for number in range(TRIES):
        try:
            times.append(timed_start(server))
            say(f"start {number + 1} of {TRIES}: {times[-1]:.2f} s")
            objects, memory = token_objects(server, directory), server.memory()
        finally:
            server.stop()
    return {
        "keys": keys,
        "start_to_first_served_request_s": round(sorted(times)[len(times) // 2], 3),
        "starts_s": [round(seconds, 3) for seconds in times],
        "objects_in_hsm_token": objects,
        "rss_largest_worker_mib": round(memory.worker, 1),
        "rss_total_mib": round(memory.total, 1),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench/startup", description="Measure Mimir's start with many transit keys.")
    parser.add_argument("--keys", type=int, default=10_000, help="how many (default: 10000)")
    parser.add_argument("--limit", type=float, default=300, help="seconds that making the keys may take (default: 300)")
    add_json_option(parser)
    options = parser.parse_args()
    return report(
        "bench/startup",
        lambda directory: run(directory, keys=options.keys, limit=options.limit),
        json_file=options.json,
    )


if __name__ == "__main__":
    sys.exit(main())
