"""SIGKILL during writes: every acknowledged write is there afterwards, and nothing is half-written.

A hundred rounds: most kill a worker (the supervisor replaces it), every tenth the whole service.
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

ROUNDS = 100
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
            if reply.status != 503:
                self.unexpected.append(f"{path}: {reply.status} {text[:200]!r}")
        except (OSError, http.client.HTTPException):
            time.sleep(0.01)
        finally:
            with contextlib.suppress(OSError):
                connection.close()
        return None


def wait_for_a_write(writers: list[Writer]) -> None:
    """Until one more is acknowledged: a service that only starts has nothing to lose."""

    def count() -> int:
        return sum(sum(writer.acknowledged.values()) for writer in writers)

    before, deadline = count(), time.monotonic() + 30
    while count() == before:
        assert time.monotonic() < deadline, "the service did not come back"
        time.sleep(0.002)


def test_a_hundred_kills_lose_nothing(make_appliance: Callable[..., Appliance]) -> None:
    server = make_appliance().start()
    token = server.root_token
    server.client().sys.enable_secrets_engine("transit")
    writers = [Writer(server, n, token) for n in range(4)]
    for writer in writers:
        writer.start()
    dice = random.Random(20261122)  # noqa: S311 - where to strike, not a key
    for round_number in range(1, ROUNDS + 1):
        wait_for_a_write(writers)
        time.sleep(dice.uniform(0.0, 0.05))
        if round_number % WHOLE_SERVICE_EVERY == 0:
            server.kill()
            server.start()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(dice.choice(server.worker_pids()), signal.SIGKILL)
    for writer in writers:
        writer.stopping.set()
    for writer in writers:
        writer.join(30)
    server.wait_until((200,))
    assert [u for w in writers for u in w.unexpected] == []
    assert sum(len(w.acknowledged) for w in writers) > ROUNDS
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
