"""The benches are run by hand; that each can be is seen here."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_bench_can_be_imported() -> None:
    names = [f"bench.{path.stem}" for path in sorted((ROOT / "bench").glob("*.py"))]
    assert len(names) > 10
    run = subprocess.run([sys.executable, "-c", f"import {', '.join(names)}"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
