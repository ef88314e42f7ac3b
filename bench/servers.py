"""Starts and stops the servers that are measured, each in a directory of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from bench.http_api import Api

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT = 60.0  # seconds; far above what either needs
AUDIT_FILE = "audit.log"


class ServerError(Exception):
    """A server did not start, or ended while it was measured."""


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in MiB: the whole process tree, and its largest process but the first."""

    total: float
    worker: float


class Server(Protocol):
    """A running server, unsealed, with a root token and a file audit device."""

    name: str
    address: str
    token: str
    knows_custody: bool  # whether a transit key can be asked to live in the HSM or be sealed

    def memory(self) -> Memory:
        """What it holds now."""
        ...

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        ...


class Process:
    """A child process with its log, that is known to serve when /v1/sys/health says so."""

    def __init__(self, command: list[str], *, log: Path, environment: dict[str, str] | None = None) -> None:
        self._log = log
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
            )

    def wait_healthy(self, address: str, *, accept: Callable[[int], bool]) -> None:
        """Return as soon as the health status is accepted."""
        deadline = time.monotonic() + START_TIMEOUT
        with Api(address) as api:
            while not accept(api.health()):
                if self._child.poll() is not None:
                    raise ServerError(f"it ended with exit code {self._child.returncode}:\n{self.log_tail()}")
                if time.monotonic() > deadline:
                    raise ServerError(f"it did not serve within {START_TIMEOUT:.0f} s:\n{self.log_tail()}")
                time.sleep(0.005)

    def log_tail(self, lines: int = 20) -> str:
        """The end of its log, for an error message."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def memory(self) -> Memory:
        """Resident memory of the process and its descendants."""
        sizes = [_resident(pid) for pid in _descendants(self._child.pid)]
        own = _resident(self._child.pid)
        return Memory(total=own + sum(sizes), worker=max(sizes, default=own))

    def stop(self) -> None:
        """SIGTERM, and after ten seconds SIGKILL to the whole group."""
        self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()


def _resident(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):  # it ended between two looks
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *_descendants(child)]
    return found


class Mimir:
    """`mimir server --dev` from this checkout, its keys inside a SoftHSM token."""

    name = "mimir"
    knows_custody = True

    def __init__(self, directory: Path, *, workers: int | None = None) -> None:
        self._directory = directory
        self._workers = workers
        self._process: Process | None = None
        self.address = f"127.0.0.1:{free_port()}"
        self.token = ""

    def start(self) -> Self:
        """Start (again), and return when it is unsealed."""
        self._directory.mkdir(parents=True, exist_ok=True)
        command = [
            str(Path(sys.executable).with_name("mimir")), "server", "--dev",
            "--data-dir", str(self._directory), "--listen", self.address,
        ]  # fmt: skip
        if self._workers is not None:
            command += ["--workers", str(self._workers)]
        self._process = process = Process(command, log=self._directory / "bench.log")
        process.wait_healthy(self.address, accept=lambda status: status == 200)
        self.token = json.loads((self._directory / "init.json").read_text())["root_token"]
        return self

    def enable_audit(self) -> None:
        """Turn the file audit device on, if it is not yet."""
        with Api(self.address, self.token) as api:
            if "file/" not in api.call("GET", "sys/audit").get("data", {}):
                options = {"file_path": str(self._directory / AUDIT_FILE)}
                api.call("PUT", "sys/audit/file", {"type": "file", "options": options})

    def memory(self) -> Memory:
        """What it holds now."""
        return self._process.memory() if self._process else Memory(total=0, worker=0)

    def stop(self) -> None:
        """End it, if it was started, and wait until it has ended."""
        if self._process:
            self._process.stop()


class OpenBao:
    """`bao server`: raft storage, file audit device, keys in its own memory, no TLS."""

    name = "openbao"
    knows_custody = False

    def __init__(self, directory: Path, program: Path) -> None:
        self._directory = directory
        self._program = program
        self._process: Process | None = None
        self.address = f"127.0.0.1:{free_port()}"
        self.token = ""

    def start(self) -> Self:
        """Start, initialise and unseal."""
        (self._directory / "raft").mkdir(parents=True)
        config = self._directory / "bao.hcl"
        config.write_text(self._config())
        command = [str(self._program), "server", f"-config={config}"]
        self._process = process = Process(command, log=self._directory / "bench.log")
        process.wait_healthy(self.address, accept=lambda status: status == 501)
        with Api(self.address) as api:
            keys = api.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            api.call("PUT", "sys/unseal", {"key": keys["keys"][0]})
        process.wait_healthy(self.address, accept=lambda status: status == 200)
        self.token = keys["root_token"]
        return self

    def _config(self) -> str:
        """As its documentation recommends for one node, but for TLS."""
        return f"""
            api_addr = "http://{self.address}"
            cluster_addr = "http://127.0.0.1:{free_port()}"
            log_level = "warn"
            storage "raft" {{
              path = "{self._directory / "raft"}"
              node_id = "bench"
            }}
            listener "tcp" {{
              address = "{self.address}"
              tls_disable = true
            }}
            audit "file" "file" {{
              options {{
                file_path = "{self._directory / AUDIT_FILE}"
              }}
            }}
        """

    def memory(self) -> Memory:
        """What it holds now."""
        return self._process.memory() if self._process else Memory(total=0, worker=0)

    def stop(self) -> None:
        """End it, if it was started, and wait until it has ended."""
        if self._process:
            self._process.stop()
