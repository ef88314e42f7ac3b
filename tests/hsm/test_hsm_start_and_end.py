"""Opening: what the operator did wrong is named and nothing is overwritten. Closing: the interpreter exits cleanly."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import HsmConfigError
from core.protocols import AeadInput, KeyKind, KeyUsage
from pkcs11_glue.errors import PinRefusedError
from pkcs11_glue.hsm import Hsm
from pkcs11_glue.login import log_in
from pkcs11_glue.module import Module
from pkcs11_glue.session import HsmSession
from pkcs11_glue.settings import PinSource
from softhsm import provisioning
from softhsm.provisioning import provision

LOGIN = 18


async def test_wrong_pin_is_tried_once(token, tmp_path, function_list):
    wrong = tmp_path / "wrong"
    wrong.write_text("0000000000\n")
    logins = []
    function_list.replace(LOGIN, lambda original: lambda *a: logins.append(1) or original(*a))
    with pytest.raises(HsmConfigError, match=r"refuses the PIN .CKR_PIN_INCORRECT.; it was tried once") as caught:
        await Hsm.open(token.settings(pin=PinSource(file=wrong)))
    assert len(logins) == 1
    assert "0000000000" not in str(caught.value)
    # and the module is left so that the right one can be used
    await (await Hsm.open(token.settings())).close()


async def test_a_pin_that_one_process_was_refused_is_tried_by_no_other(token, tmp_path, function_list):
    """Workers start side by side, and are started again: three of them would lock a token that allows three tries."""
    wrong, note = tmp_path / "wrong", tmp_path / "pin-refused"
    wrong.write_text("0000000000")
    logins = []
    function_list.replace(LOGIN, lambda original: lambda *a: logins.append(1) or original(*a))
    for _ in range(3):
        with pytest.raises(PinRefusedError, match=r"CKR_PIN_INCORRECT.*mend the PIN, then restart"):
            await Hsm.open(token.settings(pin=PinSource(file=wrong), pin_refused=note))
    assert len(logins) == 1
    note.unlink()  # the supervisor does so when the service is restarted
    await (await Hsm.open(token.settings(pin_refused=note))).close()
    assert not note.exists()


async def test_a_missing_module_is_named(token, tmp_path):
    with pytest.raises(HsmConfigError, match=r"nowhere\.so does not exist"):
        await Hsm.open(token.settings(module=tmp_path / "nowhere.so"))


async def test_a_file_that_is_no_library_is_named(token, tmp_path):
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(HsmConfigError, match="cannot be loaded"):
        await Hsm.open(token.settings(module=tmp_path / "text.so"))


async def test_a_library_that_is_no_module_is_named(token):
    libc = next(
        p for d in ("/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64") if (p := Path(d, "libm.so.6")).exists()
    )
    with pytest.raises(HsmConfigError, match="not a PKCS#11 module"):
        await Hsm.open(token.settings(module=libc))


async def test_a_missing_token_names_those_present(token):
    with pytest.raises(HsmConfigError, match=r"label 'other'; tokens present: 'mimir-test' \(serial [0-9a-f]+\)"):
        await Hsm.open(token.settings(token_label="other"))


async def test_a_token_is_found_by_serial_and_refused_when_label_and_serial_disagree(token):
    hsm = await Hsm.open(token.settings())
    serial = (await hsm.status()).token_serial
    await hsm.close()
    await (await Hsm.open(token.settings(token_label=None, token_serial=serial))).close()
    with pytest.raises(HsmConfigError, match="label 'mimir-test' and serial '00'"):
        await Hsm.open(token.settings(token_serial="00"))


async def test_an_absent_token_directory_is_a_config_error(token):
    token.tokens.rename(token.path / "elsewhere")
    with pytest.raises(HsmConfigError, match="C_Initialize"):
        await Hsm.open(token.settings())


async def test_a_token_without_kek_is_named_and_left_alone(token):
    module = Module(token.settings().module, "os")
    login = log_in(module, token.settings())
    session = HsmSession(module.functions, module.open_session(login.token.slot, read_write=True))
    for handle in session.find({}):
        session.destroy(handle)
    module.finalize()
    with pytest.raises(HsmConfigError, match=r"'mimir-test' holds no KEK .*softhsm/provision"):
        await Hsm.open(token.settings())
    module.initialize()
    assert [t.label for t in module.tokens()] == ["mimir-test"]
    module.finalize()


async def test_the_login_lock_must_be_writable(token, tmp_path):
    with pytest.raises(HsmConfigError, match="login lock"):
        await Hsm.open(token.settings(login_lock=tmp_path / "absent" / "lock"))


async def test_a_second_hsm_in_one_process_is_refused_and_does_not_disturb_the_first(hsm, token):
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    with pytest.raises(HsmConfigError, match="ALREADY_INITIALIZED"):
        await Hsm.open(token.settings())
    assert len(await hsm.encrypt(key, [AeadInput(b"still here")])) == 1


def test_nothing_of_the_library_is_loaded_by_importing(token):
    script = "import pkcs11_glue.hsm, softhsm.provisioning; print('softhsm2.so' in open('/proc/self/maps').read())"
    run = token.run(script)
    assert (run.returncode, run.stdout.strip()) == (0, "False"), run.stderr


USE = """
import asyncio, os, signal, sys, ssl
from pathlib import Path
from core.protocols import AeadInput, KeyKind, KeyUsage
from pkcs11_glue.hsm import Hsm
from pkcs11_glue.settings import HsmSettings, PinSource
d = Path(os.environ["TOKEN_DIR"])
async def main():
    hsm = await Hsm.open(HsmSettings(module=Path(sys.argv[1]), token_label="mimir-test", mode=sys.argv[2], pool_size=4,
                                     pin=PinSource(file=d / "pin"), login_lock=d / "login.lock"))
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async def load():
        while not stop.is_set():
            await hsm.encrypt(key, [AeadInput(b"x" * 64)])
            await asyncio.sleep(0)
    if sys.argv[3] == "term":
        tasks = [asyncio.create_task(load()) for _ in range(8)]
        print("serving", flush=True)
        await stop.wait()
        await asyncio.gather(*tasks)
    else:
        await asyncio.gather(*(hsm.encrypt(key, [AeadInput(b"x")]) for _ in range(100)))
    if sys.argv[3] != "unclosed":
        await hsm.close()
