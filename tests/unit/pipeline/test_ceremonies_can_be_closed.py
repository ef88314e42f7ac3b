"""The older paths of generate-root and rekey ask for no token; an operator may leave them out."""

from dataclasses import replace

import pytest

from tests.unit.pipeline.rig import NODE, MakeRig

OLDER = ["sys/generate-root/attempt", "sys/rekey/init", "sys/rekey-recovery-key/init"]


@pytest.mark.parametrize("path", OLDER)
async def test_without_a_token_they_are_served_where_they_are_left_on(make: MakeRig, path: str) -> None:
    rig = await make()
    await rig.initialize()
    assert (await rig.call("GET", path, token="")).status == 200


@pytest.mark.parametrize("path", OLDER)
async def test_closed_they_are_like_any_unknown_path(make: MakeRig, path: str) -> None:
    rig = await make(replace(NODE, unauthenticated_ceremonies=False))
    await rig.initialize()
    assert (await rig.call("GET", path, token="")).status == 403
    assert (await rig.call("GET", path)).status == 404
    assert (await rig.call("GET", "sys/generate-root-token/attempt")).status == 200
