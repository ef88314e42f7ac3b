"""Which requests a rate limit counts, and what a refusal gives away."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.pipeline.rig import Rig


async def limited(rig: Rig, path: str = "", **more: Any) -> None:
    """One request a minute there."""
    reply = await rig.call("POST", "sys/quotas/rate-limit/q", {"rate": 1, "interval": "1m", "path": path, **more})
    assert reply.status == 204, reply.body


@pytest.mark.parametrize("path", ["nowhere/x", "nowhere", "shelf/nothing/here"])
async def test_the_global_quota_holds_where_nothing_is_mounted_too(rig: Rig, path: str) -> None:
    await limited(rig)
    statuses = [(await rig.call("GET", path, token="hvs.guessed")).status for _ in range(3)]
    assert statuses == [403, 429, 429]


async def test_a_slash_at_the_end_evades_no_quota(rig: Rig) -> None:
    await limited(rig, "shelf/keys/a")
    paths = ["shelf/keys/a", "shelf/keys/a/", "shelf/keys/a//"]
    assert [(await rig.call("GET", path)).status for path in paths] == [404, 429, 429]


async def test_a_refusal_repeats_no_token(rig: Rig) -> None:
    await rig.audited()
    await rig.call("POST", "sys/quotas/config", {"enable_rate_limit_audit_logging": True})
    await limited(rig, "auth/token/")
    token = "hvs.neverShownAnywhere"
    replies = [await rig.call("GET", f"auth/token/lookup/{token}") for _ in range(2)]
    assert replies[1].status == 429
    assert b"neverShownAnywhere" not in replies[1].body
    await rig.call("GET", "sys/mounts")
    assert "neverShownAnywhere" not in (rig.directory / "audit.log").read_text()
