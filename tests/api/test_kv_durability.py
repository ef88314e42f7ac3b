"""A secret that was acknowledged is on disk: seen in the system calls of a live worker, and after SIGKILL."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.appliance import Appliance

WRITERS = 32
WRITES_EACH = 8

# --- fsync ----------------------------------------------------------------------------------------------------------

_CALL = re.compile(r"(?P<name>\w+)\((?P<fd>\d+)<(?P<file>[^>]*)>(?P<rest>.*)")
_UNFINISHED, _RESUMED = (
    re.compile(r"^(\d+) +(.*) <unfinished \.\.\.>$"),
    re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$"),
)


@contextlib.contextmanager
def traced(pid: int, output: Path) -> Iterator[None]:
    """strace of a process with its threads: what it reads, writes and syncs."""
    command = ["strace", "-f", "-y", "-s", "48", "-e", "trace=read,write,fsync,fdatasync", "-o", output, "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    attached = tracer.stderr.readline()
    assert "attached" in attached, attached + tracer.stderr.read()
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=20)


def moments(lines: list[str]) -> Iterator[tuple[int, int, re.Match[str]]]:
    """Each call with the lines on which it began and ended."""
    begun: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        if unfinished := _UNFINISHED.match(line):
            begun[unfinished[1]] = (number, unfinished[2])
            continue
        start, text = number, line.partition(" ")[2].lstrip()
        if resumed := _RESUMED.match(line):
            start, first = begun.pop(resumed[1], (number, ""))
            text = first + resumed[2]
        if call := _CALL.match(text):
            yield start, number, call


def write_secrets(server: Appliance, writer: int) -> int:
    """Over one connection, one after the other; how many were acknowledged."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    acknowledged = 0
    for number in range(WRITES_EACH):
        body = json.dumps({"data": {"n": number}})
        connection.request("POST", f"/v1/durable/data/w{writer}-{number}", body, {"X-Vault-Token": server.root_token})
        reply = connection.getresponse()
        reply.read()
        acknowledged += reply.status == 200
    connection.close()
    return acknowledged


def test_writers_share_a_sync_and_none_is_answered_before_it(
    make_appliance: Callable[..., Appliance], tmp_path: Path
) -> None:
    server = make_appliance(workers=1).start()
    server.client().sys.enable_secrets_engine("kv", path="durable", options={"version": "2"})
    assert server.request("POST", "durable/data/first", {"data": {}}).status == 200
    acknowledged: list[int] = []
    writers = [
        threading.Thread(target=lambda n=n: acknowledged.append(write_secrets(server, n))) for n in range(WRITERS)
    ]
    with traced(server.worker_pids()[0], tmp_path / "trace"):
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
    assert sum(acknowledged) == WRITERS * WRITES_EACH

    syncs: list[tuple[int, int]] = []
    arrived: dict[str, int] = {}
    answered = 0
    for begin, end, call in moments((tmp_path / "trace").read_text(errors="replace").splitlines()):
        socket, rest = call["file"], call["rest"]
        if call["name"] in {"fsync", "fdatasync"} and socket.endswith("-wal"):
            assert rest.endswith("= 0"), rest
            syncs.append((begin, end))
        elif call["name"] == "read" and "POST /v1/durable/data/" in rest:
            arrived[socket] = end
        elif call["name"] == "write" and '"HTTP/1.1 200 ' in rest:
            since = arrived.pop(socket)
            assert any(since < first and last < begin for first, last in syncs), f"{socket}: answered before a sync"
            answered += 1
    assert answered == WRITERS * WRITES_EACH
    assert len(syncs) * 3 <= answered, f"{len(syncs)} syncs for {answered} writes"


# --- SIGKILL --------------------------------------------------------------------------------------------------------


class Writer(threading.Thread):
    """Adds versions to secrets of its own, and notes what was acknowledged."""

    def __init__(self, server: Appliance, number: int, token: str) -> None:
        super().__init__(daemon=True)
        self.server, self.number, self.token = server, number, token
        self.acknowledged: dict[str, int] = {}
        self.attempted: dict[str, int] = {}
        self.stopping = threading.Event()

    def run(self) -> None:
        count = 0
        while not self.stopping.is_set():
            name = f"w{self.number}-{count % 5}"
            wanted = self.attempted.get(name, 0) + 1
            if self._put(name, wanted):
                count += 1
            else:
                count += 5  # nobody knows whether it happened: leave that secret alone
                time.sleep(0.02)

    def _put(self, name: str, version: int) -> bool:
        if self.attempted.get(name, 0) != self.acknowledged.get(name, 0):
            return False
        self.attempted[name] = version
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        body = json.dumps({"data": value_of(name, version), "options": {"cas": version - 1}})
        try:
            connection.request("POST", f"/v1/durable/data/{name}", body, {"X-Vault-Token": self.token})
            reply = connection.getresponse()
            reply.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        if reply.status == 200:
            self.acknowledged[name] = version
        return reply.status == 200


def value_of(name: str, version: int) -> dict[str, str]:
    """Some 2 KiB that say whose they are."""
    return {"name": name, "version": str(version), "filler": f"{name}:{version};" * 200}


def check(server: Appliance, writers: list[Writer]) -> int:
    """Every acknowledged version is there and whole; how many there are."""
    seen = 0
    for writer in writers:
        for name, attempted in writer.attempted.items():
            acknowledged = writer.acknowledged.get(name, 0)
            reply = server.request("GET", f"durable/metadata/{name}")
            if reply.status == 404:
                assert not acknowledged, name
                continue
            latest = reply.json["data"]["current_version"]
            assert acknowledged <= latest <= attempted, name
            for version in reply.json["data"]["versions"]:
                found = server.request("GET", f"durable/data/{name}?version={version}")
                assert found.status == 200, (name, version)
                assert found.json["data"]["data"] == value_of(name, int(version))
                seen += 1
    return seen


def kill_everything(make_appliance: Callable[..., Appliance], *, rounds: int) -> None:
    server = make_appliance(workers=2).start()
    server.client().sys.enable_secrets_engine("kv", path="durable", options={"version": "2"})
    dice = random.Random(20261123)  # noqa: S311 - when to strike, not a key
    for number in range(rounds):
        writers = [Writer(server, number * 100 + n, server.root_token) for n in range(8)]
        for writer in writers:
            writer.start()
        time.sleep(dice.uniform(0.3, 0.8))
        server.kill()
        for writer in writers:
            writer.stopping.set()
            writer.join(30)
        server.start()
        assert sum(len(writer.acknowledged) for writer in writers) >= 1
        assert check(server, writers) >= 1
    assert server.stop() == 0


def test_after_a_kill_every_acknowledged_secret_is_there(make_appliance: Callable[..., Appliance]) -> None:
    kill_everything(make_appliance, rounds=1)


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_after_fifty_kills_every_acknowledged_secret_is_there(make_appliance: Callable[..., Appliance]) -> None:
    kill_everything(make_appliance, rounds=50)
