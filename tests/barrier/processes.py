"""Starting the roles of `children` and talking to them."""

import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.barrier.nodes import Node

_ROOT = Path(__file__).resolve().parents[2]


class Child:
    """One process in a role; ended when the block is left."""

    def __init__(self, role: str, node: Node) -> None:
        command = [sys.executable, "-m", "tests.barrier.children", role, node.url, str(node.ring_path)]
        self._process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait(timeout=30)
        if self._process.stdout:
            self._process.stdout.close()

    def say(self, line: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def ask(self, line: str) -> str:
        self.say(line)
        return self.hear()

    def wait_killed(self) -> None:
        assert self._process.wait(timeout=30) == -signal.SIGKILL
