"""`bench/run`: Mimir and OpenBao under the same load, in turn, in one run.

Both run on this machine at the same time, but only one is under load at any moment; the other idles. Every scenario is
warmed up for a second, then measured in rounds A B A B, so that a slow spell of the machine falls on both. A figure is
the median of the rounds; the ratio is the median of the rounds' own ratios.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from bench import scenarios
from bench.http_api import Api, ApiError
from bench.load import LoadError, Sample, run_wrk
from bench.scenarios import SCENARIOS, Scenario
from bench.servers import Memory, Mimir, OpenBao, Server, ServerError

WARM_UP = 1  # seconds


@dataclass(frozen=True, slots=True)
class Result:
    """The rounds of one scenario on one server."""

    scenario: str
    server: str
    items: int
    samples: list[Sample]
    memory: Memory

    @property
    def rate(self) -> float:
        """Requests per second."""
        return median(sample.rate for sample in self.samples)


def measure(scenario: Scenario, servers: Sequence[Server], *, rounds: int, seconds: int) -> list[Result]:
    """Every round of one scenario, on each server in turn."""
    requests: dict[str, tuple[str, bytes | None]] = {}
    samples: dict[str, list[Sample]] = {server.name: [] for server in servers}
    for server in servers:
        with Api(server.address, server.token) as api:
            requests[server.name] = scenarios.checked_request(scenario, api)
        _load(scenario, server, *requests[server.name], WARM_UP)
    for number in range(rounds):
        for server in servers:
            sample = _load(scenario, server, *requests[server.name], seconds)
            samples[server.name].append(sample)
            progress(f"{scenario.name} {number + 1}/{rounds} {server.name}: {sample.rate:,.0f} requests/s")
    return [Result(scenario.name, s.name, scenario.items, samples[s.name], s.memory()) for s in servers]


def _load(scenario: Scenario, server: Server, token: str, body: bytes | None, seconds: int) -> Sample:
    try:
        return run_wrk(
            server.address,
            scenario.path,
            token=token,
            body=body,
            seconds=seconds,
            connections=scenario.connections,
            spread=scenario.spread,
            content_type=scenario.content_type,
        )
    except LoadError as error:
        raise LoadError(f"{scenario.name} on {server.name}: {error}") from error


def progress(text: str) -> None:
    """Say what is going on, apart from the result."""
    print(f"    {text}", file=sys.stderr, flush=True)


HEADINGS = ("scenario", "server", "requests/s", "items/s", "p50 ms", "p99 ms", "RSS MiB", "worker MiB", "ratio")


def table(results: Sequence[Result]) -> str:
    """The results, aligned; the ratio stands in Mimir's lines."""
    rows = [HEADINGS, *(_row(result, results) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join(_aligned(row, widths) for row in rows)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if column < 2 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _row(result: Result, results: Sequence[Result]) -> tuple[str, ...]:
    value = ratio(result, results)
    return (
        result.scenario,
        result.server,
        f"{result.rate:,.0f}",
        f"{result.rate * result.items:,.0f}",
        f"{median(sample.p50 for sample in result.samples):.2f}",
        f"{median(sample.p99 for sample in result.samples):.2f}",
        f"{result.memory.total:.0f}",
        f"{result.memory.worker:.0f}",
        "" if value is None else f"{value:.2f}",
    )


def ratio(result: Result, results: Sequence[Result]) -> float | None:
    """How many times the other server's rate, by round; None for the other server itself."""
    others = [r for r in results if r.scenario == result.scenario and r.server != result.server]
    if result.server != Mimir.name or not others:
        return None
    pairs = zip(result.samples, others[0].samples, strict=True)
    return median(mine.rate / theirs.rate for mine, theirs in pairs)


def as_json(results: Sequence[Result], *, seconds: int, rounds: int) -> Mapping[str, object]:
    """All that was measured, every round of it."""
    return {
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "seconds": seconds,
        "rounds": rounds,
        "results": [{**asdict(r), "rate": r.rate, "ratio": ratio(r, results)} for r in results],
    }


def arguments() -> argparse.Namespace:
    """What the command line says."""
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="bench/run", description="Measure Mimir beside OpenBao, on loopback.")
    parser.add_argument("--scenario", action="append", choices=names, help="only this one (may be repeated)")
    parser.add_argument("--server", action="append", choices=["mimir", "openbao"], help="only this one")
    parser.add_argument("--seconds", type=int, default=5, help="length of one round (default: 5)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each server (default: 3)")
    parser.add_argument("--workers", type=int, help="Mimir's worker processes (default: one a core)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures here too")
    parser.add_argument("--bao", type=Path, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def run(options: argparse.Namespace, directory: Path) -> list[Result]:
    """Start the servers, measure every scenario, stop them."""
    chosen = [s for s in SCENARIOS if not options.scenario or s.name in options.scenario]
    wanted = options.server or [Mimir.name, OpenBao.name]
    with ExitStack() as stack:
        servers: list[Server] = []
        if Mimir.name in wanted:
            mimir = Mimir(directory / "mimir", workers=options.workers)
            stack.callback(mimir.stop)
            mimir.start()
            mimir.enable_audit()
            servers.append(mimir)
        if OpenBao.name in wanted:
            openbao = OpenBao(directory / "openbao", options.bao)
            stack.callback(openbao.stop)
            servers.append(openbao.start())
        for server in servers:
            progress(f"{server.name} serves on {server.address}")
            with Api(server.address, server.token) as api:
                scenarios.prepare(api, knows_custody=server.knows_custody)
        return [r for s in chosen for r in measure(s, servers, rounds=options.rounds, seconds=options.seconds)]


def main() -> int:
    """Measure, print, and say by the exit code whether every request succeeded."""
    options = arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="mimir-bench-") as directory:
            results = run(options, Path(directory))
    except (ApiError, LoadError, ServerError) as error:
        print(f"bench/run: {error}", file=sys.stderr)
        return 1
    print(table(results))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(as_json(results, seconds=options.seconds, rounds=options.rounds), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
