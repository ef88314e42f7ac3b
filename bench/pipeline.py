"""What the request pipeline itself costs: a token in memory, a root or a narrow policy, an engine that answers at once.

Run from the root of the tree: python bench/pipeline.py
"""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import msgspec

from appliance.mount_table import MountEntry
from appliance.pipeline.identity import Identities
from appliance.pipeline.lifecycle import Lifecycle
from appliance.pipeline.mounted import Mounted
from appliance.pipeline.pipeline import Pipeline
from appliance.router import RouteTable
from appliance.wire import WireRequest
from barrier.seal import SealState
from core.bodies import Base64Bytes
from core.engine import Method, Route
from core.requests import Operation, Request, Response

ROUNDS = 30_000
SHORT = 50  # requests between two looks at the clock: some of these spans are undisturbed


class EncryptBody(msgspec.Struct):
    """As transit's."""

    plaintext: Base64Bytes = Base64Bytes()
    associated_data: Base64Bytes = Base64Bytes()
    key_version: int = 0


class InstantEngine:
    """Answers a constant."""

    def __init__(self) -> None:
        encrypt = Method(handler=self.encrypt, body=EncryptBody, mutates=False)
        self.routes = [
            Route(pattern="encrypt/{name}", methods={Operation.UPDATE: encrypt}),
            Route(pattern="keys/{name}", methods={Operation.READ: encrypt}),
        ]
        self.answer = {"ciphertext": "mimir:v1:" + "A" * 120, "key_version": 1}

    async def encrypt(self, _request: Request, _body: EncryptBody) -> Response:
        """Nothing is encrypted: what stands around it is measured."""
        return Response(data=self.answer)

    async def close(self) -> None:
        """Nothing is held."""


class QuietTrail:
    """Takes records and keeps none."""

    active = True
    current = True

    def record_request(self, *_given: Any, **_named: Any) -> None:
        """As a device that formats nothing."""

    record_response = record_request

    async def flush(self) -> None:
        """At once."""

    async def sync(self) -> None:
        """Never called: always current."""


class OneMount:
    """Finds transit/."""

    def __init__(self) -> None:
        entry = MountEntry(uuid="u", accessor="a", type="transit", path="transit/")
        self._mounted = Mounted(entry, InstantEngine())
        self._by_path = {"transit/": self._mounted}

    def is_current(self) -> bool:
        """Always."""
        return True

    def find(self, path: str) -> Mounted | None:
        """As MountedEngines does."""
        return self._by_path.get(path[: path.find("/") + 1])


def _pipeline(*, is_root: bool) -> Pipeline:
    token = SimpleNamespace(
        record_id="r", accessor="a", policies=("app",), metadata=None, display_name="token", entity_id="",
        issue_time=0, ttl=0, num_uses=0, type="service",
    )  # fmt: skip
    memo = {("transit/encrypt/k", "update", False): True}
    acl = SimpleNamespace(is_root=is_root, allows=lambda path, capability, *, sudo: memo[path, capability, sudo])
    gate: Any = SimpleNamespace(state=SealState.UNSEALED, needs_refresh=False)
    lifecycle = Lifecycle(gate, ())
    lifecycle.ready = True
    given: Any = {
        "lifecycle": lifecycle,
        "sync": lambda: None,
        "mounts": OneMount(),
        "tokens": SimpleNamespace(peek=lambda _token: token),
        "policies": SimpleNamespace(peek_acl=lambda _names: acl),
        "trail": QuietTrail(),
        "open_routes": RouteTable([]),
        "identities": Identities(),
    }
    return Pipeline(**given)


async def _measure(name: str, pipeline: Pipeline, wire: WireRequest) -> None:
    reply = await pipeline.handle(wire)
    if reply.status != 200:
        raise SystemExit(reply.body.decode())
    best = reference = float("inf")
    for _ in range(ROUNDS // SHORT):
        begin = time.process_time_ns()
        for _ in range(SHORT):
            await pipeline.handle(wire)
        middle = time.process_time_ns()
        for _ in range(SHORT):
            _reference()
        best = min(best, middle - begin)
        reference = min(reference, time.process_time_ns() - middle)
    print(f"{name:24}{best / SHORT / 1000:8.2f} us   {best / reference:6.2f} times the reference")


def _reference() -> int:
    """About 5 us on a quiet machine of 2024: what a slow or busy one does to it, it does to the pipeline."""
    total = 0
    for number in range(100):
        total += number * number
    return total


async def _main() -> None:
    from multidict import CIMultiDict, CIMultiDictProxy

    headers = CIMultiDictProxy(
        CIMultiDict({"Host": "localhost:8200", "X-Vault-Token": "hvs." + "x" * 24, "Content-Type": "application/json"})
    )
    body = b'{"plaintext":"' + b"QUFB" * 22 + b'"}'
    path = "/v1/transit/encrypt/k"
    wire = WireRequest("POST", path, path, "", headers, body, "127.0.0.1", None, secure=False)
    await _measure("encrypt, root token", _pipeline(is_root=True), wire)
    await _measure("encrypt, one policy", _pipeline(is_root=False), wire)


if __name__ == "__main__":
    asyncio.run(_main())
