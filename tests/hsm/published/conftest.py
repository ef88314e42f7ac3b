"""A custodian over a real token, that keeps keys in the HSM and sealed."""

import pytest

from core.protocols import Custody, KeyKind, KeyUsage


@pytest.fixture
async def custodian(hsm):
    hsm.set_sealing_key(await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT))
    return hsm


@pytest.fixture(params=list(Custody), ids=lambda custody: custody.value)
def custody(request):
    return request.param


@pytest.fixture
def operations(hsm):
    """The session's operations themselves: the layer that is given a nonce or a wrapping key."""
    return hsm._link.connection.operations
