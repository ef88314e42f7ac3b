"""When the token goes away: refused at once, re-opened in the background, resumed without a restart."""

import asyncio
import re
import threading
import time
from contextlib import ExitStack
from ctypes import c_char

import pytest

from core.errors import CiphertextError, HsmConfigError, HsmError, HsmGoneError, HsmRetryError
from core.protocols import AeadInput, KeyKind, KeyUsage
from pkcs11_glue import link
from pkcs11_glue.errors import CKR_NAMES, REOPEN_CODES, Verdict, code_name, verdict
from pkcs11_glue.hsm import Hsm
from pkcs11_glue.login import node_lock

# places in CK_FUNCTION_LIST
GET_TOKEN_INFO, LOGIN, ENCRYPT_INIT, ENCRYPT, DECRYPT = 6, 18, 29, 30, 34

ITEM = [AeadInput(b"payload", b"aad")]


async def reached(hsm, state, within=8.0):
    deadline = time.monotonic() + within
    while (await hsm.status()).state != state:
        assert time.monotonic() < deadline, f"{(await hsm.status()).state}: {(await hsm.status()).reason}"
        await asyncio.sleep(0.01)


@pytest.fixture(params=["inline", "pool"])
async def served(token, request):
    hsm = await Hsm.open(token.settings(mode=request.param, pool_size=4))
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    (sealed,) = await hsm.encrypt(key, ITEM)
    yield hsm, key, sealed
    await hsm.close()


@pytest.mark.parametrize("code", sorted(REOPEN_CODES))
async def test_each_gone_code_is_refused_then_cured_by_reopening(hsm, function_list, code):
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    await hsm.encrypt(key, ITEM)
    function_list.fail(ENCRYPT, code)
    with pytest.raises(HsmGoneError, match="not reachable") as caught:
        await hsm.encrypt(key, ITEM)
    assert caught.value.code == CKR_NAMES[code]
    function_list.restore()
    await reached(hsm, "ready")
    assert len(await hsm.encrypt(key, ITEM)) == 1


async def test_while_gone_everything_is_refused_at_once(served, function_list):
    hsm, key, sealed = served
    function_list.fail(ENCRYPT, 0x30)
    with pytest.raises(HsmGoneError):
        await hsm.encrypt(key, ITEM)
    start = time.monotonic()
    for _ in range(100):
        with pytest.raises(HsmGoneError):
            await hsm.encrypt(key, ITEM)
        with pytest.raises(HsmGoneError):
            await hsm.decrypt(key, [AeadInput(sealed, b"aad")])
        with pytest.raises(HsmGoneError):
            await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
        with pytest.raises(HsmGoneError):
            await hsm.random(8)
    assert time.monotonic() - start < 1
    assert (await hsm.status()).state == "reopening"
    function_list.restore()
    await reached(hsm, "ready")
    assert await hsm.decrypt(key, [AeadInput(sealed, b"aad")]) == [b"payload"]


def failing(function_list, place, pattern):
    """Each call of the function takes the next letter of `pattern`: x fails with CKR_GENERAL_ERROR."""
    left = list(pattern)
    function_list.replace(
        place, lambda original: lambda *arguments: original(*arguments) or (5 if left and left.pop(0) == "x" else 0)
    )


@pytest.mark.parametrize("mode", ["inline", "pool"])
async def test_a_fault_that_ends_with_another_process_s_login_is_not_seen(token, function_list, mode):
    """What a C_Login of another process does to everybody for a moment."""
    hsm = await Hsm.open(token.settings(mode=mode))
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    await hsm.encrypt(key, ITEM)
    epoch = (await hsm.status()).epoch
    login = ExitStack()
    login.enter_context(node_lock(token.settings().login_lock))
    under_way = threading.Event()
    under_way.set()
    function_list.replace(ENCRYPT, lambda original: lambda *arguments: original(*arguments) or 5 * under_way.is_set())

    def end():
        under_way.clear()
        login.close()

    threading.Timer(0.05, end).start()
    (sealed,) = await hsm.encrypt(key, ITEM)
    assert (await hsm.status()).epoch == epoch
    assert await hsm.decrypt(key, [AeadInput(sealed, ITEM[0].associated_data)]) == [ITEM[0].payload]
    await hsm.close()


async def test_a_passing_fault_does_not_call_a_good_wrapped_key_damaged(hsm, function_list):
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    unwrap = function_list.places["C_UnwrapKey"]
    failing(function_list, unwrap, "x")
    assert len(await hsm.encrypt(key, ITEM)) == 1


