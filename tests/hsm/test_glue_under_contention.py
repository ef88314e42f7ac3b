"""Orderings that only a busy or slow HSM brings about."""

import asyncio
import threading
import time
from contextlib import suppress

import pytest

from core.errors import HsmError, HsmGoneError, HsmRetryError, SealedError
from core.protocols import AeadInput, KeyKind, KeyUsage
from pkcs11_glue import link
from pkcs11_glue.handles import LiveKey
from pkcs11_glue.hsm import Hsm

ENCRYPT, OPEN_SESSION, FIND_OBJECTS = 30, 12, 27


async def test_a_key_unwrapped_in_an_epoch_that_ended_is_an_error(hsm):
    """It must not be used, not even by the caller that asked for it."""
    fresh = LiveKey(key_id="k", kind=KeyKind.AES_256, usage=KeyUsage.ENCRYPT, epoch=0, handle=1)
    with pytest.raises(HsmGoneError, match="re-opened meanwhile"):
        hsm._keys._keep(fresh, drops=hsm._keys._drops)
    assert (await hsm.status()).live_handles == 0


async def test_a_key_opened_while_the_appliance_is_sealed_is_destroyed(token):
    hsm = await Hsm.open(token.settings(mode="pool", pool_size=2))
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    encrypting = asyncio.create_task(hsm.encrypt(key, [AeadInput(b"late")]))
    await asyncio.sleep(0)  # it waits for the unwrap now
    hsm.drop_keys()
    with pytest.raises(SealedError, match="sealed while"):
        await encrypting
    assert (await hsm.status()).live_handles == 0
    assert len(hsm._link.connection.operations.session.find({})) <= 4  # two token objects, the probe, one going
    await hsm.close()


async def test_the_watch_does_not_queue_behind_work(token, function_list, monkeypatch):
    """A pool full of long calls is a busy HSM, not a lost one."""
    monkeypatch.setattr(link, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(link, "WATCH_TIMEOUT", 2.0)
    hsm = await Hsm.open(token.settings(mode="pool", pool_size=1))
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    await hsm.encrypt(key, [AeadInput(b"")])
    gate, ours = threading.Event(), []

    def blocking(original):
        def call(session, data, size, *rest):
            if size == 7:  # the worker's payload, not the watch's empty one
                ours.append(1)
                gate.wait(10)
            return original(session, data, size, *rest)

        return call

    function_list.replace(ENCRYPT, blocking)
    calls = [asyncio.create_task(hsm.encrypt(key, [AeadInput(b"7 bytes")])) for _ in range(3)]
    await asyncio.sleep(0.4)
    assert ours == [1]
    assert (await hsm.status()).state == "ready"
    gate.set()
    assert len(await asyncio.gather(*calls)) == 3
    await hsm.close()


async def test_a_token_out_of_sessions_is_retry_and_not_reopened(token, function_list):
    hsm = await Hsm.open(token.settings(mode="pool", pool_size=2))
    epoch = (await hsm.status()).epoch
    function_list.replace(OPEN_SESSION, lambda _: lambda *_: 0xB1)
    with pytest.raises(HsmRetryError, match="CKR_SESSION_COUNT"):
        await hsm.random(8)
    function_list.restore()
    assert len(await hsm.random(8)) == 8
    assert (await hsm.status()).epoch == epoch
    await hsm.close()


async def test_status_disturbs_no_operation(token, function_list):
    """Counting objects is a search, and an open search refuses everything else on its session."""
    hsm = await Hsm.open(token.settings(mode="inline"))
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    epoch = (await hsm.status()).epoch
    function_list.delay(FIND_OBJECTS, 0.02)
    asking = asyncio.create_task(hsm.status())
    while not asking.done():
        await hsm.encrypt(key, [AeadInput(b"payload", b"")])
        await asyncio.sleep(0)
    assert (await asking).objects == 2
    assert (await hsm.status()).epoch == epoch
    await hsm.close()


async def test_objects_made_on_threads_count_for_the_planned_reopening(token, monkeypatch):
    monkeypatch.setattr(link, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(link, "MAX_CREATED", 40)
    hsm = await Hsm.open(token.settings(mode="pool", pool_size=2))
    epoch = (await hsm.status()).epoch
    deadline = time.monotonic() + 5
    while (await hsm.status()).epoch == epoch:
        assert time.monotonic() < deadline
        with suppress(HsmError):
            await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    await hsm.close()


LOGINS = """
import os
from pathlib import Path
from pkcs11_glue.login import log_in
from pkcs11_glue.module import Module
from pkcs11_glue.settings import HsmSettings, PinSource

directory = Path(os.environ["TOKEN_DIR"])
settings = HsmSettings(
    module=Path(os.environ["MODULE"]),
    token_label="mimir-test",
    pin=PinSource(file=directory / "pin"),
    login_lock=directory / "login.lock",
)
module = Module(settings.module, "os")
for _ in range(150):
    log_in(module, settings)
    module.finalize()
"""


async def test_logins_of_other_processes_fail_no_call(hsm, token, monkeypatch):
    """C_Login rewrites the token's file, and who reads it at that moment gets CKR_GENERAL_ERROR."""
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    monkeypatch.setenv("MODULE", str(token.settings().module))
    logins = [asyncio.create_task(asyncio.to_thread(token.run, LOGINS)) for _ in range(2)]
    epoch = (await hsm.status()).epoch
    while not all(login.done() for login in logins):
        (sealed,) = await hsm.encrypt(key, [AeadInput(b"payload")])
        assert await hsm.decrypt(key, [AeadInput(sealed)]) == [b"payload"]
        hsm._handles.drop_all()  # so that the next call unwraps
        await asyncio.sleep(0)
    assert (await hsm.status()).epoch == epoch
    for login in logins:
        assert login.result().returncode == 0, login.result().stderr
