"""Runs wrk for a few seconds, and refuses to report a run in which any request failed."""

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

REQUEST_SCRIPT = Path(__file__).parent / "lua" / "request.lua"
THREADS, CONNECTIONS = 1, 32


class LoadError(Exception):
    """wrk could not run, or not every request was answered with success."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: requests per second, and latencies in milliseconds."""

    rate: float
    p50: float
    p99: float
    worst: float


def run_wrk(
    address: str,
    path: str,
    *,
    token: str,
    body: bytes | None,
    seconds: int,
    connections: int = CONNECTIONS,
    spread: int = 1,
    content_type: str = "application/json",
) -> Sample:
    """Repeat one request over some connections. The token travels by the environment, not on the command line.

    With `spread` each request has a random number below it, of five digits at least, in the place of `{}` in the path.
    """
    environment = {**os.environ, "BENCH_TOKEN": token, "BENCH_PATH": f"/v1/{path}", "BENCH_SPREAD": str(spread)}
    environment["BENCH_TYPE"] = content_type
    environment.pop("BENCH_BODY", None)
    with tempfile.NamedTemporaryFile() as body_file:
        if body is not None:
            body_file.write(body)
            body_file.flush()
            environment["BENCH_BODY"] = body_file.name
        command = [
            "wrk", f"-t{THREADS}", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s",
            "-s", str(REQUEST_SCRIPT), f"http://{address}/",
        ]  # fmt: skip
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=seconds + 30, check=False
        )
    return _parse(done.stdout, done.stderr)


def _parse(stdout: str, stderr: str) -> Sample:
    lines = stdout.splitlines()
    if not lines or not lines[-1].startswith("{"):
        raise LoadError(f"wrk gave no result: {stderr.strip() or stdout.strip()}")
    result = json.loads(lines[-1])
    failures = {name: result[name] for name in ("bad_status", "bad_socket", "timeouts") if result[name]}
    if failures or not result["requests"]:
        raise LoadError(
            f"not every request succeeded, so the figures are void: {failures or 'no request was answered'}"
        )
    return Sample(
        rate=result["requests"] / (result["microseconds"] / 1e6),
        p50=result["p50"] / 1000,
        p99=result["p99"] / 1000,
        worst=result["max"] / 1000,
    )