async def test_general_error_of_this_call_alone_is_retry(hsm, function_list):
    """CKR_GENERAL_ERROR is ambiguous: the known-answer test succeeds, so the session stays."""
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    await hsm.encrypt(key, ITEM)
    epoch = (await hsm.status()).epoch
    failing(function_list, ENCRYPT, "x.x.")
    with pytest.raises(HsmRetryError, match=r"CKR_GENERAL_ERROR.*try again"):
        await hsm.encrypt(key, ITEM)
    assert len(await hsm.encrypt(key, ITEM)) == 1
    assert (await hsm.status()).epoch == epoch


async def test_general_error_that_stays_is_gone(hsm, function_list):
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    function_list.fail(ENCRYPT, 5)
    with pytest.raises(HsmGoneError, match="CKR_GENERAL_ERROR"):
        await hsm.encrypt(key, ITEM)


async def test_a_passing_fault_does_not_call_a_good_ciphertext_forged(served, function_list):
    hsm, key, sealed = served
    failures = [5]

    def once(original):
        return lambda *arguments: original(*arguments) or (failures.pop() if failures else 0)

    function_list.replace(DECRYPT, once)
    assert await hsm.decrypt(key, [AeadInput(sealed, b"aad")]) == [b"payload"]


async def test_a_broken_hsm_does_not_call_a_good_ciphertext_forged(served, function_list):
    hsm, key, sealed = served
    function_list.fail(DECRYPT, 5)
    function_list.fail(ENCRYPT, 5)
    with pytest.raises(HsmGoneError):
        await hsm.decrypt(key, [AeadInput(sealed, b"aad")])


@pytest.mark.parametrize("code", [0x40, 0x41, 0x35, 0x05, 0x06])
async def test_whatever_a_module_says_of_a_forged_tag_the_caller_reads_the_same(served, function_list, code):
    hsm, key, sealed = served

    def renamed(original):
        return lambda *arguments: code if original(*arguments) else 0

    function_list.replace(DECRYPT, renamed)
    (refused,) = await hsm.decrypt(key, [AeadInput(sealed, b"wrong")])
    assert isinstance(refused, CiphertextError)
    assert (await hsm.status()).state == "ready"


async def test_mechanism_refusals_are_config_errors_and_leave_the_session(hsm, function_list):
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    await hsm.encrypt(key, ITEM)

    def refusing(original):
        return lambda *_: 0x68

    function_list.replace(ENCRYPT_INIT, refusing)
    with pytest.raises(HsmConfigError, match="CKR_KEY_FUNCTION_NOT_PERMITTED"):
        await hsm.encrypt(key, ITEM)
    assert (await hsm.status()).state == "ready"


def test_every_code_has_exactly_one_verdict():
    for code in CKR_NAMES:
        assert isinstance(verdict(code), Verdict)
    assert verdict(0x80000001) is Verdict.UNCLEAR
    assert code_name(0x80000001) == "CKR_VENDOR 0x80000001"


async def test_an_operation_left_open_is_cured(served, function_list):
    """A fault that never ran the original leaves the operation open: CKR_OPERATION_ACTIVE, until re-opened."""
    hsm, key, _ = served
    await hsm.encrypt(key, ITEM)

    def skipping(original):
        return lambda *_: 0x50

    function_list.replace(ENCRYPT, skipping)
    with pytest.raises(HsmRetryError):
        await hsm.encrypt(key, ITEM)
    function_list.restore()
    with pytest.raises(HsmGoneError, match="CKR_OPERATION_ACTIVE"):  # the seat used last is the first to be used again
        await hsm.encrypt(key, ITEM)
    await reached(hsm, "ready")
    assert len(await hsm.encrypt(key, ITEM)) == 1


async def test_token_directory_moved_away_is_noticed_and_back_is_resumed(served, token, monkeypatch):
    """SoftHSM goes on with cached keys, so the watch must notice; nothing is restarted."""
    hsm, key, sealed = served
    token.tokens.rename(token.path / "elsewhere")
    await reached(hsm, "reopening", within=3 * link.WATCH_SECONDS)
    start = time.monotonic()
    with pytest.raises(HsmGoneError, match="not reachable"):
        await hsm.encrypt(key, ITEM)
    assert time.monotonic() - start < 1
    await asyncio.sleep(0.3)
    assert (await hsm.status()).state == "reopening"
    (token.path / "elsewhere").rename(token.tokens)
    await reached(hsm, "ready")
    assert await hsm.decrypt(key, [AeadInput(sealed, b"aad")]) == [b"payload"]


async def test_another_token_in_the_slot_is_noticed(hsm, function_list):
    def relabelled(original):
        def answer(slot, info):
            code = original(slot, info)
            (c_char * 16).from_address(info + 80)[:] = b"another token   "
            return code

        return answer

    function_list.replace(GET_TOKEN_INFO, relabelled)
    await reached(hsm, "reopening", within=3 * link.WATCH_SECONDS)


