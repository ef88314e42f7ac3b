"""Every status code of Vault's API, and what leads to it."""

import pytest

from core.errors import (
    CiphertextError,
    HsmGoneError,
    IntegrityError,
    InvalidRequestError,
    KeyPolicyError,
    NotFoundError,
    RequestTooLargeError,
    StoreUnavailableError,
)
from tests.unit.pipeline.rig import Rig


async def test_smoke(rig: Rig) -> None:
    assert (await rig.call("PUT", "shelf/keys/a", {"x": 1})).status == 204
    reply = await rig.call("GET", "shelf/keys/a")
    assert reply.json["data"] == {"x": 1}
