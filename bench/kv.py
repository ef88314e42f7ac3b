"""`bench/kv`: what a million secrets cost: the latency of reads beside a mount with a thousand, and a worker's memory.

Both mounts are in one server, with audit on. Reads are of a random secret, each as likely as the other, over one
connection and over 32, of the two mounts in turn; the figures are medians of the rounds. Of the thousand all are soon
in memory; of the million next to none is.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from bench.figures import add_json_option, report
from bench.http_api import Api
from bench.kv_secrets import VALUE, secret_name
from bench.load import Sample, run_wrk
from bench.servers import ROOT, Mimir, ServerError
from bench.startup import say

FEW = 1000
CONNECTIONS = (1, 32)


def make_mounts(server: Mimir, counts: Mapping[str, int]) -> dict[str, str]:
    """The storage's name of each mount."""
    with Api(server.address, server.token) as api:
        for name in counts:
            api.call("POST", f"sys/mounts/{name}", {"type": "kv", "options": {"version": "2"}})
        mounts = api.call("GET", "sys/mounts")["data"]
    return {name: mounts[f"{name}/"]["uuid"] for name in counts}


def fill(directory: Path, mount: str, *, count: int) -> float:
    """In a process of its own; the seconds that it took."""
    say(f"writing {count:,} secrets past the API")
    begin = time.monotonic()
    command = [sys.executable, "-m", "bench.kv_rows", str(directory), mount, str(count)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerError(f"the secrets could not be written:\n{done.stderr[-2000:]}")
    return time.monotonic() - begin


def check(server: Mimir, counts: Mapping[str, int]) -> None:
    """The last secret of each mount reads as it was meant."""
    with Api(server.address, server.token) as api:
        for name, count in counts.items():
            if api.call("GET", f"{name}/data/{secret_name(count - 1)}")["data"]["data"] != VALUE:
                raise ServerError(f"the secrets of {name} do not read back")


def latencies(server: Mimir, counts: Mapping[str, int], *, rounds: int, seconds: int) -> dict[str, object]:
    """Reads of each mount in turn, and the ratios."""

    def load(name: str, connections: int, length: int) -> Sample:
        return run_wrk(
            server.address,
            f"{name}/data/{{}}",
            token=server.token,
            body=None,
            seconds=length,
            connections=connections,
            spread=counts[name],
        )

    result: dict[str, object] = {}
    for connections in CONNECTIONS:
        samples: dict[str, list[Sample]] = {name: [] for name in counts}
        for name in counts:
            load(name, connections, 1)
        for _ in range(rounds):
            for name in counts:
                samples[name].append(load(name, connections, seconds))
        for name, count in counts.items():
            kind = f"{count}_secrets_c{connections}"
            result[f"{kind}_p50_ms"] = round(median(sample.p50 for sample in samples[name]), 3)
            result[f"{kind}_p99_ms"] = round(median(sample.p99 for sample in samples[name]), 3)
            result[f"{kind}_rate"] = round(median(sample.rate for sample in samples[name]))
        few, many = samples.values()
        pairs = list(zip(few, many, strict=True))
        result[f"c{connections}_p50_ratio"] = round(median(b.p50 / a.p50 for a, b in pairs), 2)
        result[f"c{connections}_p99_ratio"] = round(median(b.p99 / a.p99 for a, b in pairs), 2)
    return result


def run(directory: Path, *, secrets: int, rounds: int, seconds: int) -> dict[str, object]:
    """The whole measurement."""
    counts = {"few": FEW, "many": secrets}
    server = Mimir(directory / "mimir").start()
    mounts = make_mounts(server, counts)
    server.stop()
    took = {name: fill(directory / "mimir", mounts[name], count=count) for name, count in counts.items()}
    result: dict[str, object] = {"secrets": secrets, "fill_seconds": round(took["many"])}
    server.start()
    try:
        server.enable_audit()
        check(server, counts)
        result["worker_mib_before"] = round(server.memory().worker, 1)
        result |= latencies(server, counts, rounds=rounds, seconds=seconds)
        result["worker_mib_after"] = round(server.memory().worker, 1)
        result["database_mib"] = round((directory / "mimir" / "mimir.db").stat().st_size / 2**20)
    finally:
        server.stop()
    return result


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench/kv", description="Measure what many secrets cost.")
    parser.add_argument("--secrets", type=int, default=1_000_000, help="how many (default: 1000000)")
    parser.add_argument("--seconds", type=int, default=5, help="length of one round (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each mount (default: 3)")
    add_json_option(parser)
    options = parser.parse_args()
    return report(
        "bench/kv",
        lambda directory: run(directory, secrets=options.secrets, rounds=options.rounds, seconds=options.seconds),
        json_file=options.json,
    )


if __name__ == "__main__":
    sys.exit(main())
