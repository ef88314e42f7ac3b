"""What a chained request and response pair costs: `python bench/audit_line.py [seconds]`, from the project's root.

Formats, hashes, chains and writes the two records of a transit encrypt of 64 bytes, 32 requests an event-loop turn
with one flush each, into a file on the disk that holds the temporary directory.
"""

import asyncio
import base64
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import uvloop

from audit.records import AuditAuth, AuditRequest, AuditResponse
from audit.trail import AuditTrail
from core.clock import SystemClock
from core.ids import new_uuid
from tests.support.memory_storage import memory_storage

CONCURRENT = 32


def _auth() -> AuditAuth:
    return AuditAuth(
        client_token="hvs.CAESIJ1234567890abcdefgh",  # noqa: S106 - nobody's
        accessor="Zf3kP0q4b2F8s6h1M9x7c5Vt",
        display_name="token",
        policies=["default", "orders"],
        token_policies=["default", "orders"],
        token_type="service",  # noqa: S106 - a kind
        token_ttl=2764800,
        token_issue_time="2026-11-22T13:02:00Z",  # noqa: S106 - a time
        allowed=True,
        granting_policies=["orders"],
    )


async def _one(trail: AuditTrail, auth: AuditAuth) -> None:
    request_id, plaintext = _input()
    request = AuditRequest(
        request_id=request_id,
        operation="update",
        path="transit/encrypt/orders",
        mount_point="transit/",
        mount_type="transit",
        mount_accessor="transit_1a2b3c4d",
        client_token=auth.client_token,
        client_token_accessor=auth.accessor,
        data={"plaintext": plaintext},
        remote_address="127.0.0.1",
        remote_port=40000,
    )
    trail.record_request(request, auth)
    response = AuditResponse(
        mount_point="transit/",
        mount_type="transit",
        mount_accessor="transit_1a2b3c4d",
        data={"ciphertext": f"mimir:v1:{plaintext}", "key_version": 1},
    )
    trail.record_response(request, auth, response)
    await trail.flush()


def _input() -> tuple[str, str]:
    return new_uuid(), base64.b64encode(os.urandom(64)).decode()


async def _idle() -> None:
    """What the request's task and its input cost, to be taken off."""
    _input()
    await asyncio.sleep(0)


async def _measure(seconds: float, call: Callable[[], Awaitable[None]]) -> float:
    """Microseconds of CPU a call, the best of many rounds: the machine may be busy with other things."""
    best, end = float("inf"), time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.process_time()
        for _ in range(20):
            await asyncio.gather(*(call() for _ in range(CONCURRENT)))
        best = min(best, (time.process_time() - start) / 20 / CONCURRENT * 1e6)
    return best


async def _run(seconds: float, *, shared: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        trail = AuditTrail(memory_storage().view("audit/"), SystemClock(), process="bench")
        await trail.open()
        await trail.enable("file", type="file", options={"file_path": f"{directory}/audit.log"})
        kept = _auth()
        idle = await _measure(0.3, _idle)
        pair = await _measure(seconds, lambda: _one(trail, kept if shared else _auth()))
        await trail.close()
    how = "auth object kept per token" if shared else "auth object made per request"
    print(f"{how}: {pair - idle:.1f} µs CPU a pair, beside {idle:.1f} µs for a task without audit")


if __name__ == "__main__":
    budget = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    for shared in (True, False):
        uvloop.run(_run(budget, shared=shared))
