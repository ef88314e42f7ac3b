"""SIGKILL during writes: every acknowledged write is there afterwards, and nothing is half-written.

In a hundred rounds, or thirty where time is short, most kill a worker (the supervisor replaces it), every tenth the
whole service.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tests.support.appliance import Appliance

WHOLE_SERVICE_EVERY = 10


class Writer(threading.Thread):
    """Creates keys and rotates them over one keep-alive connection, and notes what was acknowledged."""

    def __init__(self, server: Appliance, number: int, token: str) -> None:
        super().__init__(daemon=True)
        self.server, self.number, self.token = server, number, token
        self.acknowledged: dict[str, int] = {}  # key name -> versions acknowledged
        self.attempted: dict[str, int] = {}
        self.ciphertexts: list[tuple[str, str]] = []
        self.stopping = threading.Event()
        self.unexpected: list[str] = []
        self.last_refusal = ""

    def run(self) -> None:
        count = 0
        while not self.stopping.is_set():
            name = f"w{self.number}-{count}"
            count += 1
            self.attempted[name] = 1
            if self._post(f"transit/keys/{name}", {}):
                self.acknowledged[name] = 1
                self._encrypt(name)
                self.attempted[name] = 2
                if self._post(f"transit/keys/{name}/rotate", {}):
                    self.acknowledged[name] = 2

    def _encrypt(self, name: str) -> None:
        reply = self._post(f"transit/encrypt/{name}", {"plaintext": base64.b64encode(name.encode()).decode()})
        if reply:
            self.ciphertexts.append((name, reply["data"]["ciphertext"]))

    def _post(self, path: str, body: object) -> dict | None:
        """The answer, or None when the connection broke or the service was not there."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            connection.request("POST", f"/v1/{path}", json.dumps(body), {"X-Vault-Token": self.token})
            reply = connection.getresponse()
            text = reply.read()
            if reply.status in (200, 204):
                return json.loads(text) if text else {"data": None}
            self.last_refusal = f"{path}: {reply.status} {text[:200]!r}"
            if reply.status != 503:
                self.unexpected.append(f"{path}: {reply.status} {text[:200]!r}")
        except (OSError, http.client.HTTPException) as exc:
            self.last_refusal = f"{path}: {exc!r}"
            time.sleep(0.01)
        finally:
            with contextlib.suppress(OSError):
                connection.close()
        return None


def wait_for_a_write(server: Appliance, writers: list[Writer]) -> None:
    """Until one more is acknowledged: a service that only starts has nothing to lose."""

    def count() -> int:
        return sum(sum(writer.acknowledged.values()) for writer in writers)

    before, deadline = count(), time.monotonic() + 30
    while count() == before:
        if time.monotonic() > deadline:
            seen = [writer.last_refusal for writer in writers]
            raise AssertionError(f"the service did not come back: {seen}\n{server.log[-3000:]}")
        time.sleep(0.002)


def start_all_workers(server: Appliance) -> None:
    """Until all of them serve: a worker that dies before, again and again, ends the start instead of being replaced."""
    server.log_path.unlink(missing_ok=True)
    server.start()
    deadline = time.monotonic() + 60
    while "ready on" not in server.log:
        assert time.monotonic() < deadline, server.log
        time.sleep(0.02)


def kill_a_worker(server: Appliance, dice: random.Random) -> None:
    """One that runs; that which wrote last may be gone, with the other one not back yet."""
    deadline = time.monotonic() + 30
    while not (pids := server.worker_pids()):
        assert time.monotonic() < deadline, server.log[-3000:]
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):
        os.kill(dice.choice(pids), signal.SIGKILL)


@pytest.mark.timeout(300)  # a hundred take about 150 s on two idle cores
@pytest.mark.parametrize("rounds", [10, pytest.param(100, marks=pytest.mark.heavy)])
def test_kills_lose_nothing(make_appliance: Callable[..., Appliance], rounds: int) -> None:
    server = make_appliance()
    start_all_workers(server)
    token = server.root_token
    server.client().sys.enable_secrets_engine("transit")
    writers = [Writer(server, n, token) for n in range(4)]
    for writer in writers:
        writer.start()
    dice = random.Random(20261122)  # noqa: S311 - where to strike, not a key
    for round_number in range(1, rounds + 1):
        wait_for_a_write(server, writers)
        time.sleep(dice.uniform(0.0, 0.05))
        if round_number % WHOLE_SERVICE_EVERY == 0:
            server.kill()
            start_all_workers(server)
        else:
            kill_a_worker(server, dice)
    for writer in writers:
        writer.stopping.set()
    for writer in writers:
        writer.join(30)
    server.wait_until((200,))
    assert [u for w in writers for u in w.unexpected] == []
    assert sum(len(w.acknowledged) for w in writers) > rounds
    _check_everything(server, writers)
    assert server.stop() == 0


def _check_everything(server: Appliance, writers: list[Writer]) -> None:
    listed = set(server.client().secrets.transit.list_keys()["data"]["keys"])
    for writer in writers:
        assert set(writer.acknowledged) <= listed
        for name in sorted(set(writer.attempted) & listed):
            data = server.request("GET", f"transit/keys/{name}").json["data"]
            # an unacknowledged write may be there or not, but only as a whole
            assert writer.acknowledged.get(name, 1) <= data["latest_version"] <= writer.attempted[name], name
            assert sorted(map(int, data["keys"])) == list(range(1, data["latest_version"] + 1))
            reply = server.request("POST", f"transit/encrypt/{name}", {"plaintext": "YQ=="})
            assert reply.status == 200, reply.body
        for name, ciphertext in writer.ciphertexts:
            opened = server.request("POST", f"transit/decrypt/{name}", {"ciphertext": ciphertext}).json
            assert base64.b64decode(opened["data"]["plaintext"]) == name.encode()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_the_service_ends_cleanly(make_appliance: Callable[..., Appliance], sig: signal.Signals) -> None:
    server = make_appliance().start()
    assert server.process is not None
    server.process.send_signal(sig)
    assert server.wait_exit() == 0
    assert "Traceback" not in server.log
