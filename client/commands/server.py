"""`mimir server`: check the flags, then become the appliance.

The client's side may not import the appliance, so this replaces the process by `python -m appliance`
with the same flags.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from client.errors import LocalError
from client.framework import command

DEFAULT_LISTEN = "127.0.0.1:8200"


@command(
    "server",
    local=True,
    examples=(
        "mimir server --dev --data-dir ./data --listen 127.0.0.1:8200",
        "mimir server --config /etc/mimir/mimir.toml",
    ),
)
@click.option("--dev", is_flag=True, help="Set up everything inside --data-dir: for tests and laptops.")
@click.option("--data-dir", metavar="DIR", help="Where --dev keeps its token, store and init.json.")
@click.option("--listen", metavar="HOST:PORT", help=f"Where --dev listens [{DEFAULT_LISTEN}].")
@click.option(
    "--workers", type=click.IntRange(1, 1024), metavar="N", help="Worker processes of --dev [number of cores]."
)
@click.option("--no-init", is_flag=True, help="With --dev: wait for `mimir operator init`.")
@click.option("--tls", is_flag=True, help="With --dev: serve https, with a certificate made in --data-dir.")
@click.option("--config", metavar="FILE", help="The configuration of a production server.")
def server(
    *,
    dev: bool,
    data_dir: str | None,
    listen: str | None,
    workers: int | None,
    no_init: bool,
    tls: bool,
    config: str | None,
) -> None:
    """Run the appliance, until SIGTERM."""
    if dev == (config is not None):
        raise click.UsageError("say which server: --dev --data-dir DIR for trying out, or --config FILE for production")
    if config is not None:
        if data_dir or listen or workers or no_init or tls:
            raise click.UsageError("with --config, everything else stands in the file")
        become_appliance(["--config", checked_config(config)])
    if not data_dir:
        raise click.UsageError("--dev needs --data-dir DIR, where everything is kept")
    arguments = ["--dev", "--data-dir", data_dir, "--listen", checked_listen(listen or DEFAULT_LISTEN)]
    arguments += ["--workers", str(workers)] if workers is not None else []
    arguments += ["--no-init"] if no_init else []
    arguments += ["--tls"] if tls else []
    become_appliance(arguments)


def checked_config(name: str) -> str:
    """The name, if the file can be opened."""
    try:
        Path(name).open("rb").close()
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "its name holds a NUL"
        raise LocalError(f"the configuration {name!r} cannot be read: {why}") from exc
    return name


def checked_listen(text: str) -> str:
    """HOST:PORT, with an IPv6 address in brackets."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or (":" in host and not bracketed) or not _is_port(port):
        raise click.UsageError(f"--listen {text!r} is not HOST:PORT, as in 127.0.0.1:8200 or [::1]:8200")
    return text


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535


def become_appliance(arguments: list[str]) -> NoReturn:
    """Replace this process by the appliance.

    -P keeps the current directory off the module path: a file that lies there must not become part of a server.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    root = Path(__file__).resolve().parents[2]
    if root.name not in {"site-packages", "dist-packages"}:  # run from a source tree
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    os.execv(sys.executable, [sys.executable, "-P", "-m", "appliance", *arguments])  # noqa: S606 - it is our own program