asyncio.run(main())
if sys.argv[3] == "exit":
    sys.exit(0)
"""


@pytest.mark.parametrize("mode", ["inline", "pool"])
@pytest.mark.parametrize("end", ["plain", "exit", "unclosed"])
def test_the_interpreter_exits_with_zero(token, mode, end):
    run = token.run(USE, token.settings().module, mode, end)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("mode", ["inline", "pool"])
def test_sigterm_under_load_exits_with_zero(token, mode):
    command = [sys.executable, "-c", USE, str(token.settings().module), mode, "term"]
    with subprocess.Popen(command, env=token.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"serving\n"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, b"")


STUCK = """
import asyncio, os, sys, threading, time
from pathlib import Path
from ctypes import CDLL, CFUNCTYPE, byref, c_ulong, c_void_p, cast
from core.protocols import AeadInput, KeyKind, KeyUsage
from pkcs11_glue import link
from pkcs11_glue.hsm import Hsm
from pkcs11_glue.settings import HsmSettings, PinSource
link.CLOSE_TIMEOUT = 0.3
d = Path(os.environ["TOKEN_DIR"])
async def main():
    hsm = await Hsm.open(HsmSettings(module=Path(sys.argv[1]), token_label="mimir-test", mode="pool", pool_size=4,
                                     pin=PinSource(file=d / "pin"), login_lock=d / "login.lock"))
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    await hsm.encrypt(key, [AeadInput(b"")])
    p = c_void_p()
    CDLL(sys.argv[1]).C_GetFunctionList(byref(p))
    array = (c_void_p * 68).from_address(p.value + 8)
    # read(2) on a pipe that nobody writes to: a call that stays in C for ever
    r, _ = os.pipe()
    proto = CFUNCTYPE(c_ulong, c_ulong, c_void_p, c_ulong, c_void_p, c_void_p)
    global stuck
    stuck = proto(lambda *a: len(os.read(r, 1)))
    array[30] = cast(stuck, c_void_p).value
    task = asyncio.create_task(hsm.encrypt(key, [AeadInput(b"")]))
    await asyncio.sleep(0.1)
    start = time.monotonic()
    await hsm.close()
    assert time.monotonic() - start < 5
    outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    print(type(outcome).__name__)
asyncio.run(main())
"""


def test_a_call_that_never_returns_does_not_keep_the_process(token):
    """Without C_Finalize then, which would crash while a thread is inside a call."""
    run = token.run(STUCK, token.settings().module)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "HsmGoneError"


def _open_in_a_process(settings, outcome):
    async def main():
        for _ in range(3):
            hsm = await Hsm.open(settings)
            await hsm.random(8)
            await hsm.close()

    try:
        asyncio.run(main())
    except HsmConfigError as exc:
        outcome.put(str(exc))
    else:
        outcome.put("")


def test_processes_that_start_together_all_log_in(token):
    """C_Login rewrites the token's file: without the node's lock some of these see no token."""
    context = multiprocessing.get_context("spawn")
    outcome = context.Queue()
    processes = [context.Process(target=_open_in_a_process, args=(token.settings(), outcome)) for _ in range(4)]
    for process in processes:
        process.start()
    outcomes = [outcome.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert outcomes == [""] * 4
    assert [process.exitcode for process in processes] == [0] * 4


def test_provisioning_again_changes_nothing(token):
    script = """
