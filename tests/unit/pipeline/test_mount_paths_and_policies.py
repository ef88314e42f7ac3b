"""What policies say of sys/mounts and sys/leases holds for every way to the same deed."""

import asyncio

import pytest

from core import digests
from tests.unit.pipeline.rig import Rig

WARDEN = """\
path "sys/mounts/*" { capabilities = ["create", "read", "update", "delete"] }
path "sys/mounts/shelf" { capabilities = ["deny"] }
"""


async def test_a_mount_is_not_disabled_by_the_path_of_its_tuning(rig: Rig) -> None:
    token = await rig.child(WARDEN)
    for path in ("sys/mounts/shelf", "sys/mounts/shelf/", "sys/mounts//shelf", "sys/mounts/shelf/tune"):
        reply = await rig.call("DELETE", path, token=token)
        assert reply.status in {403, 404, 405}, (path, reply.status)
    assert "shelf/" in (await rig.call("GET", "sys/mounts")).json["data"]


@pytest.mark.parametrize("target", ["tune", "team/tune"])
async def test_no_mount_is_named_like_its_tuning(rig: Rig, target: str) -> None:
    """Nobody could tune or disable it."""
    reply = await rig.call("POST", "sys/remount", {"from": "shelf", "to": target})
    assert reply.status == 400
    assert (await rig.call("LIST", "shelf/keys")).status == 404  # still served there


async def test_irrevocable_leases_of_all_are_listed_with_sudo_only(rig: Rig) -> None:
    token = await rig.child('path "sys/leases" { capabilities = ["read"] }')
    body = {"type": "irrevocable"}
    assert (await rig.call("GET", "sys/leases", body, token=token)).status == 403
    assert (await rig.call("GET", "sys/leases", body)).status == 200


async def test_hashing_much_does_not_stop_the_others(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every token may ask for hashes, of 24 MB."""
    threads: list[object] = []
    beside = asyncio.to_thread

    async def noted(work: object, *args: object) -> object:
        threads.append(work)
        return await beside(work, *args)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(digests.asyncio, "to_thread", noted)
    small = await rig.call("POST", "sys/tools/hash", {"input": "eA=="})
    assert (small.status, len(threads)) == (200, 0)
    large = await rig.call("POST", "sys/tools/hash", {"input": "eHh4" * 100_000})
    assert (large.status, len(threads)) == (200, 1)
