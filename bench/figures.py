"""The way of a bench that prints figures by name: run in a directory of its own, print, and keep if asked to."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from bench.http_api import ApiError
from bench.load import LoadError
from bench.servers import ServerError


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """`--json FILE`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")


def report(name: str, measure: Callable[[Path], Mapping[str, object]], *, json_file: Path | None) -> int:
    """The exit code; `name` is the command's, for errors."""
    try:
        with tempfile.TemporaryDirectory(prefix="mimir-bench-") as directory:
            result = measure(Path(directory))
    except (ApiError, LoadError, ServerError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    for figure, value in result.items():
        print(f"{figure:34}  {value}")
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(result, indent=2))
    return 0