import os, sys
from pathlib import Path
from softhsm.provisioning import provision
d = Path(os.environ["TOKEN_DIR"])
r = provision(d, label="mimir-test", pin_file=d / "pin")
print(r.kek_id, r.escrow_id, r.created)
"""
    first, second = token.run(script), token.run(script)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert first.stdout.endswith("()\n")


def test_provisioned_files_are_private(provisioned):
    modes = {p.name: p.stat().st_mode & 0o777 for p in provisioned.iterdir()}
    assert modes["tokens"] == 0o700
    assert modes["pin"] == modes["so-pin"] == 0o600
    assert len((provisioned / "pin").read_text()) == 16


def test_a_pin_file_that_exists_is_kept_and_a_foreign_one_is_refused(token):
    """Provisioning over a token whose PIN is lost fails; it never initialises again what exists."""
    (token.path / "pin").write_text("1234567890")
    with pytest.raises(HsmConfigError, match="refuses the PIN"):
        provision(token.path, label="mimir-test", pin_file=token.path / "pin")
    assert (token.path / "pin").read_text() == "1234567890"


def test_a_provisioner_killed_at_the_pin_leaves_no_empty_pin(tmp_path, monkeypatch):
    """An empty file would be kept for ever, and refused as a PIN for ever."""

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    monkeypatch.setattr(provisioning.os, "link", killed)
    with pytest.raises(Killed):
        provisioning._write_pin(tmp_path / "pin", "pin file", [])
    monkeypatch.undo()
    assert not (tmp_path / "pin").exists()
    provisioning._write_pin(tmp_path / "pin", "pin file", created := [])
    assert ((tmp_path / "pin").stat().st_size, (tmp_path / "pin").stat().st_mode & 0o777) == (16, 0o600)
    provisioning._write_pin(tmp_path / "pin", "pin file", created)
    assert created == ["pin file"]


def test_provisioning_does_not_offer_escrow_to_a_cluster_that_declined(token):
    async def decline():
        hsm = await Hsm.open(token.settings())
        await hsm.discard_escrow_key()
        await hsm.settle_escrow()  # the cluster is committed
        await hsm.close()

    asyncio.run(decline())
    result = provision(token.path, label="mimir-test", pin_file=token.path / "pin")
    assert (result.escrow_id, result.created) == ("", ())


@pytest.mark.parametrize("label", ["", "x" * 33, "new\nline", "-dash"])
def test_a_label_that_a_token_cannot_have_is_refused(tmp_path, label):
    with pytest.raises(Exception, match="label"):
        provision(tmp_path, label=label, pin_file=tmp_path / "pin")


def test_the_script_works_from_anywhere_and_twice(tmp_path):
    script = Path(__file__).resolve().parents[2] / "softhsm" / "provision"
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    outputs = []
    for _ in range(2):
        command = [str(script), "--token-dir", str(tmp_path / "t"), "--label", "by-script"]
        run = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        outputs.append(run.stdout)
    assert "made now    config, pin file, so-pin file, token, kek, escrow key" in outputs[0]
    assert "made now    nothing: everything was there" in outputs[1]


KILLED = """
import os, sys, signal, threading, time
from pathlib import Path
from pkcs11_glue import escrow
from pkcs11_glue.login import log_in
from pkcs11_glue.module import Module
from pkcs11_glue.session import HsmSession
from pkcs11_glue.settings import HsmSettings, PinSource
d = Path(os.environ["TOKEN_DIR"])
st = HsmSettings(module=Path(sys.argv[1]), token_label="mimir-test", pin=PinSource(file=d / "pin"),
                 login_lock=d / "login.lock")
m = Module(st.module, "os")
login = log_in(m, st)
s = HsmSession(m.functions, m.open_session(login.token.slot, read_write=True))
threading.Timer(float(sys.argv[2]), os.kill, (os.getpid(), signal.SIGKILL)).start()
while True:
    escrow.create_unclaimed(s)
    for handle in s.find({escrow.Attribute.LABEL: escrow.UNCLAIMED_LABEL}):
        s.destroy(handle)
"""


def test_half_made_objects_are_swept_and_the_kek_survives(token):
    """SIGKILL while token objects are made leaves some without label; provisioning sweeps those and nothing else."""
    before = provision(token.path, label="mimir-test", pin_file=token.path / "pin")
    for delay in (0.011, 0.017, 0.023, 0.029, 0.037):
        run = token.run(KILLED, token.settings().module, delay)
        assert run.returncode == -signal.SIGKILL, run.stderr
    after = provision(token.path, label="mimir-test", pin_file=token.path / "pin")
    assert after.kek_id == before.kek_id

    async def count():
        hsm = await Hsm.open(token.settings())
        shown = await hsm.status()
        await hsm.close()
        return shown.objects

    assert asyncio.run(count()) <= 2
