"""The way into a worker or the housekeeper: `python -m appliance.processes.spawned ROLE …`.

Two libraries bring along at import what no server needs, half of their import time and 15 MiB of each process. They are
imported here first, without it; everything else is `appliance.processes.worker`.
"""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def main() -> int:
    """Import, then live as a worker; the exit code."""
    gc.disable()  # imports make no garbage worth looking for; the worker enables it when it has imported all
    import_structlog_without_rich()
    if "worker" in sys.argv[1:2]:
        import_aiohttp_without_authorities()
    from appliance.processes.worker import main as live

    return live()


def import_structlog_without_rich() -> None:
    """Structlog prints tracebacks with rich when that is there; ours are never printed."""
    if "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment] # import's own way to say "not there"
    try:
        import structlog  # noqa: F401 - imported for its effect
    finally:
        del sys.modules["rich"]


def import_aiohttp_without_authorities() -> None:
    """Its import makes a TLS context for clients, and parses the machine's some hundred authorities for it.

    That context trusts nobody then. A part of the appliance that becomes a client needs a context of its own anyway.
    """
    nowhere = Path(__file__).with_name("no-authorities")
    with _environment(SSL_CERT_FILE=str(nowhere), SSL_CERT_DIR=str(nowhere)):
        import aiohttp  # noqa: F401 - imported for its effect


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


if __name__ == "__main__":
    raise SystemExit(main())