async def test_wrong_pin_on_reopening_is_tried_once_and_never_again(served, token, function_list):
    hsm, key, _ = served
    (token.path / "pin").write_text("0000000000")
    logins = []

    def counted(original):
        return lambda *arguments: logins.append(1) or original(*arguments)

    function_list.replace(LOGIN, counted)
    function_list.fail(ENCRYPT, 0x32)
    with pytest.raises(HsmGoneError):
        await hsm.encrypt(key, ITEM)
    await reached(hsm, "failed")
    await asyncio.sleep(0.3)
    assert len(logins) == 1
    assert re.search("refuses the PIN", (await hsm.status()).reason)
    with pytest.raises(HsmGoneError, match="refuses the PIN"):
        await hsm.encrypt(key, ITEM)


async def test_a_stale_handle_is_never_used(hsm, function_list):
    """After C_Finalize numbers start again: an old handle can be another tenant's key. Every entry has its epoch."""
    tenant_a = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    tenant_b = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    (of_a,) = await hsm.encrypt(tenant_a, ITEM)
    (of_b,) = await hsm.encrypt(tenant_b, ITEM)
    stale = hsm._handles.get(tenant_a.key_id)
    function_list.fail(ENCRYPT, 0xB3)
    with pytest.raises(HsmGoneError):
        await hsm.encrypt(tenant_a, ITEM)
    function_list.restore()
    await reached(hsm, "ready")
    # B is unwrapped first now, and may get the number that A had
    assert await hsm.decrypt(tenant_b, [AeadInput(of_b, b"aad")]) == [b"payload"]
    assert hsm._handles.put(stale) is stale
    assert hsm._handles.get(tenant_a.key_id) is None
    assert await hsm.decrypt(tenant_a, [AeadInput(of_a, b"aad")]) == [b"payload"]
    (refused,) = await hsm.decrypt(tenant_a, [AeadInput(of_b, b"aad")])
    assert isinstance(refused, CiphertextError)


async def test_a_cancelled_caller_does_not_free_a_busy_session(token, function_list):
    hsm = await Hsm.open(token.settings(mode="pool", pool_size=1))
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    await hsm.encrypt(key, ITEM)
    inside, most, entered, gate = [], [], threading.Event(), threading.Event()

    def watched(original):
        def call(*arguments):
            inside.append(1)
            most.append(len(inside))
            entered.set()
            gate.wait(5)
            code = original(*arguments)
            inside.pop()
            return code

        return call

    function_list.replace(ENCRYPT, watched)
    first = asyncio.create_task(hsm.encrypt(key, ITEM))
    assert await asyncio.to_thread(entered.wait, 5)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(hsm.encrypt(key, ITEM))
    await asyncio.sleep(0.05)
    assert not second.done()
    assert len(inside) == 1
    gate.set()
    assert len(await second) == 1
    assert max(most) == 1
    await hsm.close()


async def test_a_cancelled_waiter_loses_no_seat(token, function_list):
    hsm = await Hsm.open(token.settings(mode="pool", pool_size=2))
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    await hsm.encrypt(key, ITEM)
    function_list.delay(ENCRYPT, 0.02)
    for _ in range(5):
        waiting = [asyncio.create_task(hsm.encrypt(key, ITEM)) for _ in range(6)]
        await asyncio.sleep(0.01)
        for task in waiting[::2]:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    function_list.restore()
    assert len(await asyncio.gather(*(hsm.encrypt(key, ITEM) for _ in range(20)))) == 20
    assert hsm._link._pool.busy == 0
    await hsm.close()


async def test_those_who_wait_learn_at_once_that_the_hsm_is_gone(token, function_list):
    hsm = await Hsm.open(token.settings(mode="pool", pool_size=2))
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    await hsm.encrypt(key, ITEM)
    gate = threading.Event()
    function_list.replace(ENCRYPT, lambda original: lambda *a: (gate.wait(5), original(*a))[1])
    calls = [asyncio.create_task(hsm.encrypt(key, ITEM)) for _ in range(6)]
    await asyncio.sleep(0.05)
    start = time.monotonic()
    hsm._link.trip(HsmGoneError("the HSM is not reachable (test)", code="test"))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert time.monotonic() - start < 1
    assert all(isinstance(outcome, HsmGoneError) for outcome in outcomes)
    function_list.restore()
    gate.set()
    await reached(hsm, "ready")
    assert len(await hsm.encrypt(key, ITEM)) == 1
    await hsm.close()


