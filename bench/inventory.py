"""`bench/inventory`: what a million certificates in one mount cost: issuing beside an empty mount, searches, memory.

Both mounts are in one server of two workers, with audit on, CA keys in the HSM. Certificates are issued and stored in
the two mounts in turn; the ratio is the median of the rounds. Searches are by the HTTP API, one after the other, 100
rows at most; `cold` is the first of its kind after a start with the database out of the page cache.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlencode

from bench.figures import add_json_option, report
from bench.http_api import Api
from bench.inventory_names import ROLES, searches
from bench.load import Sample, run_wrk
from bench.pki_mounts import NAME, new_csr
from bench.servers import ROOT, Mimir, ServerError
from bench.startup import say

WORKERS = 2
MOUNTS = ("empty", "full")
_YEARS = "87600h"
_TIMES = 60  # of each search


def make_mounts(server: Mimir) -> dict[str, tuple[str, str]]:
    """The storage's name and the issuer of each mount."""
    made = {}
    with Api(server.address, server.token) as api:
        for name in MOUNTS:
            api.call("POST", f"sys/mounts/{name}", {"type": "pki", "config": {"max_lease_ttl": _YEARS}})
            root = {"common_name": f"root of {name}", "key_type": "ec", "key_bits": 256, "ttl": _YEARS}
            issuer_id = api.call("POST", f"{name}/root/generate/internal", root)["data"]["issuer_id"]
            rules = {"allowed_domains": "example.com", "allow_subdomains": True, "key_type": "ec", "max_ttl": "720h"}
            api.call("POST", f"{name}/roles/{ROLES[0]}", rules)
            made[name] = issuer_id
        mounts = api.call("GET", "sys/mounts")["data"]
    return {name: (mounts[f"{name}/"]["uuid"], issuer_id) for name, issuer_id in made.items()}


def fill(directory: Path, mount: tuple[str, str], *, count: int) -> float:
    """In a process of its own; the seconds that it took."""
    say(f"writing {count:,} certificates past the API")
    begin = time.monotonic()
    command = [sys.executable, "-m", "bench.inventory_rows", str(directory), *mount, str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerError(f"the certificates could not be written:\n{done.stderr[-2000:]}")
    return time.monotonic() - begin


def forget_pages(file: Path) -> None:
    """Ask the kernel to drop the file from its page cache."""
    handle = os.open(file, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def issuing(server: Mimir, *, rounds: int, seconds: int) -> dict[str, object]:
    """Issue and sign in each mount in turn, and the ratios."""
    bodies = {
        "issue": {"common_name": NAME, "ttl": "24h"},
        "sign": {"csr": new_csr(), "common_name": NAME, "ttl": "24h"},
    }
    result: dict[str, object] = {}
    for way, body in bodies.items():
        samples: dict[str, list[Sample]] = {name: [] for name in MOUNTS}
        for number in range(rounds + 1):
            for name in MOUNTS:
                path = f"{name}/{way}/{ROLES[0]}"
                sample = run_wrk(
                    server.address,
                    path,
                    token=server.token,
                    body=json.dumps(body).encode(),
                    seconds=seconds if number else 1,
                )
                samples[name] += [sample] if number else []  # the first one warms up
        for name in MOUNTS:
            result[f"{way}_{name}_rate"] = round(median(sample.rate for sample in samples[name]))
            result[f"{way}_{name}_p99_ms"] = round(median(sample.p99 for sample in samples[name]), 1)
        pairs = zip(samples["empty"], samples["full"], strict=True)
        result[f"{way}_rate_ratio"] = round(median(full.rate / empty.rate for empty, full in pairs), 2)
    return result


def searching(server: Mimir, *, count: int, times: int) -> dict[str, object]:
    """Milliseconds of each kind of search: the first one, the median, and the 99th percentile."""
    result: dict[str, object] = {}
    chance = random.Random(2)  # noqa: S311 - the same at every run
    with Api(server.address, server.token) as api:
        for kind, make in searches(count).items():
            took, found = [], 0
            for _ in range(times):
                query = urlencode(make(chance))
                begin = time.perf_counter()
                answer = api.call("GET", f"full/inventory?{query}")
                took.append((time.perf_counter() - begin) * 1000)
                found = len(answer["data"]["certificates"])
            result[f"{kind}_cold_ms"] = round(took[0], 1)
            result[f"{kind}_p50_ms"] = round(median(took), 1)
            result[f"{kind}_p99_ms"] = round(quantiles(took[1:], n=100, method="inclusive")[98], 1)
            result[f"{kind}_found"] = found
    return result


def run(directory: Path, *, certificates: int, rounds: int, seconds: int) -> dict[str, object]:
    """The whole measurement."""
    server = Mimir(directory / "mimir", workers=WORKERS).start()
    mounts = make_mounts(server)
    server.stop()
    took = fill(directory / "mimir", mounts["full"], count=certificates)
    database = directory / "mimir" / "mimir.db"
    result: dict[str, object] = {"certificates": certificates, "fill_seconds": round(took)}
    result["database_mib"] = round(database.stat().st_size / 2**20)
    forget_pages(database)
    server.start()
    try:
        server.enable_audit()
        result["worker_mib_before"] = round(server.memory().worker, 1)
        result |= searching(server, count=certificates, times=_TIMES)
        result["worker_mib_searched"] = round(server.memory().worker, 1)
        result |= issuing(server, rounds=rounds, seconds=seconds)
        result["worker_mib_after"] = round(server.memory().worker, 1)
    finally:
        server.stop()
    return result


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench/inventory", description="Measure what many certificates cost.")
    parser.add_argument("--certificates", type=int, default=1_000_000, help="how many (default: 1000000)")
    parser.add_argument("--seconds", type=int, default=5, help="length of one round (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each mount (default: 3)")
    add_json_option(parser)
    options = parser.parse_args()
    return report(
        "bench/inventory",
        lambda directory: run(
            directory, certificates=options.certificates, rounds=options.rounds, seconds=options.seconds
        ),
        json_file=options.json,
    )


if __name__ == "__main__":
    sys.exit(main())
