"""A real node (supervisor, workers, housekeeper) over the echo application."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import msgspec

from appliance.config import Config, ListenerConfig

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Node:
    """A started node; `port` is where it listens."""

    def __init__(self, process: subprocess.Popen[str], config: Config, log: Path) -> None:
        self.process = process
        self.config = config
        self.log = log
        self.port = 0

    def wait_ready(self) -> "Node":
        found = self.wait_log(r"ready on https?://\S*:(\d+)|ready on unix:()")
        self.port = int(found.group(1) or 0)
        return self

    def wait_log(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            if found := re.search(pattern, self.log.read_text()):
                return found
            if ended:
                break
            time.sleep(0.01)
        raise AssertionError(f"{pattern!r} not in the log:\n{self.log.read_text()}")

    def wait_note(self, note: str, count: int = 1) -> str:
        path = Path(self.config.server.data_dir) / "notes"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            text = path.read_text() if path.exists() else ""
            if text.count(note) >= count:
                return text
            time.sleep(0.01)
        raise AssertionError(f"{note!r} not noted:\n{self.log.read_text()}")

    def children(self) -> list[int]:
        listing = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listing.split()]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def talk(self, *pieces: bytes) -> "Wire":
        wire = Wire(self.connect())
        for piece in pieces:
            wire.send(piece)
        return wire

    def get(self, path: str) -> dict[str, Any]:
        with self.talk(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode()) as wire:
            return wire.reply().json()


class Reply:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def json(self) -> Any:
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)


class Wire:
    """A raw connection and the replies on it."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.stream = connection.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(data)

    def reply(self, *, head_only: bool = False) -> Reply:
        status = self.stream.readline()
        assert status.startswith(b"HTTP/1.1 "), status
        headers = {}
        while (line := self.stream.readline()) not in {b"\r\n", b""}:
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        code = int(status.split()[1])
        length = 0 if head_only or code in {100, 204} else int(headers["content-length"])
        return Reply(code, headers, self.stream.read(length))

    def read_until(self, end: bytes) -> bytes:
        read = b""
        while not read.endswith(end):
            read += (more := self.stream.read(1))
            assert more, read
        return read

    def is_closed(self) -> bool:
        return self.stream.read(1) == b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.socket.close()


Start = Callable[..., Node]


@contextlib.contextmanager
def node_starter(directory: Path, script: str = "run_node.py") -> Iterator[Start]:
    started: list[Node] = []

    def start(
        *,
        config: Config | None = None,
        steps: tuple[str, ...] = (),
        environ: dict[str, str] | None = None,
        **server: Any,
    ) -> Node:
        config = config or Config.dev(directory / "data", "127.0.0.1:0", workers=2)
        config = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, **server))
        file = directory / f"config-{len(started)}.json"
        file.write_bytes(config.encode())
        log = directory / f"log-{len(started)}"
        environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{HERE}", "PYTHONWARNINGS": "error", **(environ or {})}
        with log.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, str(HERE / script), str(file), *steps], stderr=out, env=environ, text=True
            )
        started.append(Node(process, config, log))
        return started[-1]

    try:
        yield start
    finally:
        for node in started:
            if node.process.poll() is None:
                node.process.kill()
            node.process.wait(10)


def with_listener(config: Config, listener: ListenerConfig) -> Config:
    return msgspec.structs.replace(config, listener=(listener,))