async def test_who_was_given_a_seat_just_before_the_hsm_went_does_not_take_it(token):
    """Its call would wait for a thread that has ended, or run while the module is finalised."""
    hsm = await Hsm.open(token.settings(mode="pool", pool_size=1))
    pool, gate, loop = hsm._link._pool, threading.Event(), asyncio.get_running_loop()
    gone = HsmGoneError("the HSM is not reachable (test)", code="test")
    # scheduled when the first call ends, so before the second wakes up with the seat
    first = asyncio.create_task(pool.run(lambda _: gate.wait(5), ended=lambda: loop.call_soon(pool.refuse, gone)))
    ran, ended = [], []
    second = asyncio.create_task(pool.run(lambda _: ran.append(1), ended=lambda: ended.append(1)))
    await asyncio.sleep(0.01)
    gate.set()
    with pytest.raises(HsmGoneError):
        await asyncio.wait_for(second, 5)
    await asyncio.gather(first, return_exceptions=True)
    assert (ran, ended, pool.join(5)) == ([], [1], True)
    await hsm.close()


async def test_a_slow_module_goes_to_the_pool_by_measured_latency(token, function_list):
    function_list.delay(ENCRYPT, 0.001)
    hsm = await Hsm.open(token.settings())
    assert (await hsm.status()).mode == "pool"
    await hsm.close()


async def test_a_module_that_becomes_slow_moves_to_the_pool(token, function_list, monkeypatch):
    monkeypatch.setattr(link, "WATCH_SECONDS", 0.01)
    hsm = await Hsm.open(token.settings())
    hsm._link.inline = True  # whatever this machine measured
    function_list.delay(ENCRYPT, 0.001)
    deadline = time.monotonic() + 5
    while (await hsm.status()).mode == "inline":
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    await hsm.close()


async def test_planned_reopening_bounds_the_objects_a_module_has_seen(token, monkeypatch):
    monkeypatch.setattr(link, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(link, "MAX_CREATED", 20)
    hsm = await Hsm.open(token.settings(mode="inline"))
    epoch = (await hsm.status()).epoch
    for _ in range(30):
        try:
            await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
        except HsmError:
            break
    deadline = time.monotonic() + 5
    while (await hsm.status()).epoch == epoch:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    await reached(hsm, "ready")
    await hsm.close()


async def test_no_call_fails_by_a_planned_reopening(token, monkeypatch):
    """Calls that wait for the end of the turn are made before, those that come meanwhile wait for the new epoch."""
    monkeypatch.setattr(link, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(link, "MAX_CREATED", 60)
    hsm = await Hsm.open(token.settings(mode="inline", handle_cache=4))
    keys = [await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT) for _ in range(6)]
    sealed = [(await hsm.encrypt(key, [AeadInput(key.key_id.encode())]))[0] for key in keys]
    first = (await hsm.status()).epoch

    async def use() -> None:
        while (await hsm.status()).epoch < first + 3:
            for key, ciphertext in zip(keys, sealed, strict=True):
                assert await hsm.decrypt(key, [AeadInput(ciphertext)]) == [key.key_id.encode()]
            await hsm.generate_key(KeyKind.HMAC, usage=KeyUsage.MAC)
            await hsm.random(8)

    async with asyncio.timeout(30):
        await asyncio.gather(*(use() for _ in range(4)))
    await hsm.close()


async def test_evicted_keys_are_destroyed_and_come_back_when_used(token):
    hsm = await Hsm.open(token.settings(handle_cache=8))
    keys = [await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT) for _ in range(30)]
    sealed = [(await hsm.encrypt(key, [AeadInput(key.key_id.encode())]))[0] for key in keys]
    for _ in range(2):
        for key, ciphertext in zip(keys, sealed, strict=True):
            assert await hsm.decrypt(key, [AeadInput(ciphertext)]) == [key.key_id.encode()]
    session = hsm._link.connection.operations.session
    assert (await hsm.status()).live_handles == 8
    assert len(session.find({})) == 8 + 2 + 1  # live, token objects, and the health check's
    hsm.drop_keys()
    assert len(session.find({})) == 3
    await hsm.close()


async def test_eviction_under_concurrent_threads_destroys_no_key_in_use(token):
    hsm = await Hsm.open(token.settings(mode="pool", pool_size=8, handle_cache=3))
    keys = [await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT) for _ in range(12)]

    async def worker(number):
        for round_ in range(25):
            key = keys[(number * 5 + round_) % len(keys)]
            text = f"{number}.{round_}".encode()
            (sealed,) = await hsm.encrypt(key, [AeadInput(text)])
            assert await hsm.decrypt(key, [AeadInput(sealed)]) == [text]

    await asyncio.gather(*(worker(n) for n in range(16)))
    assert (await hsm.status()).state == "ready"
    assert (await hsm.status()).live_handles <= 3
    await hsm.close()


async def test_after_close_everything_is_refused(token):
    hsm = await Hsm.open(token.settings())
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    await hsm.close()
    with pytest.raises(HsmGoneError, match="stopping"):
        await hsm.encrypt(key, ITEM)
    assert (await hsm.status()).state != "reopening"
