"""`bench/leases`: what a million leases cost: time to serve, memory of a worker, and revoking a tenth of them.

The same server is started without and with the leases; then all leases of one role are revoked by prefix, and the time
of other requests is taken meanwhile. The engine is the tests' one from another distribution, with accounts in its own
storage.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.figures import add_json_option, report
from bench.http_api import Api
from bench.servers import ROOT, Mimir, ServerError

ENGINE = ROOT / "tests" / "support" / "leasing_distribution"
MOUNT = "robots"
ROLES = 10
TRIES = 3  # starts; the median counts
SETTLE = 2.0  # seconds after which a worker's memory is read


def say(text: str) -> None:
    """Say what is going on, apart from the result."""
    print(f"    {text}", file=sys.stderr, flush=True)


def timed_start(server: Mimir) -> float:
    """Seconds from starting the process to the first answered request that needs a token."""
    begin = time.monotonic()
    server.start()
    with Api(server.address, server.token) as api:
        api.call("GET", "auth/token/lookup-self")
    return time.monotonic() - begin


def measure_starts(server: Mimir, *, what: str) -> dict[str, float]:
    """Medians over some starts; the server is stopped afterwards."""
    times, workers = [], []
    for number in range(TRIES):
        try:
            times.append(timed_start(server))
            time.sleep(SETTLE)
            workers.append(server.memory().worker)
            say(f"start {number + 1} of {TRIES} {what}: {times[-1]:.2f} s, worker {workers[-1]:.1f} MiB")
        finally:
            server.stop()
    return {"start_s": round(statistics.median(times), 3), "worker_mib": round(statistics.median(workers), 1)}


def mount_engine(server: Mimir) -> str:
    """Mount the accounts engine; the uuid of its mount."""
    server.start()
    try:
        with Api(server.address, server.token) as api:
            api.call("POST", f"sys/mounts/{MOUNT}", {"type": "accounts"})
            mounts = api.call("GET", "sys/mounts")["data"]
            return str(mounts[f"{MOUNT}/"]["uuid"])
    finally:
        server.stop()


def fill(directory: Path, mount: str, *, count: int) -> None:
    """In a process of its own."""
    say(f"writing {count:,} leases past the API")
    command = [sys.executable, "-m", "bench.lease_rows", str(directory), mount, str(count), str(ROLES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerError(f"the leases could not be written:\n{done.stderr[-2000:]}")


def revoke_role(server: Mimir, *, expected: int) -> dict[str, float]:
    """Revoke the leases of one role by prefix; other requests are timed until the job is done."""
    server.start()
    try:
        with Api(server.address, server.token) as api:
            begin = time.monotonic()
            started = api.call("PUT", f"sys/leases/revoke-prefix/{MOUNT}/creds/role-000", {"sync": False})
            answered = time.monotonic() - begin
            beside, job = [], {"state": "running"}
            while job["state"] == "running":
                for _ in range(20):
                    before = time.monotonic()
                    api.call("GET", "auth/token/lookup-self")
                    beside.append(time.monotonic() - before)
                    time.sleep(0.01)
                job = api.call("GET", f"sys/leases/jobs/{started['data']['job_id']}")["data"]
                say(f"{job['done']:,} of {job['total']:,} revoked")
            took = time.monotonic() - begin
        if job["done"] != expected:
            raise ServerError(f"{job['done']} leases were revoked, not {expected}")
        beside.sort()
        return {
            "revoke_prefix_answered_s": round(answered, 3),
            "revoke_prefix_done_s": round(took, 1),
            "lookup_p99_meanwhile_ms": round(beside[int(len(beside) * 0.99)] * 1000, 1),
        }
    finally:
        server.stop()


def run(directory: Path, *, count: int, revoke: bool) -> dict[str, object]:
    """The whole measurement."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), str(ENGINE), os.environ.get("PYTHONPATH"))))
    home = directory / "mimir"
    server = Mimir(home)
    mount = mount_engine(server)
    without = measure_starts(server, what="without leases")
    fill(home, mount, count=count)
    held = measure_starts(server, what="with leases")
    result: dict[str, object] = {"leases": count}
    result |= {f"{name}_without": value for name, value in without.items()}
    result |= {f"{name}_with": value for name, value in held.items()}
    result["worker_mib_more"] = round(held["worker_mib"] - without["worker_mib"], 1)
    if revoke:
        result |= revoke_role(server, expected=(count + ROLES - 1) // ROLES)
    return result


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench/leases", description="Measure what many leases cost.")
    parser.add_argument("--leases", type=int, default=1_000_000, help="how many (default: 1000000)")
    parser.add_argument("--no-revoke", action="store_true", help="leave out the revocation of a tenth of them")
    add_json_option(parser)
    options = parser.parse_args()
    return report(
        "bench/leases",
        lambda directory: run(directory, count=options.leases, revoke=not options.no_revoke),
        json_file=options.json,
    )


if __name__ == "__main__":
    sys.exit(main())
