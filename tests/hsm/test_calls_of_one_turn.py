"""Small inline calls are made together at the end of the event loop's turn; each caller gets its own answer."""

import asyncio

import pytest

from core.errors import CiphertextError, HsmGoneError, KeyPolicyError
from core.protocols import AeadInput, KeyKind, KeyUsage
from pkcs11_glue import turn
from pkcs11_glue.hsm import Hsm


@pytest.fixture
async def hsm(token):
    """Inline whatever the machine's load makes of the latency probe."""
    opened = await Hsm.open(token.settings(mode="inline"))
    yield opened
    await opened.close()


@pytest.fixture
async def key(hsm):
    return await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)


async def test_each_caller_gets_its_own_answer(hsm, key):
    items = [AeadInput(f"payload {n}".encode(), f"row {n}".encode()) for n in range(300)]  # more than one turn takes
    sealed = await asyncio.gather(*(hsm.encrypt(key, [item]) for item in items))
    opened = await asyncio.gather(
        *(hsm.decrypt(key, [AeadInput(s, item.associated_data)]) for [s], item in zip(sealed, items, strict=True))
    )
    assert [o for [o] in opened] == [item.payload for item in items]


async def test_a_forged_item_does_not_touch_its_neighbours(hsm, key):
    [good] = await hsm.encrypt(key, [AeadInput(b"good")])
    forged = bytes([good[0] ^ 1]) + good[1:]
    answers = await asyncio.gather(*(hsm.decrypt(key, [AeadInput(s)]) for s in (good, forged, good)))
    assert answers[0] == answers[2] == [b"good"]
    assert isinstance(answers[1][0], CiphertextError)


async def test_a_caller_that_goes_away_leaves_the_others_and_the_key_alone(hsm, key):
    await hsm.encrypt(key, [AeadInput(b"warm")])
    calls = [asyncio.create_task(hsm.encrypt(key, [AeadInput(b"x")])) for _ in range(3)]
    await asyncio.sleep(0)
    calls[1].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(answers[1], asyncio.CancelledError)
    assert len(answers[0]) == len(answers[2]) == 1
    assert hsm._handles.get(key.key_id).users == 0


async def test_keys_dropped_in_the_same_turn_are_destroyed_after_their_calls(hsm, key):
    await hsm.encrypt(key, [AeadInput(b"warm")])
    live = hsm._handles.get(key.key_id)
    call = asyncio.create_task(hsm.encrypt(key, [AeadInput(b"last")]))
    await asyncio.sleep(0)
    assert live.users == 1
    hsm.drop_keys()
    assert len(await call) == 1
    assert live.retired
    assert live.users == 0
    assert (await hsm.status()).live_handles == 0


async def test_a_call_of_an_ended_epoch_is_refused(hsm, key):
    """A handle from before the module was re-opened may name another tenant's key."""
    await hsm.encrypt(key, [AeadInput(b"warm")])
    call = asyncio.create_task(hsm.encrypt(key, [AeadInput(b"x")]))
    await asyncio.sleep(0)
    hsm._handles.start_epoch()
    with pytest.raises(HsmGoneError):
        await call


async def test_what_is_refused_is_refused_before_the_turn(hsm, key):
    with pytest.raises(KeyPolicyError):
        await hsm.encrypt(key, [AeadInput(bytes(2**20 + 1))])


async def test_large_batches_do_not_wait_for_the_turn(hsm, key):
    items = [AeadInput(bytes([n])) for n in range(turn.MOST_ITEMS + 1)]
    await hsm.encrypt(key, [AeadInput(b"warm")])
    step = hsm.encrypt(key, items).__await__()
    with pytest.raises(StopIteration):  # answered without suspending
        next(step)
