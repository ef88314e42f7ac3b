"""What the recorder that stands for the appliance says of kv mounts."""

from __future__ import annotations

from typing import Any

from tests.cli.conftest import Recorder

PREFLIGHT = "GET /v1/sys/internal/ui/mounts"
BLOCK = {
    "created_time": "2026-11-22T10:00:00Z",
    "custom_metadata": None,
    "deletion_time": "",
    "destroyed": False,
    "version": 3,
}


def mounted(
    appliance: Recorder, *asked: str, mount: str = "secret/", version: str | None = "2", kind: str = "kv"
) -> None:
    """Each path that is asked for is below the mount."""
    options = None if version is None else {"version": version}
    for path in asked:
        appliance.on(f"{PREFLIGHT}/{path}", 200, {"data": {"path": mount, "type": kind, "options": options}})


def secret(values: Any, **block: Any) -> dict[str, Any]:
    return {"request_id": "r-1", "data": {"data": values, "metadata": BLOCK | block}}


def version_answer(values: bytes, number: int) -> bytes:
    """With values as they stand in the JSON text."""
    return b'{"data":{"data":%b,"metadata":{"version":%d,"created_time":"t","destroyed":false}}}' % (values, number)
