"""The escrow key: released once, hardened, and repairable when the process dies in between."""

import asyncio
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_unwrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from core.errors import HsmConfigError, KeyPolicyError
from core.protocols import AeadInput, KeyKind, KeyUsage
from pkcs11_glue import escrow
from pkcs11_glue.hsm import Hsm
from pkcs11_glue.sealed import binding


async def test_released_value_opens_what_is_escrowed(hsm):
    value = (await hsm.release_escrow_key()).expose()
    aes = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    assert aes.escrow_id == hsm.escrow_id != ""
    raw = aes_key_unwrap(value, aes.escrow)
    (sealed,) = await hsm.encrypt(aes, [AeadInput(b"payload", b"aad")])
    assert AESGCM(raw).decrypt(sealed[:12], sealed[12:], b"aad") == b"payload"
    ec = await hsm.generate_key(KeyKind.EC_P256, usage=KeyUsage.SIGN)
    # SoftHSM 2.6.1 pads PKCS#8 with zeros to a multiple of 8: the DER is what its header says
    der = aes_key_unwrap_with_padding(value, ec.escrow)
    private = load_der_private_key(der[: 2 + der[1]] if der[1] < 128 else der[: 3 + der[2]], None)
    assert private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == ec.public_key


async def test_a_sealed_key_comes_back_with_the_escrowed_sealing_key(hsm):
    """It has no escrow blob of its own: the words open the sealing key, and that opens the sealed key."""
    value = (await hsm.release_escrow_key()).expose()
    sealing = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    hsm.set_sealing_key(sealing)
    key = await hsm.generate_key(KeyKind.ED25519, usage=KeyUsage.SIGN)
    assert key.escrow is None
    recovered = AESGCM(aes_key_unwrap(value, sealing.escrow))
    seed = recovered.decrypt(key.wrapped[:12], key.wrapped[12:], binding(key.key_id, key.kind, key.usage))
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    assert public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == key.public_key


async def test_exactly_two_objects_after_release(hsm):
    await hsm.release_escrow_key()
    await hsm.settle_escrow()
    await hsm.settle_escrow()
    assert (await hsm.status()).objects == 2


async def test_the_release_can_be_repeated_until_it_is_settled(hsm):
    """An init that fails between release and commit is simply made again, with or without escrow."""
    value = await hsm.release_escrow_key()
    assert await hsm.release_escrow_key() == value
    await hsm.discard_escrow_key()
    assert hsm.escrow_id == ""
    assert await hsm.release_escrow_key() == value


async def test_a_release_after_settling_is_refused(hsm):
    await hsm.release_escrow_key()
    await hsm.settle_escrow()
    with pytest.raises(HsmConfigError, match="belongs to an initialised cluster"):
        await hsm.release_escrow_key()
    with pytest.raises(HsmConfigError, match="belongs to an initialised cluster"):
        await hsm.discard_escrow_key()


async def test_before_the_release_nothing_is_escrowed(hsm):
    key = await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    assert (key.escrow, key.escrow_id, hsm.escrow_id) == (None, "", "")
    with pytest.raises(KeyPolicyError, match="declined escrow"):
        await hsm.escrow_challenge()


async def test_a_declined_escrow_key_is_destroyed(hsm):
    await hsm.discard_escrow_key()
    await hsm.settle_escrow()
    assert (await hsm.status()).objects == 1
    await hsm.discard_escrow_key()
    with pytest.raises(HsmConfigError, match="no escrow key to release"):
        await hsm.release_escrow_key()


async def test_no_key_is_made_without_the_escrow_key_of_its_cluster(hsm):
    """A key without its escrow blob would be lost with the HSM, and nobody would know before."""
    await hsm.release_escrow_key()
    await hsm.settle_escrow()
    for kind, usage in ((KeyKind.AES_256, KeyUsage.ENCRYPT), (KeyKind.HMAC, KeyUsage.MAC)):
        hsm.expect_escrow("00" * 16)
        with pytest.raises(HsmConfigError, match=f"escrowed under {'00' * 16}.*holds the escrow key {hsm.escrow_id}"):
            await hsm.generate_key(kind, usage=usage)
        hsm.expect_escrow(hsm.escrow_id)
        assert (await hsm.generate_key(kind, usage=usage)).escrow_id == hsm.escrow_id
        hsm.expect_escrow("")
        assert (await hsm.generate_key(kind, usage=usage)).escrow is None


async def test_a_vanished_escrow_key_is_noticed(hsm):
    wanted = bytes.fromhex("11" * 16).hex()
    await hsm.discard_escrow_key()
    await hsm.settle_escrow()
    hsm.expect_escrow(wanted)
    with pytest.raises(HsmConfigError, match="holds the escrow key none"):
        await hsm.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)


async def test_the_challenge_proves_the_value(hsm):
    value = await hsm.release_escrow_key()
    sample, wrapped = await hsm.escrow_challenge()
    assert aes_key_unwrap(value.expose(), wrapped) == sample
    assert (await hsm.escrow_challenge())[0] != sample


async def test_another_process_escrows_as_soon_as_the_key_is_claimed(token):
    """A worker that opened the token before the initialisation must not make keys without escrow afterwards."""
    worker = await Hsm.open(token.settings())
    script = """
import asyncio, os
from pathlib import Path
from pkcs11_glue.hsm import Hsm
from pkcs11_glue.sealed import binding
from pkcs11_glue.settings import HsmSettings, PinSource
d = Path(os.environ["TOKEN_DIR"])
async def main():
    hsm = await Hsm.open(HsmSettings(module=Path(os.sys.argv[1]), token_label="mimir-test",
                                     pin=PinSource(file=d / "pin"), login_lock=d / "login.lock"))
    await hsm.release_escrow_key()
    print(hsm.escrow_id)
    await hsm.close()
asyncio.run(main())
"""
    run = await asyncio.to_thread(token.run, script, token.settings().module)
    assert run.returncode == 0, run.stderr
    key = await worker.generate_key(KeyKind.AES_256, usage=KeyUsage.ENCRYPT)
    assert key.escrow is not None
    assert key.escrow_id == worker.escrow_id == run.stdout.strip()
    await worker.close()


KILLED_CLAIM = """
import os, signal, sys
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
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(escrow, sys.argv[2], die)
escrow.claim(s)
"""


@pytest.mark.parametrize("step", ["_read_value", "_check_same_key"])
async def test_a_claim_killed_between_its_steps_goes_on(token, step):
    run = token.run(KILLED_CLAIM, token.settings().module, step)
    assert run.returncode == -9, run.stderr
    hsm = await Hsm.open(token.settings())
    value = await hsm.release_escrow_key()
    sample, wrapped = await hsm.escrow_challenge()
    assert aes_key_unwrap(value.expose(), wrapped) == sample
    await hsm.settle_escrow()
    assert (await hsm.status()).objects == 2
    await hsm.close()


async def test_a_foreign_unclaimed_key_beside_an_escrow_key_is_refused(token):
    hsm = await Hsm.open(token.settings())
    await hsm.release_escrow_key()
    await hsm.settle_escrow()
    await hsm._ceremony(escrow.create_unclaimed)
    with pytest.raises(HsmConfigError, match="of one cluster and an unclaimed one of another"):
        await hsm.release_escrow_key()
    await hsm.close()


def test_the_value_is_in_no_output(token):
    """A released Secret shows nothing by accident."""
    from core.secret import Secret

    assert json.dumps(str(Secret(b"value"))) == json.dumps("Secret(…)")
