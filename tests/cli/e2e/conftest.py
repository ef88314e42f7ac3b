"""The real `mimir`, as a process, against the real server: what a person at a terminal sees."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.appliance import ROOT, Appliance, clean_environment


@dataclass
class Terminal:
    """A user's home directory and environment."""

    home: Path
    address: str
    token: str = ""

    @property
    def environment(self) -> dict[str, str]:
        token = {"MIMIR_TOKEN": self.token} if self.token else {}
        path = {"PATH": f"{self.home / 'bin'}:/usr/bin:/bin"}
        return clean_environment() | {"HOME": str(self.home), "MIMIR_ADDR": self.address} | token | path

    def mimir(self, *words: str, given: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run it, and expect this exit code."""
        return self.run([sys.executable, "-m", "client", *words], given=given, code=code)

    def run(self, command: list[str], *, given: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            input=given,
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code, (command, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def out(self, *words: str, given: str = "", code: int = 0) -> str:
        """Its standard output, without the line end."""
        return self.mimir(*words, given=given, code=code).stdout.rstrip("\n")

    def refusal(self, *words: str, given: str = "", code: int = 1) -> str:
        """What it says when it fails; nothing is on standard output."""
        done = self.mimir(*words, given=given, code=code)
        assert done.stdout == ""
        return done.stderr


@pytest.fixture(scope="package")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    """Initialised, with transit mounted."""
    server = Appliance(tmp_path_factory.mktemp("live") / "data").start()
    server.client().sys.enable_secrets_engine("transit")
    yield server
    assert server.stop() == 0


@pytest.fixture
def make_terminal(tmp_path: Path) -> Callable[[str, str], Terminal]:
    """A home of its own, with `mimir` on the PATH."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "mimir"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m client "$@"\n')
    program.chmod(0o755)
    return lambda address, token: Terminal(tmp_path, address, token)


@pytest.fixture
def user(live: Appliance, make_terminal: Callable[[str, str], Terminal]) -> Terminal:
    """Someone with the root token in the environment."""
    return make_terminal(live.address, live.root_token)


@pytest.fixture
def stranger(live: Appliance, make_terminal: Callable[[str, str], Terminal]) -> Terminal:
    """Someone without a token."""
    return make_terminal(live.address, "")
