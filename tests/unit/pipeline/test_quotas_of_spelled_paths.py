"""Rate limits through the pipeline, however a path is spelled."""

import pytest

from tests.unit.pipeline.rig import Rig


@pytest.fixture
async def limited(rig: Rig) -> Rig:
    body = {"path": "auth/userpass/login/bob", "rate": 2, "interval": 3600}
    assert (await rig.call("POST", "sys/auth/userpass", {"type": "userpass"})).status == 204
    assert (await rig.call("GET", "sys/auth")).status == 200
    assert (await rig.call("POST", "sys/quotas/rate-limit/bob", body)).status == 204
    return rig


@pytest.mark.parametrize("path", ["auth/userpass/login/bob/", "auth/userpass/login//bob", "auth/userpass//login/bob"])
async def test_another_spelling_is_the_same_path(limited: Rig, path: str) -> None:
    for spelled in ("auth/userpass/login/bob", path):
        assert (await limited.call("POST", spelled, {"password": "x"}, token="")).status != 429
    for spelled in ("auth/userpass/login/bob", path):
        assert (await limited.call("POST", spelled, {"password": "x"}, token="")).status == 429
