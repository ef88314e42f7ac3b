"""One child process as the supervisor sees it: spawned with exec, watched by pidfd, heard over its channel."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from appliance.processes.channel import GO, Report

_ROOT = Path(__file__).resolve().parents[2]  # where the packages are


class Child:
    """A running child. `exited` resolves to its exit code, negative for a signal."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.name = name
        self.ready = asyncio.Event()
        self.exited: asyncio.Future[int] = loop.create_future()
        self.started_at = self.last_beat = loop.time()
        self.status = ""
        self.failure: Report | None = None
        self.on_beat: Callable[[], None] = lambda: None
        self._process = process
        self._channel = channel
        self._lines = b""
        self._pidfd = os.pidfd_open(process.pid)
        loop.add_reader(self._pidfd, self._reap)
        loop.add_reader(channel.fileno(), self._hear)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def go(self) -> None:
        """Let it open what it prepared; one that has died meanwhile is noticed by `exited`."""
        try:
            self._channel.send(GO)
        except OSError:
            return

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if not self.exited.done():
            signal.pidfd_send_signal(self._pidfd, number)

    def _hear(self) -> None:
        try:
            data = self._channel.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            return
        *lines, self._lines = (self._lines + data).split(b"\n")
        for line in lines:
            self._take(msgspec.json.decode(line, type=Report))

    def _take(self, report: Report) -> None:
        self.last_beat = asyncio.get_running_loop().time()
        if report.kind == "failed":
            self.failure = report
            return
        self.status = report.text
        if report.kind == "ready":
            self.ready.set()
        self.on_beat()

    def _reap(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        self._hear()  # its last words
        loop.remove_reader(self._channel.fileno())
        code = self._process.wait()
        os.close(self._pidfd)
        self._channel.close()
        self.exited.set_result(code)


class Spawner:
    """Starts children that share a configuration, an environment and inherited descriptors."""

    def __init__(self, config: bytes, *, environment: Mapping[str, str], keep_open: Sequence[int]) -> None:
        self._config_fd = os.memfd_create("mimir-config")
        os.write(self._config_fd, config)
        self._environment = {**os.environ, **environment, "PYTHONPATH": _python_path()}
        self._keep_open = tuple(keep_open)

    def spawn(self, name: str, module: str, *arguments: str, descriptors: Sequence[int] = ()) -> Child:
        """Run `python -m module arguments…`, in a process group of its own: Ctrl-C is for the supervisor."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        command = [sys.executable, "-P", "-m", module, *arguments]
        command += ["--parent", str(os.getpid())]
        command += ["--config-fd", str(self._config_fd), "--channel-fd", str(theirs.fileno())]
        with theirs:
            process = subprocess.Popen(
                command,
                env=self._environment,
                pass_fds=(self._config_fd, theirs.fileno(), *self._keep_open, *descriptors),
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),
                process_group=0,
            )
        return Child(name, process, ours)

    def close(self) -> None:
        """No child will be started any more."""
        os.close(self._config_fd)


def _python_path() -> str:
    """Where this process found the packages, for children that (-P) do not look into the current directory."""
    given = os.environ.get("PYTHONPATH", "")
    paths = [path for path in given.split(os.pathsep) if path]
    if str(_ROOT) not in paths and _ROOT.name != "site-packages":
        paths.insert(0, str(_ROOT))
    return os.pathsep.join(paths)
