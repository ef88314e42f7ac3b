"""`python -m appliance`: the server behind `mimir server`, which execs it with the same flags."""

import argparse
import sys
from collections.abc import Sequence

from appliance.config import Config
from core.errors import ConfigError

EX_CONFIG = 78  # sysexits.h


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until SIGTERM; the exit code."""
    args = _parser().parse_args(arguments)
    try:
        config = _config(args)
    except ConfigError as exc:
        print(f"mimir: {exc.sentence}", file=sys.stderr)  # noqa: T201 - for the person who started us
        return EX_CONFIG
    from appliance.processes.supervisor import run

    return run(config)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mimir server")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--config")
    source.add_argument("--dev", action="store_true")
    parser.add_argument("--data-dir")
    parser.add_argument("--listen", default="127.0.0.1:8200")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--no-init", action="store_true")
    parser.add_argument("--tls", action="store_true")
    return parser


def _config(args: argparse.Namespace) -> Config:
    if args.config is not None:
        return Config.load(args.config)
    if not args.data_dir:
        raise ConfigError("--dev needs --data-dir DIR, where everything is kept")
    return Config.dev(args.data_dir, args.listen, workers=args.workers, no_init=args.no_init, tls=args.tls)


if __name__ == "__main__":
    raise SystemExit(main())
